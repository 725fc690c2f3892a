"""AutoGluon's multimodal predictor with timm's ResNet-18 from random weights; it is told the time limit."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd
import timm
import torch
from autogluon.multimodal import MultiModalPredictor
from peer import Clock, as_folder, options, report

SETTINGS = {
    "model.names": ["timm_image"],
    # Instead of 224: enlarged, an image would take fifty times as long.
    "model.timm_image.image_size": 32,
    # Its own is for weights that have been trained before.
    "optim.lr": 1e-3,
    "env.num_gpus": 0,
    "env.per_gpu_batch_size": 128,
}


def untrained(folder: Path, seed: int) -> str:
    """Random weights as a checkpoint on disk: what AutoGluon 1.6 starts from, for ``pretrained=False`` it forgets."""
    torch.manual_seed(seed)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0)
    folder.mkdir()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    about = {"architecture": "resnet18", "num_features": network.num_features, "pretrained_cfg": network.default_cfg}
    (folder / "config.json").write_text(json.dumps(about))
    return str(folder)


def main() -> None:
    arguments = options(__doc__).parse_args()
    if arguments.until is not None:
        raise SystemExit("autogluon_resnet cannot stop at an accuracy")
    folder = as_folder(arguments.data)
    torch.set_num_threads(arguments.threads)

    def table(split: str) -> pd.DataFrame:
        files = sorted((folder / split).glob("*/*.png"))
        return pd.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})

    clock = Clock(arguments.seconds)
    with tempfile.TemporaryDirectory() as workplace:
        settings = {**SETTINGS, "env.num_workers": arguments.threads}
        settings["model.timm_image.checkpoint_name"] = untrained(Path(workplace) / "resnet18", arguments.seed)
        predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=f"{workplace}/run", verbosity=0)
        clock.start()
        predictor.fit(table("train"), time_limit=arguments.seconds, seed=arguments.seed, hyperparameters=settings)
        clock.pause()
        accuracy = predictor.evaluate(table("test"), metrics=["accuracy"])["accuracy"]
    report(clock, accuracy, None, ["autogluon.multimodal", "torch", "torchvision"])


if __name__ == "__main__":
    main()
