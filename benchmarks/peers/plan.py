"""Who is compared, and in which environment each of them lives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """A script with an environment of its own.

    Attributes:
        name: as on the command line and in the results.
        title: for the table.
        environment: name of a file in ``requirements/``; None for rung, which runs where this runs.
        script: name of a file in this folder; by default ``name``.
        options: for the script.
    """

    name: str
    title: str
    environment: str | None
    script: str = ""
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return HERE / f"{self.script or self.name}.py"


ALL = (
    Peer("rung", "**rung**, whole command", None),
    Peer("keras_cnn", "Keras CNN, Adam", "tensorflow"),
    Peer("pytorch_tutorial", "PyTorch's CIFAR-10 tutorial", "torch"),
    Peer("speedrun", "speed-run recipe, batches of 2000", "torch"),
    Peer("speedrun_500", "speed-run recipe, batches of 500", "torch", "speedrun", ("--batch", "500")),
    Peer("fastai_resnet", "fastai, xresnet18", "torchvision"),
    Peer("timm_resnet", "timm, ResNet-18", "torchvision"),
    Peer("ultralytics_cls", "Ultralytics, YOLO11n-cls", "torchvision"),
    Peer("autogluon_resnet", "AutoGluon, ResNet-18", "autogluon"),
    Peer("ludwig_cnn", "Ludwig, stacked CNN", "ludwig"),
    Peer("hog", "HOG and logistic regression", "scikit-learn"),
)
PEERS = {peer.name: peer for peer in ALL}
