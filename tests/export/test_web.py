"""The page that classifies by itself, in headless Chromium, from a disk, against the command line."""

from __future__ import annotations

import gzip
import html
import re
import shutil
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rung
from rung.data import prepare
from rung.errors import DataError
from rung.export import engine
from rung.export.engine import web_engine
from rung.export.exporting import export_run
from rung.export.web import FOLDER, TARGET, _page, packed
from rung.progress import silent
from rung.runs import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("content", [b"", b"something else", b"\x1f\x8b" + bytes(100)])
def test_an_archive_of_another_content_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_HERE", tmp_path / "without")
    monkeypatch.setenv("RUNG_DATA", str(tmp_path))
    (tmp_path / engine.NAME).mkdir()
    (tmp_path / engine.NAME / f"{engine.NAME}-{engine.VERSION}.tgz").write_bytes(content)
    with pytest.raises(DataError, match="is damaged, or another file; remove it"):
        web_engine(silent)


@pytest.fixture(scope="module")
def web_page(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported page. The engine comes from the cache of the user, where it stays for the next time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RUNG_CACHE", raising=False)
        try:
            web_engine(silent)
        except DataError as error:
            pytest.skip(f"ONNX Runtime Web cannot be had: {error}")
        return export_run(trained, "web", out=tmp_path_factory.mktemp("exported") / "web").path / "index.html"


def test_the_engine_that_came_with_the_package_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_HERE", tmp_path)
    folder = tmp_path / engine.NAME
    folder.mkdir()
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (folder / name).write_bytes(name.encode())
    found = web_engine(silent)
    assert found.script == b"ort.wasm.bundle.min.mjs" and found.binary == b"ort-wasm-simd-threaded.wasm"


def images(folder: Path) -> list[Path]:
    """Sizes that are kept, grown and shrunk a little and a lot; grey, transparent, turned by EXIF."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (40, 60, 4), np.uint8)
    large = Image.fromarray(small[..., :3]).resize((900, 600), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {
        "as it is.png": Image.fromarray(small[:16, :16, :3]),
        "tiny.png": Image.fromarray(small[:5, :7, :3]),
        "small.png": Image.fromarray(small[..., :3]),
        "grey.png": Image.fromarray(small[..., 0]),
        "alpha.png": Image.fromarray(small, "RGBA"),
        "large.png": large,
    }
    for name, image in made.items():
        image.save(folder / name)
    large.save(folder / "turned.jpg", exif=turned, quality=90)
    return sorted(folder.iterdir())


def test_the_page_answers_as_the_command_line(run: Run, web_page: Path, tmp_path: Path, browser: Any) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = images(folder)
    expected = list(rung.predict(run, files))
    context = browser.new_context(offline=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(web_page.as_uri())
    page.get_by_text("Ready.").wait_for(timeout=60_000)
    for file, prediction in zip(files, expected, strict=True):
        page.evaluate("delete document.getElementById('result').dataset.probabilities")
        page.set_input_files("#file", file)
        page.locator("#result[data-probabilities]").wait_for(timeout=20_000)
        found = np.array(page.evaluate("JSON.parse(document.getElementById('result').dataset.probabilities)"))
        # A browser decodes a JPEG whole, where Pillow takes a shortcut for one that is much too large.
        np.testing.assert_allclose(found, prediction.probabilities, atol=0.02 if file.suffix == ".jpg" else 1e-3)
        assert page.locator("#said").inner_text().startswith(str(prediction.label))
    page.set_input_files("#file", {"name": "no.png", "mimeType": "image/png", "buffer": b"no image"})
    page.get_by_text("cannot be read as an image").wait_for()
    assert complaints == []
    assert {url.split(":")[0] for url in requests} <= {"file", "blob", "data"}
    context.close()


def test_pixels_are_prepared_as_by_pillow_to_a_grey_level(browser: Any) -> None:
    random = np.random.default_rng(1)
    page = browser.new_page()
    page.add_script_tag(content=(FOLDER / "prepare.js").read_text(encoding="utf-8") + ";globalThis.prepare = prepare")
    for height, width, size, channels in [
        (8, 8, (8, 8), 3),
        (7, 9, (24, 16), 3),
        (44, 31, (16, 16), 1),
        (33, 34, (32, 32), 3),
        (200, 151, (16, 20), 3),
        (90, 300, (28, 28), 1),
    ]:
        rgba = random.integers(0, 256, (height, width, 4), np.uint8)
        rgba[..., 3] = 255
        expected = prepare(Image.fromarray(rgba[..., :3]), size, channels)
        call = "([p, w, h, s, c]) => Array.from(prepare(Uint8Array.from(p), w, h, s, c, false))"
        found = page.evaluate(call, [rgba.ravel().tolist(), width, height, list(size), channels])
        difference = np.abs(np.array(found).reshape(expected.shape) - expected.astype(int))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.1, (height, width, size, channels)
    page.close()


def test_the_page_may_load_nothing(web_page: Path) -> None:
    text = web_page.read_text(encoding="utf-8")
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    rules = dict(rule.split(" ", 1) for rule in html.unescape(found[1]).split("; "))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert set(rules["script-src"].split()[1:]) == {"blob:", "'wasm-unsafe-eval'"}
    assert "pear <b>" not in text and 'src="http' not in text
    assert (web_page.parent / "README.md").read_text(encoding="utf-8").startswith("# fruit")


def test_the_folder_has_what_the_target_says(web_page: Path) -> None:
    assert {file.name for file in web_page.parent.iterdir()} == set(TARGET.contents)


def test_packed_bytes_come_out_again() -> None:
    assert gzip.decompress(b64decode(packed(b"model"))) == b"model"
    assert packed(b"model") == packed(b"model")


def test_the_card_tells_of_the_files_that_are_there(web_page: Path) -> None:
    card = (web_page.parent / "README.md").read_text(encoding="utf-8")
    assert "index.html" in card and "model.pt2" not in card


def test_a_page_needs_nothing_of_a_server(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("rung.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)  # type: ignore[arg-type]
    assert "drop" in _page(trained, {"engine": "", "binary": "", "model": ""})
