"""What a user, or the remedy of a finding, changes in the recipe that the planner chooses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from rung.errors import UsageError
from rung.models import NetworkConfig
from rung.training.recipe import Recipe

# How strongly the training images are varied.
STRENGTHS = ("none", "normal", "strong")
# Factors that make sense.
RATES, WIDTHS = (1e-4, 1e4), (1 / 16, 16.0)
# The fields of networks' configurations that hold channels.
_WIDTHS = ("stages", "widths", "width", "filters", "hidden")


@dataclass(frozen=True)
class Adjustments:
    """Changes to a recipe; None changes nothing.

    Attributes:
        rate_scale: factor of every learning rate.
        batch_size: images a step, 1 or more.
        augment: ``"none"``, ``"normal"`` or ``"strong"``: images are left as they are, varied as planned, or shifted
            twice as far with a quarter of their side cut out.
        width: factor of the channels of every layer.

    Raises:
        UsageError: a value is out of its range.
    """

    rate_scale: float | None = None
    batch_size: int | None = None
    augment: str | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        if self.rate_scale is not None and not RATES[0] <= self.rate_scale <= RATES[1]:
            raise UsageError(f"the rate scale must lie between {RATES[0]:g} and {RATES[1]:g}, not {self.rate_scale:g}")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, not {self.batch_size}")
        if self.augment is not None and self.augment not in STRENGTHS:
            raise UsageError(f"the augmentation must be {', '.join(STRENGTHS)}, not {self.augment!r}")
        if self.width is not None and not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise UsageError(f"the width must lie between {WIDTHS[0]:g} and {WIDTHS[1]:g}, not {self.width:g}")

    def __bool__(self) -> bool:
        return self != Adjustments()

    def __str__(self) -> str:
        asked = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)

    def apply(self, recipe: Recipe, image_size: tuple[int, int]) -> Recipe:
        """The recipe with the changes, for images of ``image_size`` pixels."""
        scale, planned = self.rate_scale or 1.0, recipe.augmentation
        if self.augment == "none":
            planned = replace(planned, flip=False, translate=0, cutout=0)
        elif self.augment == "strong":
            cutout = max(planned.cutout, min(image_size) // 4)
            planned = replace(planned, translate=2 * max(1, planned.translate), cutout=cutout)
        return replace(
            recipe,
            network=widened(recipe.network, self.width) if self.width else recipe.network,
            batch_size=self.batch_size or recipe.batch_size,
            adam_rate=recipe.adam_rate * scale,
            filter_rate=recipe.filter_rate * scale,
            bias_rate=recipe.bias_rate * scale,
            head_rate=recipe.head_rate * scale,
            augmentation=planned,
        )


def widened(config: NetworkConfig, factor: float) -> NetworkConfig:
    """The network with ``factor`` times the channels in every layer; kernels, strides and depths stay what they are."""

    def wider(value: Any) -> Any:
        return tuple(map(wider, value)) if isinstance(value, tuple) else max(1, round(factor * value))

    changes = {name: wider(getattr(config, name)) for name in _WIDTHS if name in config.__dataclass_fields__}
    changed: NetworkConfig = replace(config, **changes)
    return changed
