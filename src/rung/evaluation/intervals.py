"""Confidence intervals of the fractions that an evaluation reports."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion.

    Unlike the textbook normal interval it never leaves [0, 1], and it keeps its coverage close to 0 and 1
    and with few trials, which is where accuracies often are.

    Args:
        successes: how many trials succeeded, from 0 to ``trials``.
        trials: how many there were; with none at all the interval is (0, 1).
        confidence: the coverage wanted, between 0 and 1.

    Returns:
        The lower and the upper end, fractions from 0 to 1.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
        American Statistical Association 22 (1927); recommended by Brown, Cai and DasGupta, Statistical
        Science 16 (2001).
    """
    if trials < 0 or not 0 <= successes <= max(trials, 0):
        raise ValueError(f"{successes} successes in {trials} trials: expected 0 <= successes <= trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # Rounding may leave an end 1e-17 on the wrong side of what was observed (0 of n, n of n).
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def paired_difference(gained: int, lost: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the difference between two proportions that were measured on the same trials.

    Args:
        gained: trials that succeed the second way only.
        lost: trials that succeed the first way only.
        trials: all of them, at least 1.
        confidence: the coverage wanted, between 0 and 1.

    Returns:
        The ends of the interval of second minus first, from -1 to 1.

    Raises:
        ValueError: the counts do not fit together.

    Reference:
        A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics
        in Medicine 24 (2005): Wald's interval with a half added to each of the four counts.
    """
    if min(gained, lost) < 0 or trials < max(1, gained + lost):
        raise ValueError(f"{gained} gained and {lost} lost in {trials} trials")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    more, fewer, all_of_them = gained + 0.5, lost + 0.5, trials + 2
    difference = (more - fewer) / all_of_them
    half = z * sqrt(more + fewer - (more - fewer) ** 2 / all_of_them) / all_of_them
    return max(-1.0, difference - half), min(1.0, difference + half)
