import numpy as np
import pytest

from rung.evaluation.metrics import evaluate
from rung.evaluation.worker import EvaluationWorker

NAMES = ["a", "b\n", "</c>", "ď", "e", "f"]
GIVEN = {
    "train_accuracy": 0.9,
    "val_accuracy": 0.8,
    "val_images": 100,
    "seconds": 5.0,
    "wall_seconds": 9.0,
    "images_per_second": 700.0,
}


@pytest.fixture
def question():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 3_000)
    scores = rng.random((3_000, 6)) + np.eye(6)[labels]
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32), labels, NAMES


def test_gives_the_same_evaluation(question):
    with EvaluationWorker() as worker:
        process = worker._process
        assert worker.evaluate(*question, **GIVEN) == evaluate(*question, **GIVEN)
    assert process.returncode == 0


@pytest.mark.parametrize("moment", ["before", "unstartable"])
def test_gives_it_without_the_process_too(question, moment, monkeypatch):
    if moment == "unstartable":
        monkeypatch.setattr("sys.executable", "/no/such/python")
    worker = EvaluationWorker()
    if moment == "before":
        worker._process.kill()
        worker._process.wait()
    assert worker.evaluate(*question, **GIVEN) == evaluate(*question, **GIVEN)


def test_wrong_arguments_raise_here(question):
    probabilities, labels, names = question
    with EvaluationWorker() as worker, pytest.raises(ValueError, match="labels run"):
        worker.evaluate(probabilities, labels + 1, names, **GIVEN)


def test_leaves_no_process_behind():
    worker = EvaluationWorker()
    process = worker._process
    worker.close()
    worker.close()
    assert process.returncode is not None


def test_the_process_ends_when_its_parent_does():
    worker = EvaluationWorker()
    worker._process.stdin.close()  # what the system does when the parent dies
    assert worker._process.wait(timeout=60) == 0
