"""Miscalibration: the network is surer, or less sure, than it is right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.evaluation.calibration import expected_calibration_error, fit_temperature, reliability_bins
from rung.training.recordings import Predicted

EXPLAINS: frozenset[str] = frozenset()

# Overconfidence: points by which mean confidence exceeds accuracy on validation images, and share of the way to
# certainty; or, where there are few mistakes, how many times the log loss is what a temperature leaves of it.
# Modesty: share of the way from the accuracy down to guessing, which label smoothing alone does not reach.
DISTANCE, OVER, LOSS, UNDER = 0.05, 0.3, 1.25, 0.75


def find(evidence: Evidence) -> Iterator[Finding]:
    """The distance between confidence and accuracy before and after dividing the logits by a temperature."""
    val = evidence.val
    if val is None or len(val.labels) < 30:
        return
    confidence = float(val.probabilities.max(1).mean())
    distance = confidence - val.accuracy
    chance = 1 / val.probabilities.shape[1]
    temperature = fit_temperature(val.probabilities, val.labels)
    over = distance > DISTANCE and distance > OVER * (1 - val.accuracy)
    over = over or (distance > 0 and _log_loss(val, 1.0) > LOSS * _log_loss(val, temperature))
    under = -distance > DISTANCE and -distance > UNDER * (val.accuracy - chance)
    if not over and not under:
        return
    before, after = _error(val, 1.0), _error(val, temperature)
    done = abs(evidence.temperature - 1) > 1e-6
    yield Finding(
        kind="miscalibration",
        severity="note" if done else "warning",
        statement=(
            f"Its raw probabilities are too {'high' if distance > 0 else 'low'}: on average {confidence:.0%} sure, "
            f"{val.accuracy:.0%} right on validation images"
            + (f"; dividing by the temperature {evidence.temperature:.2f} has put that right." if done else ".")
        ),
        remedy=Remedy(
            "Nothing: the stored model divides its logits by the temperature."
            if done
            else f"Divide the logits by a temperature of {temperature:.2f}, as `rung train` does with every model."
        ),
        evidence={
            "confidence": confidence,
            "val_accuracy": val.accuracy,
            "temperature": temperature,
            "calibration_error": before,
            "calibration_error_at_temperature": after,
        },
        reference="Guo et al., On calibration of modern neural networks, ICML 2017",
    )


def _error(predicted: Predicted, temperature: float) -> float:
    scaled = _at(predicted, temperature)
    correct = scaled.argmax(1) == predicted.labels
    return expected_calibration_error(reliability_bins(scaled.max(1), correct))


def _log_loss(predicted: Predicted, temperature: float) -> float:
    own = _at(predicted, temperature)[np.arange(len(predicted.labels)), predicted.labels]
    return float(-np.log(own.clip(1e-12)).mean())


def _at(predicted: Predicted, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) with the logits divided by the temperature."""
    scaled = predicted.probabilities.astype(np.float64).clip(1e-12) ** (1 / temperature)
    return np.asarray(scaled / scaled.sum(1, keepdims=True))
