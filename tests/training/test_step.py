from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rung.data.batches import Augmentation, make_batches
from rung.data.dataset import Dataset
from rung.models.classifier import Classifier
from rung.models.fast import FastConfig
from rung.training.optimizers import Optimizers
from rung.training.recipe import Recipe
from rung.training.session import new_state
from rung.training.step import RecordedStep, Step, step_for
from rung.training.watching import Watcher, is_due

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
NETWORK = FastConfig(stages=((8, 8), (8,)))


def steps(kind: type[Step], dataset: Dataset, recipe: Recipe, device: str, count: int, rate: float = 1.0) -> Classifier:
    """A model after so many steps, at a rate that falls."""
    state = new_state(recipe, dataset, torch.device(device), 0)
    batches = make_batches(dataset.train, recipe.batch_size, recipe.augmentation, 0, torch.device(device))
    step = kind(state.model, state.optimizers, batches, recipe, classes=3, precision="float32", watcher=state.watcher)
    state.model.train()
    for number in range(count):
        outcome = step(number, rate * (1 - number / count))
        state.watcher.after(number / count, batches.positions(number), *outcome, len(dataset.train))
    assert len(state.watcher.recordings().losses) == count
    return state.model


def test_a_step_moves_the_weights_and_says_what_it_saw(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(60, 3, size=(8, 8))
    recipe = Recipe(network=NETWORK, batch_size=20)
    state = new_state(recipe, dataset, torch.device("cpu"), 0)
    batches = make_batches(dataset.train, 20, recipe.augmentation, 0, torch.device("cpu"))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    step = step_for(state.model.mean.device)(
        state.model, state.optimizers, batches, recipe, classes=3, precision="float32"
    )
    outcome = step(0, 0.0)
    learnt = {name for name, p in state.model.named_parameters() if p.requires_grad}
    # Muon brings filters to their norm, whatever the rate.
    assert all(torch.equal(before[name], state.model.state_dict()[name]) for name in learnt if "conv" not in name)
    again = step(0, 0.5)
    assert not torch.equal(before["network.head.weight"], state.model.network.head.weight)
    assert outcome.logits.shape == (20, 3) and torch.equal(outcome.labels, again.labels)
    assert not outcome.loss.requires_grad and not outcome.logits.requires_grad


def test_a_share_may_be_a_tensor(make_dataset: Callable[..., Dataset]) -> None:
    """A recorded step reads it when the weights move, and ends where a number leads."""
    dataset = make_dataset(40, 3, size=(8, 8))
    for optimizer in ("muon", "adam"):
        recipe = Recipe(network=NETWORK, batch_size=8, optimizer=optimizer)
        ends = []
        for share in (0.3, torch.tensor(0.3)):
            model = new_state(recipe, dataset, torch.device("cpu"), 0).model
            optimizers = Optimizers(model.network, recipe)
            batches = make_batches(dataset.train, 8, Augmentation(), 0, torch.device("cpu"))
            step = Step(model, optimizers, batches, recipe, classes=3, precision="float32")
            for number in range(3):
                step._learn(batches.prepare(number), share)
            ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert torch.allclose(*ends, rtol=1e-5, atol=1e-6)


@cuda
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_recorded_step_does_what_a_step_does(
    make_dataset: Callable[..., Dataset], optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    dataset = make_dataset(200, 3, size=(16, 16))
    recipe = Recipe(network=NETWORK, batch_size=50, optimizer=optimizer)
    ends = [steps(kind, dataset, recipe, "cuda", 12) for kind in (Step, RecordedStep)]
    for (name, one), other in zip(ends[0].state_dict().items(), ends[1].state_dict().values(), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-2, atol=1e-3), name


@cuda
def test_a_recorded_step_looks_inside_and_records_once(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(100, 3, size=(16, 16))
    recipe = Recipe(network=NETWORK, batch_size=50)
    state = new_state(recipe, dataset, torch.device("cuda"), 0)
    batches = make_batches(dataset.train, 50, recipe.augmentation, 0, torch.device("cuda"))
    watcher = Watcher()
    step = step_for(state.model.mean.device)(
        state.model, state.optimizers, batches, recipe, classes=3, precision="float32", watcher=watcher
    )
    assert isinstance(step, RecordedStep)
    graphs = set()
    for number in range(70):
        watcher.after(number / 70, batches.positions(number), *step(number, 1 - number / 70), 100)
        graphs.add(step._graph)
    assert len(graphs) == 2 and not step._refused
    seen = watcher.recordings()
    assert seen.steps.tolist() == [number for number in range(70) if is_due(number)]
    assert seen.updates.min() > 0


class Undecided(nn.Module):
    """Asks for a number in the middle, which cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        means = x_NCHW.mean((2, 3))
        return self.head(means if float(means.sum()) > 1e9 else 2 * means)


@cuda
def test_what_cannot_be_recorded_is_made_one_by_one(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(100, 3, size=(16, 16))
    recipe = Recipe(network=NETWORK, batch_size=50, optimizer="adam")
    model = Classifier(Undecided(), [128.0] * 3, [64.0] * 3).to("cuda")
    batches = make_batches(dataset.train, 50, recipe.augmentation, 0, torch.device("cuda"))
    optimizers = Optimizers(model.network, recipe)
    step = step_for(model.mean.device)(model, optimizers, batches, recipe, classes=3, precision="float32")
    losses = [float(step(number, 1.0).loss) for number in range(40)]
    assert step._refused and losses[-1] < losses[0]
