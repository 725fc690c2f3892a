"""Ludwig's stacked CNN with its defaults, declared for a table of image files."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from typing import Any

import pandas as pd
import torch
from ludwig.api import LudwigModel
from ludwig.callbacks import Callback
from peer import Clock, as_folder, options, report

BATCH = 128
CONFIG = {
    "input_features": [{"name": "image", "type": "image", "encoder": {"type": "stacked_cnn"}}],
    "output_features": [{"name": "label", "type": "category"}],
    "trainer": {"batch_size": BATCH, "epochs": 10**6},
}


class TimeIsUp(Exception):
    """What stops Ludwig between two steps; it offers to stop after an epoch alone."""


class Stop(Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.steps = clock, 0

    def on_batch_start(self, *arguments: Any) -> None:
        self.clock.start()

    def on_batch_end(self, *arguments: Any, **settings: Any) -> None:
        self.steps += 1
        if self.clock.over:
            raise TimeIsUp

    def on_eval_start(self, *arguments: Any) -> None:
        self.clock.pause()


def main() -> None:
    arguments = options(__doc__).parse_args()
    if arguments.until is not None:
        raise SystemExit("ludwig_cnn cannot stop at an accuracy")
    folder = as_folder(arguments.data)
    torch.set_num_threads(arguments.threads)
    clock = Clock(arguments.seconds)
    stop = Stop(clock)

    def table(split: str) -> pd.DataFrame:
        files = sorted((folder / split).glob("*/*.png"))
        return pd.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})

    train = table("train")
    model = LudwigModel(CONFIG, logging_level=logging.ERROR, callbacks=[stop])
    with tempfile.TemporaryDirectory() as workplace:
        with suppress(TimeIsUp):
            model.train(training_set=train, random_seed=arguments.seed, output_directory=workplace)
        clock.pause()
        answers, _ = model.predict(dataset=table("test"), output_directory=workplace)
    accuracy = (answers["label_predictions"].astype(str).to_numpy() == table("test")["label"].to_numpy()).mean()
    report(clock, accuracy, stop.steps * BATCH / len(train), ["ludwig", "torch", "torchvision"])


if __name__ == "__main__":
    main()
