"""Muon for the convolutions and SGD for everything else; or Adam for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rung.training.recipe import Recipe

# Iterations whose polynomials are multiplied before the matrix is: with more, float32 rounds the inner products of rows
# that depend on each other to negative squares, which grow.
TOGETHER = 3


def orthogonalise(gradient: Tensor, iterations: int = 3) -> Tensor:
    """The nearest semi-orthogonal matrix to ``gradient``, roughly: singular values end up near 1.

    Newton-Schulz iterations of a quintic whose coefficients make small singular values grow fastest
    (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"). Each multiplies the matrix from the
    left with a polynomial in its rows' inner products. These polynomials are multiplied first, small and square as they
    are, and the wide matrix once at the end: half of the arithmetic for the filters of a convolution.

    Args:
        gradient: float, shape (rows, columns).
        iterations: 3 is enough for training; more brings the singular values closer to 1.

    Returns:
        The same shape and type.
    """
    tall = gradient.shape[0] > gradient.shape[1]
    matrix = gradient.T if tall else gradient
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    for done in range(0, iterations, TOGETHER):
        x = _polynomial(x @ x.T, min(TOGETHER, iterations - done)) @ x
    return x.T if tall else x


def _polynomial(gram: Tensor, iterations: int) -> Tensor:
    """What that many iterations multiply a matrix with, from the inner products of its rows."""
    a, b, c = 3.4445, -4.7750, 2.0315
    product: Tensor | None = None
    for left in reversed(range(iterations)):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if left:
            gram = factor @ gram @ factor
    assert product is not None
    return product


class Optimizer:
    """Groups of parameters with their settings, and what an optimizer remembers of each parameter.

    It has the attributes of ``torch.optim.Optimizer`` that training and checkpoints need. That class imports
    torch's compiler when the first one is made, which takes 1.4 seconds: a tenth of a short budget.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]]) -> None:
        self.param_groups: list[dict[str, Any]] = [{**group, "params": list(group["params"])} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, under ``"state"``, by the parameter's place among all parameters."""
        return {"state": {i: self.state[p] for i, p in enumerate(self._parameters()) if p in self.state}}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`.

        Raises:
            ValueError: it belongs to other parameters.
        """
        parameters = self._parameters()
        state: dict[Tensor, dict[str, Tensor]] = {}
        for index, remembered in values["state"].items():
            if not 0 <= index < len(parameters):
                raise ValueError(f"there is no parameter {index}")
            parameter = parameters[index]
            if any(value.shape not in (parameter.shape, ()) for value in remembered.values()):
                raise ValueError(f"what is remembered of parameter {index} has another shape")
            state[parameter] = {name: _laid_out_as(parameter, value) for name, value in remembered.items()}
        self.state = state

    def _moving(self) -> Iterator[tuple[Tensor, Tensor, dict[str, Any], dict[str, Tensor]]]:
        """Every parameter that has a gradient, with that, its group's settings, and what is remembered of it."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    yield parameter, parameter.grad, group, self.state.setdefault(parameter, {})

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov's momentum and weight decay, step by step as ``torch.optim.SGD``.

    Args:
        groups: each with ``params``, ``lr`` and ``weight_decay``.
        momentum: share of the running gradient that is kept, 0 to 1.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], momentum: float) -> None:
        super().__init__([{**group, "momentum": momentum} for group in groups])

    @torch.no_grad()
    def step(self) -> None:
        for parameter, gradient, group, state in self._moving():
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            if "momentum_buffer" in state:
                state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            else:
                state["momentum_buffer"] = gradient.clone()
            gradient.add_(state["momentum_buffer"], alpha=group["momentum"])
            _move(parameter, gradient, group["lr"])


class Muon(Optimizer):
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
        super().__init__([{"params": list(params), "lr": lr, "momentum": momentum, "iterations": iterations}])

    @torch.no_grad()
    def step(self) -> None:
        for parameter, gradient, group, state in self._moving():
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            running = state["momentum"].mul_(group["momentum"]).add_(gradient)
            gradient = gradient.add(running, alpha=group["momentum"])
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
            step = orthogonalise(gradient.flatten(1), group["iterations"]).view_as(parameter)
            _move(parameter, step, group["lr"])


class Adam(Optimizer):
    """Steps of about the learning rate for each weight, whatever the size of its gradient, as ``torch.optim.Adam``.

    Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv:1412.6980.

    Args:
        params: tensors of any shape.
        lr: size of a step, about 1e-4 to 1e-2.
        betas: shares of the running mean, and of the running mean square, of the gradients that are kept, 0 to 1.
        epsilon: added to the root of the mean square.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ) -> None:
        super().__init__([{"params": list(params), "lr": lr, "betas": betas, "epsilon": epsilon}])

    @torch.no_grad()
    def step(self) -> None:
        for parameter, gradient, group, state in self._moving():
            if not state:
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] = torch.zeros((), device=parameter.device)
            state["step"] += 1
            # One pass over memory instead of seven: the dense layer of a naive network has millions of weights. It is
            # the operation below torch.optim.Adam(fused=True), and takes for granted that all are laid out alike.
            torch._fused_adam_(
                [parameter],
                [gradient if gradient.stride() == parameter.stride() else _laid_out_as(parameter, gradient)],
                [state["mean"]],
                [state["square"]],
                [],
                [state["step"]],
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=0.0,
                eps=group["epsilon"],
                amsgrad=False,
                maximize=False,
            )


def _move(parameter: Tensor, direction: Tensor, rate: float | Tensor) -> None:
    """Take ``rate`` times the direction away. A recorded step needs the rate as a tensor, whose value can change."""
    if isinstance(rate, Tensor):
        parameter.addcmul_(direction, rate, value=-1)
    else:
        parameter.add_(direction, alpha=-rate)


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy of ``value`` in the device and, unless it is a single number, the memory order of ``parameter``."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


class Optimizers:
    """The optimizers of a network under a recipe, moved as one.

    Args:
        network: under Muon its four-dimensional weights go there; the weight of its ``head``, and all the rest, to SGD.
        recipe: which optimizers, the peak learning rates, momenta and weight decay.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.all: tuple[Optimizer, ...]
        if recipe.optimizer == "adam":
            shares: dict[str, float] = getattr(network, "rate_shares", dict)()
            groups: dict[float, list[Tensor]] = {}
            for name, parameter in trained.items():
                groups.setdefault(shares.get(name, 1.0), []).append(parameter)
            self.all = tuple(Adam(params, recipe.adam_rate * share) for share, params in groups.items())
        else:
            self.all = self._muon(trained, recipe)
        self._peaks = [group["lr"] for optimizer in self.all for group in optimizer.param_groups]

    @staticmethod
    def _muon(trained: Mapping[str, Tensor], recipe: Recipe) -> tuple[Optimizer, ...]:
        filters = [p for p in trained.values() if p.ndim == 4]
        head = [p for name, p in trained.items() if name == "head.weight"]
        biases = [p for name, p in trained.items() if p.ndim < 4 and name != "head.weight"]
        # SGD multiplies its decay by the learning rate; dividing makes the decay of a step the recipe's.
        groups = [
            {"params": parameters, "lr": rate, "weight_decay": recipe.weight_decay / rate}
            for parameters, rate in ((biases, recipe.bias_rate), (head, recipe.head_rate))
        ]
        return Muon(filters, recipe.filter_rate, recipe.filter_momentum), SGD(groups, recipe.momentum)

    def step(self, share: float | Tensor) -> None:
        """Move every weight, with ``share`` (0 to 1) of the peak learning rates, and clear the gradients.

        As a tensor, ``share`` is read when the weights move: a recorded step can be repeated with another value.
        """
        groups = [group for optimizer in self.all for group in optimizer.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = peak * share
        for optimizer in self.all:
            optimizer.step()
            optimizer.zero_grad()
