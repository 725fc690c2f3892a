"""What a user, or the remedy of a finding, changes in the recipe that the planner chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rung.errors import UsageError
from rung.models.fast import FastConfig
from rung.training.recipe import Recipe

# How strongly the training images are varied.
STRENGTHS = ("none", "normal", "strong")
# Factors that make sense.
RATES, WIDTHS = (1e-4, 1e4), (1 / 16, 16.0)


@dataclass(frozen=True)
class Adjustments:
    """Changes to a recipe; the defaults change nothing.

    Attributes:
        rate_scale: factor of every learning rate.
        batch_size: images a step, 1 or more, instead of the planner's choice.
        augment: ``"none"``, ``"normal"`` or ``"strong"``: images are left as they are, varied as planned, or shifted
            twice as far with a quarter of their side cut out.
        width: factor of the channels of every layer.

    Raises:
        UsageError: a value is out of its range.
    """

    rate_scale: float = 1.0
    batch_size: int | None = None
    augment: str = "normal"
    width: float = 1.0

    def __post_init__(self) -> None:
        if not RATES[0] <= self.rate_scale <= RATES[1]:
            raise UsageError(f"the rate scale must lie between {RATES[0]:g} and {RATES[1]:g}, not {self.rate_scale:g}")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, not {self.batch_size}")
        if self.augment not in STRENGTHS:
            raise UsageError(f"the augmentation must be {', '.join(STRENGTHS)}, not {self.augment!r}")
        if not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise UsageError(f"the width must lie between {WIDTHS[0]:g} and {WIDTHS[1]:g}, not {self.width:g}")

    def rates(self, recipe: Recipe) -> Recipe:
        """The recipe with its learning rates scaled."""
        return replace(
            recipe,
            adam_rate=recipe.adam_rate * self.rate_scale,
            filter_rate=recipe.filter_rate * self.rate_scale,
            bias_rate=recipe.bias_rate * self.rate_scale,
            head_rate=recipe.head_rate * self.rate_scale,
        )

    def images(self, recipe: Recipe, side: int) -> Recipe:
        """The recipe with its augmentation for images of ``side`` pixels."""
        planned = recipe.augmentation
        if self.augment == "none":
            planned = replace(planned, flip=False, translate=0, cutout=0)
        elif self.augment == "strong":
            planned = replace(planned, translate=2 * max(1, planned.translate), cutout=max(planned.cutout, side // 4))
        return replace(recipe, augmentation=planned)

    def network(self, config: FastConfig) -> FastConfig:
        """The network with its layers widened, in steps of eight channels."""
        if self.width == 1:
            return config
        stages = tuple(tuple(max(8, 8 * round(self.width * w / 8)) for w in widths) for widths in config.stages)
        return replace(config, stages=stages)
