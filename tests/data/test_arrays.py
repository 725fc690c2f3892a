from __future__ import annotations

import numpy as np
import pytest

from rung.data.arrays import Layout, check_pixel_types, find_layout, find_scale, pixel_range, to_images
from rung.errors import DataError


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((5, 8, 9), Layout(False, 8, 9, 1)),
        ((5, 8, 9, 3), Layout(False, 8, 9, 3)),
        ((5, 3, 8, 9), Layout(True, 8, 9, 3)),
        ((5, 4, 8, 9), Layout(True, 8, 9, 4)),
        ((5, 3, 9, 3), Layout(False, 3, 9, 3)),
        ((0, 8, 9), Layout(False, 8, 9, 1)),
    ],
)
def test_layouts(shape: tuple[int, ...], layout: Layout) -> None:
    assert find_layout(shape, "x") == layout


@pytest.mark.parametrize("shape", [(), (5,), (5, 64), (5, 8, 9, 2), (5, 2, 8, 9), (1, 5, 8, 9, 3)])
def test_shapes_that_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"^x has images of the shape"):
        find_layout(shape, "x")


@pytest.mark.parametrize("shape", [(5, 0, 8), (5, 8, 0, 3), (1, 5000, 5000)])
def test_sizes_that_cannot_be_trained_on(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="cannot be trained on"):
        find_layout(shape, "x")


@pytest.mark.parametrize(
    ("dtype", "least", "most", "scale"),
    [
        (np.uint8, 0, 1, 1.0),
        (np.bool_, 0, 1, 255.0),
        (np.float32, 0, 1, 255.0),
        (np.float64, 0, 16, 1.0),
        (np.float32, 0, 255, 1.0),
        (np.int64, 0, 1, 1.0),
        (np.int64, 0, 255, 1.0),
        (np.uint16, 0, 65535, 255 / 65535),
        (np.uint16, 0, 255, 1.0),
    ],
)
def test_scales(dtype: type, least: float, most: float, scale: float) -> None:
    assert find_scale([np.dtype(dtype)], least, most, "x") == scale


@pytest.mark.parametrize(("dtype", "least", "most"), [(float, -1, 1), (float, 0, 256), (np.int32, 0, 65535)])
def test_nothing_is_guessed(dtype: type, least: float, most: float) -> None:
    with pytest.raises(DataError, match=r"scale them to 0\.\.1 or 0\.\.255 first"):
        find_scale([np.dtype(dtype)], least, most, "x")


@pytest.mark.parametrize("dtype", [object, complex, "U3", "M8[s]"])
def test_pixels_that_are_no_numbers(dtype: object) -> None:
    with pytest.raises(DataError, match="images of the type"):
        check_pixel_types([np.dtype(np.uint8), np.dtype(dtype)], "x")


def test_the_range_of_pieces() -> None:
    assert pixel_range([np.array([3.0, 1.0]), np.empty(0), np.array([2.0, 9.0])], "x", "here") == (1.0, 9.0)
    with pytest.raises(DataError, match=r"^here has pixels that are NaN or infinite in x"):
        pixel_range([np.array([1.0, np.nan])], "x", "here")


def test_every_layout_gives_the_same_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    variants = [images, images.transpose(0, 3, 1, 2), images.astype(np.float32), images / 255.0]
    for values in variants:
        layout = find_layout(values.shape, "x")
        scale = find_scale([values.dtype], *pixel_range([values], "x", "x"), "x")
        found = to_images(values, layout, scale)
        assert found.dtype == np.uint8 and found.flags.c_contiguous
        assert np.array_equal(found, images)


def test_grey_images_get_a_channel_and_alpha_is_laid_over_white() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(to_images(grey, find_layout(grey.shape, "x"), 1.0), grey[..., None])
    clear = np.array([[[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]]], np.uint8)
    found = to_images(clear, find_layout(clear.shape, "x"), 1.0)
    assert found.tolist() == [[[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]]
