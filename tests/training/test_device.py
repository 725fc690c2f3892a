from __future__ import annotations

import sys
import time
from typing import Any

import pytest
import torch

from rung.errors import UsageError
from rung.training import device
from rung.training.device import (
    Machine,
    choose_device,
    faster_precision,
    fastest_seconds,
    measure_machine,
    own_clock,
    processor_name,
)

CPU = torch.device("cpu")


def test_a_device_by_name() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no device 'tpu'; choose one of auto, cpu, cuda, mps"):
        choose_device("tpu")


@pytest.mark.parametrize(
    ("name", "available"), [("cuda", "torch.cuda.is_available"), ("mps", "torch.backends.mps.is_available")]
)
def test_a_device_that_is_not_there(name: str, available: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, lambda: False)
    with pytest.raises(UsageError, match=f"device {name} was asked for, but this torch sees no"):
        choose_device(name)


@pytest.mark.parametrize(("half", "chosen"), [(0.2, "float32"), (1.0, "float32"), (1.05, "float32"), (2.5, "bfloat16")])
def test_half_precision_needs_a_clear_advantage(half: float, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device, "_convolution_rate", lambda _, name, batch, **how: 100 * (half if name == "bfloat16" else 1.0)
    )
    machine = measure_machine(CPU)
    assert machine.precision == chosen
    assert machine.gflops == 100 * (half if chosen == "bfloat16" else 1.0)


@pytest.mark.parametrize("ratio", [0.9, 1.4])
def test_a_doubtful_answer_is_asked_again(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rate(_: torch.device, name: str, batch: int, **how: Any) -> float:
        asked.append(name)
        # Other programs slow half precision down until the sixth turn.
        return 100.0 if name == "float32" else 100 * (ratio if len(asked) < 11 else 2.0)

    monkeypatch.setattr(device, "_convolution_rate", rate)
    assert faster_precision(CPU) == "bfloat16"
    assert len(asked) == 12


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_is_taken(precision: str) -> None:
    machine = measure_machine(CPU, precision)
    assert (machine.device, machine.precision, machine.threads) == ("cpu", precision, torch.get_num_threads())
    assert machine.gflops > 0
    assert Machine(**machine.to_dict()) == machine


def test_the_best_of_several_timings_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Time:
        now = 0.0

        @classmethod
        def perf_counter(cls) -> float:
            return cls.now

    lengths = iter([9.0, 3.0, 2.0, 4.0])

    def work() -> None:
        Time.now += next(lengths)

    monkeypatch.setattr(device, "time", Time)
    assert fastest_seconds(work, CPU, repeats=3) == 2.0


def test_one_slow_try_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    class Time:
        @classmethod
        def perf_counter(cls) -> float:
            return 5.0 * len(tries)

    monkeypatch.setattr(device, "time", Time)
    assert fastest_seconds(lambda: tries.append(1), CPU, repeats=9, enough=4.0) == 5.0
    assert len(tries) == 1


def test_emulated_half_precision_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rate(_: torch.device, name: str, batch: int, *, known: float = 0.0, **how: Any) -> float:
        asked.append((name, known))
        return 100.0 if name == "float32" else 3.0

    monkeypatch.setattr(device, "_convolution_rate", rate)
    assert faster_precision(CPU) == "float32"
    assert asked[1] == ("bfloat16", 100.0) and len(asked) == 4


@pytest.mark.parametrize(("seconds", "faster"), [((2.0, 1.0), "bfloat16"), ((1.0, 2.0), "float32")])
def test_the_precision_is_chosen_by_the_threads_own_clock(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], faster: str
) -> None:
    convolve, now = device.F.conv2d, [0.0]

    def work(images: torch.Tensor, weight: torch.Tensor, padding: int) -> torch.Tensor:
        now[0] += seconds[images.dtype == torch.bfloat16]
        return convolve(images, weight, padding=padding)

    monkeypatch.setattr(device.F, "conv2d", work)
    monkeypatch.setattr(device, "own_clock", lambda: lambda: now[0])
    assert faster_precision(CPU) == faster


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread's own time is not counted in milliseconds")
def test_a_threads_own_clock_stands_still_while_others_have_the_core() -> None:
    clock = own_clock()
    start = clock()
    time.sleep(0.2)  # as if another program had it
    assert clock() - start < 0.1


def test_the_precision_is_found_with_one_thread_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    monkeypatch.setattr(
        device, "_convolution_rate", lambda *_, **how: threads.append(torch.get_num_threads()) or float(len(threads))
    )
    before = torch.get_num_threads()
    measure_machine(CPU)
    assert set(threads[:-1]) == {1} and threads[-1] == before == torch.get_num_threads()


def test_the_processor_has_a_name() -> None:
    assert processor_name(CPU).strip()
