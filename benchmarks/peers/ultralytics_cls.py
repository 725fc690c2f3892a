"""Ultralytics' YOLO11n-cls from its description, with random weights, on a folder of images."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from peer import Clock, as_folder, options, report

BATCH = 64
TRIAL = 5.0


def main() -> None:
    arguments = options(__doc__).parse_args()
    if arguments.until is not None:
        raise SystemExit("ultralytics_cls cannot stop at an accuracy")
    folder = as_folder(arguments.data)
    with tempfile.TemporaryDirectory() as workplace:
        # Before the import: it looks for updates and writes settings to the user's folder.
        os.environ |= {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": workplace, "YOLO_VERBOSE": "false"}
        import torch
        from ultralytics import YOLO

        common: dict[str, Any] = {"data": folder, "imgsz": 32, "batch": BATCH, "device": "cpu", "plots": False}
        common |= {"workers": arguments.threads, "project": workplace}

        def train(seconds: float, epochs: int) -> tuple[YOLO, Clock, float]:
            clock, steps = Clock(seconds), 0

            def count(trainer: object) -> None:
                nonlocal steps
                steps += 1

            model = YOLO("yolo11n-cls.yaml")
            model.add_callback("on_train_start", lambda trainer: torch.set_num_threads(arguments.threads))
            model.add_callback("on_train_epoch_start", lambda trainer: clock.start())
            model.add_callback("on_train_batch_start", count)
            # The validation that it makes at the end all the same is off the clock.
            model.add_callback("on_train_epoch_end", lambda trainer: clock.pause())
            # AdamW as it chooses for short trainings by itself. With a time, which it takes for a long one, it would
            # choose MuSGD, whose steps take seconds each on a processor without bfloat16.
            optimizer = {"optimizer": "AdamW", "lr0": 0.000714, "momentum": 0.9, "warmup_bias_lr": 0.0}
            model.train(time=seconds / 3600, epochs=epochs, val=False, seed=arguments.seed, **optimizer, **common)
            return model, clock, steps * BATCH / len(model.trainer.train_loader.dataset)

        # How many epochs will fit, which sets its warm-up; it corrects the number after the first by itself.
        _, trial, epochs = train(TRIAL, 1)
        model, clock, epochs = train(arguments.seconds, max(1, round(epochs / trial.elapsed * arguments.seconds)))
        last = YOLO(Path(model.trainer.save_dir) / "weights" / "last.pt")
        accuracy = last.val(split="test", **common).top1
        report(clock, accuracy, epochs, ["ultralytics", "torch", "torchvision"])


if __name__ == "__main__":
    main()
