"""The lists of images that findings lead to, as CSV: for people to look through, and for ``rung train --exclude``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rung.data.dataset import Dataset
from rung.data.lists import identify, list_csv
from rung.diagnosis.finding import Finding
from rung.diagnosis.kinds import contradictory_duplicates, leaked_test_images, wrong_labels

Row = Sequence[object]

COLUMNS = ("image", "split", "label")


def lists_of(findings: Iterable[Finding], dataset: Dataset) -> dict[str, str]:
    """The text of each list by its file name.

    In every one of them a row is an image that may be left out, the most suspicious first: never one of the test split,
    because without it something else would be measured.
    """
    found: dict[str, str] = {}
    for finding in findings:
        if finding.kind == "wrong_labels":
            found[wrong_labels.LIST] = list_csv((*COLUMNS, "suggested", "score"), _suspects(finding, dataset))
        elif finding.kind == "leaked_test_images":
            columns = (*COLUMNS, "test_image", "test_label", "alike")
            found[leaked_test_images.LIST] = list_csv(columns, _copies(finding, dataset))
        elif finding.kind == "contradictory_duplicates":
            columns = (*COLUMNS, "twin", "twin_label", "alike")
            found[contradictory_duplicates.LIST] = list_csv(columns, _twins(finding, dataset))
    return found


def _image(dataset: Dataset, split: str, position: int) -> tuple[str, str]:
    """What a list calls an image, and its label."""
    part = {each.name: each for each in dataset.splits}[split]
    return identify(part, position), dataset.classes[part.labels[position]]


def _suspects(finding: Finding, dataset: Dataset) -> list[Row]:
    rows: list[Row] = []
    for split, position, suggested, score in finding.evidence["suspects"]:
        image, label = _image(dataset, split, position)
        rows.append((image, split, label, "" if suggested is None else dataset.classes[suggested], score))
    return rows


def _copies(finding: Finding, dataset: Dataset) -> list[Row]:
    rows: dict[str, Row] = {}
    for (test, other), alike in zip(finding.evidence["pairs"], finding.evidence["alike"], strict=True):
        image, label = _image(dataset, *other)
        rows.setdefault(image, (image, other[0], label, *_image(dataset, *test), alike))
    return list(rows.values())


def _twins(finding: Finding, dataset: Dataset) -> list[Row]:
    rows: dict[str, Row] = {}
    for pair, alike in zip(finding.evidence["pairs"], finding.evidence["alike"], strict=True):
        for place, twin in (pair, pair[::-1]):
            image, label = _image(dataset, *place)
            rows.setdefault(image, (image, place[0], label, *_image(dataset, *twin), alike))
    return list(rows.values())
