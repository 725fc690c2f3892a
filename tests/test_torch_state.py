"""What rung leaves of a notebook's PyTorch: all of it; and what it lets it change: nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

import rung
from rung.torch_state import own_torch_state


@pytest.fixture
def float64() -> Iterator[None]:
    """float64 as torch's default, for one test."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def fitted() -> rung.ImageClassifier:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 3
    return rung.ImageClassifier(epochs=1, threads=1, precision="float32").fit(images, labels)


def weights(classifier: rung.ImageClassifier) -> list[bytes]:
    return [value.numpy().tobytes() for value in classifier.model_.state_dict().values()]


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)])
def test_a_notebook_without_gradients_can_train(around: Callable[[], AbstractContextManager[None]]) -> None:
    expected = weights(fitted())
    with around():
        assert weights(fitted()) == expected
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.usefixtures("float64")
def test_a_notebook_in_float64_can_train() -> None:
    classifier = fitted()
    assert classifier.predict(np.zeros((1, 8, 8), np.uint8)).shape == (1,)
    assert {value.dtype for value in classifier.model_.parameters()} == {torch.float32}
    assert torch.get_default_dtype() == torch.float64


def test_random_numbers_and_threads_are_the_callers(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    first = torch.rand(2)
    fitted()
    run = rung.train("digits", epochs=0.1, threads=1, precision="float32", out=tmp_path / "run")
    rung.evaluate(run)
    assert torch.equal(torch.cat([first, torch.rand(2)]), expected)
    assert torch.get_num_threads() == threads


def test_an_error_leaves_nothing_behind() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), own_torch_state():
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float16)
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_a_notebooks_precision_of_products_does_not_matter(chosen: str) -> None:
    expected = weights(fitted())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(chosen)
    try:
        assert weights(fitted()) == expected
        assert torch.get_float32_matmul_precision() == chosen
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch is older")
def test_tf32_is_for_the_time_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    products = torch.backends.cuda.matmul
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for before in ("none", "ieee", "tf32"):
        products.fp32_precision = before
        with own_torch_state():
            assert products.fp32_precision == "tf32"
            with own_torch_state():
                pass
            assert products.fp32_precision == "tf32"
        assert products.fp32_precision == before
    products.fp32_precision = "none"


@pytest.mark.usefixtures("float64")
def test_the_last_of_several_threads_gives_back() -> None:
    first_is_in, first_may_go = threading.Event(), threading.Event()

    def first() -> None:
        with own_torch_state():
            first_is_in.set()
            first_may_go.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(30)
    with own_torch_state():
        first_may_go.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float32
    assert torch.get_default_dtype() == torch.float64
