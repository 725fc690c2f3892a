from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rung.models.fast import FastConfig
from rung.training.optimizers import SGD, Adam, Muon, Optimizers, orthogonalise
from rung.training.recipe import Recipe

SHAPES = [(6, 6), (4, 20), (20, 4), (1, 9), (9, 1)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- orthogonalise -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterations", [0, 1, 3, 8])
def test_it_maps_singular_values_and_leaves_singular_vectors(shape: tuple[int, int], iterations: int) -> None:
    gradient = random(*shape)
    left, values, right = torch.linalg.svd(gradient, full_matrices=False)
    values = values / (values.square().sum().sqrt() + 1e-7)
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = left @ torch.diag(values) @ right
    assert torch.allclose(orthogonalise(gradient, iterations), expected, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_end_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalise(random(*shape), iterations=8))
    assert values.min() > 0.65 and values.max() < 1.25


def test_it_points_where_the_gradient_points() -> None:
    gradient = random(8, 30)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    found, nearest = orthogonalise(gradient, iterations=8), left @ right
    assert (found * nearest).sum() / (found.norm() * nearest.norm()) > 0.97


def test_scale_does_not_matter_and_transposition_commutes() -> None:
    gradient = random(5, 12)
    assert torch.allclose(orthogonalise(1e6 * gradient), orthogonalise(gradient), atol=1e-6)
    assert torch.allclose(orthogonalise(gradient.T.contiguous()), orthogonalise(gradient).T, atol=1e-12)


def test_rows_that_depend_on_each_other_are_no_danger_in_float32() -> None:
    gradient = random(64, 1) @ random(1, 576)
    found = orthogonalise(gradient.float(), iterations=10).double()
    assert (found - orthogonalise(gradient, iterations=10)).norm() < 0.1 * found.norm()


def test_no_gradient_is_no_step() -> None:
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_shape_and_type_are_kept() -> None:
    assert orthogonalise(torch.ones(3, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


# --- Muon ----------------------------------------------------------------------------------------


def test_two_steps_against_numpy() -> None:
    start = random(6, 2, 3, 3)
    parameter = nn.Parameter(start.clone())
    muon = Muon([parameter], lr=0.1, momentum=0.6, iterations=3)
    weights, running = start.numpy().copy(), np.zeros(start.shape)
    for seed in (1, 2):
        gradient = random(6, 2, 3, 3, seed=seed)
        parameter.grad = gradient.clone()
        muon.step()
        running = 0.6 * running + gradient.numpy()
        ahead = torch.from_numpy(gradient.numpy() + 0.6 * running)
        weights *= np.sqrt(6) / np.linalg.norm(weights)
        weights -= 0.1 * orthogonalise(ahead.flatten(1), 3).view(start.shape).numpy()
        np.testing.assert_allclose(parameter.detach().numpy(), weights, rtol=1e-9)


def test_a_filter_bank_keeps_its_norm() -> None:
    parameter = nn.Parameter(100 * random(8, 3, 3, 3))
    muon = Muon([parameter], lr=0.0)
    parameter.grad = random(8, 3, 3, 3, seed=1)
    muon.step()
    assert parameter.norm().item() == pytest.approx(8**0.5)


def test_parameters_without_a_gradient_stay() -> None:
    parameter = nn.Parameter(random(4, 3, 3, 3))
    before = parameter.clone()
    Muon([parameter], lr=0.1).step()
    assert torch.equal(parameter, before)


def test_it_minimises() -> None:
    target = torch.linalg.qr(random(6, 6))[0]
    parameter = nn.Parameter(random(6, 6, seed=1))
    muon = Muon([parameter], lr=0.1)
    losses = []
    for step in range(60):
        loss = (parameter - target).square().sum()
        loss.backward()
        muon.param_groups[0]["lr"] = 0.1 * (1 - step / 60)
        muon.step()
        parameter.grad = None
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


# --- all together --------------------------------------------------------------------------------


@pytest.fixture
def network() -> nn.Module:
    return FastConfig(stages=((8, 8), (12,))).build((8, 8), 3, 4)


def test_every_trained_weight_has_exactly_one_optimizer(network: nn.Module) -> None:
    optimizers = Optimizers(network, Recipe(network=FastConfig()))
    owned = [p for optimizer in optimizers.all for group in optimizer.param_groups for p in group["params"]]
    assert len(owned) == len(set(map(id, owned)))
    assert {id(p) for p in owned} == {id(p) for p in network.parameters() if p.requires_grad}
    muon = optimizers.all[0].param_groups[0]["params"]
    assert all(p.ndim == 4 for p in muon) and len(muon) == 3


def set_gradients(network: nn.Module, value: float) -> None:
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, value)


def test_a_share_of_the_peak_rates_is_used_and_gradients_are_cleared(network: nn.Module) -> None:
    recipe = Recipe(network=FastConfig(), momentum=0.0 + 1e-9, weight_decay=0.0)
    optimizers = Optimizers(network, recipe)
    head, bias = network.head.weight, network.blocks[0].norm.bias
    before = head.detach().clone(), bias.detach().clone()
    set_gradients(network, 1.0)
    optimizers.step(0.5)
    assert torch.allclose(before[0] - head, torch.full_like(head, 0.5 * recipe.head_rate), atol=1e-5)
    assert torch.allclose(before[1] - bias, torch.full_like(bias, 0.5 * recipe.bias_rate), atol=1e-5)
    assert all(p.grad is None for p in network.parameters())


def test_a_share_of_zero_changes_nothing_but_the_norm_of_filters(network: nn.Module) -> None:
    optimizers = Optimizers(network, Recipe(network=FastConfig()))
    head = network.head.weight.detach().clone()
    set_gradients(network, 1.0)
    optimizers.step(0.0)
    assert torch.equal(network.head.weight, head)


def test_weight_decay_is_the_share_that_a_step_at_the_peak_takes(network: nn.Module) -> None:
    recipe = Recipe(network=FastConfig(), weight_decay=0.01, momentum=1e-9)
    optimizers = Optimizers(network, recipe)
    head = network.head.weight.detach().clone()
    set_gradients(network, 0.0)
    optimizers.step(1.0)
    assert torch.allclose(network.head.weight, 0.99 * head, rtol=1e-5)


def test_sgd_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    one = SGD([{"params": [ours], "lr": 0.1, "weight_decay": 0.01}], momentum=0.85)
    other = torch.optim.SGD([theirs], lr=0.1, weight_decay=0.01, momentum=0.85, nesterov=True)
    for rate in (0.1, 0.05, 0.02, 0.0):
        gradient = torch.randn(3, 4, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.param_groups[0]["lr"] = other.param_groups[0]["lr"] = rate
        one.step()
        other.step()
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_what_belongs_to_other_parameters_is_refused() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([{"params": [parameter], "lr": 0.1, "weight_decay": 0.0}], momentum=0.9)
    for state in ({1: {"momentum_buffer": torch.ones(2)}}, {0: {"momentum_buffer": torch.ones(3)}}):
        with pytest.raises(ValueError):
            optimizer.load_state_dict({"state": state})


def test_adam_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    one, other = Adam([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01)
    for rate in (0.01, 0.005, 0.02, 0.0):
        gradient = torch.randn(3, 4, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.param_groups[0]["lr"] = other.param_groups[0]["lr"] = rate
        one.step()
        other.step()
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_adam_moves_every_weight(network: nn.Module) -> None:
    optimizers = Optimizers(network, Recipe(network=FastConfig(), optimizer="adam", adam_rate=0.01))
    assert len(optimizers.all) == 1
    head = network.head.weight.detach().clone()
    set_gradients(network, 3.0)
    optimizers.step(0.5)
    assert torch.allclose(head - network.head.weight, torch.full_like(head, 0.005), atol=1e-6)


def test_adam_minds_no_order_in_memory() -> None:
    """Filters lie in memory by pixels, what a checkpoint gives back by channels, and gradients as it happens."""
    plain = torch.nn.Parameter(random(8, 4, 3, 3))
    filters = torch.nn.Parameter(random(8, 4, 3, 3).to(memory_format=torch.channels_last))
    one, other = Adam([plain], lr=0.01), Adam([filters], lr=0.01)
    for seed in (1, 2, 3):
        plain.grad = filters.grad = random(8, 4, 3, 3, seed=seed)
        one.step()
        other.step()
        kept = {"state": {0: {name: value.contiguous() for name, value in other.state_dict()["state"][0].items()}}}
        other = Adam([filters], lr=0.01)
        other.load_state_dict(kept)
    assert torch.equal(plain, filters)
