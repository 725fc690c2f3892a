"""What a user asks of a training, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rung.budget import parse_duration
from rung.data.names import KNOWN
from rung.errors import RunError, UsageError
from rung.runs import EXCLUDED, RUN, Run
from rung.seeds import check_seed
from rung.shell import command_line

# Seconds, where neither a budget nor a number of epochs is given.
DEFAULT_BUDGET = 120.0
MOST_EPOCHS = 1e6
# Every run cuts its validation and test splits in the same places, whatever its own seed.
SPLIT_SEED = 0
MOST_PIXELS = 1024
MOST_FOLDS = 100
Learns = Literal["head", "upper", "all"]
LEARNS: tuple[Learns, ...] = ("head", "upper", "all")
PRETRAINED = ("auto", "always", "never")
PRECISIONS = ("float32", "bfloat16")
# Settings that change the recipe, as rung.training.adjustments.Adjustments has them.
ADJUSTMENTS = ("rate_scale", "batch_size", "augment", "width")


@dataclass(frozen=True)
class Settings:
    """The arguments of :func:`rung.pipeline.train`, which says what each of them means; ``budget`` is in seconds."""

    data: str
    budget: float | None
    epochs: float | None
    seed: int
    image_size: int | None
    device: str
    precision: str | None
    threads: int | None
    max_memory: float | None
    exclude: str | tuple[str | int, ...] | None = None
    rung: str | None = None
    rounds: tuple[float, ...] | None = None
    rate_scale: float | None = None
    batch_size: int | None = None
    augment: str | None = None
    width: float | None = None
    pretrained: str = "auto"
    backbone: str | None = None
    learns: Learns | None = None
    folds: int | None = None

    def command(self) -> str:
        """The command line that does the same."""
        words = ["rung", "train", self.data]
        words += ["--epochs", f"{self.epochs:g}"] if self.epochs else ["--budget", f"{self.budget:g}s"]
        for name in ("seed", "image_size", "precision", "threads"):
            value = getattr(self, name)
            if value is not None and (name != "seed" or value):
                words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--rung", self.rung] if self.rung else []
        words += ["--rounds", ",".join(f"{rate:g}" for rate in self.rounds)] if self.rounds else []
        for name in ADJUSTMENTS:
            if (value := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
        words += ["--pretrained", self.pretrained] if self.pretrained != "auto" else []
        words += ["--backbone", self.backbone] if self.backbone else []
        words += ["--learns", self.learns] if self.learns else []
        words += ["--folds", str(self.folds)] if self.folds else []
        words += ["--device", self.device] if self.device != "auto" else []
        words += ["--max-memory", f"{self.max_memory / 2**20:.0f}M"] if self.max_memory else []
        # Images that were not given as a list are in the one that the run writes.
        words += ["--exclude", self.exclude if isinstance(self.exclude, str) else EXCLUDED] if self.exclude else []
        return command_line(words)


def check_settings(
    *,
    data: str | os.PathLike[str],
    budget: str | float | None,
    epochs: float | None,
    seed: int,
    image_size: int | None,
    device: str,
    precision: str | None,
    threads: int | None,
    max_memory: float | None,
    exclude: str | os.PathLike[str] | Collection[str | int] | None = None,
    rung: str | None = None,
    rounds: Sequence[float] | None = None,
    rate_scale: float | None = None,
    batch_size: int | None = None,
    augment: str | None = None,
    width: float | None = None,
    pretrained: str = "auto",
    backbone: str | None = None,
    learns: str | None = None,
    folds: int | None = None,
) -> Settings:
    """The settings, if they make sense.

    Raises:
        UsageError: one is out of its range, or contradicts another.
    """
    if budget is not None and epochs is not None:
        raise UsageError("a budget and a number of epochs contradict each other; give one of them")
    if epochs is not None and not 0 < epochs < MOST_EPOCHS:
        raise UsageError(f"the number of epochs must be above 0 and below a million, not {epochs:g}")
    check_seed(seed)
    if image_size is not None and not 1 <= image_size <= MOST_PIXELS:
        raise UsageError(f"the image size must lie between 1 and {MOST_PIXELS} pixels, not {image_size}")
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(f"the precision must be {' or '.join(PRECISIONS)}, not {precision!r}")
    if threads is not None and threads < 1:
        raise UsageError(f"the number of threads must be at least 1, not {threads}")
    if max_memory is not None and not 0 < max_memory < math.inf:
        raise UsageError("the memory must be more than nothing, and finite")
    seconds = None if epochs is not None else parse_duration(DEFAULT_BUDGET if budget is None else budget)
    place = os.fspath(data)
    if place and not (isinstance(data, str) and place in KNOWN):
        # A run finds its data from everywhere. What is not there is named as it was given; a Path is never a name.
        with suppress(OSError, RuntimeError):  # Who looks for it will say what is wrong with it.
            path = Path(place).expanduser()
            place = str(path.absolute()) if place in KNOWN or path.exists() else place
    listed = os.fspath(exclude) if isinstance(exclude, str | os.PathLike) else tuple(exclude or ()) or None
    if rounds is not None and not (len(rounds) and all(0 < rate <= 1 for rate in rounds)):
        raise UsageError("the rounds must be learning rates above 0 and at most 1, such as 1e-3,1e-4,1e-5")
    if pretrained not in PRETRAINED:
        raise UsageError(f"--pretrained is auto, always or never, not {pretrained!r}")
    what_learns = next((known for known in LEARNS if known == learns), None)
    if learns is not None and what_learns is None:
        raise UsageError(f"--learns is head, upper or all, not {learns!r}")
    if pretrained == "never" and (backbone is not None or learns is not None):
        raise UsageError(
            "--pretrained never and a backbone, or what of it learns, contradict each other; leave one out"
        )
    if backbone is not None or learns is not None:
        pretrained = "always"
    if folds is not None and not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"the number of folds must lie between 2 and {MOST_FOLDS}, not {folds}")
    if pretrained == "always" and any(value is not None for value in (rung, rounds, width)):
        raise UsageError(
            "a start from a pretrained network and a rung, rounds or a width contradict each other; give one of them"
        )
    if what_learns == "head" and any(value is not None for value in (rate_scale, batch_size, augment)):
        raise UsageError(
            "--learns head trains in no steps, so it has no rate, batches or variation to change; leave those out, or "
            "let more of the network learn"
        )
    rates = None if rounds is None else tuple(float(rate) for rate in rounds)
    return Settings(
        place,
        seconds,
        epochs,
        seed,
        image_size,
        device,
        precision,
        threads,
        max_memory,
        listed,
        rung,
        rates,
        rate_scale,
        batch_size,
        augment,
        width,
        pretrained,
        backbone,
        what_learns,
        folds,
    )


def settings_of(run: Run) -> Settings:
    """The settings that a run was started with.

    Raises:
        RunError: ``run.json`` has none, or none that make sense.
    """
    try:
        return check_settings(**run.info["settings"])
    except (KeyError, TypeError, UsageError) as error:
        raise RunError(f"{run.path / RUN} has no complete settings: {error}") from error
