"""PyTorch's settings are the whole process's. rung has its own while it works, and leaves a notebook's as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Within it, torch computes with gradients, in float32 by default and, on a CUDA GPU, with TF32 in products.

    Afterwards the caller's settings are back, and their number of threads and random numbers as well: whoever draws
    some before and after a training gets the same as without it. It may be nested.

    TF32 is what cuDNN's convolutions have from the start: products of float32 with ten bits of mantissa, several times
    as fast. Muon spends a fifth of a step on them.
    """
    import torch

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(gpus), torch.inference_mode(False), torch.enable_grad(), _tf32():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)


@contextmanager
def _tf32() -> Iterator[None]:
    import torch

    if not torch.cuda.is_available():
        yield
        return
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = True
    try:
        yield
    finally:
        products.allow_tf32 = before
