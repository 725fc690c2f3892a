from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from rung.data import prepare, read_image
from rung.data.preprocessing import Unusable, read_header, read_pixels
from rung.errors import DataError


def reopened(image: Image.Image, form: str, **options: object) -> Image.Image:
    content = io.BytesIO()
    image.save(content, form, **options)
    return Image.open(io.BytesIO(content.getvalue()))


def grey_ramp(height: int, width: int) -> np.ndarray:
    return np.linspace(0, 255, height * width).round().astype(np.uint8).reshape(height, width)


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(prepare(Image.fromarray(values), (7, 9), 3), values)
    assert np.array_equal(prepare(reopened(Image.fromarray(values), "PNG"), (7, 9), 3), values)


def test_result_has_the_shape_and_type_asked_for() -> None:
    for channels in (1, 3):
        pixels = prepare(Image.new("RGB", (31, 17)), (8, 12), channels)
        assert pixels.shape == (8, 12, channels)
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    upright = Image.fromarray(grey_ramp(6, 4))
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = reopened(stored, "PNG", exif=exif)
    assert np.array_equal(prepare(opened, (6, 4), 1)[..., 0], grey_ramp(6, 4))
    content = io.BytesIO()
    stored.save(content, "PNG", exif=exif)
    header = read_header(content.getvalue())
    assert (header.height, header.width, header.grey) == (6, 4, True)


