from __future__ import annotations

import errno
import math
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.errors import RunError
from rung.runs import EVALUATION, HISTORY, PREDICTIONS, RUN, Epoch, Run
from rung.storage import CHECKSUMS

INFO = {"status": "running", "seed": 0}
ROW = Epoch(1.0, 391, 12.5, 0.25, 1.234, 0.5625, 1.5, 0.5, 1190.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "digits", INFO)


def names(folder: Path) -> list[str]:
    """Those that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# --- creating and opening ------------------------------------------------------------------------


def test_a_new_run_is_opened_by_its_path(run: Run) -> None:
    again = Run(str(run.path))
    assert again.info == INFO
    assert again.status == "running"
    assert names(run.path) == [CHECKSUMS, RUN]
    assert repr(again) == f"Run({str(run.path)!r})"


def test_runs_without_a_path_get_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Run.create(None, "digits", INFO).path for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(path.parent == Path("runs") and path.name.startswith("digits-") for path in paths)


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert Run.create(tmp_path, "digits", INFO).path == tmp_path


def test_nothing_of_the_users_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="is not empty; choose another with --out"):
        Run.create(tmp_path, "digits", INFO)
    assert names(tmp_path) == ["thesis.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make the run folder"):
        Run.create(tmp_path / "file", "digits", INFO)
    with pytest.raises(RunError, match="cannot make the run folder"):
        Run.create(tmp_path / "file" / "below", "digits", INFO)


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"is not a run folder: it has no run\.json"):
            Run(path)


@pytest.mark.parametrize("content", [b"", b'{"status": "runn', b"\xff\xfe", b"\0\0\0\0", b"[" * 100_000])
def test_a_damaged_run_names_its_file(run: Run, content: bytes) -> None:
    (run.path / CHECKSUMS).unlink()
    (run.path / RUN).write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        Run(run.path)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"status": null}'])
def test_json_that_describes_no_run_is_refused(run: Run, content: str) -> None:
    (run.path / CHECKSUMS).unlink()
    (run.path / RUN).write_text(content)
    with pytest.raises(RunError, match=r"run\.json is damaged: it does not describe a run"):
        Run(run.path)


def test_an_altered_run_is_noticed(run: Run) -> None:
    run.write_json(EVALUATION, {"accuracy": 0.8})
    text = (run.path / EVALUATION).read_text()
    (run.path / EVALUATION).write_text(text.replace("0.8", "0.9"))
    with pytest.raises(RunError, match=r"evaluation\.json is damaged or has been altered"):
        run.read_json(EVALUATION)


def test_a_run_is_trained_by_one_process_at_a_time(run: Run) -> None:
    with (
        run.exclusively(),
        pytest.raises(RunError, match="is being trained by another process; wait for it"),
        Run(run.path).exclusively(),
    ):
        pass
    with Run(run.path).exclusively():
        pass


# --- what is written reads back ------------------------------------------------------------------


def test_update_changes_what_is_named_and_keeps_the_rest(run: Run) -> None:
    run.update(status="finished", wall_seconds=19.5)
    assert Run(run.path).info == {"status": "finished", "seed": 0, "wall_seconds": 19.5}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(value=json_values)
def test_json_reads_back_exactly(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "digits", INFO)
        run.write_json("findings.json", value)
        assert run.read_json("findings.json") == value


def test_json_that_a_run_does_not_have_yet(run: Run) -> None:
    with pytest.raises(RunError, match=r"has no findings\.json: the run has not come that far"):
        run.read_json("findings.json")
    with pytest.raises(RunError, match=r"has no evaluation\.json"):
        _ = run.evaluation


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"accuracy": 1}'])
def test_an_incomplete_evaluation_is_refused(run: Run, content: str) -> None:
    run.write_text(EVALUATION, content)
    with pytest.raises(RunError, match=r"evaluation\.json is incomplete"):
        _ = run.evaluation


def test_not_a_number_is_never_written_as_json(run: Run) -> None:
    """No other program could read it."""
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_json("findings.json", {"loss": math.nan})
    assert names(run.path) == [CHECKSUMS, RUN]


@given(
    rows=st.lists(
        st.builds(
            Epoch,
            step=st.integers(0, 10**9),
            **{
                name: st.floats(0, 1e6)
                for name in Epoch.__dataclass_fields__
                if name != "step"
            },
        ),
        max_size=5,
    )
)  # fmt: skip
def test_history_reads_back_to_six_digits(rows: list[Epoch]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "digits", INFO)
        run.write_history(rows)
        read = run.history
        assert len(read) == len(rows)
        for after, before in zip(read, rows, strict=True):
            assert after.step == before.step
            assert vars(after) == pytest.approx(vars(before), rel=1e-5)
        # Reading and writing again, as resuming does, must not wear the numbers down.
        run.write_history(read)
        assert run.history == read


def test_history_is_a_csv_that_others_read(run: Run) -> None:
    run.write_history([ROW])
    assert (run.path / HISTORY).read_bytes() == (
        b"epoch,step,seconds,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy,images_per_second\n"
        b"1,391,12.5,0.25,1.234,0.5625,1.5,0.5,1190\n"
    )


def test_a_run_that_has_just_begun_has_an_empty_history(run: Run) -> None:
    assert run.history == ()
    run.write_history([])
    assert run.history == ()


def test_a_diverged_epoch_stays_in_the_history(run: Run) -> None:
    run.write_history([Epoch(1.0, 1, 1.0, 0.1, math.nan, 0.1, math.inf, 0.1, 1.0)])
    (row,) = run.history
    assert math.isnan(row.train_loss)
    assert math.isinf(row.val_loss)


@pytest.mark.parametrize(
    "content", [b"epoch,step\n1,2\n", b"\xff\xff\n1\n", b"epoch,step,seconds\n1,x,3\n", b"epoch\n" + b"1" * 200_000]
)
def test_a_damaged_history_names_its_file(run: Run, content: bytes) -> None:
    run.write_bytes(HISTORY, content)
    with pytest.raises(RunError, match=r"history\.csv cannot be read"):
        _ = run.history


def test_predictions_read_back(run: Run) -> None:
    probabilities = np.array([[0.75, 0.25, 0], [0.125, 0.125, 0.75]], np.float32)
    run.write_predictions([7, 9], np.array([0, 1]), probabilities)
    table = run.predictions
    assert table.column_names == ["index", "label", "prediction", "probabilities"]
    assert table["index"].to_pylist() == [7, 9]
    assert table["label"].to_pylist() == [0, 1]
    assert table["prediction"].to_pylist() == [0, 2]
    np.testing.assert_array_equal(np.array(table["probabilities"].to_pylist(), np.float32), probabilities)


def test_predictions_that_are_missing_or_damaged(run: Run) -> None:
    with pytest.raises(RunError, match=r"has no predictions\.parquet: the run has not been evaluated"):
        _ = run.predictions
    run.write_bytes(PREDICTIONS, b"PAR1 but not really")
    with pytest.raises(RunError, match=r"predictions\.parquet cannot be read"):
        _ = run.predictions


def test_text_is_utf8_whatever_the_system_prefers(run: Run) -> None:
    run.write_text("report.html", "猫 × 犬\n")
    assert (run.path / "report.html").read_bytes() == "猫 × 犬\n".encode()


# --- all or nothing ------------------------------------------------------------------------------


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_failed_update_keeps_what_is_on_disk_readable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr("os.fsync", failing(errno.ENOSPC))
        with pytest.raises(RunError):
            run.update(status="finished")
    assert Run(run.path).status == "running"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_others_may_read_a_run_as_they_may_any_new_file(run: Run) -> None:
    """A temporary file is private; a report that one cannot show to somebody is not what was asked for."""
    ordinary = run.path / "ordinary"
    ordinary.write_text("")
    assert stat.S_IMODE((run.path / RUN).stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_importing_it_is_light() -> None:
    script = "import sys, rung.runs; assert not {'torch', 'numpy', 'pyarrow', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
