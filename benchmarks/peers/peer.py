"""What the scripts of the peers share: their arguments, the images, the clock, and the line that they print.

Of the standard library and NumPy alone, because it is imported in every peer's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass
class Clock:
    """Seconds spent in training steps: it stands still before the first, and while test images are evaluated.

    Attributes:
        seconds: the budget.
        until: a test accuracy at which training stops, for timing how long that takes.
        looks: with ``until``, training seconds and test accuracy of every evaluation so far.
        look_seconds: how long those evaluations took.
    """

    seconds: float
    until: float | None = None
    looks: list[tuple[float, float]] = field(default_factory=list)
    look_seconds: float = 0.0
    _before: float = 0.0
    _started: float | None = None

    def start(self) -> None:
        """Run; nothing happens where it runs already."""
        if self._started is None:
            self._started = time.perf_counter()

    def pause(self) -> None:
        """Stand still; nothing happens where it does already."""
        self._before, self._started = self.elapsed, None

    @property
    def elapsed(self) -> float:
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1: what a schedule that has to fit into it goes by."""
        return min(1.0, self.elapsed / self.seconds)

    @property
    def over(self) -> bool:
        return self.elapsed >= self.seconds or self.reached is not None

    @property
    def reached(self) -> float | None:
        """Training seconds after which ``until`` was seen first."""
        return next((at for at, accuracy in self.looks if self.until is not None and accuracy >= self.until), None)

    def look(self, accuracy: Callable[[], float]) -> None:
        """With ``until``, evaluate off the clock. What is seen stops the training, and chooses nothing."""
        if self.until is not None:
            self.pause()
            began = time.perf_counter()
            self.looks.append((round(self.elapsed, 2), round(accuracy(), 4)))
            self.look_seconds += time.perf_counter() - began
            self.start()


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line of a peer."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an .npz: x_train, y_train, x_test, y_test")
    parser.add_argument("--seconds", type=float, required=True, help="of training; what is not training is not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--until", type=float, help="stop at this test accuracy, and say when it was reached")
    return parser


def load(path: Path) -> tuple[Pixels, Labels, Pixels, Labels]:
    """Training images (N, 32, 32, 3) and labels, test images and labels."""
    with np.load(path) as data:
        return data["x_train"], data["y_train"], data["x_test"], data["y_test"]


def as_folder(path: Path) -> Path:
    """The same images as PNG files in ``train/LABEL/`` and ``test/LABEL/``, for tools that read nothing else.

    They are written beside ``path`` once, under a temporary name until they are complete.
    """
    from PIL import Image

    folder = path.with_suffix("")
    if folder.exists():
        return folder
    x_train, y_train, x_test, y_test = load(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent))
    for split, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        for label in np.unique(labels):
            (temporary / split / str(label)).mkdir(parents=True)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(temporary / split / str(label) / f"{index:05d}.png", compress_level=1)
    temporary.chmod(0o755)
    temporary.rename(folder)
    return folder


def report(clock: Clock, accuracy: float, epochs: float | None, packages: Sequence[str]) -> None:
    """Print the result: the last line of a script's output, as JSON. ``epochs`` is None where it is not known."""
    clock.pause()
    result = {
        "accuracy": round(float(accuracy), 4),
        "training_seconds": round(clock.elapsed, 2),
        "epochs": None if epochs is None else round(epochs, 3),
        "versions": {name: version(name) for name in packages},
    }
    if clock.until is not None:
        result |= {"reached_seconds": clock.reached, "look_seconds": round(clock.look_seconds, 2), "looks": clock.looks}
    print(json.dumps(result), flush=True)
