"""The rungs of the ladder: recipes, each of which adds one idea to the one below it.

A new rung is a function and a line in ``LADDER``, and a network in ``models/ladder.py`` if it needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.ladder import DeepConfig, NaiveConfig, StagesConfig
from rung.training.plan import choose_augmentation, choose_batch_size
from rung.training.recipe import Recipe


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    Attributes:
        name: what ``--rung`` calls it.
        idea: what it adds to the rung below, a phrase.
        purpose: what that is supposed to do, a sentence.
        remedies: kinds of findings (see :class:`rung.diagnosis.Finding`) that the idea may help against.
        needs: rungs that must be below it for the idea to make sense.
        add: puts the idea into the recipe of the rung below; None where the planner makes all of the recipe.
    """

    name: str
    idea: str
    purpose: str
    remedies: tuple[str, ...]
    needs: tuple[str, ...]
    add: Callable[[Recipe, Dataset, Probe], Recipe] | None

    def recipe(self, dataset: Dataset, probe: Probe) -> Recipe | None:
        """How it is trained on some data, with all the ideas below it; None where that is left to the planner."""
        if self.add is None:
            return None
        names = [rung.name for rung in LADDER]
        return compose(names[: names.index(self.name) + 1], dataset, probe)


def compose(names: Sequence[str], dataset: Dataset, probe: Probe) -> Recipe:
    """The recipe with the ideas of these rungs, added in this order; the first must be ``"naive"``."""
    recipe = Recipe(
        network=NaiveConfig(),
        batch_size=min(BATCH, choose_batch_size(len(dataset.train))),
        optimizer="adam",
        label_smoothing=0.0,
        rounds=(1.0,),
        keep_best=False,
        augmentation=Augmentation(flip=False, translate=0),
        views=1,
    )
    for name in names:
        add = rung_named(name).add
        assert add is not None
        recipe = add(recipe, dataset, probe)
    return recipe


def naive(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return recipe


def deep(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return replace(recipe, network=DeepConfig())


def pooled(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return replace(recipe, network=StagesConfig())


def dropout(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return replace(recipe, network=replace(_stages(recipe), dropout=0.1))


def batchnorm(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    # What is normalised bears larger steps, which are half of the idea.
    return replace(recipe, network=replace(_stages(recipe), norm=True), adam_rate=NORMALISED_RATE)


def augmented(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    augmentation, _ = choose_augmentation(dataset, probe)
    return replace(recipe, augmentation=augmentation)


def annealed(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return replace(recipe, rounds=ROUNDS, keep_best=True)


def residual(recipe: Recipe, dataset: Dataset, probe: Probe) -> Recipe:
    return replace(recipe, network=replace(_stages(recipe), shortcuts=True))


def _stages(recipe: Recipe) -> StagesConfig:
    assert isinstance(recipe.network, StagesConfig)
    return recipe.network


# Images a step, at most, and Adam's rate where there is batch normalisation. Adam needs steps more than it needs smooth
# ones: `residual` after two epochs of CIFAR-10 has 67.9 % on validation with 64 and 1.5e-3, 69.2 and 70.2 % (two seeds)
# with 3e-3, 69.6 and 69.0 % with 4.5e-3; 65.3 % with 128 and 3e-3; 69.1 % with 32 and 2.25e-3, in twice the time. From
# 3e-3 on steps are so large that the diagnosis warns of them.
BATCH = 64
NORMALISED_RATE = 2e-3
# Shares of it in the rounds of the annealed rungs.
ROUNDS = (1.0, 0.5, 0.25, 0.1, 0.03)

LADDER: tuple[Rung, ...] = (
    Rung(
        "naive",
        "one convolution and large dense layers, Adam at a constant rate",
        "It is where many start: enough weights to learn the training images by heart.",
        (),
        (),
        naive,
    ),
    Rung(
        "deep",
        "small convolutions stacked on each other",
        "Layers of shared filters build edges, corners and parts, instead of learning every position by itself.",
        ("overfitting", "ignores_its_input", "indistinct_classes"),
        ("naive",),
        deep,
    ),
    Rung(
        "pooled",
        "max pooling between the stages",
        "It makes the network indifferent to small shifts, lets it see further, and takes most weights away.",
        ("overfitting",),
        ("deep",),
        pooled,
    ),
    Rung(
        "dropout",
        "dropout before the last layer",
        "Features that can be blanked at any moment cannot rely on each other, which makes learning by heart harder.",
        ("overfitting",),
        ("pooled",),
        dropout,
    ),
    Rung(
        "batchnorm",
        "batch normalisation behind every convolution",
        "Every layer gets inputs of the same scale whatever the one below does, so all of them learn faster.",
        ("underfitting", "dead_units", "learning_rate_too_low", "exploding_gradients", "too_few_steps"),
        ("pooled",),
        batchnorm,
    ),
    Rung(
        "augmented",
        "training images shifted, and mirrored where that is safe",
        "No image is seen twice alike, so that there is nothing to learn by heart.",
        ("overfitting", "too_few_images"),
        ("naive",),
        augmented,
    ),
    Rung(
        "annealed",
        "the learning rate lowered in rounds, each from the best weights so far",
        "Large steps find a good region and small ones its lowest point, where a constant rate keeps jumping about it.",
        ("not_annealed", "learning_rate_too_high", "unstable_result", "stopped_too_early"),
        ("naive",),
        annealed,
    ),
    Rung(
        "residual",
        "shortcuts around the convolutions that keep their width",
        "The gradient reaches the lower layers unweakened, and a layer only has to learn what to change.",
        ("underfitting", "vanishing_gradients"),
        ("pooled",),
        residual,
    ),
    Rung(
        "modern",
        "what `rung train` does: whitening, Muon, label smoothing, a rate that falls to zero, averaged views",
        "Every step is made to count: the ideas of the CIFAR-10 speed runs, sized to the time that there is.",
        ("underfitting", "too_few_steps", "norm_statistics"),
        (),
        None,
    ),
)

# On top of the ladder where it promises more: photographs, and the extra `pretrained` is installed.
PRETRAINED = Rung(
    "pretrained",
    "a network that has learnt from 1.28 million photographs of ImageNet; its last layer learns, or more of it",
    "A few hundred pictures do not hold most of what there is to know about pictures; this network knows it already.",
    ("too_few_images", "overfitting"),
    (),
    None,
)
RUNGS = (*LADDER, PRETRAINED)


def rung_named(name: str) -> Rung:
    """The rung of that name.

    Raises:
        UsageError: there is none.
    """
    for rung in RUNGS:
        if rung.name == name:
            return rung
    raise UsageError(f"there is no rung {name!r}; the ladder has {', '.join(rung.name for rung in RUNGS)}")


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
    recipe = rung.recipe(dataset, probe)
    if recipe is None:
        if rates is not None:
            others = ", ".join(other.name for other in LADDER if other.add)
            raise UsageError(f"the rung {rung.name} has a schedule of its own; --rounds is for {others}")
        return None, ()
    reasons = (f"The rung {rung.name} of the ladder: {rung.idea}. {rung.purpose}",)
    return (recipe if rates is None else in_rounds(recipe, rates)), reasons


def in_rounds(recipe: Recipe, rates: tuple[float, ...]) -> Recipe:
    """The recipe with Adam's learning rate set round by round, each from the best weights so far."""
    peak = max(rates)
    return replace(recipe, adam_rate=peak, rounds=tuple(rate / peak for rate in rates), keep_best=True)
