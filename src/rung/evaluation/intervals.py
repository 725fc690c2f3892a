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
