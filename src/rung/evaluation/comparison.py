"""Whether one classifier is better than another on the same images, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

Scope = Literal["images", "images and seeds"]


@dataclass(frozen=True)
class PairedDifference:
    """How much more accurate ``b`` is than ``a``, both measured on the same images.

    Attributes:
        accuracy_a, accuracy_b: fractions from 0 to 1, means over the seeds of each.
        difference: ``accuracy_b - accuracy_a``, from -1 to 1.
        interval: its 95 % interval.
        p_value: of the hypothesis that there is no difference: McNemar's mid-p for a single pair, from Student's t
            (the same standard error as the interval) for several seeds.
        only_a, only_b: images that only one of the two gets right; with several seeds, means over all pairs of them.
        images: how many images both were measured on.
        seeds: how many trainings of ``a`` and of ``b``.
        scope: what the interval speaks about. ``"images"``: these two trained networks on other images like these.
            ``"images and seeds"``: other trainings by the same two recipes, on other images like these.
    """

    accuracy_a: float
    accuracy_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    only_a: float
    only_b: float
    images: int
    seeds: tuple[int, int]
    scope: Scope

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.interval[0] <= 0 <= self.interval[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {**asdict(self), "distinguishable": self.distinguishable}


def paired_difference(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> PairedDifference:
    """The difference in accuracy between two classifiers, or two recipes trained with several seeds.

    Args:
        correct_a: bool, shape (N,) or (S, N): whether each image was answered right, a row a seed.
        correct_b: the same of the other one, for the same images in the same order; it may have another S.

    Returns:
        The difference, its 95 % interval and a p-value.

    Raises:
        ValueError: the two are about different numbers of images, there is no image or seed, or the values are not
            True and False.

    **One seed each.** The interval of Agresti and Min: Wald's, with half an image added to each outcome (both
    right, one, the other, none). Wald's own covers 80 to 90 % where the two differ on a handful of images, which is
    what accuracies near 1 look like. It speaks of *these two networks*: training again moves accuracies as well,
    and a single training cannot tell by how much.

    **Several seeds.** An image is shared by all trainings, a seed belongs to one recipe: a two-way layout without
    repetition. How much the mean over seeds varies between images, less what chance explains of it (the residual), is
    what other images would change; how much the accuracies of one recipe vary, which contains that chance, is
    what other seeds would. The variance is the sum of both, the quantile Student's with Satterthwaite's degrees of
    freedom: three seeds know little about how far seeds vary, and the interval says so. Where only one of the two
    has several seeds, they stand for those that the other one lacks.

    References:
        Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
        Medicine 24 (2005). Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and
        asymptotic are better than exact conditional", BMC Medical Research Methodology 13 (2013). Satterthwaite, "An
        approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946). That seeds differ
        by little more than the chance of each image: Jordan, "On the variance of neural network training with respect
        to test sets and distributions", ICLR 2024.
    """
    from scipy.special import stdtr, stdtrit

    a, b = _rows(correct_a), _rows(correct_b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{a.shape[1]} images of one but {b.shape[1]} of the other; a comparison needs the same images"
        )
    images, seeds = a.shape[1], (len(a), len(b))
    share_a, share_b = a.mean(0), b.mean(0)
    gained = share_b - share_a
    centre = gained.sum() / (images + 2)
    between_images = ((gained**2).sum() + 1) / (images + 2) - centre**2
    variance = between_images / (images + 2)
    doubt = variance**2 / max(images - 1, 1)
    if max(seeds) > 1:
        chance, between_seeds, doubt_of_seeds = _between_seeds(a, b)
        variance = max(variance - chance, 1 / (images + 2) ** 2) + between_seeds
        doubt += doubt_of_seeds
    freedom = variance**2 / doubt
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * variance**0.5
    only_a = float((share_a * (1 - share_b)).sum())
    only_b = float((share_b * (1 - share_a)).sum())
    if seeds == (1, 1):
        p_value = mcnemar(round(only_a), round(only_b))
    else:
        p_value = 2 * float(stdtr(freedom, -abs(centre) / variance**0.5))
    return PairedDifference(
        accuracy_a=float(share_a.mean()),
        accuracy_b=float(share_b.mean()),
        difference=float(gained.mean()),
        interval=(max(-1.0, float(centre - half)), min(1.0, float(centre + half))),
        p_value=p_value,
        only_a=only_a,
        only_b=only_b,
        images=images,
        seeds=seeds,
        scope="images" if seeds == (1, 1) else "images and seeds",
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided mid-p value of McNemar's test: does either get more images right that the other does not?

    Args:
        only_a, only_b: how many images only the one and only the other gets right.

    Returns:
        From 0 to 1; 1 where the two counts are equal.
    """
    from scipy.special import bdtr

    fewer, discordant = min(only_a, only_b), only_a + only_b
    if only_a == only_b:
        return 1.0
    below = float(bdtr(fewer - 1, discordant, 0.5)) if fewer else 0.0
    return min(1.0, below + float(bdtr(fewer, discordant, 0.5)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values for several comparisons at once, so that calling those below 0.05 real errs at all in 5 % of the cases.

    One comparison in twenty between equals looks distinguishable; who makes twenty has to ask for more.

    Args:
        p_values: one of each comparison, from 0 to 1.

    Returns:
        The adjusted ones, in the same order, none smaller than before and none above 1.

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def _rows(correct: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(correct)
    if values.dtype != np.bool_:
        raise ValueError(f"whether an image was answered right is True or False, not {values.dtype}")
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(
            f"expected the shape (images,) or (seeds, images) with at least one of each, not {values.shape}"
        )
    return np.atleast_2d(values).astype(np.float64)


def _between_seeds(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """What the variance of the difference owes to the trainings.

    Returns:
        The part of it that is the chance of each image to be answered right this time; the variance between seeds,
        which contains that part; and the square of the latter over its degrees of freedom.
    """
    if min(len(a), len(b)) > 1:
        shares = [(a, 1 / len(a)), (b, 1 / len(b))]
    else:
        shares = [(a if len(a) > 1 else b, 1 / len(a) + 1 / len(b))]
    chance = between = doubt = 0.0
    for rows, share in shares:
        seeds, images = rows.shape
        means = rows.mean(1, keepdims=True)
        residual = rows - rows.mean(0) - means + means.mean()
        chance += share * float((residual**2).sum()) / ((seeds - 1) * max(images - 1, 1) * images)
        of_this = share * float(means.var(ddof=1))
        between += of_this
        doubt += of_this**2 / (seeds - 1)
    return chance, between, doubt