def test_large_jpeg_is_rotated_and_reduced() -> None:
    picture = Image.new("RGB", (1600, 800), "blue")
    picture.paste("red", (0, 0, 800, 800))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise: red comes to the top
    pixels = prepare(reopened(picture, "JPEG", exif=exif), (64, 32), 3)
    assert pixels[5:27, :, 0].min() > 240
    assert pixels[37:59, :, 2].min() > 240


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored() -> None:
    content = io.BytesIO()
    Image.new("L", (5, 5), 7).save(content, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert (read_image(content.getvalue(), (5, 5), 1) == 7).all()


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (prepare(clear, (4, 4), 3) == 255).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert abs(int(prepare(half, (4, 4), 3)[0, 0, 0]) - 127) <= 1
    assert (prepare(Image.new("LA", (4, 4), (0, 0)), (4, 4), 1) == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    assert (prepare(reopened(palette, "PNG", transparency=1), (4, 4), 3) == 255).all()
    assert (prepare(reopened(palette, "PNG", transparency=bytes([255, 0])), (4, 4), 3) == 255).all()
    keyed = reopened(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (prepare(keyed, (4, 4), 3) == 255).all()
    grey_keyed = reopened(Image.new("L", (4, 4), 9), "PNG", transparency=9)
    assert (prepare(grey_keyed, (4, 4), 1) == 255).all()


def test_palettes_give_their_colours() -> None:
    palette = Image.new("P", (3, 3), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert prepare(palette, (3, 3), 3)[0, 0].tolist() == [200, 100, 50]
    assert (prepare(Image.new("1", (3, 3), 1), (3, 3), 1) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    wide = np.array([[0, 257, 32768, 65535]], np.uint16)
    for opened in (
        Image.fromarray(wide),
        reopened(Image.fromarray(wide), "PNG"),
        reopened(Image.fromarray(wide), "TIFF"),
    ):
        assert prepare(opened, (1, 4), 1)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert prepare(Image.fromarray(wide.astype(np.int32)), (1, 4), 1)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 128.0, 255.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_floating_point_is_scaled(values: list[float], expected: list[int]) -> None:
    image = reopened(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert prepare(image, (1, 3), 1)[0, :, 0].tolist() == expected


def test_nan_is_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        prepare(Image.fromarray(np.array([[np.nan, 1]], np.float32)), (1, 2), 1)


def test_cmyk_becomes_rgb() -> None:
    image = reopened(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = prepare(image, (8, 8), 3)[4, 4].tolist()
    assert red > 240 and green < 15 and blue < 15


def test_first_frame_is_taken() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    for form in ("GIF", "TIFF"):
        opened = reopened(frames[0], form, save_all=True, append_images=frames[1:])
        assert (prepare(opened, (4, 4), 1) == 10).all()


def test_colour_becomes_grey_and_grey_becomes_colour() -> None:
    grey = prepare(Image.new("RGB", (2, 2), (255, 0, 0)), (2, 2), 1)
    assert grey.shape == (2, 2, 1) and grey[0, 0, 0] == 76
    assert prepare(Image.new("L", (2, 2), 9), (2, 2), 3)[1, 1].tolist() == [9, 9, 9]


def test_resizing_covers_and_keeps_the_centre() -> None:
    wide = Image.new("RGB", (30, 10), "white")
    wide.paste("black", (10, 0, 20, 10))
    assert (prepare(wide, (10, 10), 3) == 0).all()
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    assert prepare(tall, (5, 5), 3)[1:-1].max() <= 3  # a filter with negative lobes may ring


def test_extreme_shapes() -> None:
    for size in ((1, 1), (10_000, 1), (1, 10_000)):
        assert (prepare(Image.new("L", size, 77), (8, 8), 1) == 77).all()


def test_shrinking_averages() -> None:
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    small = prepare(Image.fromarray(checks.astype(np.uint8)), (16, 16), 1)
    assert abs(small.astype(int) - 127).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_formats(form: str, tmp_path: Path) -> None:
    path = tmp_path / "ein Bild"
    Image.new("RGB", (20, 10), (250, 120, 10)).save(path, form)
    pixel = read_image(path, (5, 5), 3)[2, 2].astype(int)
    assert abs(pixel - (250, 120, 10)).max() <= 12
    assert read_pixels(path.read_bytes(), (5, 5), 3).shape == (5, 5, 3)


def test_progressive_jpeg() -> None:
    content = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(content, "JPEG", progressive=True)
    assert read_image(content.getvalue(), (8, 8), 3)[4, 4, 1] > 100


def test_truncated_file_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        path = tmp_path / f"cut.{form.lower()}"
        Image.fromarray(noise).save(path, form)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"cut.{form.lower()} cannot be used"):
            read_image(path, (16, 16), 3)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"II*\0"]
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="upload cannot be used"):
        read_image(content, (4, 4), 3, name="upload")
    with pytest.raises(Unusable):
        read_header(content)


def _huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (40_000, 40_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bomb_is_refused(width: int, height: int) -> None:
    bomb = _huge_png(width, height)
    with pytest.raises(DataError, match="million"):
        read_image(bomb, (4, 4), 1)
    with pytest.raises(Unusable, match="million"):
        read_header(bomb)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "absent.png", (4, 4), 3)
    with pytest.raises(DataError, match="not a regular file"):
        read_image(tmp_path, (4, 4), 3)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(DataError, match="not a regular file"):
            read_image(tmp_path / "pipe.png", (4, 4), 3)


def test_header_tells_grey_palettes_from_coloured_ones() -> None:
    grey, coloured = io.BytesIO(), io.BytesIO()
    ramp = Image.new("P", (4, 4), 1)
    ramp.putpalette([0, 0, 0, 99, 99, 99])
    ramp.save(grey, "PNG")
    ramp.putpalette([0, 0, 0, 99, 98, 99])
    ramp.save(coloured, "PNG")
    assert read_header(grey.getvalue()).grey
    assert not read_header(coloured.getvalue()).grey


def test_other_colour_spaces() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), "red"), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    content = io.BytesIO()
    lab.save(content, "TIFF")
    assert read_pixels(content.getvalue(), (4, 4), 3).shape == (4, 4, 3)
    assert prepare(Image.new("RGB", (4, 4), "red").convert("YCbCr"), (4, 4), 3)[0, 0, 0] > 250
    assert prepare(Image.new("RGB", (4, 4), "red").convert("HSV"), (4, 4), 3)[0, 0, 0] > 250
