"""What more images may bring: a power law through the accuracies that parts of the images reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Standard deviation of the logarithm of an error around its power law, apart from sampling: curves bend.
BEND = 0.06


@dataclass(frozen=True)
class Forecast:
    """The accuracy to expect with so many training ``images``, and where it lies in nine of ten cases."""

    images: int
    accuracy: float
    interval: tuple[float, float]


def forecast(sizes: Sequence[int], errors: Sequence[float], judged: int, images: int, tested: int) -> Forecast:
    """Extend a learning curve.

    The error is taken to fall as a power of the number of training images (Cortes et al. 1993, "Learning curves:
    asymptotic values and rate of convergence"; Viering and Loog 2021, arXiv:2103.10948, on when that holds). The line
    through its logarithms is weighted by what each is known with, and leans towards a slope of 0.25 ± 0.15, which
    photographs usually have, so that two points and noise do not promise wonders.

    Args:
        sizes: training images of each point, rising, at least one.
        errors: 1 - accuracy at each, on the same ``judged`` unseen images.
        judged: how many these are.
        images: training images to forecast for.
        tested: images that the forecast accuracy would be measured on; their sampling widens the interval.
    """
    # Half an image more on both sides keeps the logarithms finite.
    shares = np.clip(np.asarray(errors), 0.5 / judged, 1 - 0.5 / judged)
    y = np.log(shares)
    x = np.log(np.asarray(sizes, float) / sizes[-1])
    sampling = (1 - shares[-1]) / (shares[-1] * judged)
    # The points share their unseen images: of their noise half is common to all, which moves the line, not its slope.
    precision = 1 / (0.5 * (1 - shares) / (shares * judged) + BEND**2)
    design = np.stack([np.ones_like(x), -x], 1)
    information = design.T @ (design * precision[:, None])
    information[1, 1] += 1 / 0.15**2
    centre = design.T @ (precision * y)
    centre[1] += 0.25 / 0.15**2
    covariance = np.linalg.inv(information)
    level, slope = covariance @ centre
    # More images do not make a classifier worse.
    slope = max(0.0, float(slope))
    step = math.log(images / sizes[-1])
    middle = float(level) - slope * step
    direction = np.array([1.0, -step])
    expected = math.exp(middle)
    variance = float(direction @ covariance @ direction) + 0.5 * sampling + BEND**2
    variance += (1 - min(expected, 0.999)) / (expected * tested)
    reach = 1.645 * math.sqrt(variance)
    low, high = 1 - math.exp(middle + reach), 1 - math.exp(middle - reach)
    return Forecast(images, 1 - min(1.0, expected), (max(0.0, low), min(1.0, high)))
