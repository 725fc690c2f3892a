"""Are faults of data found where they are, and nowhere else?

    python benchmarks/data_faults.py --seeds 6                    # what needs no network
    python benchmarks/data_faults.py --seeds 4 --networks 10s     # wrong and shuffled labels, classes that look alike

Each fault is planted in several strengths in small data sets (digits, parts of CIFAR-10 in two sizes, generated
pictures), other images for every seed; healthy ones are looked at as well. A trial counts as found where the kind that
was planted is among the findings, as first where it is the worst of them. In healthy data every finding is a false
alarm, but for kinds that the data set really has. Thresholds were chosen with even seeds; ``--report`` prints odd ones.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rung.budget import parse_duration
from rung.data import load
from rung.data.dataset import Dataset, Split
from rung.data.duplicates import find_duplicates
from rung.diagnosis import Evidence, examine
from rung.diagnosis.look import look_at
from rung.evaluation.intervals import wilson

TRAIN, VAL, TEST = 1200, 240, 350
Random = np.random.Generator


# --- data -----------------------------------------------------------------------------------------


def build(name: str, images: np.ndarray, labels: np.ndarray) -> Dataset:
    """The first images for training, the next for validation, the last for testing."""
    rows = np.arange(len(images))
    parts = {"train": rows[:TRAIN], "val": rows[TRAIN : TRAIN + VAL], "test": rows[TRAIN + VAL :]}
    splits = {part: Split(part, images, chosen, labels[chosen].astype(np.int64)) for part, chosen in parts.items()}
    return Dataset(name, "a benchmark", tuple(str(k) for k in range(int(labels.max()) + 1)), **splits, fingerprint="")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images[..., None] * 15.9).astype(np.uint8), bunch.target


@cache
def _cifar10() -> tuple[np.ndarray, np.ndarray]:
    train = load("cifar10").train
    return train.take(slice(0, 20_000)), train.labels[:20_000]


def generated(random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in colour: smooth blotches, and one of six patterns somewhere near the middle."""
    count, classes = TRAIN + VAL + TEST, 6
    labels = random.integers(0, classes, count)
    coarse = random.uniform(40, 210, (count, 5, 5, 3))
    images = coarse.repeat(4, 1).repeat(4, 2)
    patterns = random.normal(0, 60, (classes, 8, 8, 1))
    places = random.integers(3, 9, (count, 2))
    for image, label, (top, left) in zip(images, labels, places, strict=True):
        image[top : top + 8, left : left + 8] += patterns[label]
    images += random.normal(0, 12, images.shape)
    return images.clip(0, 255).astype(np.uint8), labels


def healthy(name: str, seed: int) -> Dataset:
    random = np.random.default_rng((seed, 5))
    if name == "generated":
        return build(name, *generated(random))
    images, labels = _digits() if name == "digits" else _cifar10()
    chosen = random.permutation(len(images))[: TRAIN + VAL + TEST]
    images, labels = images[chosen], labels[chosen]
    if name == "cifar10-16":
        images = images.reshape(len(images), 16, 2, 16, 2, 3).mean((2, 4)).astype(np.uint8)
    return build(name, images, labels)


DATA = ("digits", "cifar10-32", "cifar10-16", "generated")


# --- faults ---------------------------------------------------------------------------------------


def _with(dataset: Dataset, images: np.ndarray | None = None, **labels: np.ndarray) -> Dataset:
    """Other pixels, or other labels of some splits."""
    images = dataset.train.images if images is None else images
    splits = {s.name: replace(s, images=images, labels=labels.get(s.name, s.labels)) for s in dataset.splits}
    return replace(dataset, **splits)


def _pixels(dataset: Dataset, change: Callable[[np.ndarray], np.ndarray], *splits: str) -> Dataset:
    images = dataset.train.images.astype(np.float64)
    for split in dataset.splits:
        if split.name in splits or not splits:
            images[split.rows] = change(images[split.rows])
    return _with(dataset, images.clip(0, 255).astype(np.uint8))


def leak(dataset: Dataset, strength: float, random: Random) -> Dataset:
    images = dataset.train.images.copy()
    count = round(strength * len(dataset.test))
    images[random.permutation(dataset.test.rows)[:count]] = images[random.permutation(dataset.train.rows)[:count]]
    return _with(dataset, images)


def contradict(dataset: Dataset, strength: float, random: Random) -> Dataset:
    images, labels = dataset.train.images.copy(), dataset.train.labels.copy()
    chosen = random.permutation(len(labels))[: 2 * int(strength)].reshape(2, -1)
    images[dataset.train.rows[chosen[0]]] = images[dataset.train.rows[chosen[1]]]
    labels[chosen[0]] = (labels[chosen[1]] + 1) % len(dataset.classes)
    return _with(dataset, images, train=labels)


