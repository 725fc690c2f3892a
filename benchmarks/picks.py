"""Is the way that the planner picks the best one? On data, subsets and budgets that its tables did not see.

    python benchmarks/picks.py run       # every case, the ways in turn; goes on where it was stopped
    python benchmarks/picks.py table     # what was measured, as Markdown
    python benchmarks/picks.py again     # which of the measured ways the planner would pick now, by plans alone

Each case is trained as the planner picks, and then in each of the other ways: from scratch, a head on the pretrained
network, its upper blocks, all of it. All are whole commands with the same budget, and are judged on the same test
images. The pick counts as right when no other way is better by more than a point. The best of four noisy results is
too good by chance, which counts against the planner: so later cases are drawn several times, means are compared, and
they are judged apart as well: which way is best is asked of the other draws, how far the pick is behind it of this one.

CIFAR-10 is looked for in ``$RUNG_DATA``; at most 2,000 of its test images are judged, so that small budgets are for
training. The patches are cut from photographs that scikit-image (of the extra `benchmarks`) and scikit-learn bring:
those to learn from from the left three fifths of each picture, those to judge from the rest. The weights come from
``rung[pretrained]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.commands import rung_train
from benchmarks.few_images import add, cifar10, draw, rows

RESULTS = Path(__file__).parent / "results" / "picks.jsonl"
WAYS = ("never", "head", "upper", "all")
JUDGED = 2000
ALLOWED = 0.01
PICTURES = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field")
PICTURES += ("immunohistochemistry", "retina", "rocket")


@dataclass(frozen=True)
class Case:
    """A data set, how many training images of each class, seconds for the command, and how often it is drawn."""

    data: str
    each: int
    budget: int
    draws: int = 1


CASES = (
    Case("cifar10", 20, 30),
    Case("cifar10", 30, 45),
    Case("cifar10", 120, 30),
    Case("cifar10", 120, 75),
    Case("cifar10", 600, 45),
    Case("cifar10", 1500, 60),
    Case("cifar10", 4500, 30),
    Case("cifar10", 4500, 75),
    Case("cats and dogs", 40, 30),
    Case("cats and dogs", 300, 45),
    Case("cats and dogs", 3000, 45),
    Case("animals", 1000, 60),
    Case("patches", 10, 30),
    Case("patches", 100, 45),
    Case("animals", 200, 45),
    Case("patches", 30, 30),
    Case("cats and dogs", 100, 30),
    Case("cats and dogs", 60, 30),
    Case("animals", 60, 45),
    Case("cifar10", 70, 60),
    Case("cifar10", 40, 30, draws=3),
    Case("cifar10", 250, 40, draws=3),
    Case("cifar10", 1000, 35, draws=3),
    Case("cifar10", 3000, 50, draws=3),
    Case("cats and dogs", 25, 30, draws=3),
    Case("cats and dogs", 150, 40, draws=3),
    Case("cats and dogs", 1000, 35, draws=3),
    Case("animals", 30, 30, draws=3),
    Case("animals", 500, 40, draws=3),
    Case("patches", 60, 35, draws=3),
    Case("cifar10", 15, 25, draws=2),
    Case("cifar10", 350, 30, draws=2),
    Case("cifar10", 2000, 45, draws=2),
    Case("cifar10", 4500, 40, draws=2),
    Case("cats and dogs", 80, 25, draws=2),
    Case("cats and dogs", 600, 30, draws=2),
    Case("animals", 120, 35, draws=2),
    Case("animals", 2000, 30, draws=2),
    Case("patches", 20, 25, draws=2),
    Case("patches", 150, 30, draws=2),
    Case("cifar10", 100, 30, draws=2),
    Case("cifar10", 700, 30, draws=2),
    Case("cifar10", 2500, 30, draws=2),
    Case("cifar10", 4500, 35, draws=2),
    Case("cats and dogs", 50, 25, draws=2),
    Case("cats and dogs", 2000, 35, draws=2),
    Case("animals", 80, 25, draws=2),
    Case("animals", 1200, 30, draws=2),
    Case("vehicles", 100, 25, draws=2),
    Case("vehicles", 1000, 30, draws=2),
    Case("patches", 40, 25, draws=2),
    Case("patches", 120, 35, draws=2),
)
CLASSES = {
    "cats and dogs": (3, 5),
    "animals": (2, 3, 4, 5, 6, 7),
    "vehicles": (0, 1, 8, 9),
    "cifar10": tuple(range(10)),
}


def write(case: Case, drawn: int, folder: Path) -> Path:
    """The images of a case, drawn for the ``drawn``-th time, in a form that ``rung train`` reads."""
    if case.data == "patches":
        return _patches(case, drawn, folder / "patches")
    return _part_of_cifar10(case, drawn, folder)


def _part_of_cifar10(case: Case, drawn: int, folder: Path) -> Path:
    data, kept = cifar10(), CLASSES[case.data]
    renumbered = np.full(10, -1)
    renumbered[list(kept)] = np.arange(len(kept))
    train = draw(data.train.labels, case.each, seed=case.budget + 1000 * drawn)
    train = train[np.isin(data.train.labels[train], kept)]
    test = np.flatnonzero(np.isin(data.test.labels, kept))
    test = np.sort(np.random.default_rng(0).permutation(test)[:JUDGED])
    path = folder / "images.npz"
    np.savez(
        path,
        x_train=data.train.take(train),
        y_train=renumbered[data.train.labels[train]],
        x_test=data.test.take(test),
        y_test=renumbered[data.test.labels[test]],
    )
    return path


def _patches(case: Case, drawn: int, folder: Path) -> Path:
    import skimage.data
    from PIL import Image
    from sklearn.datasets import load_sample_images

    pictures = {name: getattr(skimage.data, name)() for name in PICTURES}
    pictures |= dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
    random = np.random.default_rng(case.each + 1000 * drawn)
    for name, picture in pictures.items():
        border = int(0.6 * picture.shape[1])
        for part, pixels, count in (("train", picture[:, :border], case.each), ("test", picture[:, border:], 60)):
            target = folder / part / name
            target.mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(40, 120, 2)
                top, left = random.integers(0, (pixels.shape[0] - height, pixels.shape[1] - width))
                piece = Image.fromarray(pixels[top : top + height, left : left + width])
                piece.convert("RGB").save(target / f"{number}.jpg", quality=90)
    return folder


def train(data: Path, budget: int, way: str | None, out: Path) -> tuple[dict[str, Any], str]:
    """One whole command, with a cache of its own: its scores, and the way that was gone."""
    options = [] if way is None else ["--pretrained", "never"]
    if way not in (None, "never"):
        options = ["--pretrained", "always", "--learns", way]
    command = rung_train(data, f"{budget}s", out, *options)
    environment = {**os.environ, "RUNG_CACHE": f"{out}-cache"}
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall = time.monotonic() - start
    if "give a larger --budget" in done.stderr:
        return {"accuracy": 0.0, "wall": 0.0, "network": ""}, way or "never"
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    plan = json.loads((out / "run.json").read_text())
    network = plan["recipe"]["network"]
    gone = network["learns"] if network["name"] == "pretrained" else "never"
    scores = {
        "accuracy": json.loads(done.stdout)["accuracy"],
        "wall": round(wall, 1),
        "network": plan["plan"]["network"],
    }
    return scores, gone


def run() -> None:
    """Measure what has not been measured yet: every case once, then those that are drawn again."""
    draws = [(drawn, case) for case in CASES for drawn in range(case.draws)]
    for drawn, case in sorted(draws, key=lambda one: one[0]):
        measured = [row for row in of(case) if row.get("draw", 0) == drawn]
        gone = {row["way"] for row in measured}
        if gone == set(WAYS):
            continue
        what = {"data": case.data, "each": case.each, "budget": case.budget, "draw": drawn}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            data = write(case, drawn, folder)
            if not any(row["picked"] for row in measured):
                scores, way = train(data, case.budget, None, folder / "picked")
                add({**what, "way": way, "picked": True, **scores}, RESULTS)
                gone.add(way)
            for way in WAYS:
                if way not in gone:
                    scores, _ = train(data, case.budget, way, folder / way)
                    add({**what, "way": way, "picked": False, **scores}, RESULTS)


def of(case: Case) -> list[dict[str, Any]]:
    """The rows of a case so far."""
    wanted = (case.data, case.each, case.budget)
    return [row for row in rows(RESULTS) if (row["data"], row["each"], row["budget"]) == wanted]


def means(measured: list[dict[str, Any]]) -> dict[str, float]:
    """The mean accuracy of each way over the draws."""
    return {way: float(np.mean([row["accuracy"] for row in measured if row["way"] == way])) for way in WAYS}


def behind_apart(measured: list[dict[str, Any]]) -> float:
    """How far the pick is behind a way that is not called the best because of the result that it is compared by."""
    distances = []
    for drawn in sorted({row["draw"] for row in measured}):
        here = {row["way"]: row for row in measured if row["draw"] == drawn}
        others = means([row for row in measured if row["draw"] != drawn])
        picked = next(row for row in here.values() if row["picked"])
        distances.append(here[max(others, key=lambda way: others[way])]["accuracy"] - picked["accuracy"])
    return float(np.mean(distances))


def complete() -> list[tuple[Case, list[dict[str, Any]]]]:
    """The cases of which everything is measured, with their rows."""
    return [(case, found) for case in CASES if len(found := of(case)) == case.draws * len(WAYS)]


def conclude(distances: list[float]) -> str:
    right = sum(distance <= ALLOWED + 1e-9 for distance in distances)
    return f"The pick is the best, or within a point of it, in {right} of {len(distances)} cases."


def again() -> None:
    """What the planner would pick now, beside what was measured then."""
    import torch

    from rung.data import load
    from rung.training.device import measure_machine
    from rung.training.session import plan_training
    from rung.training.threads import set_threads

    set_threads(None)
    machine = measure_machine(torch.device("cpu"))
    distances = []
    for case, measured in complete():
        with tempfile.TemporaryDirectory() as name:
            dataset = load(write(case, 0, Path(name)), cache_dir=f"{name}/cache")
            # Three seconds for the start and the data, as whole commands have.
            network = plan_training(dataset, machine, seconds=case.budget - 3.0, spent=3.0).recipe.network
        accuracies = means(measured)
        distances.append(max(accuracies.values()) - accuracies[getattr(network, "learns", "never")])
        then = ", ".join(row["way"] for row in measured if row["picked"])
        where = f"{case.data}, {case.each:,} a class, {case.budget} s"
        print(f"{where}: {network}; then {then}; {100 * distances[-1]:.1f} behind")
    print(conclude(distances))


def table() -> None:
    """A line a case; the pick in bold, or more of them where draws had different ones."""
    print(
        "| data | images a class | budget | " + " | ".join(WAYS) + " | behind the best | judged apart |\n|" + "---|" * 9
    )
    distances, drawn_again, apart = [], [], []
    for case, measured in complete():
        accuracies = means(measured)
        picked = [row for row in measured if row["picked"]]
        distances.append(max(accuracies.values()) - float(np.mean([row["accuracy"] for row in picked])))
        judged = "–"
        if case.draws > 1:
            drawn_again.append(distances[-1])
            apart.append(behind_apart(measured))
            judged = f"{100 * apart[-1]:.1f}"
        cells = [f"{accuracies[way]:.1%}" if accuracies[way] else "–" for way in WAYS]
        bold = {row["way"] for row in picked}
        cells = [f"**{cell}**" if way in bold else cell for way, cell in zip(WAYS, cells, strict=True)]
        where = f"{case.data} | {case.each:,} | {case.budget} s"
        print(f"| {where} | {' | '.join(cells)} | {100 * distances[-1]:.1f} | {judged} |")
    print(f"\n{conclude(distances)}")
    if apart:
        print(f"Of those that were drawn several times: {conclude(drawn_again)}")
        print(f"Judged apart: {conclude(apart)} On average {100 * float(np.mean(apart)):+.1f} points.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table", "again"))
    {"run": run, "table": table, "again": again}[parser.parse_args().command]()


if __name__ == "__main__":
    main()
