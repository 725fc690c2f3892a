"""The rungs of the ladder: recipes, each of which adds one idea to the one below it.

A new rung is a function and a line in ``LADDER``, and a network in ``models/ladder.py`` if it needs one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.ladder import DeepConfig, NaiveConfig, StagesConfig
from rung.training.plan import choose_augmentation, choose_batch_size
from rung.training.recipe import Recipe

PLAIN = Augmentation(flip=False, translate=0)


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    Attributes:
        name: what ``--rung`` calls it.
        idea: what it adds to the rung below, a phrase.
        purpose: what that is supposed to do, a sentence.
        remedies: kinds of findings (see :class:`rung.diagnosis.Finding`) that the idea is a remedy for.
        recipe: how it is trained on some data; None for the top, which the planner makes.
    """

    name: str
    idea: str
    purpose: str
    remedies: tuple[str, ...]
    recipe: Callable[[Dataset, Probe], Recipe] | None


def naive(dataset: Dataset, probe: Probe) -> Recipe:
    return Recipe(
        network=NaiveConfig(),
        batch_size=choose_batch_size(len(dataset.train)),
        optimizer="adam",
        label_smoothing=0.0,
        rounds=(1.0,),
        keep_best=False,
        augmentation=PLAIN,
        views=1,
    )


def deep(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(naive(dataset, probe), network=DeepConfig())


def pooled(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(deep(dataset, probe), network=StagesConfig())


def dropout(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(pooled(dataset, probe), network=StagesConfig(dropout=0.3))


def batchnorm(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(dropout(dataset, probe), network=StagesConfig(dropout=0.3, norm=True))


def augmented(dataset: Dataset, probe: Probe) -> Recipe:
    augmentation, _ = choose_augmentation(dataset, probe)
    return replace(batchnorm(dataset, probe), augmentation=augmentation)


def annealed(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(augmented(dataset, probe), rounds=ROUNDS, keep_best=True)


def residual(dataset: Dataset, probe: Probe) -> Recipe:
    return replace(annealed(dataset, probe), network=StagesConfig(dropout=0.3, norm=True, shortcuts=True))


# Shares of Adam's rate in the rounds of the annealed rungs.
ROUNDS = (1.0, 0.3, 0.1)

LADDER: tuple[Rung, ...] = (
    Rung(
        "naive",
        "one convolution and large dense layers, Adam at a constant rate",
        "It is where many start: enough weights to learn the training images by heart.",
        (),
        naive,
    ),
    Rung(
        "deep",
        "small convolutions stacked on each other",
        "Layers of shared filters build edges, corners and parts, instead of learning every position by itself.",
        ("overfitting", "weak_architecture"),
        deep,
    ),
    Rung(
        "pooled",
        "max pooling between the stages",
        "It makes the network indifferent to small shifts, lets it see further, and takes most weights away.",
        ("overfitting", "too_many_parameters"),
        pooled,
    ),
    Rung(
        "dropout",
        "dropout before the last layer",
        "Features that can be blanked at any moment cannot rely on each other, which makes learning by heart harder.",
        ("overfitting",),
        dropout,
    ),
    Rung(
        "batchnorm",
        "batch normalisation behind every convolution",
        "Every layer gets inputs of the same scale whatever the one below does, so all of them learn faster.",
        ("underfitting", "slow_learning", "dead_units"),
        batchnorm,
    ),
    Rung(
        "augmented",
        "training images shifted, and mirrored where that is safe",
        "No image is seen twice alike, so that there is nothing to learn by heart.",
        ("overfitting", "too_little_data"),
        augmented,
    ),
    Rung(
        "annealed",
        "the learning rate lowered in rounds, each from the best weights so far",
        "Large steps find a good region and small ones its lowest point, where a constant rate keeps jumping about it.",
        ("noisy_training", "learning_rate_too_high"),
        annealed,
    ),
    Rung(
        "residual",
        "shortcuts around the convolutions that keep their width",
        "The gradient reaches the lower layers unweakened, and a layer only has to learn what to change.",
        ("underfitting", "vanishing_gradients"),
        residual,
    ),
    Rung(
        "modern",
        "what `rung train` does: whitening, Muon, label smoothing, a rate that falls to zero, averaged views",
        "Every step is made to count: the ideas of the CIFAR-10 speed runs, sized to the time that there is.",
        ("underfitting", "slow_learning"),
        None,
    ),
)


def rung_named(name: str) -> Rung:
    """The rung of that name.

    Raises:
        UsageError: there is none.
    """
    for rung in LADDER:
        if rung.name == name:
            return rung
    raise UsageError(f"there is no rung {name!r}; the ladder has {', '.join(rung.name for rung in LADDER)}")


def rung_recipe(
    name: str | None, rates: tuple[float, ...] | None, dataset: Dataset, probe: Probe
) -> tuple[Recipe | None, tuple[str, ...]]:
    """How a rung is trained on some data, or None where that is left to the planner; and why, in sentences.

    Args:
        name: of the rung; by default the planner's choice, or with ``rates`` the rung ``annealed``.
        rates: Adam's learning rate in each of so many rounds, instead of the rung's own.
        dataset: what it is trained on.
        probe: a first look at that.

    Raises:
        UsageError: there is no such rung, or it does not train in rounds.
    """
    if name is None and rates is None:
        return None, ()
    rung = rung_named(name or "annealed")
    if rung.recipe is None:
        if rates is not None:
            others = ", ".join(other.name for other in LADDER if other.recipe)
            raise UsageError(f"the rung {rung.name} has a schedule of its own; --rounds is for {others}")
        return None, ()
    recipe = rung.recipe(dataset, probe)
    reasons = (f"The rung {rung.name} of the ladder: {rung.idea}. {rung.purpose}",)
    return (recipe if rates is None else in_rounds(recipe, rates)), reasons


def in_rounds(recipe: Recipe, rates: tuple[float, ...]) -> Recipe:
    """The recipe with Adam's learning rate set round by round, each from the best weights so far."""
    peak = max(rates)
    return replace(recipe, adam_rate=peak, rounds=tuple(rate / peak for rate in rates), keep_best=True)
