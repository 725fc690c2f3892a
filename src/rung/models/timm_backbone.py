"""Models of the package timm (Wightman, "PyTorch image models") as backbones, where it and weights are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rung.errors import UsageError
from rung.models.backbone import Backbone


class TimmBackbone(nn.Module):
    """A timm model without its classifier; normalisations always use the statistics that they came with.

    Args:
        model: from ``timm.create_model(…, num_classes=0, global_pool="")``: gives one feature map.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.widths = (int(model.num_features),)  # type: ignore[arg-type]

    @property
    def steps(self) -> list[nn.Module]:
        """Its parts from the bottom to the top: blocks, where several are gathered in a stage."""
        return list(_parts(self.model))

    def train(self, mode: bool = True) -> TimmBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, ...]:
        return (self.model(x_NCHW),)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _parts(child)
        elif any(True for _ in child.parameters()):
            yield child


def timm_backbone(name: str, model_name: str) -> Backbone:
    """The backbone that is called ``model_name`` in timm.

    Raises:
        UsageError: timm knows no such model, or its feature maps are no images.
    """
    import timm  # type: ignore[import-not-found]

    def create(channels: int, pretrained: bool) -> TimmBackbone:
        try:
            model = timm.create_model(
                model_name, pretrained=pretrained, in_chans=channels, num_classes=0, global_pool=""
            )
        except (RuntimeError, ValueError, OSError) as error:
            why = " ".join(str(error).split())[:160]
            raise UsageError(f"timm has no weights at hand for {model_name}: {why}") from error
        return TimmBackbone(model)

    settings: dict[str, Any] = timm.get_pretrained_cfg(model_name, allow_unregistered=True).to_dict()
    mean = tuple(255 * value for value in settings.get("mean", (0.485, 0.456, 0.406)))
    std = tuple(255 * value for value in settings.get("std", (0.229, 0.224, 0.225)))

    def weights(channels: int) -> dict[str, Tensor]:
        return create(channels, True).state_dict()

    return Backbone(name, f"what timm's {model_name} was trained on", mean, std, lambda c: create(c, False), weights)
