"""What rung leaves of a notebook's PyTorch: all of it; and what it lets it change: nothing."""

from __future__ import annotations

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


def test_tf32_is_for_the_time_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    products = torch.backends.cuda.matmul
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = products.allow_tf32
    with own_torch_state():
        assert products.allow_tf32
        with own_torch_state():
            pass
        assert products.allow_tf32
    assert products.allow_tf32 == before
