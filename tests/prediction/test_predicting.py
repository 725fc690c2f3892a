"""Answers in a stream."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rung
from rung.data import prepare
from rung.errors import DataError, UsageError
from rung.models.classifier import predict as classify
from rung.pipeline.afterwards import dataset_of
from rung.prediction import predicting
from rung.prediction.predicting import BATCH, Predictor, lines, shown
from rung.runs import Run


def test_the_test_images_get_the_answers_of_the_evaluation(run: Run, fruit: Path) -> None:
    split = dataset_of(run).test
    files = [fruit / str(split.file(place)) for place in range(len(split))]
    found = np.stack([prediction.probabilities for prediction in rung.predict(run, files)])
    np.testing.assert_allclose(found, np.array(run.predictions["probabilities"].to_pylist()), atol=1e-5)


def test_unreadable_files_are_told_and_the_rest_goes_on(run: Run, fruit: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but no more")
    good = next(fruit.rglob("*.png"))
    first, second, third = rung.predict(run.path, [good, tmp_path / "broken.png", tmp_path / "gone.png"])
    assert first.error is None and first.label in first.classes and 1 / 3 < (first.probability or 0) <= 1
    assert second.label is None and second.probability is None and second.error
    assert third.error == "no such file or directory"
    assert second.top(2) == [] and second.answer(0.9) is None


def test_the_order_is_that_of_the_files_over_many_batches(run: Run, fruit: Path) -> None:
    files = [str(path) for path in sorted(fruit.rglob("*.png"))] * 5
    assert len(files) > 2 * BATCH
    assert [prediction.path for prediction in rung.predict(run, files, workers=3)] == files


def test_an_endless_stream_is_read_a_few_batches_ahead(run: Run, fruit: Path) -> None:
    read = itertools.count()
    file = str(next(fruit.rglob("*.png")))

    def endless() -> object:
        while True:
            next(read)
            yield file

    stream = rung.predict(run, endless(), workers=2)
    for _ in range(3 * BATCH):
        next(stream)
    stream.close()
    assert next(read) <= 8 * BATCH


def test_images_of_any_size_and_kind_are_prepared_as_for_training(run: Run, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 47, 4), np.uint8), "RGBA")
    image.save(tmp_path / "large.png")
    (prediction,) = rung.predict(run, tmp_path)
    assert prediction.pixels is not None
    np.testing.assert_array_equal(prediction.pixels, prepare(image, (16, 16), 3))
    model = Predictor(run)
    np.testing.assert_allclose(model.probabilities(prediction.pixels[None])[0], prediction.probabilities, atol=1e-6)


def test_unsure_below_the_threshold(run: Run, fruit: Path) -> None:
    prediction = next(iter(rung.predict(run, fruit)))
    assert prediction.answer(0) == prediction.label
    assert prediction.answer(1.01) == "unsure"
    assert prediction.top(99)[0] == (prediction.label, prediction.probability)
    assert len(prediction.top(99)) == 3


def test_wrong_usage(run: Run) -> None:
    with pytest.raises(UsageError, match="precision"):
        rung.predict(run, ".", precision="float16")
    with pytest.raises(UsageError, match="workers"):
        rung.predict(run, ".", workers=0)
    with pytest.raises(DataError, match="URL"):
        rung.predict(run, "http://localhost/a.png")


def test_a_url_in_a_stream_does_not_end_it(run: Run, fruit: Path) -> None:
    good = str(next(fruit.rglob("*.png")))
    first, second, third = rung.predict(run, iter([good, "http://localhost/a.png", good]))
    assert first.label == third.label is not None
    assert second.path == "http://localhost/a.png" and second.error and "download it first" in second.error


def test_bfloat16_is_close(run: Run, fruit: Path) -> None:
    exact, fast = (
        np.stack([one.probabilities for one in rung.predict(run, fruit, precision=precision)])
        for precision in ("float32", "bfloat16")
    )
    assert 0 < np.abs(exact - fast).max() < 0.1


def test_names_as_text() -> None:
    assert shown(os.fsdecode(b"a\xff.png")) == "a\\xff.png"
    assert list(lines(["a.png\n", "\n", "b c.png"])) == ["a.png", "b c.png"]
    assert predicting.UNSURE == "unsure"


def _classified(run: Run) -> np.ndarray:
    from rung.training.weights import load_classifier

    return classify(load_classifier(run), dataset_of(run).test)


def test_it_is_the_classifier_of_the_run(run: Run) -> None:
    split = dataset_of(run).test
    np.testing.assert_allclose(Predictor(run).probabilities(split.take(slice(None))), _classified(run), atol=1e-6)
