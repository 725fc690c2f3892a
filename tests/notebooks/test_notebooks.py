"""The notebooks run from top to bottom, for a moment, on digits; and the committed ones are those of their sources."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
MAKER = runpy.run_path(str(NOTEBOOKS / "run"))


def text_of(notebook: nbformat.NotebookNode) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_from_top_to_bottom(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNG_NOTEBOOK_DATA", "digits")
    monkeypatch.setenv("RUNG_NOTEBOOK_EPOCHS", "0.1")
    monkeypatch.delenv("RUNG_NOTEBOOK_PHOTOS", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = MAKER["read"](NOTEBOOKS / f"{name}.py")
    MAKER["execute"](notebook)
    assert "test images" in text_of(notebook)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("rung-")]


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_the_committed_notebook_is_that_of_its_source(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    committed = nbformat.read(path, as_version=4)
    nbformat.validate(committed)
    made = MAKER["read"](NOTEBOOKS / f"{name}.py")
    assert [(c.cell_type, c.source) for c in committed.cells] == [(c.cell_type, c.source) for c in made.cells]
    assert path.stat().st_size < 3_000_000
    said = [float(share) for share in re.findall(r"([0-9.]+)% of [0-9,]+ test images", text_of(committed))]
    assert said and min(said) > 50, "the outputs are those of a real training: run `notebooks/run`"
