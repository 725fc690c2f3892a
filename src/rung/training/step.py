"""One training step: batch, forward pass, loss, backward pass, optimizers; on a CUDA GPU recorded once and repeated."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rung.data.batches import Batches
from rung.models.classifier import Classifier, autocast
from rung.training.optimizers import Optimizers
from rung.training.recipe import Recipe
from rung.training.watching import Watcher

# Steps that are made before one is recorded: libraries choose their methods, and optimizers make what they remember.
WARM_UP = 3


class Outcome(NamedTuple):
    """Of one step, with the weights as they were before it: the loss of the batch, its logits, its labels."""

    loss: Tensor
    logits: Tensor
    labels: Tensor


class Step:
    """A training step of ``model`` on ``batches``, as ``recipe`` says.

    Args:
        model: what learns.
        optimizers: of its network.
        batches: what it learns from.
        recipe: the label smoothing is taken from it.
        classes: how many there are.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
        watcher: looks inside the network at some steps.
    """

    def __init__(
        self,
        model: Classifier,
        optimizers: Optimizers,
        batches: Batches,
        recipe: Recipe,
        *,
        classes: int,
        precision: str,
        watcher: Watcher | None = None,
    ) -> None:
        self.optimizers = optimizers
        self._model, self._batches, self._watcher = model, batches, watcher
        self._device = model.mean.device
        self._classes, self._smoothing, self._precision = classes, recipe.label_smoothing, precision

    def __call__(self, number: int, share: float) -> Outcome:
        """Make step ``number`` with ``share`` (0 to 1) of the peak learning rates."""
        if self._watcher is not None:
            self._watcher.before(number, self._model.network)
        return self._make(self._batches.prepare(number), share)

    def _make(self, prepared: tuple[Tensor, ...], share: float) -> Outcome:
        return self._learn(prepared, share)

    def _learn(self, prepared: tuple[Tensor, ...], share: float | Tensor) -> Outcome:
        images, labels = self._batches.finish(*(part.to(self._device) for part in prepared))
        with autocast(self._device, self._precision):
            logits = self._model(images)
        loss = F.cross_entropy(logits.float(), soft_targets(labels, self._classes, self._smoothing))
        loss.backward()  # type: ignore[no-untyped-call]
        if self._watcher is not None:
            self._watcher.gradients()
        self.optimizers.step(share)
        return Outcome(loss.detach(), logits.detach(), labels)


class RecordedStep(Step):
    """The same step as a CUDA graph: what the GPU does is recorded once and repeated with other images and rates.

    A step of a small network is hundreds of small operations, and starting each from Python takes longer than the GPU
    needs for it. Steps that the watcher looks at are made one operation at a time, and so are all where the network
    does something that cannot be recorded. Arguments as of :class:`Step`.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._made = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._refused = False

    def _make(self, prepared: tuple[Tensor, ...], share: float) -> Outcome:
        watched = self._watcher is not None and self._watcher.is_looking
        if self._refused or watched or self._made < WARM_UP:
            return self._by_hand(prepared, share)
        if self._graph is None and not self._record(prepared):
            return self._by_hand(prepared, share)
        for here, there in zip(prepared, self._inputs, strict=True):
            there.copy_(here, non_blocking=True)
        self._share.fill_(share)
        assert self._graph is not None
        self._graph.replay()
        return Outcome(*(value.clone() for value in self._outcome))

    def _by_hand(self, prepared: tuple[Tensor, ...], share: float) -> Outcome:
        """On a stream of its own, as recording requires of what comes before it."""
        self._made += 1
        current = torch.cuda.current_stream(self._device)
        self._aside.wait_stream(current)
        with torch.cuda.stream(self._aside):
            try:
                outcome = self._learn(prepared, share)
            except torch.OutOfMemoryError:
                if self._graph is None:
                    raise
                # Not both: what a recorded step keeps, and a step beside it.
                self._forget()
                outcome = self._learn(prepared, share)
        current.wait_stream(self._aside)
        return outcome

    def _record(self, prepared: tuple[Tensor, ...]) -> bool:
        """Record the step; False where that is impossible. Nothing is computed, and no weight moves."""
        self._inputs = tuple(part.to(self._device, copy=True) for part in prepared)
        self._share = torch.zeros((), device=self._device)
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        torch.cuda.synchronize(self._device)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._outcome = self._learn(self._inputs, self._share)
        except RuntimeError:
            torch.cuda.set_stream(current)  # Where ending the recording fails as well, its own stream is left behind.
            self._forget()
            return False
        self._graph = graph
        return True

    def _forget(self) -> None:
        """Make all further steps by hand."""
        self._refused, self._graph = True, None
        for optimizer in self.optimizers.all:
            optimizer.zero_grad()
        torch.cuda.empty_cache()


def step_for(device: torch.device) -> type[Step]:
    """The kind of step that suits the device."""
    return RecordedStep if device.type == "cuda" else Step


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """One-hot rows, float32 (N, classes), with ``smoothing`` of each spread over all classes."""
    return F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
