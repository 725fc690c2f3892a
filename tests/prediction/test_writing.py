"""Tables, CSV, JSON lines, Parquet and the gallery."""

from __future__ import annotations

import csv
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from rung.errors import DataError, RunError, UsageError
from rung.prediction import gallery
from rung.prediction.predicting import Prediction
from rung.prediction.writers import Csv, JsonLines, Table, chosen_format
from rung.prediction.writing import write_predictions
from rung.runs import Run

CLASSES = ("=SUM(A1)", "<script>alert(1)</script>", "\x1b[31mred")


def prediction(path: str = "a.png", probabilities: tuple[float, ...] = (0.2, 0.7, 0.1)) -> Prediction:
    return Prediction(path, CLASSES, np.array(probabilities, np.float32))


def test_a_table_is_for_people() -> None:
    out = io.StringIO()
    table = Table(out, CLASSES, 2, 0.75)
    table.write(prediction("\x1b]0;title.png"))
    table.write(Prediction("b.png", CLASSES, None, "it is damaged"))
    first, second = out.getvalue().splitlines()
    assert "unsure" in first and " 70.0%" in first and "\x1b" not in first and "(=SUM(A1) 20.0%)" in first
    assert "unreadable" in second and "it is damaged" in second


def test_csv_has_no_formulas() -> None:
    out = io.StringIO()
    rows = Csv(out, CLASSES, 5, 0)
    rows.write(prediction("@import.png", (0.7, 0.2, 0.1)))
    rows.write(Prediction("-b,\n.png", CLASSES, None, "+bad"))
    header, first, second = csv.reader(io.StringIO(out.getvalue()))
    assert header == [
        "path",
        "label",
        "probability",
        *(f"{n}_{k}" for k in (2, 3) for n in ("label", "probability")),
        "error",
    ]
    assert first[:3] == ["'@import.png", "'=SUM(A1)", "0.700000"]
    assert second[0] == "'-b,\n.png" and second[-1] == "'+bad" and len(second) == len(header)


def test_json_lines_are_objects() -> None:
    out = io.StringIO()
    rows = JsonLines(out, CLASSES, 2, 0.9)
    rows.write(prediction())
    rows.write(Prediction("b.png", CLASSES, None, "it is damaged"))
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["label"] == "unsure" and first["probability"] == 0.7 and len(first["top"]) == 2
    assert second == {"path": "b.png", "error": "it is damaged"}


def test_parquet_has_all_probabilities(run: Run, fruit: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    done = write_predictions(run, [fruit, tmp_path / "bad.jpg"], output=tmp_path / "answers.parquet")
    table = parquet.read_table(done.output)
    assert (done.images, done.unreadable, len(table)) == (49, 1, 49)
    assert json.loads(table.schema.metadata[b"classes"]) == list(run.info["data"]["classes"])
    row = table.to_pylist()[0]
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert table.to_pylist()[-1]["probabilities"] is None and table.to_pylist()[-1]["error"]


def test_a_file_appears_when_it_is_complete(run: Run, fruit: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    with pytest.raises(DataError, match="URL"):
        write_predictions(run, [fruit, "http://localhost/x.png"], output=output)
    assert list(tmp_path.glob("*answers*")) == []
    write_predictions(run, [fruit], output=output)
    assert output.read_bytes().startswith(b"\xef\xbb\xbfpath,label")
    with pytest.raises(RunError, match="cannot write"):
        write_predictions(run, [fruit], output=tmp_path / "no" / "folder.csv")


def test_bad_paths_on_standard_input_lose_nothing(
    run: Run, fruit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [next(fruit.rglob("*.png")), "http://localhost/x.png", tmp_path / "*.gif"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in given)))
    done = write_predictions(run, ["-", fruit], output=tmp_path / "answers.csv")
    assert (done.images, done.unreadable) == (51, 2)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_text(encoding="utf-8-sig"))))
    assert [bool(row["error"]) for row in rows[:4]] == [False, True, True, False]


def test_the_ending_tells_the_format() -> None:
    assert chosen_format(None, Path("a.JSONL")) == "json"
    assert chosen_format("table", Path("a.csv")) == "table"
    assert chosen_format(None, None) == "table"
    with pytest.raises(UsageError, match="must be one of"):
        chosen_format("xml", None)
    with pytest.raises(UsageError, match="--output"):
        chosen_format("parquet", None)
    assert chosen_format(None, Path("a.txt")) == chosen_format(None, Path("a")) == "table"
    with pytest.raises(UsageError, match=r"ends in \.xlsx, which is no format .* \.csv, .* --format table"):
        chosen_format(None, Path("a.xlsx"))


def test_nothing_at_all(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a single image"):
        write_predictions(run, [tmp_path])


def test_wrong_usage(run: Run, fruit: Path) -> None:
    with pytest.raises(UsageError, match="top-k"):
        write_predictions(run, [fruit], top=0)
    with pytest.raises(UsageError, match="threshold"):
        write_predictions(run, [fruit], threshold=50)
    with pytest.raises(RunError, match="there is no folder"):
        write_predictions(run, [fruit], html=fruit / "nowhere" / "page.html", output=fruit / "a.csv")
    assert not (fruit / "a.csv").exists()


def test_a_gallery_keeps_some_hundreds(
    run: Run, fruit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "DOUBTFUL", 4)
    monkeypatch.setattr(gallery, "OF_A_CLASS", 3)
    (tmp_path / "<b>bad.png").write_bytes(b"")
    write_predictions(run, [fruit, tmp_path], html=tmp_path / "gallery.html", threshold=0.5)
    page = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert page.count('class="thumb"') <= 4 + 3 * 3
    assert "pear &lt;b&gt;" in page and "<b>bad" not in page and "49 images" in page
    assert "Content-Security-Policy" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_gallery_of_nothing_readable(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    write_predictions(run, [tmp_path], html=tmp_path / "gallery.html", output=tmp_path / "a.csv")
    assert "Could not be read" in (tmp_path / "gallery.html").read_text(encoding="utf-8")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_answers_go_into_a_pipe_which_stays_one(run: Run, fruit: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_predictions(run, [fruit], form="csv", output=pipe)
        assert read.result(30).count("\n") > 3
    assert pipe.is_fifo()
