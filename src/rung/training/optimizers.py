"""Muon for the convolutions, SGD for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rung.training.recipe import Recipe


def orthogonalise(gradient: Tensor, iterations: int = 3) -> Tensor:
    """The nearest semi-orthogonal matrix to ``gradient``, roughly: singular values end up near 1.

    Newton-Schulz iterations of a quintic whose coefficients make small singular values grow fastest
    (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

    Args:
        gradient: float, shape (rows, columns).
        iterations: 3 is enough for training; more brings the singular values closer to 1.

    Returns:
        The same shape and type.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = gradient.shape[0] > gradient.shape[1]
    matrix = gradient.T if tall else gradient
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonalised step, for convolution filters of any shape.

    Each filter bank is seen as a matrix of one row an output channel. Its norm is kept at the square root
    of the number of rows, so that the learning rate is the relative size of a step; with batch
    normalisation behind it the scale of a filter does not change what the network computes.

    ``torch.optim.Muon`` takes matrices alone and does not fix their norm.

    Args:
        params: tensors with at least two dimensions.
        lr: relative size of a step, about 0.02 to 0.3.
        momentum: share of the running gradient that is kept, 0 to 1.
        iterations: of :func:`orthogonalise`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.6, iterations: int = 3) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                running = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                gradient = parameter.grad.add(running, alpha=group["momentum"])
                parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                step = orthogonalise(gradient.flatten(1), group["iterations"]).view_as(parameter)
                parameter.add_(step, alpha=-group["lr"])


class Optimizers:
    """The optimizers of a network under a recipe, moved as one.

    Args:
        network: its four-dimensional weights go to Muon; the weight of its ``head``, and all the rest, to SGD.
        recipe: the peak learning rates, momenta and weight decay.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        filters = [p for p in trained.values() if p.ndim == 4]
        head = [p for name, p in trained.items() if name == "head.weight"]
        biases = [p for name, p in trained.items() if p.ndim < 4 and name != "head.weight"]
        # SGD multiplies its decay by the learning rate; dividing makes the decay of a step the recipe's.
        groups = [
            {"params": parameters, "lr": rate, "weight_decay": recipe.weight_decay / rate}
            for parameters, rate in ((biases, recipe.bias_rate), (head, recipe.head_rate))
        ]
        self.all: tuple[torch.optim.Optimizer, ...] = (
            Muon(filters, recipe.filter_rate, recipe.filter_momentum),
            torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=True),
        )
        self._peaks = [group["lr"] for optimizer in self.all for group in optimizer.param_groups]

    def step(self, share: float) -> None:
        """Move every weight, with ``share`` (0 to 1) of the peak learning rates, and clear the gradients."""
        groups = [group for optimizer in self.all for group in optimizer.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = peak * share
        for optimizer in self.all:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
