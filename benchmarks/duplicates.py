"""Are copies found, how fast, and is anything else taken for one?

    python benchmarks/duplicates.py [--planted 1000] [--generated 100000] [--seed 4001] [--published LIST.csv]

Plants changed copies of CIFAR-10 images (it must be below ``$RUNG_DATA`` or in the cache) among all 60,000 and
prints how many are found by change, and the seconds. Then counts pairs among generated images, which have none.
``LIST.csv`` is the published list of CIFAR-10's own near duplicates (``meta/duplicates_cifar10.csv`` of
github.com/cvjena/cifair): with it, the share of the test images listed there whose listed twin is found. The
thresholds were chosen with seeds below 3000; report another.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from rung.data import load
from rung.data.dataset import Dataset, Split
from rung.data.duplicates import find_duplicates

Pixels = np.ndarray
WAYS = [(2, 0), (-2, 0), (0, 2), (0, -2), (2, 2), (2, -2), (-2, 2), (-2, -2)]


def compressed(image: Pixels) -> Pixels:
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(sink, "JPEG", quality=50)
    return np.asarray(Image.open(sink))


def shifted(image: Pixels, random: np.random.Generator, fill: str) -> Pixels:
    down, across = WAYS[random.integers(len(WAYS))]
    height, width = image.shape[:2]
    return np.pad(image, ((2, 2), (2, 2), (0, 0)), fill)[2 - down : 2 - down + height, 2 - across : 2 - across + width]


def scaled(image: Pixels, factor: float) -> Pixels:
    return (image * factor).round().clip(0, 255).astype(np.uint8)


def mixed(image: Pixels, random: np.random.Generator) -> Pixels:
    moved = shifted(image, random, "edge")[:, :: int(random.choice([-1, 1]))]
    return scaled(compressed(moved), float(random.choice([0.9, 1.1])))


CHANGES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "JPEG, quality 50": lambda image, random: compressed(image),
    "mirrored": lambda image, random: image[:, ::-1],
    "shifted 2 px, edge repeated": lambda image, random: shifted(image, random, "edge"),
    "shifted 2 px, black": lambda image, random: shifted(image, random, "constant"),
    "shifted 2 px, reflected": lambda image, random: shifted(image, random, "reflect"),
    "10 % brighter": lambda image, random: scaled(image, 1.1),
    "10 % darker": lambda image, random: scaled(image, 0.9),
    "26 levels brighter": lambda image, random: (image.astype(int) + 26).clip(0, 255).astype(np.uint8),
    "26 levels darker": lambda image, random: (image.astype(int) - 26).clip(0, 255).astype(np.uint8),
    "all at once": mixed,
}


def split(name: str, images: Pixels) -> Split:
    return Split(name, images, np.arange(len(images)), np.zeros(len(images), np.int64))


def plant(data: Dataset, count: int, seed: int) -> None:
    """Find planted copies among all images."""
    images = np.asarray(data.train.images)
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(images))[:count]
    names = [list(CHANGES)[number % len(CHANGES)] for number in range(count)]
    copies = np.stack([CHANGES[name](images[row], random) for name, row in zip(names, chosen, strict=True)])
    wall, processor = time.monotonic(), time.process_time()
    found = find_duplicates([split("images", images), split("copies", copies)])
    print(
        f"{len(images) + count:,} images: {time.monotonic() - wall:.1f} s, {time.process_time() - processor:.1f} s of "
        f"processor time (load {os.getloadavg()[0]:.1f})"
    )
    pairs = {(pair.first.position, pair.second.position) for pair in found.between("images", "copies")}
    hits = [(int(row), number) in pairs for number, row in enumerate(chosen)]
    for name in CHANGES:
        mine = [hit for hit, own in zip(hits, names, strict=True) if own == name]
        print(f"{name:28s} {sum(mine):4d} of {len(mine)}")
    print(f"{'altogether':28s} {sum(hits):4d} of {count}")


def natural(data: Dataset, published: Path | None) -> None:
    """What CIFAR-10 has of its own."""
    wall = time.monotonic()
    found = find_duplicates(data.splits)
    print(f"as it is: {time.monotonic() - wall:.1f} s, {len(found.exact)} exact and {len(found.near)} near pairs")
    labels = {part.name: part.labels for part in data.splits}
    other = sum(
        labels[pair.first.split][pair.first.position] != labels[pair.second.split][pair.second.position]
        for pair in found.pairs
    )
    leaked = {*found.copied("test", "train"), *found.copied("test", "val")}
    print(f"pairs with different labels: {other}")
    print(f"test images with a copy in train or val: {len(leaked)} ({len(leaked) / len(data.test):.1%})")
    if published is not None:
        rows = {split.name: split.rows for split in data.splits}
        pairs = {
            tuple(sorted(int(rows[place.split][place.position]) for place in (pair.first, pair.second)))
            for pair in found.pairs
        }
        with published.open() as stream:
            listed = list(csv.DictReader(stream))
        for judgment, meaning in (("1", "same shot"), ("2", "very similar")):
            twins = [
                (int(row["TrainID"]), 50_000 + int(row["TestID"])) for row in listed if row["Judgment"] == judgment
            ]
            print(f"published, {meaning}: {sum(twin in pairs for twin in twins)} of {len(twins)} found")


def generated(count: int, seed: int, shapes: bool) -> None:
    """Pairs among pictures with the falling spectrum of photographs, or among one to four plain ellipses on grey.

    Of the latter, many do look alike: one ellipse in about the same place. They show where the method ends.
    """
    random = np.random.default_rng((seed, 7))
    images = np.empty((count, 32, 32, 3), np.uint8)
    distance = np.hypot(np.fft.fftfreq(32)[:, None] * 32, np.fft.rfftfreq(32)[None] * 32)
    rows, columns = np.mgrid[:32, :32]
    for start in range(0, count, 1000):
        some = min(1000, count - start)
        noise = np.fft.rfft2(random.normal(size=(some, 3, 32, 32)).astype(np.float32)) / np.maximum(distance, 1)
        fields = np.fft.irfft2(noise, s=(32, 32)).transpose(0, 2, 3, 1)
        fields = 128 + 45 * fields / fields.std((1, 2, 3), keepdims=True)
        for number in range(some if shapes else 0):
            plain = 128 + 0.1 * (fields[number] - 128)
            for _ in range(random.integers(1, 5)):
                centre, radii = random.uniform(0, 32, 2), random.uniform(2, 12, 2)
                inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1
                plain[inside] = random.uniform(0, 255, 3) + 0.1 * (fields[number][inside] - 128)
            fields[number] = plain
        images[start : start + some] = fields.clip(0, 255).astype(np.uint8)
    wall = time.monotonic()
    pairs = find_duplicates([split("train", images)]).pairs
    kind = "plain shapes" if shapes else "textures"
    print(f"{count:,} generated images, {kind}: {len(pairs)} pairs, {time.monotonic() - wall:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", type=int, default=1000)
    parser.add_argument("--generated", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=4001)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--published", type=Path)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    data = load("cifar10")
    natural(data, arguments.published)
    plant(data, arguments.planted, arguments.seed)
    generated(arguments.generated, arguments.seed, shapes=False)
    generated(arguments.generated // 10, arguments.seed, shapes=True)


if __name__ == "__main__":
    main()
