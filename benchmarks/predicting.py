"""How fast ``rung predict`` is, and what takes the time.

    python benchmarks/predicting.py RUN [--images 5000] [--side 0] [--kind png]

Writes image files of the run's own size (or of ``--side`` pixels) to a temporary folder and measures images a second:
decoding alone with one thread and with one a core, the network alone, and both together. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from rung.cores import usable_cores
from rung.data.preprocessing import read_pixels
from rung.prediction.predicting import BATCH, Predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=0, help="pixels; 0: the run's own size")
    parser.add_argument("--kind", choices=("png", "jpg"), default="png")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    predictor = Predictor(options.run, precision=options.precision)
    with tempfile.TemporaryDirectory() as folder:
        files = _written(Path(folder), predictor, options)
        pixels = np.stack([read_pixels(file, predictor.image_size, predictor.channels) for file in files[:BATCH]])
        predictor.probabilities(pixels)
        rates = {
            "decoding, 1 thread": _rate(len(files), lambda: _decode(files, predictor, 1)),
            f"decoding, {usable_cores()} threads": _rate(len(files), lambda: _decode(files, predictor, usable_cores())),
            "network": _rate(
                len(files), lambda: [predictor.probabilities(pixels) for _ in range(len(files) // BATCH + 1)]
            ),
            "both": _rate(len(files), lambda: sum(1 for _ in predictor.predict(map(str, files)))),
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {"images_per_second": rates, "peak_memory_mib": peak // 1024, **vars(options), "run": str(options.run)}
        )
    )


def _written(folder: Path, predictor: Predictor, options: argparse.Namespace) -> list[Path]:
    random = np.random.default_rng(0)
    size = (options.side, options.side) if options.side else predictor.image_size
    files = [folder / f"{number:06}.{options.kind}" for number in range(options.images)]
    for file in files:
        coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(file)
    return files


def _decode(files: list[Path], predictor: Predictor, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda file: read_pixels(file, predictor.image_size, predictor.channels), files):
            pass


def _rate(images: int, work: Callable[[], object]) -> int:
    start = time.perf_counter()
    work()
    return round(images / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
