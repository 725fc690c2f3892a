"""Few images of CIFAR-10: from scratch, from a pretrained network, and a plain fine-tuning loop, in the same time.

    python benchmarks/few_images.py run --seeds 5           # the whole table; goes on where it was stopped
    python benchmarks/few_images.py run --sizes 10 --seeds 1 --ways always
    python benchmarks/few_images.py table                   # everything measured so far, as Markdown
    python benchmarks/few_images.py tune --size 250         # fine-tuning against the head alone, on validation images
    python benchmarks/few_images.py forecast --repeats 20   # how often the forecast of twice the images holds

``run`` draws its images at random from the training split and measures on the whole test split. The rest looks at
training images alone, and is what `training/pretrained.json` may be filled from. CIFAR-10 is looked for in
`$RUNG_DATA`. Rows are appended to ``benchmarks/results/few_images.jsonl``. The weights come from `rung[pretrained]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.commands import rung_train

RESULTS = Path(__file__).parent / "results" / "few_images.jsonl"
SIZES, WAYS = (10, 50, 250), ("never", "always", "auto", "plain")
PLAIN_SIDE = 96


def cifar10() -> Any:
    from rung.data import find_source, materialise

    return materialise(find_source("cifar10"), seed=0)


def precision_here() -> str:
    """What `rung train` computes with on this machine."""
    import torch

    from rung.training.device import measure_machine

    return str(measure_machine(torch.device("cpu")).precision)


def draw(labels: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Positions of ``each`` random images of every class."""
    random = np.random.default_rng((seed, each))
    classes = range(int(labels.max()) + 1)
    return np.concatenate([random.permutation(np.flatnonzero(labels == label))[:each] for label in classes])


def write_subset(folder: Path, each: int, seed: int) -> Path:
    """An archive of ``each`` training images a class and the whole test split."""
    data = cifar10()
    chosen = draw(data.train.labels, each, seed)
    path = folder / "few.npz"
    np.savez(
        path,
        x_train=data.train.take(chosen),
        y_train=data.train.labels[chosen],
        x_test=data.test.take(slice(None)),
        y_test=data.test.labels,
    )
    return path


def measure(each: int, seed: int, way: str, budget: float) -> dict[str, Any]:
    """One whole command, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        data = write_subset(Path(name), each, seed)
        if way == "plain":
            command = [sys.executable, __file__, "loop", str(data), str(budget)]
        else:
            command = rung_train(data, f"{budget:g}s", f"{name}/run", "--pretrained", way, "--seed", str(seed))
        # A cache of its own: what an earlier command has computed would be for nothing.
        environment = {**os.environ, "RUNG_CACHE": f"{name}/cache"}
        start = time.monotonic()
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
        row = {"each": each, "seed": seed, "way": way, "budget": budget, "wall": round(time.monotonic() - start, 2)}
        scores = json.loads(output)
        row |= {name: scores[name] for name in ("accuracy", "val_accuracy") if name in scores}
        if way != "plain":
            row["network"] = json.loads((Path(name) / "run" / "run.json").read_text())["plan"]["network"]
    return row


def loop(path: str, budget: float) -> None:
    """What five lines of PyTorch do with the same backbone: Adam on all weights until the time is up."""
    import torch
    from torch.nn import functional as F

    from rung.models.classifier import ArrayPixels, Classifier, autocast, predict
    from rung.models.pretrained import PretrainedConfig

    began = time.monotonic()
    data = np.load(path)
    images, labels = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"].astype(np.int64))
    network = PretrainedConfig(side=PLAIN_SIDE, learns="all").build((32, 32), 3, 10)
    network.initialise(images)
    model = Classifier(network, *network.normalisation())
    test = ArrayPixels(data["x_test"])
    precision = precision_here()
    predict(model, ArrayPixels(data["x_test"][:50]), precision=precision)
    start = time.monotonic()
    predict(model, ArrayPixels(data["x_test"][:250]), precision=precision)
    judging = (time.monotonic() - start) * len(test) / 250 * 1.1
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    while time.monotonic() - began < budget - judging - 3:
        chosen = torch.randperm(len(images))[:32]
        with autocast(torch.device("cpu"), precision):
            loss = F.cross_entropy(model(images[chosen]).float(), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    answers = predict(model, test, precision=precision).argmax(1)
    print(json.dumps({"accuracy": float((answers == data["y_test"]).mean())}))


def run(sizes: list[int], seeds: int, ways: list[str], budget: float) -> None:
    """Measure what has not been measured yet."""
    done = {(row["each"], row["seed"], row["way"], row["budget"]) for row in rows(RESULTS)}
    for seed in range(seeds):
        for each in sizes:
            for way in ways:
                if (each, seed, way, budget) not in done:
                    row = measure(each, seed, way, budget)
                    add(row, RESULTS)


def add(row: dict[str, Any], results: Path) -> None:
    """Keep what was measured, and show it."""
    with results.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def rows(results: Path) -> list[dict[str, Any]]:
    """What was measured before."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table() -> None:
    """Means over the seeds, with the least and the most."""
    print("| images a class | way | seeds | accuracy | from–to | longest |\n|---|---|---|---|---|---|")
    found = rows(RESULTS)
    for each, way in sorted({(row["each"], row["way"]) for row in found}):
        those = [row for row in found if (row["each"], row["way"]) == (each, way)]
        values = [row["accuracy"] for row in those]
        print(
            f"| {each} | {way} | {len(those)} | {statistics.mean(values):.1%} | {min(values):.1%}–{max(values):.1%} "
            f"| {max(row['wall'] for row in those):.0f} s |"
        )


