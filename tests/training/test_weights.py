from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rung.data.dataset import Dataset
from rung.errors import RunError
from rung.models.classifier import predict
from rung.runs import MODEL, RUN, Run
from rung.training.loop import TrainingState
from rung.training.recipe import Recipe
from rung.training.weights import load_classifier, recipe_of, save_classifier


@pytest.fixture
def trained(
    fresh: Callable[..., TrainingState], run_loop: Callable[..., Any], recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> tuple[Run, TrainingState]:
    state = fresh()
    run_loop(state)
    state.model.temperature.fill_(0.7)
    info = {
        "status": "finished",
        "recipe": recipe.to_dict(),
        "data": {"image_size": dataset.image_size, "channels": dataset.channels, "classes": dataset.classes},
    }
    run = Run.create(tmp_path / "run", "pictures", info)
    save_classifier(run, state.model)
    return Run(run.path), state


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_stored_model_says_what_the_trained_one_said(
    trained: tuple[Run, TrainingState], dataset: Dataset, precision: str
) -> None:
    run, state = trained
    model = load_classifier(run)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    expected = predict(state.model, dataset.test, precision=precision)
    np.testing.assert_array_equal(predict(model, dataset.test, precision=precision), expected)


def test_loading_draws_no_random_number(trained: tuple[Run, TrainingState]) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    load_classifier(trained[0])
    assert torch.equal(torch.rand(3), expected)


def test_a_run_without_weights(trained: tuple[Run, TrainingState]) -> None:
    (trained[0].path / MODEL).unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors: its training has not ended"):
        load_classifier(trained[0])


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 0.999])
def test_truncated_weights(trained: tuple[Run, TrainingState], share: float) -> None:
    path = trained[0].path / MODEL
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=r"model\.safetensors is damaged") as caught:
        load_classifier(trained[0])
    assert "\n" not in str(caught.value)


def test_weights_of_another_network(trained: tuple[Run, TrainingState]) -> None:
    run, _ = trained
    path = run.path / MODEL
    run.write_bytes(MODEL, path.read_bytes().replace(b"network.head.weight", b"network.hand.weight"))
    with pytest.raises(RunError, match="is damaged, or of another network") as caught:
        load_classifier(run)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers(trained: tuple[Run, TrainingState]) -> None:
    run, state = trained
    with torch.no_grad():
        state.model.network.head.weight[0, 0] = float("nan")
    save_classifier(run, state.model)
    with pytest.raises(RunError, match="weights that are not numbers"):
        load_classifier(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": None},
        {"recipe": {}},
        {"recipe": []},
        {"data": None},
        {"data": {}},
        {"data": {"image_size": [8, 8], "channels": "three", "classes": ["a"]}},
        {"data": {"image_size": [8, 8], "channels": -1, "classes": ["a"]}},
    ],
)
def test_an_altered_description(trained: tuple[Run, TrainingState], changes: dict[str, Any]) -> None:
    run, _ = trained
    run.update(**changes)
    with pytest.raises(RunError, match=r"run\.json") as caught:
        load_classifier(Run(run.path))
    assert "\n" not in str(caught.value)


def test_a_network_of_another_size_takes_no_memory(trained: tuple[Run, TrainingState]) -> None:
    run, _ = trained
    recipe = run.info["recipe"]
    recipe["network"]["stages"] = [[100_000, 100_000]]
    run.update(recipe=recipe)
    with pytest.raises(RunError, match="damaged, or of another network"):
        load_classifier(run)


def test_no_pickle_is_read(trained: tuple[Run, TrainingState]) -> None:
    run, state = trained
    torch.save(state.model.state_dict(), run.path / MODEL)
    with pytest.raises(RunError, match="is damaged"):
        load_classifier(run)


def test_the_recipe_of_a_run(trained: tuple[Run, TrainingState], recipe: Recipe) -> None:
    run, _ = trained
    assert recipe_of(run) == recipe
    info = json.loads((run.path / RUN).read_text())
    del info["recipe"]["batch_size"]
    run.write_json(RUN, info)
    with pytest.raises(RunError, match=r"has no complete recipe: 'batch_size'"):
        recipe_of(Run(run.path))
