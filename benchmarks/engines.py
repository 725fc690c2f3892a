"""How fast a run's network predicts in each engine, and what 8 bits cost.

    python benchmarks/engines.py RUN [--rounds 7]

PyTorch as `rung predict` uses it, ONNX Runtime as it comes on the exported model, ONNX Runtime as `rung serve` sets it
up (threads that do not spin), and the model with 8-bit numbers. All compute what the run promises: normalisation, every
view of an image, calibration. The engines take turns, so that a computer that becomes slower becomes so for all; each
row is a median over the rounds. Accuracies are those on the validation split of the run's data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from rung.export.onnx import IMAGES, PROBABILITIES, metadata, onnx_model
from rung.export.quantization import write_in_8_bits
from rung.models.classifier import ArrayPixels, predict
from rung.pipeline.afterwards import dataset_of, precision_of
from rung.progress import silent
from rung.runs import Run
from rung.training.weights import load_classifier

BATCH = 64
REST = 0.1  # seconds; ONNX Runtime's threads took a tenth to a fifth of the next engine's time without
Answer = Callable[[np.ndarray], np.ndarray]


def session(model: Path, *, spinning: bool = True) -> Answer:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    engine = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(engine.run([PROBABILITIES], {IMAGES: images})[0])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    run = Run(asked.run)
    dataset, model, precision = dataset_of(run, silent), load_classifier(run), precision_of(run)
    with tempfile.TemporaryDirectory() as folder:
        whole, bits = Path(folder) / "whole.onnx", Path(folder) / "bits.onnx"
        whole.write_bytes(onnx_model(model, metadata(run)).SerializeToString())
        write_in_8_bits(model, metadata(run), bits, dataset.train, silent)
        engines: dict[str, Answer] = {
            f"PyTorch, {precision}": lambda images: predict(model, ArrayPixels(images), precision=precision),
            "ONNX Runtime": session(whole),
            "ONNX Runtime, not spinning": session(whole, spinning=False),
            "ONNX Runtime, 8 bits": session(bits),
        }
    batch = dataset.val.take(slice(0, BATCH))
    many: dict[str, list[float]] = {name: [] for name in engines}
    single: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(asked.rounds + 1):
        for name, answer in engines.items():
            time.sleep(REST)
            each = seconds(lambda answer=answer: [answer(batch) for _ in range(4)]) / (4 * BATCH)
            one = statistics.median(seconds(lambda answer=answer: answer(batch[:1])) for _ in range(20))
            if number:  # The first one warms up.
                many[name].append(each)
                single[name].append(one)
    usual = statistics.median(many["ONNX Runtime"])
    print("| engine | images/s | × ONNX Runtime | one image, median | validation accuracy |\n|---|---|---|---|---|")
    table = {}
    for name, answer in engines.items():
        images = (dataset.val.take(slice(at, at + BATCH)) for at in range(0, len(dataset.val), BATCH))
        found = np.concatenate([answer(part).argmax(1) for part in images])
        each, one = statistics.median(many[name]), statistics.median(single[name])
        accuracy = float((found == dataset.val.labels).mean())
        table[name] = {"images_per_second": 1 / each, "one_ms": one * 1e3, "accuracy": accuracy}
        print(f"| {name} | {1 / each:,.0f} | {usual / each:.2f} | {one * 1e3:.2f} ms | {accuracy:.2%} |")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
