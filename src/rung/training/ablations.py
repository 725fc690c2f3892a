"""What can be taken out of the modern rung, one idea at a time, to see what each is worth there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rung.models.fast import FastConfig
from rung.training.recipe import Recipe

# Adam's peak rate in Muon's and SGD's place.
ADAM_RATE = 3e-3


@dataclass(frozen=True)
class Ablation:
    """One idea taken out.

    Attributes:
        name: short, what is missing.
        idea: what is done instead, a phrase.
        purpose: what the idea is for, a sentence.
        remove: takes it out of a recipe; None where it is not in there.
    """

    name: str
    idea: str
    purpose: str
    remove: Callable[[Recipe], Recipe | None]


def without_mirroring(recipe: Recipe) -> Recipe | None:
    if not recipe.augmentation.flip:
        return None
    return replace(recipe, augmentation=replace(recipe.augmentation, flip=False))


def without_shifts(recipe: Recipe) -> Recipe | None:
    if not recipe.augmentation.translate:
        return None
    return replace(recipe, augmentation=replace(recipe.augmentation, translate=0))


def without_whitening(recipe: Recipe) -> Recipe:
    return replace(recipe, network=replace(_fast(recipe), whitening=False))


def without_norm(recipe: Recipe) -> Recipe:
    return replace(recipe, network=replace(_fast(recipe), norm=False))


def without_pooling(recipe: Recipe) -> Recipe:
    return replace(recipe, network=replace(_fast(recipe), pooling=False))


def without_muon(recipe: Recipe) -> Recipe:
    return replace(recipe, optimizer="adam", adam_rate=ADAM_RATE)


def without_smoothing(recipe: Recipe) -> Recipe:
    return replace(recipe, label_smoothing=0.0)


def without_pruning(recipe: Recipe) -> Recipe | None:
    return replace(recipe, pruning=0.0) if recipe.pruning else None


def without_annealing(recipe: Recipe) -> Recipe:
    return replace(recipe, rounds=(1.0,))


def without_views(recipe: Recipe) -> Recipe | None:
    return replace(recipe, views=1) if recipe.views > 1 else None


def _fast(recipe: Recipe) -> FastConfig:
    assert isinstance(recipe.network, FastConfig)
    return recipe.network


ABLATIONS: tuple[Ablation, ...] = (
    Ablation(
        "no mirroring",
        "images are never mirrored",
        "Mirror images are new images for nothing, where they still show their class.",
        without_mirroring,
    ),
    Ablation(
        "no shifts",
        "images are never shifted",
        "Shifted images teach that the place of a thing does not matter.",
        without_shifts,
    ),
    Ablation(
        "no whitening",
        "the first layer is an ordinary one that learns",
        "A frozen first layer that decorrelates the pixels costs no learning and no backward pass.",
        without_whitening,
    ),
    Ablation(
        "no Muon",
        "Adam moves all weights",
        "Orthogonalised steps use every direction of a filter bank, not only those with large gradients.",
        without_muon,
    ),
    Ablation(
        "no smoothing",
        "labels are certain",
        "Labels that keep some doubt stop the network from growing ever surer of its training images.",
        without_smoothing,
    ),
    Ablation(
        "no pruning",
        "every pass shows all images",
        "Images that the network knows already teach little; seeing the others more often teaches more.",
        without_pruning,
    ),
    Ablation(
        "no annealing",
        "the learning rates stay at their peaks",
        "Large steps find a good region; small ones at the end its lowest point.",
        without_annealing,
    ),
    Ablation(
        "no batch norm",
        "convolutions with a bias, and nothing is normalised",
        "Every layer gets inputs of the same scale whatever the one below does.",
        without_norm,
    ),
    Ablation(
        "no pooling",
        "convolutions of stride 2 where the maximum of 2×2 was taken",
        "The strongest of four neighbours is kept, wherever exactly it was.",
        without_pooling,
    ),
    Ablation(
        "no views",
        "each image is predicted once, as it is",
        "The mean over mirrored and shifted versions of an image is a small ensemble of one network.",
        without_views,
    ),
)
