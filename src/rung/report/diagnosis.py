"""The page of ``rung diagnose DATA``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.data.dataset import Dataset
from rung.diagnosis.finding import SEVERITIES, Finding
from rung.report.findings import picture_findings
from rung.report.page import render

# What was asked, for those kinds that were not found.
ASKED = {
    "unreadable_images": "files that cannot be read",
    "pixel_scale": "pixels of a wrong scale",
    "class_imbalance": "classes of very different sizes",
    "too_few_images": "classes with too few images",
    "leaked_test_images": "test images that were trained on",
    "contradictory_duplicates": "the same image under two labels",
    "distribution_shift": "test images unlike the training images",
    "shortcut": "borders, stamps or pixels that tell the class",
}
NEEDS_NETWORK = {
    "wrong_labels": "wrong labels",
    "shuffled_labels": "labels that have nothing to do with the images",
    "indistinct_classes": "classes that look the same",
}


def build_diagnosis_report(
    dataset: Dataset, findings: Sequence[Finding], about: Mapping[str, Any], lists: Sequence[str]
) -> str:
    """The page as HTML, one file that refers to nothing outside itself.

    Args:
        dataset: what was diagnosed.
        findings: worst first.
        about: what was looked at, as in ``findings.json``.
        lists: names of the CSV files beside the page.
    """
    found = {finding.kind for finding in findings}
    counted = [(severity, sum(f.severity == severity for f in findings)) for severity in SEVERITIES]
    asked = {**ASKED, **(NEEDS_NETWORK if about.get("network") else {})}
    return render(
        "diagnosis.html.jinja",
        title=dataset.name,
        about=about,
        findings=findings,
        counted=[(severity, count) for severity, count in counted if count],
        pictures=picture_findings(findings, dataset),
        lists=lists,
        fine=[words for kind, words in asked.items() if kind not in found],
        unasked=[] if about.get("network") else list(NEEDS_NETWORK.values()),
    )
