"""``rung explore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rung.cli.app import STARTED, Json, Quiet, app, print_json, say, seed_in_range

if TYPE_CHECKING:
    from rung.pipeline.exploring import Exploration


@app.command()
def explore(
    data: Annotated[str, typer.Argument(help="digits, cifar10, cifar100, mnist, fashion-mnist, or a path.")] = "digits",
    out: Annotated[Path | None, typer.Option(help="Folder to make. Default: explorations/NAME-DATE-TIME.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: kept, or 64.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples that are drawn.", callback=seed_in_range)] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show what is in the data: counts, samples, statistics, duplicates, doubtful images."""
    from rung.pipeline import explore as look
    from rung.progress import SilentDisplay, training_display

    display = SilentDisplay() if quiet else training_display()
    found = look(data, out=out, image_size=image_size, seed=seed, display=display, started=STARTED)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Exploration) -> None:
    values = found.to_dict()
    height, width = values["image_size"]
    images, duplicates = values["images"], values["duplicates"]
    sums = [sum(counts) for counts in zip(*values["class_counts"].values(), strict=True)]
    colour = "grey" if values["channels"] == 1 else "colour"
    say(
        f"{sum(images.values()):,} images of {len(values['classes']):,} classes, {width} × {height} pixels, {colour}: "
        f"{images['train']:,} to train, {images['val']:,} to validate, {images['test']:,} to test"
    )
    say(f"Classes have {min(sums):,} to {max(sums):,} images")
    if values["originals"]["formats"]:
        formats = ", ".join(f"{name} {count:,}" for name, count in values["originals"]["formats"].items())
        sizes = values["originals"]["different_sizes"]
        say(f"Formats: {formats}; {sizes:,} size{'' if sizes == 1 else 's'}")
    say(
        f"Duplicates: {duplicates['exact']:,} exact and {duplicates['near']:,} near pairs, "
        f"{duplicates['across_splits']:,} of them across splits; {duplicates['test_images_seen_in_training']:,} test "
        "images have a copy in training or validation"
    )
    kinds = [item["kind"] for item in values["suspicious"]]
    told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    say(f"To look at: {told or 'nothing'}; unreadable files: {len(values['unreadable']):,}")
    say(f"Report: {found.report}")
