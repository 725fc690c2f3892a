"""PyTorch's settings are the whole process's. rung has its own while it works, and leaves a notebook's as they were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_depth = 0
_give_back: Callable[[], None]


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Within it, torch computes with gradients, in float32 and, on a CUDA GPU, with TF32 in products.

    Afterwards the caller's settings are back, and their number of threads and random numbers as well: whoever draws
    some before and after a training gets the same as without it. It may be nested, and entered by several threads: the
    last one out gives back what the first one found.

    TF32 is what cuDNN's convolutions have from the start: products of float32 with ten bits of mantissa, several times
    as fast. Muon spends a fifth of a step on them.
    """
    global _depth, _give_back
    import torch

    with _lock:
        if _depth == 0:
            _give_back = _take_over()
        _depth += 1
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _give_back()


def _take_over() -> Callable[[], None]:
    """Make the process's settings rung's; returns what makes them the caller's again."""
    import torch

    threads, dtype, numbers = torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    torch.set_default_dtype(torch.float32)
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in _precisions()]
    for holder, name, ours in _precisions():
        setattr(holder, name, ours)

    def give_back() -> None:
        for holder, name, value in before:
            setattr(holder, name, value)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_rng_state(numbers)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)

    return give_back


def _precisions() -> list[tuple[Any, str, Any]]:
    """Where torch keeps in what float32 is multiplied, and what it shall say there."""
    import torch

    gpu = [torch.backends.cuda.matmul] if torch.cuda.is_available() else []
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # before torch 2.9
        return [(products, "allow_tf32", True) for products in gpu]
    name = "fp32_precision"
    mkldnn: Any = torch.backends.mkldnn
    cpu = [mkldnn.matmul, mkldnn.conv]
    return [*((products, name, "tf32") for products in gpu), *((products, name, "ieee") for products in cpu)]
