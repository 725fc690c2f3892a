"""Comparisons of invented runs: probabilities drawn from a seeded generator, never shown as anybody's result."""

import json
from pathlib import Path

import numpy as np
import pytest

import rung
from rung.cli.compare import compare as command
from rung.data.dataset import Dataset, Split
from rung.errors import RunError, UsageError
from rung.evaluation.metrics import evaluate
from rung.pipeline import comparing
from rung.runs import Run

CLASSES = ("cat", "</script><b>dog", '"{{ 7 * 7 }}"')
IMAGES = 240


def make_run(path: Path, skill: float, seed: int = 0, labels=None, classes=CLASSES, recipe=None, **data) -> Run:
    labels = np.arange(IMAGES) % len(classes) if labels is None else labels
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), len(classes))) + skill * np.eye(len(classes))[labels]
    exp = np.exp(logits)
    probabilities = (exp / exp.sum(1, keepdims=True)).astype(np.float32)
    info = {
        "status": "finished",
        "name": "invented",
        "seed": seed,
        "command": "rung train invented",
        "data": {"origin": "a generator", "fingerprint": "ab" * 32, "image_size": [8, 8], "channels": 1, **data},
        "recipe": recipe or {"label_smoothing": 0.2, "network": {"name": "fast"}},
        "plan": {"network": "fast", "parameters": 1234, "multiply_adds": 56789},
        "outcome": {"epochs": 3.0},
    }
    run = Run.create(path, "invented", info)
    known = {"train_accuracy": 0.9, "val_accuracy": 0.8, "val_images": 50}
    times = {"seconds": 12.0, "wall_seconds": 15.0, "images_per_second": 99.0}
    run.write_json("evaluation.json", evaluate(probabilities, labels, classes, **known, **times).to_dict())
    run.write_predictions(range(len(labels)), labels, probabilities)
    return run


@pytest.fixture
def weak(tmp_path: Path) -> Run:
    return make_run(tmp_path / "weak", 0.5)


@pytest.fixture
def strong(tmp_path: Path) -> Run:
    return make_run(tmp_path / "strong", 2.5, seed=1, recipe={"label_smoothing": 0.0, "network": {"name": "fast"}})


def answers(run: Run):
    table = run.predictions
    return np.array(table["prediction"].to_pylist()) == np.array(table["label"].to_pylist())


def test_the_difference_is_that_of_the_stored_predictions(weak, strong):
    found = rung.compare(weak, strong.path)
    (one,) = found.against
    assert (found.images, found.data) == (IMAGES, "invented")
    assert [run.name for run in found.runs] == ["weak", "strong"]
    assert one.accuracy.difference == pytest.approx(strong.evaluation.accuracy - weak.evaluation.accuracy)
    assert one.accuracy.distinguishable and one.p_value == one.accuracy.p_value < 1e-6
    a, b = answers(weak), answers(strong)
    assert set(one.gained) == set(np.flatnonzero(b & ~a)) and set(one.lost) == set(np.flatnonzero(a & ~b))
    assert [row.images for row in one.classes] == [80, 80, 80]
    assert one.settings["label smoothing"] == (0.2, 0.0) and one.settings["seed"] == (0, 1)
    assert "network name" not in one.settings
    run = found.runs[1]
    assert (run.parameters, run.multiply_adds, run.seconds, run.epochs) == (1234, 56789, 12.0, 3.0)
    assert run.bytes is None  # no weights here
    assert run.log_loss == pytest.approx(strong.evaluation.log_loss, abs=1e-6)
    assert run.calibration_error == pytest.approx(strong.evaluation.expected_calibration_error, abs=1e-9)


def test_two_methods_agree_about_the_interval(weak, strong):
    (one,) = rung.compare(weak, strong).against
    assert one.scores["accuracy"].interval == pytest.approx(one.accuracy.interval, abs=0.01)
    assert one.scores["log_loss"].interval[1] < 0 and one.scores["brier"].difference < 0


def test_several_runs_are_compared_with_the_first_and_corrected_for_their_number(weak, strong, tmp_path):
    third = make_run(tmp_path / "third", 0.6, seed=2)
    found = rung.compare(weak, strong, third)
    assert [one.name for one in found.against] == ["strong", "third"]
    for one in found.against:
        assert one.p_value >= one.accuracy.p_value
    assert found.against[0].p_value == pytest.approx(2 * found.against[0].accuracy.p_value)


