"""The page in a browser: drop an image, read the answer, compare it with Python's."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rung.data import read_image
from rung.runs import Run

from .conftest import CLASSES, SIDE, Shades, png, serving

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this system")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Root, as in a container, has no sandbox to put the browser in.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=not root,
            args=["--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(run: Run) -> Iterator[str]:
    with serving(run) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, which must not complain about anything (its own Content-Security-Policy, for example)."""
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    # That an image was refused is for the page to say; that browsers log it, too, cannot be helped.
    assert [complaint for complaint in complaints if "422" not in complaint] == []


DROP = """([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const event = KIND === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.getElementById("frame").dispatchEvent(event);
}"""


def until(page: Page, condition: str, before: str | None = None) -> None:
    """Wait for a condition; Playwright's own way evaluates strings in the page, which its policy forbids."""
    for _ in range(200):
        if page.evaluate(f"before => {condition}", before):
            return
        page.wait_for_timeout(25)
    raise AssertionError(condition)


def give(page: Page, content: bytes, kind: str = "drop") -> None:
    page.evaluate(DROP.replace("KIND", json.dumps(kind)), [base64.b64encode(content).decode(), "<i>dropped.png"])


def test_a_dropped_image_gets_the_answer_that_python_gives(page: Page, run: Run, photographs: Path) -> None:
    from rung.training.weights import load_classifier

    file = sorted(photographs.rglob("*.png"))[7]
    give(page, file.read_bytes())
    expect(page.locator("#answers li")).to_have_count(len(CLASSES))
    import torch

    pixels = torch.from_numpy(np.array(read_image(file, (SIDE, SIDE), 3)[None]))
    expected = load_classifier(run).predict(pixels)[0]
    best = int(expected.argmax())
    assert page.inner_text("#answers li:first-child .name") == run.info["data"]["classes"][best]
    shown = float(page.inner_text("#answers li:first-child .figure").split("\u202f")[0])
    assert shown == pytest.approx(100 * float(expected[best]), abs=0.11)
    # Why, and compared with what.
    expect(page.locator("#why")).to_be_visible()
    assert page.evaluate("document.getElementById('seen').naturalWidth") == SIDE
    expect(page.locator("#alike li")).to_have_count(8, timeout=15_000)
    assert page.locator("#preview").is_visible()


def test_pasting_choosing_and_the_camera(page: Page) -> None:
    give(page, png(20), "paste")
    expect(page.locator("#result")).to_be_visible()
    page.set_input_files("#file", {"name": "chosen.png", "mimeType": "image/png", "buffer": png(240)})
    expect(page.locator("#why")).to_be_visible()
    first = page.get_attribute("#seen", "src")
    page.click("#camera")
    expect(page.locator("#viewfinder")).to_be_visible()
    until(page, "document.getElementById('video').videoWidth > 0")
    page.click("#shoot")
    expect(page.locator("#viewfinder")).to_be_hidden()
    until(page, "document.getElementById('seen').src !== before", first)
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_a_test_image_by_keyboard_with_its_truth(page: Page) -> None:
    expect(page.locator("#tests button")).to_have_count(12)
    page.locator("#tests button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#truth")).to_be_visible()
    said, truth = page.inner_text("#answers li:first-child .name"), page.inner_text("#truth")
    assert truth.startswith("Right") or (truth.startswith("Wrong: it is ") and said not in truth)
    before = page.locator("#tests img").first.get_attribute("src")
    page.click("#others")
    until(page, "document.querySelector('#tests img').getAttribute('src') !== before", before)


def test_what_is_no_image_is_said_so(page: Page) -> None:
    give(page, b"not an image")
    expect(page.locator("#problem")).to_contain_text("cannot be used")
    expect(page.locator("#result")).to_be_hidden()


def test_it_fits_a_phone_and_has_the_run_beside_it(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for place in ("#accuracy", "#learning", "#confusion", "#api"):
        assert page.locator(place).is_visible()
    assert page.locator("#headline").inner_text().endswith("What is in the picture?")


def test_without_data_the_page_works_and_says_so(browser: Browser, tmp_path: Path) -> None:
    bare = Run.create(tmp_path / "bare", "shades", {"status": "finished"})
    with serving(bare, predictor=Shades(), examples=False) as address:
        page: Any = browser.new_page()
        page.goto(address)
        expect(page.locator("#tries-note")).to_contain_text("not at hand")
        give(page, png(250))
        expect(page.locator("#answers li:first-child .name")).to_have_text("bright")
        expect(page.locator("#why")).to_be_visible()
        expect(page.locator("#similar")).to_be_hidden()
        page.close()


def test_the_documentation_page_lists_every_address(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address + "/docs")
    text = page.inner_text("main")
    for path in requests.get(address + "/openapi.json").json()["paths"]:
        assert path in text
    page.close()
