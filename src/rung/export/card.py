"""The model card of a run: what it is for, what it was made from, how good it is, and how to use it."""

from __future__ import annotations

import re
from typing import Any

from rung.evaluation.result import Evaluation
from rung.runs import EVALUATION, Run

_CLASSES = 50  # rows of the table of classes


def model_card(run: Run, loading: str) -> str:
    """A model card in Markdown, with the sections of Mitchell et al.

    Args:
        run: a run that has been planned. What it has not come to yet is left out.
        loading: how to use what the card lies beside, in Markdown.

    Raises:
        RunError: a file of the run is damaged.

    Reference:
        Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv:1810.03993.
    """
    evaluation = run.evaluation if (run.path / EVALUATION).exists() else None
    data = run.info["data"]
    sections = [
        f"# {plain(data['name'])}: an image classifier",
        _summary(run),
        "## Intended use\n\n" + _use(data),
        "## Data\n\n" + _data(data),
        "## How good it is\n\n" + (_metrics(evaluation) if evaluation else "The run has not been evaluated."),
        "## Limits\n\n" + _limits(evaluation, data),
        "## How to use it\n\n" + loading,
        "## How it was made\n\n" + _making(run),
    ]
    return "\n\n".join(sections) + "\n"


def plain(value: Any) -> str:
    """Text that other people chose, on one line, without a meaning in Markdown or HTML."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~&$])", r"\\\1", line)


def _summary(run: Run) -> str:
    data = run.info["data"]
    height, width = data["image_size"]
    colour = "grey" if data["channels"] == 1 else "colour"
    return (
        f"Tells {len(data['classes'])} classes apart in {colour} images of {width} × {height} pixels. "
        f"A convolutional network trained from labelled images by [rung](https://pypi.org/project/rung/) "
        f"{plain(run.info.get('rung', ''))}, {plain(str(run.info.get('created', ''))[:10])}."
    )


def _use(data: dict[str, Any]) -> str:
    return (
        "To say which of the classes below an image shows that is **like those it was trained on**: the same kind of "
        "camera, scene and framing. It always names one of its classes; an image of something else gets one too, often "
        "with confidence. Decisions about people, or where a mistake does harm, are not what it was checked for."
    )


def _data(data: dict[str, Any]) -> str:
    images = data["images"]
    counts = ", ".join(f"{count:,} {name}" for name, count in images.items())
    lines = [f"{plain(data['name'])}: {counts} images.", *(f"- {plain(note)}" for note in data.get("notes", ()))]
    if data.get("unreadable"):
        count = len(data["unreadable"])
        lines.append(f"- {count:,} unreadable file{'s were' if count > 1 else ' was'} left out.")
    return "\n".join([lines[0], "", *lines[1:], f"- Fingerprint: `{data['fingerprint'][:64]}`"])


def _metrics(evaluation: Evaluation) -> str:
    low, high = evaluation.accuracy_interval
    rows = [
        ("Accuracy", f"{evaluation.accuracy:.2%} (95 % interval {low:.1%} to {high:.1%})"),
        ("Macro F1", f"{evaluation.macro_f1:.3f}"),
        ("Log loss", f"{evaluation.log_loss:.3f} nats"),
        ("Expected calibration error", f"{evaluation.expected_calibration_error:.3f}"),
    ]
    if evaluation.top5_accuracy is not None:
        rows.insert(1, ("Top-5 accuracy", f"{evaluation.top5_accuracy:.2%}"))
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    classes = ["| class | precision | recall | F1 | images |", "|---|---|---|---|---|"]
    weakest = sorted(evaluation.per_class, key=lambda scores: scores.f1)[:_CLASSES]
    classes += [
        f"| {plain(row.name)} | {row.precision:.1%} | {row.recall:.1%} | {row.f1:.3f} | {row.support:,} |"
        for row in weakest
    ]
    more = len(evaluation.per_class) - len(weakest)
    return "\n".join(
        [
            f"On {evaluation.test_images:,} test images that nothing was chosen by:",
            "",
            *table,
            "",
            "By class, the weakest first" + (f" ({more} better ones are left out):" if more else ":"),
            "",
            *classes,
        ]
    )


def _limits(evaluation: Evaluation | None, data: dict[str, Any]) -> str:
    lines = [
        "- The numbers above hold for images drawn like the test images. On others it will do worse, by how much is "
        "unknown until it is measured.",
        "- The probabilities were calibrated on a validation split of the same data; elsewhere they may be too sure.",
        "- An image is scaled until it covers the size above, and its centre is taken: the edges may not be seen.",
    ]
    if evaluation:
        weak = min(evaluation.per_class, key=lambda scores: scores.recall)
        lines.append(
            f"- The class that it misses most often is {plain(weak.name)}: it finds {weak.recall:.1%} of its images."
        )
    return "\n".join(lines)


def _making(run: Run) -> str:
    info = run.info
    versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in info.get("versions", {}).items())
    return (
        f"- Seed {info.get('seed')}; with {versions}.\n"
        f"- Recipe: `{str(info.get('recipe', {}).get('network', {}).get('name', '')).replace('`', '')}` network, "
        f"{plain(info.get('plan', {}).get('precision', ''))} arithmetic."
    )