def test_the_intervals_of_the_bootstrap_cover():
    from rung.evaluation.bootstrap import Scores, changes

    rng = np.random.default_rng(0)

    def drawn(labels, sharp):
        logits = rng.normal(size=(len(labels), 4)) + 1.5 * np.eye(4)[labels]
        exp = np.exp(sharp * logits)
        return exp / exp.sum(1, keepdims=True)

    many = rng.integers(0, 4, 100_000)
    true = [Scores.of(drawn(many, sharp), many) for sharp in (1.0, 1.6)]
    hits = dict.fromkeys(("log_loss", "brier", "overconfidence"), 0)
    trials = 60
    for _ in range(trials):
        labels = rng.integers(0, 4, 400)
        (found,) = changes([Scores.of(drawn(labels, sharp), labels) for sharp in (1.0, 1.6)])
        for name in hits:
            low, high = found[name].interval
            hits[name] += low <= getattr(true[1], name) - getattr(true[0], name) <= high
    # A smoke test of the method: 60 trials tell 95 % from 80 %, no more.
    assert min(hits.values()) >= 0.88 * trials, hits


def test_names_that_are_the_same_grow_until_they_differ(tmp_path):
    a, b = make_run(tmp_path / "x" / "run", 1.0), make_run(tmp_path / "y" / "run", 2.0)
    assert [run.name for run in rung.compare(a, b).runs] == ["x/run", "y/run"]


def test_runs_on_different_data_are_refused(weak, tmp_path):
    with pytest.raises(RunError, match="different classes"):
        rung.compare(weak, make_run(tmp_path / "a", 1.0, classes=("cat", "dog", "eel")))
    with pytest.raises(RunError, match="different test images"):
        rung.compare(weak, make_run(tmp_path / "b", 1.0, labels=np.arange(IMAGES)[::-1] % 3))
    with pytest.raises(RunError, match="different test images"):
        rung.compare(weak, make_run(tmp_path / "c", 1.0, labels=np.arange(99) % 3))
    with pytest.raises(RunError, match="fingerprints abababababab and cdcdcdcdcdcd"):
        rung.compare(weak, make_run(tmp_path / "d", 1.0, fingerprint="cd" * 32))
    with pytest.raises(RunError, match="fingerprints"):
        rung.compare(weak, make_run(tmp_path / "e", 1.0, fingerprint="cd" * 32, image_size=[4, 4], origin="another"))


def test_the_same_images_in_another_size_or_after_leaving_some_out_are_the_same_images(weak, tmp_path):
    smaller = make_run(tmp_path / "smaller", 1.0, fingerprint="cd" * 32, image_size=[4, 4])
    cleaned = make_run(tmp_path / "cleaned", 1.0, fingerprint="ef" * 32, excluded={"images": 9})
    assert len(rung.compare(weak, smaller, cleaned).against) == 2


def test_what_is_no_comparison(weak, tmp_path):
    with pytest.raises(UsageError, match="two runs or more"):
        rung.compare(weak)
    with pytest.raises(UsageError, match="named twice"):
        rung.compare(weak, weak.path)
    unfinished = Run.create(tmp_path / "unfinished", "invented", {"status": "running"})
    with pytest.raises(RunError, match="has not been evaluated"):
        rung.compare(weak, unfinished)


def test_the_page_shows_the_images_and_escapes_the_names(weak, strong, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 1), dtype=np.uint8)
    split = Split("test", pixels, np.arange(IMAGES), np.arange(IMAGES) % 3)
    dataset = Dataset("invented", "a generator", CLASSES, split, split, split, "ab" * 32)
    monkeypatch.setattr(comparing, "dataset_of", lambda run: dataset)
    page = tmp_path / "page.html"
    rung.compare(weak, strong, html=page)
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64" in text and "<b>dog" not in text and "&lt;b&gt;dog" in text and "49" not in CLASSES
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "is {{" not in text.replace("{{ 7 * 7 }}", "")
    for words in ("Only strong", "Only weak", "McNemar", "label smoothing", "rung train invented"):
        assert words in text


def test_the_page_without_the_images(weak, strong, tmp_path):
    page = tmp_path / "page.html"
    rung.compare(weak, strong, html=page)
    assert "no longer where the run found them" in page.read_text(encoding="utf-8")


def test_the_command(weak, strong, capsys, tmp_path):
    page = tmp_path / "page.html"
    command([weak.path, strong.path], html=page)
    said = capsys.readouterr().out
    assert "points more accurate than “weak”" in said and "McNemar's p below 0.001;" in said and str(page) in said
    assert "gains most" in said and "gains least" in said and "loses most" not in said
    command([weak.path, strong.path], html=None, as_json=True)
    values = json.loads(capsys.readouterr().out)
    assert values["images"] == IMAGES
    assert values["against_the_first"][0]["accuracy"]["distinguishable"] is True
    assert values["against_the_first"][0]["classes"][1]["name"] == CLASSES[1]
