"""Measure the planner's tables: accuracy of each network after so many epochs, on a validation split.

    python benchmarks/frontier.py run cifar10          # trains what is missing, one line of results a training
    python benchmarks/frontier.py run cifar10 --images 1500       # a smaller grid on fewer training images
    python benchmarks/frontier.py write cifar10        # smooths the results and writes the planner's tables

The test split is never read. Results are appended to ``benchmarks/results/frontier-DATA.jsonl``; a run that
was stopped goes on where it was. Any recipe field can be varied to try an idea:

    python benchmarks/frontier.py try cifar10 --stages 32-32,64-64,128-128 --epochs 2 --set filter_rate=0.16
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import least_squares

from rung.data import find_source, materialise
from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import probe
from rung.models import network_config
from rung.models.classifier import predict
from rung.models.fast import FastConfig
from rung.torch_state import own_torch_state
from rung.training.clocks import StepClock
from rung.training.device import choose_device, measure_machine
from rung.training.frontier import Frontier
from rung.training.loop import TrainingState, fit
from rung.training.measure import network_size
from rung.training.plan import choose_batch_size, choose_filter_rate, choose_pruning
from rung.training.recipe import Recipe
from rung.training.session import new_state
from rung.training.threads import set_threads

RESULTS = Path(__file__).parent / "results"
TABLE = Path(__file__).parents[1] / "src" / "rung" / "training" / "frontier.json"


def coarse(*stages: tuple[int, ...]) -> FastConfig:
    """A network whose stem leaves half of the resolution, so that its first maps are a quarter as large."""
    return FastConfig(stages=stages, stem_size=3, stem_stride=2, stem_filters=12)


def smooth(*stages: tuple[int, ...]) -> FastConfig:
    """A network with GELUs: where the convolutions are wide and the training is long, they are worth their time."""
    return FastConfig(stages=stages, activation="gelu")


# What the planner chooses from, cheapest first. The epochs of a network are those at which it may be the best choice
# for some budget.
GRID: list[tuple[FastConfig, tuple[float, ...]]] = [
    (coarse((32, 32), (64, 64)), (0.25, 0.5, 1, 2, 4)),
    (coarse((64, 64), (128, 128)), (0.5, 1, 2, 4)),
    (coarse((96, 96), (192, 192)), (1, 2)),
    (FastConfig(stages=((32, 32), (64, 64), (128, 128))), (0.25, 0.5, 1, 2, 4, 8)),
    (FastConfig(stages=((32, 32), (96, 96), (192, 192))), (0.5, 1, 2, 4)),
    (smooth((32, 32), (128, 128), (256, 256)), (1, 2, 4, 8)),
    (smooth((64, 64), (256, 256), (256, 256)), (1, 2, 4, 8, 16, 32)),
    (smooth((128, 128), (384, 384), (512, 512)), (1, 2, 4, 8, 16, 32)),
]
# Never the best choice, but the way in which accuracy grows with size and epochs rests on these, too.
OTHERS: list[tuple[FastConfig, tuple[float, ...]]] = [
    (FastConfig(stages=((16, 16), (32, 32), (64, 64))), (0.25, 0.5, 1, 2, 4)),
    (coarse((128, 128), (256, 256)), (1,)),
]

# Of fewer images, after as many of them as so many passes over all show.
FEWER = [config for config, _ in (GRID[0], GRID[1], GRID[3], GRID[5], GRID[6])]
PASSES = (0.5, 1.0, 2.0, 4.0, 8.0)
ALL = 45_000

# Those of the written curves.
EPOCHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Quiet:
    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        pass

    def row(self, state: TrainingState) -> None:
        pass


def load(data: str, images: int | None) -> Dataset:
    dataset = materialise(find_source(data), val_fraction=0.1, seed=1)
    if images is None:
        return dataset
    keep = np.sort(np.random.default_rng(2).permutation(len(dataset.train))[:images])
    return replace(dataset, train=dataset.train.subset(keep))


@own_torch_state()
def train_once(dataset: Dataset, recipe: Recipe, epochs: float, seed: int) -> dict[str, Any]:
    """Train for a number of epochs and measure on the validation split with 1, 2 and 6 views."""
    device = choose_device()
    machine = measure_machine(device)
    state = new_state(recipe, dataset, device, seed)
    model = state.model
    steps = max(1, round(epochs * (len(dataset.train) // recipe.batch_size)))
    start = time.monotonic()
    fit(
        state,
        dataset,
        recipe,
        StepClock(steps),
        seed=seed,
        precision=machine.precision,
        steps_per_row=steps,
        validation=dataset.val,
        observer=Quiet(),
    )
    seconds = time.monotonic() - start

    def accuracy(split: Any, views: int) -> float:
        probabilities = predict(model, split, precision=machine.precision, views=views)
        return round(float((probabilities.argmax(1) == split.labels).mean()), 5)

    sides = (1, 2, 6) if recipe.augmentation.flip else (1,)
    size = network_size(recipe.network, dataset)
    return {
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * recipe.batch_size / seconds),
        "gflops": round(6 * size.multiply_adds * steps * recipe.batch_size / seconds / 1e9),
        "multiply_adds": size.multiply_adds,
        "accuracy": {str(views): accuracy(dataset.val, views) for views in sides},
        "train_accuracy": accuracy(dataset.train.subset(np.arange(0, len(dataset.train), 15)), 1),
        "processor": machine.processor,
    }


def key(recipe: Recipe, epochs: float, seed: int, images: int | None) -> dict[str, Any]:
    return {"recipe": recipe.to_dict(), "epochs": epochs, "seed": seed, "images": images}


def done(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(path: Path, dataset: Dataset, recipe: Recipe, epochs: float, seed: int, images: int | None) -> None:
    what = key(recipe, epochs, seed, images)
    # As recipes, so that what a recipe did not have yet when a row was written does not count.
    known = ({**entry, "recipe": Recipe.from_dict(entry["recipe"]).to_dict()} for entry in done(path))
    if any(all(entry[name] == value for name, value in what.items()) for entry in known):
        return
    result = train_once(dataset, recipe, epochs, seed)
    with path.open("a") as file:
        file.write(json.dumps({**what, **result, "torch": torch.__version__}) + "\n")
    print(recipe.network, f"{epochs:g} epochs, seed {seed}:", dict(result), flush=True)


def base_recipe(dataset: Dataset, network: FastConfig, flip: bool, epochs: float) -> Recipe:
    augmentation = Augmentation(flip=flip, translate=max(1, min(dataset.image_size) // 16))
    recipe = Recipe(network=network, batch_size=choose_batch_size(len(dataset.train)), augmentation=augmentation)
    steps = epochs * len(dataset.train) / recipe.batch_size
    pruning = choose_pruning(epochs, len(dataset.train))
    return replace(recipe, filter_rate=choose_filter_rate(steps), pruning=pruning)


def halves(config: FastConfig) -> float:
    """1 where the stem leaves half of the resolution, 0 elsewhere."""
    return float(config.stem_stride == 2)


def run(arguments: argparse.Namespace) -> None:
    dataset = load(arguments.data, arguments.images)
    flip = probe(dataset.train, len(dataset.classes), 0).mirroring_is_safe
    whole = [(config, epochs) for config, counts in GRID + OTHERS for epochs in counts]
    fewer = [(config, passes * ALL / len(dataset.train)) for config in FEWER for passes in PASSES]
    grid = sorted(
        whole if arguments.images is None else fewer,
        key=lambda item: network_size(item[0], dataset).multiply_adds * item[1],
    )
    for seed in range(arguments.seeds):
        for config, epochs in grid:
            measure(arguments.path, dataset, base_recipe(dataset, config, flip, epochs), epochs, seed, arguments.images)


def attempt(arguments: argparse.Namespace) -> None:
    dataset = load(arguments.data, arguments.images)
    flip = probe(dataset.train, len(dataset.classes), 0).mirroring_is_safe
    stages = tuple(tuple(int(width) for width in stage.split("-")) for stage in arguments.stages.split(","))
    recipe = base_recipe(dataset, FastConfig(stages=stages), flip, arguments.epochs)
    for setting in arguments.set:
        name, _, text = setting.partition("=")
        value = json.loads(text)
        if name in {f.name for f in fields(FastConfig)}:
            recipe = replace(recipe, network=replace(recipe.network, **{name: value}))
        elif name in asdict(recipe.augmentation):
            recipe = replace(recipe, augmentation=replace(recipe.augmentation, **{name: value}))
        else:
            recipe = replace(recipe, **{name: value})
    for seed in range(arguments.seeds):
        measure(arguments.path, dataset, recipe, arguments.epochs, seed, arguments.images)


def before(recipe: Recipe) -> Recipe:
    """The same with the recipe's numbers of before 26 November 2026: only ReLUs, and all images in every pass.

    Most results were made with it, on a GPU, and tell the shape of the curves. How much better today's is, at first and
    with size and epochs, is fitted to the trainings that were repeated.
    """
    network = replace(recipe.network, activation="relu")  # type: ignore[call-arg]
    rates = {"bias_rate": 0.053, "head_rate": 0.67, "filter_momentum": 0.6, "weight_decay": 0.004}
    return replace(recipe, network=network, pruning=0.0, **rates)


def write(arguments: argparse.Namespace) -> None:
    """Smooth the results of all networks together and write the tables."""
    dataset = load(arguments.data, None)
    entries = [entry for entry in done(arguments.path) if entry["images"] is None]
    measured = []
    for config, _ in GRID + OTHERS:
        for entry in entries:
            recipe = base_recipe(dataset, config, True, entry["epochs"])
            used = Recipe.from_dict(entry["recipe"])
            if used in (recipe, before(recipe)):
                measured.append((config, entry, float(used == recipe)))
    sizes = np.array([math.log(entry["multiply_adds"]) for _, entry, _ in measured])
    passes = np.array([math.log(entry["epochs"]) for _, entry, _ in measured])
    errors = np.array([1 - entry["accuracy"]["2"] for _, entry, _ in measured])
    halved = np.array([halves(config) for config, _, _ in measured])
    today = np.array([is_new for _, _, is_new in measured])
    pruned = np.array([float(entry["recipe"].get("pruning", 0) > 0) for _, entry, _ in measured])

    # A polynomial in log-log over both, so that each network's few trainings profit from all the others'. Its higher
    # orders stand for the floor that data and network set; half of the resolution, today's recipe, and leaving out
    # images that are known have factors of their own.
    def terms(
        size: npt.NDArray[np.float64],
        epochs: npt.NDArray[np.float64],
        halved: npt.NDArray[np.float64],
        today: npt.NDArray[np.float64],
        pruned: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        parts = [np.ones_like(size), size, epochs, size * epochs, size**2, epochs**2, epochs**3, size * epochs**2]
        factors = [own * part for own in (halved, today) for part in (1, epochs, size)]
        return np.stack([*parts, *factors, pruned], axis=-1)

    known = terms(sizes, passes, halved, today, pruned)
    coefficients = np.linalg.lstsq(known, np.log(errors), rcond=None)[0]
    residuals = errors - np.exp(known @ coefficients)
    # Left out in turn, what a training differs by from what the others say.
    leverages = np.diag(known @ np.linalg.pinv(known))
    print(f"left out in turn: {100 * np.std(residuals / (1 - leverages)):.2f} points of {len(measured)} trainings")

    def curves(is_new: float) -> list[dict[str, Any]]:
        written = []
        for config, tried in GRID:
            # A polynomial knows nothing beyond what it was fitted to.
            near = [count for count in EPOCHS if min(tried) / 2 <= count <= 2 * max(tried)]
            values = math.log(network_size(config, dataset).multiply_adds), halves(config), is_new
            size, halved, today = (np.full(len(near), value) for value in values)
            pruned = np.array([is_new * (choose_pruning(count, len(dataset.train)) > 0) for count in near])
            smoothed = np.exp(terms(size, np.log(near), halved, today, pruned) @ coefficients)
            network = {"name": config.name, **asdict(config)}
            errors = [round(float(error), 5) for error in np.minimum.accumulate(smoothed)]
            written.append({"network": network, "epochs": near, "errors": errors})
        return written

    repeated = [entry for _, entry, is_new in measured if is_new]
    table = {
        "source": "benchmarks/frontier.py on CIFAR-10 (JPEG re-encoding), validation accuracy with mirrored views",
        "images": len(dataset.train),
        "probe_accuracy": round(float(np.mean([probe(dataset.train, 10, seed).accuracy for seed in range(9)])), 4),
        "views": {
            views: round(float(np.mean([(1 - e["accuracy"][views]) / (1 - e["accuracy"]["2"]) for e in repeated])), 4)
            for views in ("1", "2", "6")
        },
        "scatter": round(float(np.std(residuals, ddof=len(coefficients))), 5),
        "curves": curves(1.0),
    }
    fewer = [entry for entry in done(arguments.path) if entry["images"] is not None]
    if not fewer:
        raise SystemExit("no training on fewer images is there; run with --images 500, 1500, 5000 and 15000 first")
    fit_few_images(table, {**table, "curves": curves(0.0)}, fewer, dataset)
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


def fit_few_images(
    table: dict[str, Any], table_before: dict[str, Any], entries: list[dict[str, Any]], dataset: Dataset
) -> None:
    """Fit what fewer images leave to the trainings on them, and put it into the table and its curves.

    The odds of that error are a power of the images and one of the network's multiply-adds. Trainings with the recipe
    of before are compared with that recipe's curves.
    """
    sizes = [
        math.log(network_size(network_config(curve["network"]), dataset).multiply_adds) for curve in table["curves"]
    ]
    errors = np.array([1 - entry["accuracy"]["2"] for entry in entries])
    recipes = [Recipe.from_dict(entry["recipe"]) for entry in entries]
    today = np.array([recipe != before(recipe) for recipe in recipes])

    def fill(odds: float, shrinking: float, power: float, sharpness: float) -> tuple[Frontier, Frontier]:
        for one in (table, table_before):
            for curve, size in zip(one["curves"], sizes, strict=True):
                curve["few_images_odds"] = math.exp(odds - shrinking * (size - sizes[0]))
            one["few_images"] = {"power": power, "sharpness": sharpness}
        return Frontier.of(table_before), Frontier.of(table)

    def forecasts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        frontiers = fill(*values.tolist())
        found = [
            frontiers[is_new].accuracy(recipe.network, entry["epochs"], entry["images"])
            for recipe, entry, is_new in zip(recipes, entries, today.astype(int), strict=True)
        ]
        return 1 - np.array(found)

    fitted = least_squares(lambda values: np.log(forecasts(values) / errors), [-0.5, 0.05, 0.5, 6.0], diff_step=1e-3)
    off = forecasts(np.round(fitted.x, 3)) - errors
    for name, those in (("before", ~today), ("today", today)):
        if those.any():
            spread, mean = 100 * np.sqrt(np.mean(off[those] ** 2)), 100 * off[those].mean()
            print(
                f"fewer images, recipe of {name}: {spread:.2f} points around {those.sum()} trainings, mean {mean:.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "try", "write"])
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, help="train on so many images only")
    parser.add_argument("--stages", default="32-32,64-64,128-128")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--set", action="append", default=[], help="a field of the recipe: name=JSON")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    kind = "tries" if arguments.what == "try" else "frontier"
    arguments.path = RESULTS / f"{kind}-{Path(arguments.data).name}.jsonl"
    set_threads(None)
    {"run": run, "try": attempt, "write": write}[arguments.what](arguments)


if __name__ == "__main__":
    main()
