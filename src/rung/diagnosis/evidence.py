"""What a diagnosis looks at, gathered once, so that every kind of problem is a pure function of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RunError
from rung.runs import EVALUATION, Epoch, Run
from rung.shell import command_line
from rung.training.recordings import Predicted, Recordings

if TYPE_CHECKING:
    from rung.data.dataset import Dataset
    from rung.data.duplicates import Pair
    from rung.diagnosis.look import DataLook
    from rung.diagnosis.out_of_fold import OutOfFold
    from rung.evaluation.result import Evaluation


# Runs beside a run that are looked at.
SIBLINGS = 50
# Settings that a command need not name.
DEFAULTS = (("seed", 0), ("device", "auto"), ("pretrained", "auto"))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is known; each kind of problem looks at the parts that it needs and says nothing without them.

    Attributes:
        data: what stands behind ``rung train`` in a remedy's command.
        settings: the arguments of the training, as in ``run.json``.
        recipe: the recipe, as in ``run.json``.
        plan: the plan, as in ``run.json``.
        classes: class names.
        images: number of images by split.
        history: rows of the training, oldest first.
        recordings: what was seen inside the network while it trained.
        train: predictions of a sample of the training images, before any temperature.
        val: predictions of the validation images, before any temperature.
        temperature: that the logits are divided by before they become probabilities, 1 where nobody set it.
        evaluation: the metrics on the test split, where it has been read. Nothing may be chosen by them.
        other_seeds: validation accuracies of trainings that differ in their seed alone.
        status: ``"finished"``, ``"interrupted"`` …, as in ``run.json``.
        dataset: the images, where they are at hand.
        look: what simple measurements say about them.
        out_of_fold: predictions of training and validation images by networks that have not seen them.
        duplicates: pairs of images that are the same, or nearly, the most alike first; None where nobody looked.
        test: predictions of the test images, where it has been read. Nothing may be chosen by them.
        lists: the folder that lists of images are written to; empty where none are.
        run: the folder of the run.
    """

    data: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    images: Mapping[str, int] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    recordings: Recordings | None = None
    train: Predicted | None = None
    val: Predicted | None = None
    temperature: float = 1.0
    evaluation: Evaluation | None = None
    other_seeds: tuple[float, ...] = ()
    status: str = "finished"
    dataset: Dataset | None = None
    look: DataLook | None = None
    out_of_fold: OutOfFold | None = None
    duplicates: tuple[Pair, ...] | None = None
    test: Predicted | None = None
    lists: str = ""
    run: str = ""

    @property
    def network(self) -> Mapping[str, Any]:
        """The network's part of the recipe; empty where there is none."""
        network: Mapping[str, Any] = self.recipe.get("network") or {}
        return network

    @property
    def is_pretrained(self) -> bool:
        """Whether the network knew something before this training."""
        return bool(self.network.get("name") == "pretrained")

    def command(self, **changes: Any) -> str:
        """The ``rung train`` command of this run with some settings changed; None takes a setting away."""
        wanted = {**self.settings, **changes}
        if changes.get("epochs") is not None:
            wanted["budget"] = None
        words = ["rung", "train", str(wanted.pop("data", None) or self.data)]
        for name, value in wanted.items():
            if value is None or value is False or (name, value) in DEFAULTS:
                continue
            words.append(f"--{name.replace('_', '-')}")
            if name == "budget" and isinstance(value, int | float):
                words.append(f"{value:g}s")
            elif name == "max_memory":
                words.append(f"{value / 2**20:.0f}M")
            elif isinstance(value, list | tuple):
                words.append(",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value))
            elif value is not True:
                words.append(f"{value:g}" if isinstance(value, float) else str(value))
        return command_line(words)

    def without(self, name: str) -> tuple[str | None, dict[str, Any]]:
        """How to train without the images of a list: the command, and the settings that do the same.

        Where the list is not written the command is the one that writes it. Of a run that leaves out images already
        there is no command: its list would be replaced, and these images would be back.
        """
        if not self.lists or self.dataset is None:
            return (command_line(["rung", "diagnose", self.run]) if self.run else None), {}
        if self.settings.get("exclude"):
            return None, {}
        path = self.list_path(name)
        return self.command(exclude=path), {"exclude": path}

    def list_path(self, name: str) -> str:
        """Where the list of that name is written: its name alone where the folder is not known yet."""
        return str(Path(self.lists) / name) if self.lists else name


def evidence_of(run: Run, dataset: Dataset | None = None) -> Evidence:
    """What the folder of a run holds; parts that are missing are left out.

    Raises:
        RunError: a file that is there is damaged.
    """

    def part(name: str) -> dict[str, Any]:
        value = run.info.get(name)
        return value if isinstance(value, dict) else {}

    data, recordings = part("data"), run.recordings
    outcome = part("outcome")
    return Evidence(
        data=str(part("settings").get("data") or data.get("origin") or ""),
        settings=part("settings"),
        recipe=part("recipe"),
        plan=part("plan"),
        classes=tuple(map(str, data.get("classes") or ())),
        images=data.get("images") or {},
        history=run.history,
        recordings=recordings,
        train=recordings.train if recordings else None,
        val=recordings.val if recordings else None,
        temperature=float(outcome.get("temperature") or 1.0),
        evaluation=_evaluation(run),
        other_seeds=_other_seeds(run),
        status=run.status,
        dataset=dataset,
        run=str(run.path),
    )


def _other_seeds(run: Run) -> tuple[float, ...]:
    """Validation accuracies of finished runs beside this one with the same data and settings, but another seed."""

    def asked(info: Mapping[str, Any]) -> Any:
        settings, data = info.get("settings"), info.get("data")
        if not isinstance(settings, dict) or not isinstance(data, dict):
            return None
        return {**settings, "seed": None}, data.get("fingerprint")

    mine, found = asked(run.info), []
    for path in sorted(run.path.resolve().parent.glob("*/run.json"))[:SIBLINGS]:
        with contextlib.suppress(RunError):
            other = Run(path.parent)
            alike = mine is not None and asked(other.info) == mine and other.info.get("seed") != run.info.get("seed")
            recordings = other.recordings if alike and other.status == "finished" else None
            if recordings is not None and recordings.val is not None:
                found.append(recordings.val.accuracy)
    return tuple(found)


def _evaluation(run: Run) -> Evaluation | None:
    if not (run.path / EVALUATION).exists():
        return None
    try:
        return run.evaluation
    except RunError:
        # A rung of a ladder may keep other figures under that name: its diagnosis does without.
        return None