def tune(
    each: int,
    seed: int,
    side: int,
    rate: float,
    batch: int,
    epochs: float,
    learns: str,
    judged: int,
    tuned_alone: bool,
) -> None:
    """Accuracy on validation images: the head alone, and after fine-tuning."""
    from dataclasses import replace

    import torch

    from rung.data.batches import Augmentation
    from rung.models.classifier import predict
    from rung.models.pretrained import PretrainedConfig
    from rung.training.clocks import StepClock
    from rung.training.recipe import Recipe
    from rung.training.session import DisplayObserver, new_state, total_steps, train

    data = cifar10()
    chosen = draw(data.train.labels, each, seed)
    data = replace(data, train=data.train.subset(chosen))
    validation = data.val.subset(np.arange(min(judged, len(data.val))))
    precision = precision_here()
    ways = [(learns, epochs)] if tuned_alone else [("head", 1.0), (learns, epochs)]
    for way, passes in ways:
        recipe = Recipe(
            network=PretrainedConfig(side=side, learns=way),
            batch_size=batch,
            optimizer="adam",
            adam_rate=rate,
            label_smoothing=0.1,
            warmup=0.1,
            keep_best=False,
            augmentation=Augmentation(),
        )
        part = replace(data, val=data.val.subset(np.arange(100)))
        state = new_state(recipe, part, torch.device("cpu"), seed)
        start = time.monotonic()
        clock = StepClock(total_steps(part, recipe, passes))
        observer = DisplayObserver()
        train(
            state, part, recipe, clock, epochs=passes, seconds=None, seed=seed, precision=precision, observer=observer
        )
        took = time.monotonic() - start
        right = (predict(state.model, validation, precision=precision).argmax(1) == validation.labels).mean()
        row = {"each": each, "seed": seed, "side": side, "rate": rate, "batch": batch, "learns": way, "epochs": passes}
        print(json.dumps({**row, "validation": round(float(right), 4), "seconds": round(took, 1)}), flush=True)


def forecast(repeats: int, side: int) -> None:
    """How often the interval for twice the images holds the accuracy measured with them, on validation images."""
    import torch

    from rung.evaluation.folds import estimate
    from rung.models.pretrained import PretrainedConfig
    from rung.training.features import features_of
    from rung.training.head import fit_head
    from rung.training.recipe import Recipe
    from rung.training.session import new_state

    data = cifar10()
    pool = data.train.subset(draw(data.train.labels, 250, 0))
    network, precision = PretrainedConfig(side=side), precision_here()
    state = new_state(Recipe(network=network), data, torch.device("cpu"), 0)
    seen = features_of(state.model, pool, precision, mirrored=False)
    unseen = features_of(state.model, data.val, precision, mirrored=False)
    widths = state.model.network.widths
    hits = []
    for repeat in range(repeats):
        each = (10, 20, 40, 80)[repeat % 4]
        chosen = draw(seen.labels.numpy(), 2 * each, repeat)
        half = chosen.reshape(-1, 2 * each)[:, :each].ravel()
        found = estimate(seen.at(half), 10, widths, 5, repeat)
        head = fit_head(seen.at(chosen), 10, widths, repeat)
        accuracy = float((head.logits(unseen.to_predict()).argmax(1) == unseen.labels).float().mean())
        low, high = found.doubled.interval
        hits.append(low <= accuracy <= high)
        print(f"{each} a class: forecast {found.doubled.accuracy:.1%} ({low:.1%}–{high:.1%}), measured {accuracy:.1%}")
    print(f"{sum(hits)} of {len(hits)} intervals hold")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    running.add_argument("--ways", nargs="+", choices=WAYS, default=[way for way in WAYS if way != "auto"])
    running.add_argument("--seeds", type=int, default=5)
    running.add_argument("--budget", type=float, default=120.0)
    commands.add_parser("table")
    tuning = commands.add_parser("tune")
    tuning.add_argument("--size", dest="each", type=int, default=250)
    tuning.add_argument("--seed", type=int, default=0)
    tuning.add_argument("--side", type=int, default=96)
    tuning.add_argument("--rate", type=float, default=1e-3)
    tuning.add_argument("--batch", type=int, default=32)
    tuning.add_argument("--tuned-alone", action="store_true", help="without a head on all images to compare with")
    tuning.add_argument("--epochs", type=float, default=4)
    tuning.add_argument("--learns", choices=("upper", "all"), default="all")
    tuning.add_argument("--judged", type=int, default=1000)
    forecasting = commands.add_parser("forecast")
    forecasting.add_argument("--repeats", type=int, default=20)
    forecasting.add_argument("--side", type=int, default=96)
    looping = commands.add_parser("loop")
    looping.add_argument("data")
    looping.add_argument("budget", type=float)
    given = parser.parse_args()
    if given.command == "run":
        run(given.sizes, given.seeds, given.ways, given.budget)
    elif given.command == "table":
        table()
    elif given.command == "tune":
        options = vars(given)
        del options["command"]
        tune(**options)
    elif given.command == "forecast":
        forecast(given.repeats, given.side)
    else:
        loop(given.data, given.budget)


if __name__ == "__main__":
    main()
