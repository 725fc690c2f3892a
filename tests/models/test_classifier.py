from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rung.models.classifier import ArrayPixels, Classifier, predict


class Linear(nn.Module):
    """Logits that depend on every pixel's place, so that no mirror image or shift goes unnoticed."""

    def __init__(self, size: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(channels * size[0] * size[1], classes, generator=generator) / 5)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1) @ self.weight


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 6, 5, 3), np.uint8)


def classifier(views: int = 1) -> Classifier:
    return Classifier(Linear((6, 5), 3, 4), [100.0, 120.0, 140.0], [50.0, 60.0, 70.0], views)


class Pixels:
    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: slice, /) -> np.ndarray:
        return self.images[positions]


def naive_logits(model: Classifier, images: np.ndarray) -> np.ndarray:
    scaled = (images.astype(np.float64) - model.mean.numpy()) / model.std.numpy()
    weight = model.network.weight.detach().numpy().astype(np.float64)
    return scaled.transpose(0, 3, 1, 2).reshape(len(images), -1) @ weight


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_normalisation_against_numpy(images: np.ndarray) -> None:
    model = classifier()
    expected = (images.astype(np.float32) - model.mean.numpy()) / model.std.numpy()
    normalised = model.normalise(torch.from_numpy(images))
    assert normalised.shape == (11, 3, 6, 5)
    assert normalised.dtype == torch.float32
    np.testing.assert_allclose(normalised.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("views", [1, 2, 6])
def test_views_are_averaged_logits(images: np.ndarray, views: int) -> None:
    model = classifier(views)
    sides = [images] if views == 1 else [images, images[:, :, ::-1]]
    logits = np.zeros((len(images), 4))
    for side in sides:
        if views < 6:
            logits += naive_logits(model, side) / len(sides)
            continue
        padded = np.pad(side, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        logits += 0.5 * naive_logits(model, side) / 2
        logits += 0.25 * naive_logits(model, padded[:, :-2, :-2]) / 2
        logits += 0.25 * naive_logits(model, padded[:, 2:, 2:]) / 2
    np.testing.assert_allclose(predict(model, Pixels(images)), softmax(logits), rtol=1e-4, atol=1e-6)


def test_a_mirror_image_is_predicted_like_its_original(images: np.ndarray) -> None:
    model = classifier(2)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    np.testing.assert_allclose(predict(model, Pixels(images)), predict(model, Pixels(mirrored)), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_the_batch_size_does_not_matter(images: np.ndarray, batch_size: int) -> None:
    done: list[int] = []
    found = predict(classifier(), Pixels(images), batch_size=batch_size, progress=done.append)
    np.testing.assert_allclose(found, predict(classifier(), Pixels(images)), rtol=1e-5)
    assert done == [*range(batch_size, 11, batch_size), 11]


def test_an_image_of_one_row_is_not_shifted() -> None:
    model = Classifier(Linear((1, 5), 3, 4), [100.0] * 3, [50.0] * 3, views=6)
    row = np.random.default_rng(0).integers(0, 256, (3, 1, 5, 3), np.uint8)
    np.testing.assert_array_equal(predict(model, Pixels(row)), predict(model, Pixels(row), views=2))


def test_probabilities_are_float32_rows_that_sum_to_one(images: np.ndarray) -> None:
    found = predict(classifier(2), Pixels(images))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert (found >= 0).all()


def test_a_temperature_changes_how_sure_but_not_what(images: np.ndarray) -> None:
    model = classifier()
    before = predict(model, Pixels(images))
    model.temperature.fill_(3.0)
    after = predict(model, Pixels(images))
    assert (after.argmax(1) == before.argmax(1)).all()
    np.testing.assert_allclose(after, softmax(naive_logits(model, images) / 3), rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_leaves_the_model_as_it_was(images: np.ndarray, training: bool) -> None:
    model = classifier().train(training)
    predict(model, Pixels(images), views=2)
    assert model.training is training
    assert model.views == 1


def test_views_can_be_chosen_for_once(images: np.ndarray) -> None:
    once = predict(classifier(1), Pixels(images), views=2)
    np.testing.assert_array_equal(once, predict(classifier(2), Pixels(images)))


def test_half_precision_says_nearly_the_same(images: np.ndarray) -> None:
    whole = predict(classifier(), Pixels(images))
    half = predict(classifier(), Pixels(images), precision="bfloat16")
    assert half.dtype == np.float32
    assert np.abs(whole - half).max() < 0.1


def test_preprocessing_and_temperature_are_stored_with_the_weights() -> None:
    assert {"mean", "std", "temperature", "network.weight"} == set(classifier().state_dict())


def test_a_network_that_cannot_get_ready_leaves_the_model_as_it_was() -> None:
    class Unwilling(nn.Flatten):
        def expect(self, images: int, precision: str) -> None:
            raise ZeroDivisionError

    model = Classifier(Unwilling(), [0.0], [1.0], views=2).train()
    with pytest.raises(ZeroDivisionError):
        predict(model, ArrayPixels(np.zeros((3, 2, 2, 1), np.uint8)), views=1)
    assert model.training and model.views == 2


def test_large_images_are_predicted_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting(nn.Flatten):
        def forward(self, input: Tensor) -> Tensor:
            seen.append(len(input))
            return super().forward(input)

    monkeypatch.setattr("rung.models.classifier.MOST_NUMBERS", 90)
    model = Classifier(Counting(), [0.0], [1.0], views=1)
    assert predict(model, ArrayPixels(np.zeros((20, 3, 3, 1), np.uint8))).shape == (20, 9)
    assert seen == [10, 10]
