"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not (document.parent / target).exists()] == []


def test_the_files_that_the_readme_says_to_read_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("files below `src/rung/`")[1].split("Imports point one way")[0]
    names = re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", table)
    assert len(names) > 30
    assert [name for name in names if not (ROOT / "src" / "rung" / name).exists()] == []
