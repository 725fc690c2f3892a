"""How far a model's confidence can be believed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rung.evaluation.result import ReliabilityBin


def reliability_bins(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Sort predictions by how sure they were, into bins of equal width.

    Args:
        confidence: shape (N,): the probability of the predicted class, from 0 to 1.
        correct: shape (N,): whether the prediction was right.
        bins: how many bins divide [0, 1].

    Returns:
        Every bin from 0 to 1, also the empty ones (their ``confidence`` and ``accuracy`` are 0). A bin holds
        the confidences in (lower, upper]; the first one holds 0 as well.

    Raises:
        ValueError: the arrays differ in length.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    if confidence.shape != correct.shape:
        raise ValueError(f"{confidence.shape} confidences but {correct.shape} outcomes")
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    held = np.maximum(counts, 1)
    sure = np.bincount(place, weights=confidence, minlength=bins) / held
    right = np.bincount(place, weights=correct, minlength=bins) / held
    return tuple(
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(sure[i]), float(right[i]))
        for i in range(bins)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """The mean distance between confidence and accuracy, weighted by the images in each bin: 0 is perfect, 1 the worst.

    Reference:
        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    images = sum(b.count for b in bins)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / max(images, 1)


def at_temperature(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float32]:
    """What probabilities (N, K) at temperature 1 become at another one, above 0."""
    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, None)) / temperature
    scaled = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(scaled / scaled.sum(1, keepdims=True), np.float32)


def fit_temperature(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """The temperature that makes a model's probabilities fit best, in log loss, to images it has not learnt from.

    Logits divided by a temperature above 1 give less sure answers, below 1 surer ones; which class is the most
    probable never changes.

    Args:
        probabilities: shape (N, K), at temperature 1; take those of the validation split.
        labels: shape (N,), from 0 to K - 1.

    Returns:
        Between 0.05 and 20.

    A model that names all of a few images correctly would become certain of everything. So the targets are those of
    one image more that it gets right and one more that it gets wrong.

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2; the targets: Platt,
        "Probabilistic outputs for support vector machines", 1999, section 2.2.
    """
    # The logarithms of the probabilities are the logits up to a constant that no softmax sees.
    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, None))
    rows = np.arange(len(labels))
    doubt = 1 / (len(labels) + 2)

    def log_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(1, keepdims=True)
        aimed_at = (1 - doubt) * scaled[rows, labels] + doubt * scaled.mean(1)
        return float((np.log(np.exp(scaled).sum(1)) - aimed_at).mean())

    # In the logarithm of the temperature the loss has a single valley, which golden sections narrow down.
    low, high, ratio = np.log(0.05), np.log(20.0), (5**0.5 - 1) / 2
    while high - low > 1e-3:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(left) < log_loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
