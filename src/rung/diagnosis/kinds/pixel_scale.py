"""Pixel scale: values that do not use their range, differ between splits, are inverted, or never change."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy, Severity
from rung.diagnosis.look import DataLook

EXPLAINS: frozenset[str] = frozenset({"distribution_shift"})

# Greatest value of all pixels that is still a fault: 0 to 1 in bytes, or 10, 12 or 14 bits in 16.
DARK = 64
# Ratio of the deviations of two splits.
RATIO = 4.0
# A channel that never changes, and what another one must do beside it.
STILL, LIVELY = 0.5, 5.0
# Distance between the pixel values of two splits, and which part of it inverting one of them must leave.
DISTANCE, LEFT = 0.025, 0.3

CHANNELS = ("red", "green", "blue")


def find(evidence: Evidence) -> Iterator[Finding]:
    """Each of the four faults; at most one finding each."""
    look = evidence.look
    if look is None or "train" not in look.pixels:
        return
    yield from _range(look)
    yield from _splits(look)
    yield from _channels(look)


def _range(look: DataLook) -> Iterator[Finding]:
    train = look.pixels["train"]
    if train.most > DARK:
        return
    yield _finding(
        "warning" if train.levels > 2 else "note",
        f"The pixels of the training images go from {train.least} to {train.most} and use {train.levels} of the 256 "
        "levels of a byte: they were scaled wrongly before they were stored.",
        "Store the images with values from 0 to 255 (or from 0 to 1 as floating point numbers): multiply before you "
        "round, and scale 12-bit images to the whole range of 16 bits.",
        0.05 if train.levels <= 16 else 0.02,
        {"least": train.least, "most": train.most, "levels": train.levels},
    )


def _splits(look: DataLook) -> Iterator[Finding]:
    train, test = look.pixels["train"], look.pixels.get("test")
    if test is None:
        return
    before, after = look.inverted
    spread, other = max(train.deviation), max(test.deviation)
    if before > DISTANCE and after < LEFT * before:
        yield _finding(
            "serious",
            "The test images are inverted against the training images: light is dark and dark is light "
            f"(mean {_mean(train.mean)} against {_mean(test.mean)}).",
            "Invert one of the two splits, so that both show the same.",
            0.3,
            {"distance": before, "distance_if_inverted": after},
        )
    elif max(spread, other) > RATIO * min(spread, other):
        yield _finding(
            "serious",
            f"Training and test images are scaled differently: their pixels go up to {train.most} and {test.most}, "
            f"with deviations of {spread:.1f} and {other:.1f}.",
            "Bring both splits to the same range by the same steps.",
            0.3,
            {"train_deviation": spread, "test_deviation": other},
        )


def _channels(look: DataLook) -> Iterator[Finding]:
    train = look.pixels["train"]
    still = [k for k, value in enumerate(train.deviation) if value < STILL]
    if not still or max(train.deviation) < LIVELY:
        return
    names = " and ".join(CHANNELS[k] for k in still)
    yield _finding(
        "warning",
        f"The {names} channel{'s' if len(still) > 1 else ''} of the training images never change"
        f"{'' if len(still) > 1 else 's'} (always about {train.mean[still[0]]:.0f}).",
        "Look at how the images were read: a channel was lost on the way.",
        0.03 * len(still),
        {"channels": still, "deviation": list(train.deviation)},
    )


def _mean(values: tuple[float, ...]) -> str:
    return f"{sum(values) / len(values):.0f}"


def _finding(severity: Severity, statement: str, remedy: str, cost: float, evidence: dict[str, object]) -> Finding:
    reference = "LeCun et al., Efficient BackProp, in Neural Networks: Tricks of the Trade, 1998, section 4.3"
    return Finding("pixel_scale", severity, statement, Remedy(remedy), cost, evidence, reference=reference)