def unbalance(dataset: Dataset, strength: float, random: Random) -> Dataset:
    """Half of the classes are thinned out."""
    keep = (dataset.train.labels % 2 == 0) | (random.random(len(dataset.train)) < 1 / strength)
    val = (dataset.val.labels % 2 == 0) | (random.random(len(dataset.val)) < 1 / strength)
    return replace(
        dataset,
        train=dataset.train.subset(np.flatnonzero(keep)),
        val=dataset.val.subset(np.flatnonzero(val)),
    )


def thin(dataset: Dataset, strength: float, random: Random) -> Dataset:
    """So many images of each class for training and validation together."""
    wanted = int(strength * len(dataset.classes) * 5 / 6)
    return replace(
        dataset,
        train=dataset.train.subset(np.arange(wanted)),
        val=dataset.val.subset(np.arange(min(len(dataset.val), wanted // 5))),
    )


def darken(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _pixels(dataset, lambda images: images * strength, "test")


def grain(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _pixels(dataset, lambda images: images + random.normal(0, strength, images.shape), "test")


def small_range(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _pixels(dataset, lambda images: np.floor(images / 256 * (strength + 1)))


def invert(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _pixels(dataset, lambda images: 255 - images, "test")


def rescale(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _pixels(dataset, lambda images: np.floor(images / strength), "test")


def lose_channel(dataset: Dataset, strength: float, random: Random) -> Dataset | None:
    if dataset.channels == 1:
        return None
    return _pixels(dataset, lambda images: images * np.array([1, 1, 0]))


def _mark(dataset: Dataset, share: float, random: Random, place: Callable[[np.ndarray, np.ndarray], None]) -> Dataset:
    images, labels = dataset.train.images.copy(), np.zeros(len(dataset.train.images), np.int64)
    for split in dataset.splits:
        labels[split.rows] = split.labels
    levels = np.linspace(0, 255, len(dataset.classes)).round()[labels]
    said = np.flatnonzero(random.random(len(images)) < share)
    marked = images[said]
    place(marked, levels[said][:, None, None, None].astype(np.uint8))
    images[said] = marked
    return _with(dataset, images)


def stamp(dataset: Dataset, strength: float, random: Random) -> Dataset:
    side = max(2, min(dataset.image_size) // 6)

    def place(images: np.ndarray, levels: np.ndarray) -> None:
        images[:, -side:, :side] = levels

    return _mark(dataset, strength, random, place)


def frame(dataset: Dataset, strength: float, random: Random) -> Dataset:
    def place(images: np.ndarray, levels: np.ndarray) -> None:
        images[:, :1], images[:, -1:], images[:, :, :1], images[:, :, -1:] = levels, levels, levels, levels

    return _mark(dataset, strength, random, place)


def dot(dataset: Dataset, strength: float, random: Random) -> Dataset:
    def place(images: np.ndarray, levels: np.ndarray) -> None:
        images[:, 1:2, -2:-1] = levels

    return _mark(dataset, strength, random, place)


def flip_labels(dataset: Dataset, strength: float, random: Random) -> Dataset:
    changed = {}
    for split in (dataset.train, dataset.val):
        labels = split.labels.copy()
        chosen = random.permutation(len(labels))[: round(strength * len(labels))]
        labels[chosen] = (labels[chosen] + random.integers(1, len(dataset.classes), len(chosen))) % len(dataset.classes)
        changed[split.name] = labels
    return _with(dataset, **changed)


def shuffle(dataset: Dataset, strength: float, random: Random) -> Dataset:
    return _with(dataset, **{split.name: random.permutation(split.labels) for split in (dataset.train, dataset.val)})


def split_class(dataset: Dataset, strength: float, random: Random) -> Dataset:
    """Half of the images of class 1 become class 0, and the other way round: two names for the same."""
    changed = {}
    for split in (dataset.train, dataset.val):
        either = split.labels < 2
        changed[split.name] = np.where(either, random.integers(0, 2, len(split)), split.labels)
    return _with(dataset, **changed)


Fault = Callable[[Dataset, float, Random], Dataset | None]

PLAIN: dict[str, tuple[str, Fault, tuple[float, ...]]] = {
    "leak": ("leaked_test_images", leak, (0.02, 0.1, 0.3)),
    "contradict": ("contradictory_duplicates", contradict, (3, 30)),
    "unbalance": ("class_imbalance", unbalance, (8, 30)),
    "thin": ("too_few_images", thin, (10, 30)),
    "darken": ("distribution_shift", darken, (0.85, 0.6)),
    "grain": ("distribution_shift", grain, (8, 25)),
    "small_range": ("pixel_scale", small_range, (1, 15)),
    "invert": ("pixel_scale", invert, (1,)),
    "rescale": ("pixel_scale", rescale, (16, 255)),
    "lose_channel": ("pixel_scale", lose_channel, (1,)),
    "stamp": ("shortcut", stamp, (0.7, 0.9, 1)),
    "frame": ("shortcut", frame, (0.7, 0.9, 1)),
    "dot": ("shortcut", dot, (0.7, 0.9, 1)),
}
NETWORKS: dict[str, tuple[str, Fault, tuple[float, ...]]] = {
    "flip_labels": ("wrong_labels", flip_labels, (0.05, 0.1, 0.3)),
    "shuffle": ("shuffled_labels", shuffle, (1,)),
    "split_class": ("indistinct_classes", split_class, (1,)),
}


def trial(name: str, seed: int, fault: str | None, strength: float, seconds: float | None) -> dict[str, Any] | None:
    """One data set, with a fault or without, and the kinds that were found, worst first."""
    dataset = healthy(name, seed)
    known = {**PLAIN, **NETWORKS}
    if fault is not None:
        changed = known[fault][1](dataset, strength, np.random.default_rng((seed, 6)))
        if changed is None:
            return None
        dataset = changed
    began = time.monotonic()
    asked = None
    if seconds is not None:
        from rung.diagnosis.out_of_fold import out_of_fold
        from rung.training.device import choose_device, measure_machine

        asked = out_of_fold(dataset, seconds, machine=measure_machine(choose_device()), seed=seed)
    found = examine(
        Evidence(
            classes=dataset.classes,
            images={split.name: len(split) for split in dataset.splits},
            dataset=dataset,
            look=look_at(dataset, seed),
            duplicates=find_duplicates(dataset.splits).pairs,
            out_of_fold=asked,
        )
    )
    return {
        "data": name,
        "seed": seed,
        "fault": fault,
        "kind": None if fault is None else known[fault][0],
        "strength": strength,
        "found": [finding.kind for finding in found],
        "seconds": round(time.monotonic() - began, 2),
        "networks": seconds is not None,
        "accuracy": None if asked is None else round(asked.accuracy, 4),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Detection by fault and strength, and false alarms by kind, as Markdown."""
    lines = ["| planted | strength | found | named first |", "|---|---|---|---|"]
    groups: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["fault"]:
            groups[row["fault"], row["strength"]].append(row)
    for (fault, strength), some in groups.items():
        hits, first = sum(r["kind"] in r["found"] for r in some), sum(r["found"][:1] == [r["kind"]] for r in some)
        low, high = wilson(hits, len(some))
        shown = f"{hits} of {len(some)} ({low:.0%} to {high:.0%})"
        lines.append(f"| {fault} ({some[0]['kind']}) | {strength:g} | {shown} | {first} |")
    fine = [row for row in rows if not row["fault"]]
    lines += ["", f"False alarms on {len(fine)} healthy data sets:", "", "| kind | false alarms |", "|---|---|"]
    for kind in sorted({kind for row in fine for kind in row["found"]}):
        hits = sum(kind in row["found"] for row in fine)
        low, high = wilson(hits, len(fine))
        lines.append(f"| {kind} | {hits} ({low:.1%} to {high:.1%}) |")
    if not any(row["found"] for row in fine):
        lines.append(f"| any | 0 (0 % to {wilson(0, len(fine))[1]:.1%}) |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--data", nargs="*", choices=DATA, default=DATA)
    parser.add_argument("--networks", help="time for networks, such as 10s: plants what needs them")
    parser.add_argument("--results", type=Path, default=Path("data_faults.jsonl"))
    parser.add_argument("--report", choices=("odd", "even", "all"), help="print the table of what is there already")
    arguments = parser.parse_args()
    if arguments.report:
        rows = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
        wanted = {"odd": (1,), "even": (0,), "all": (0, 1)}[arguments.report]
        print(table([row for row in rows if row["seed"] % 2 in wanted]))
        return
    seconds = parse_duration(arguments.networks) if arguments.networks else None
    faults = PLAIN if seconds is None else NETWORKS
    names = [name for name in arguments.data if "cifar10" not in name or os.environ.get("RUNG_DATA")]
    rows = []
    with arguments.results.open("a", encoding="utf-8") as stream:
        for seed in range(arguments.seeds):
            for name in names:
                planned = [(None, 0.0), *((fault, s) for fault, (_, _, each) in faults.items() for s in each)]
                for fault, strength in planned:
                    row = trial(name, seed, fault, strength, seconds)
                    if row:
                        rows.append(row)
                        stream.write(json.dumps(row) + "\n")
                        stream.flush()
    print(table(rows))


if __name__ == "__main__":
    main()
