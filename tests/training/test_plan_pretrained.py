"""Whether a training starts from a pretrained network, and how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rung.data.dataset import Dataset, Split
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.pretrained import PretrainedConfig
from rung.training import plan_pretrained as planning
from rung.training.device import Machine

MACHINE = Machine("cpu", "a processor", 2, "float32", 100.0)
SAFE = Probe(0.3, 0.3, 100)


def _dataset(images: int, side: int = 32, channels: int = 3, test: int = 100) -> Dataset:
    pixels = np.zeros((1, side, side, channels), np.uint8)

    def split(name: str, count: int) -> Split:
        return Split(name, pixels, np.zeros(count, np.int64), np.arange(count) % 10)

    return Dataset(
        "some", "nowhere", tuple("abcdefghij"), split("train", images), split("val", 20), split("test", test), ""
    )


@pytest.fixture(autouse=True)
def _speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "is_installed", lambda: True)
    monkeypatch.setattr(planning, "_forward_seconds", lambda dataset, machine: 1 / 1000)


def _plan(dataset: Dataset, mode: str = "auto", seconds: float | None = 120.0, probe: Probe = SAFE):
    return planning.plan_pretrained(dataset, probe, MACHINE, mode, seconds=seconds)


def test_few_photographs_start_from_imagenet_at_the_size_that_fits() -> None:
    small, large = _plan(_dataset(100)), _plan(_dataset(100, test=10_000))
    assert isinstance(small.recipe.network, PretrainedConfig)
    assert (small.recipe.network.side, small.recipe.views, small.recipe.network.learns) == (160, 2, "head")
    # 10,000 test images at 160 pixels take 28 s a view here.
    assert large.recipe.network.side == 160
    assert sum(large.expected_seconds.values()) < 120
    hurried = _plan(_dataset(100, test=10_000), seconds=20.0)
    assert hurried.recipe.network.side < 160
    assert "knows 1.28 million photographs of ImageNet" in small.reasons[0]


def test_mirror_images_that_are_not_safe_are_not_averaged() -> None:
    plan = _plan(_dataset(100), probe=Probe(0.9, 0.1, 1000))
    assert plan.recipe.views == 1 and not plan.recipe.augmentation.flip


@pytest.mark.parametrize(
    "dataset", [_dataset(60_000), _dataset(100, channels=1), _dataset(100, side=8)], ids=["many", "grey", "tiny"]
)
def test_other_data_starts_from_nothing_unless_asked(dataset: Dataset) -> None:
    assert _plan(dataset) is None
    assert _plan(_dataset(100, channels=1), "always").recipe.network.name == "pretrained"


def test_never_is_never_and_a_budget_without_time_for_it_is_for_scratch() -> None:
    assert _plan(_dataset(100), "never") is None
    assert _plan(_dataset(100, test=10_000), seconds=3.0) is None


def test_what_is_not_installed_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "is_installed", lambda: False)
    assert _plan(_dataset(100)) is None
    assert "pip install 'rung[pretrained]'" in planning.hint(_dataset(100), "auto")
    assert planning.hint(_dataset(100), "never") == planning.hint(_dataset(60_000), "auto") == ""
    with pytest.raises(UsageError, match="are not installed"):
        _plan(_dataset(100), "always")


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, never or always, not 'maybe'"):
        planning.check_pretrained("maybe")


def test_between_the_measured_numbers_the_error_is_between() -> None:
    ways = planning.Ways.load()
    first, second = ways.images[:2]
    assert ways.at(ways.head, first) == pytest.approx(ways.head[0])
    assert ways.head[0] > ways.at(ways.head, (first + second) // 2) > ways.head[1]
    assert ways.at(ways.head, 1) == pytest.approx(ways.head[0])
    assert ways.at(ways.head, 10**9) == pytest.approx(ways.head[-1])


def test_fine_tuning_is_planned_where_the_table_promises_something(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = planning.Ways.load()
    monkeypatch.setattr(planning.Ways, "load", lambda: replace(ways, tuned=(0.8,) * len(ways.images)))
    asked = {}

    def recorded(recipe, dataset, machine, **given):
        asked.update(given, recipe=recipe)
        return replace(_plan(_dataset(100), "always", seconds=None), recipe=recipe)

    monkeypatch.setattr(planning, "plan_recipe", recorded)
    plan = planning.plan_pretrained(_dataset(2000), SAFE, MACHINE, "auto", seconds=300.0)
    assert plan.recipe.network.learns == "all"
    assert asked["seconds"] < 300 and plan.recipe.optimizer == "adam"
