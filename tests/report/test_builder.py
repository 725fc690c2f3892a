import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from rung.data.dataset import Dataset
from rung.diagnosis import Finding, Remedy
from rung.errors import RunError
from rung.report import build_report
from rung.runs import Run

SECTIONS = [
    "learning",
    "confusion",
    "classes",
    "mistakes",
    "uncertain",
    "calibration",
    "plan",
    "data-used",
    "recipe",
    "reproduce",
]
VOID = {"meta", "br", "input", "path", "circle", "rect", "link", "img", "hr"}


class Page(HTMLParser):
    """What a browser would find: elements, their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.elements, self.text, self.scripts, self.open = text, [], "", [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data.replace("\u202f", " ")

    @property
    def data(self):
        return json.loads(next(s for s in self.scripts if s.startswith("{")))

    def all(self, tag, **wanted):
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]

    def having(self, attribute):
        return [a[attribute] for _, a in self.elements if attribute in a]


def report(run, dataset) -> Page:
    path = build_report(run, dataset)
    assert path == run.path / "report.html"
    assert path.stat().st_size < 3_000_000
    return Page(path.read_text(encoding="utf-8"))


def assert_self_contained(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"inline handler {name} in <{tag}>"
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert value.startswith(("#", "data:")), f"<{tag} {name}={value!r}> leaves the page"
    styles = "".join(re.findall(r"<style>(.*?)</style>", page.source, re.S))
    assert all(target.startswith("data:") for target in re.findall(r"url\(([^)]*)\)", styles))
    assert "@import" not in styles and not page.all("link") and not page.all("iframe")
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy and "unsafe-eval" not in policy


def test_has_every_section_and_is_self_contained(make_run):
    run, dataset = make_run()
    page = report(run, dataset)
    assert_self_contained(page)
    assert [s["id"] for s in page.all("section") if "id" in s] == SECTIONS
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    evaluation = run.evaluation
    assert f"{evaluation.accuracy * 100:.1f}" in page.text and "95 % interval" in page.text
    for words in ("Fast CNN", "4,000", "1 min 57", "rung train invented --budget 2m", "Seed 7", dataset.fingerprint):
        assert words in page.text, words
    for words in ("torn.png", "ends too early", "cut from the training images", "an imagined processor", "too rarely"):
        assert words in page.text, words


def test_every_confused_pair_has_images_and_the_numbers_are_those_of_the_evaluation(make_run):
    run, dataset = make_run()
    page = report(run, dataset)
    matrix = np.array(run.evaluation.confusion_matrix)
    cells = {tuple(map(int, cell.split("-"))) for cell in page.data["cells"]}
    assert cells == set(zip(*matrix.nonzero(), strict=True))
    for cell, places in page.data["cells"].items():
        true, said = map(int, cell.split("-"))
        for place in places:
            index, label, predicted, sure = page.data["images"][place]
            assert (label, predicted) == (true, said) == (dataset.test.labels[index], predicted)
            assert 0 <= sure <= 1000
        if true != said:
            sures = [page.data["images"][place][3] for place in places]
            assert sures == sorted(sures, reverse=True)
            assert len(places) == min(24, matrix[true, said])
    assert len(page.all("button", type="button", tabindex="-1")) == np.count_nonzero(matrix)


@pytest.mark.parametrize("files", [False, True])
def test_hostile_names_stay_text(make_run, hostile, files):
    names = (*hostile, "plain")
    run, dataset = make_run(
        classes=names,
        files=files,
        command="rung train '<b>x</b>' </code><script>",
        name=hostile[0],
        recipe={hostile[1]: hostile[0]},
        hardware={"cpu": hostile[1]},
    )
    info = run.info
    info["data"]["notes"] = list(hostile)
    info["data"]["unreadable"] = [{"file": hostile[1], "reason": hostile[0]}]
    run.update(data=info["data"])
    evil = hostile[0] + hostile[1]
    finding = Finding(evil, "warning", evil, Remedy(evil, evil), evidence={"chart": evil, evil: evil}, reference=evil)
    run.write_json("findings.json", {"findings": [finding.to_dict(), {"kind": evil}, evil]})
    page = report(run, dataset)
    assert_self_contained(page)
    assert len(page.all("script")) == 2 and not page.all("img") and not page.all("b", x="")
    assert "49" not in re.findall(r"^\s*(\d+)\s*$", page.text, re.M)
    assert page.data["classes"] == list(names)
    assert hostile[0] in page.text and hostile[1] in page.text


@pytest.mark.parametrize("classes, images", [(2, 60), (3, 7), (30, 900), (31, 900), (100, 3_000), (1_000, 4_000)])
def test_any_number_of_classes(make_run, classes, images):
    run, dataset = make_run(classes=tuple(f"species {k}" for k in range(classes)), images=images)
    page = report(run, dataset)
    assert_self_contained(page)
    rows = len(page.all("th", scope="row", title=None))
    assert rows >= classes  # every class has its scores
    columns = page.source.count('<th scope="col"><span title=')
    assert columns == (classes if classes <= 30 else 24)
    assert ("Look up a class" in page.text) == (classes > 30)
    assert ("Among the top 5" in page.text) == (classes > 5)


def test_small_grey_images_are_kept_exactly_and_enlarged_crisply(make_run):
    run, dataset = make_run(shape=(8, 8, 1), images=360)
    page = report(run, dataset)
    assert "image-rendering:pixelated" in page.source and "data:image/png;base64," in page.source


def test_large_images_are_reduced(make_run):
    run, dataset = make_run(shape=(120, 200, 3), images=120)
    page = report(run, dataset)
    assert "aspect-ratio:80/48" in page.source and "image-rendering:auto" in page.source


def test_noise_that_does_not_compress_still_fits(make_run):
    run, dataset = make_run(images=6_000, skill=0.5)  # the fixture's pixels are noise
    report(run, dataset)


def test_without_mistakes(make_run):
    run, dataset = make_run(skill=60.0)
    page = report(run, dataset)
    assert "Every one of the 500 test images" in page.text
    assert "There are none" in page.text and "No test image was confused" in page.text


def test_findings_are_shown(make_run):
    run, dataset = make_run()
    remedy = Remedy("Leave them out.", "rung train --exclude list.csv")
    found = [
        Finding("wrong_labels", "serious", "Twelve images look mislabelled.", remedy, evidence={"suspects": []}),
        Finding("overfitting", "warning", "It overfits.", remedy, evidence={"chart": "accuracy"}),
        Finding("failing_class", "warning", "One fails.", remedy, evidence={"class": "x"}, images={"val": (0, 1)}),
    ]
    run.write_json("findings.json", {"findings": [finding.to_dict() for finding in found]})
    page = report(run, dataset)
    assert "Twelve images look mislabelled." in page.text and "--exclude list.csv" in page.text
    assert "wrong labels" in page.text
    assert len(page.having("class")) and page.source.count('<div class="proof">') == 1
    assert page.source.count('class="thumb seen"') == 2


def test_without_the_data_set_images_are_named(make_run):
    run, _ = make_run()
    page = report(run, None)
    assert_self_contained(page)
    assert "data:image" not in page.source
    assert any("Test image" in label for label in page.having("aria-label"))


def test_another_data_set_is_not_mistaken_for_the_runs_own(make_run):
    run, dataset = make_run()
    short = dataset.test.subset(np.arange(10))
    other = Dataset("other", "", dataset.classes, short, short, short, "00")
    assert "data:image" not in report(run, other).source


@pytest.mark.parametrize("missing", ["history.csv", "evaluation.json", "predictions.parquet"])
def test_a_missing_file_leaves_out_its_sections(make_run, missing):
    run, dataset = make_run()
    (run.path / missing).unlink()
    page = report(run, dataset)
    assert_self_contained(page)
    assert len(page.all("h1")) == 1


def test_a_run_that_was_only_begun(tmp_path):
    run = Run.create(tmp_path / "run", "x", {"status": "interrupted"})
    page = report(run, None)
    assert "No result" in page.text and "interrupted" in page.text


@pytest.mark.parametrize("part", ["data", "plan", "recipe", "outcome", "timings", "versions", "hardware", "command"])
def test_a_missing_part_of_the_run_is_tolerated(make_run, part):
    run, dataset = make_run()
    run.info.pop(part)
    report(run, dataset)
    run.info[part] = {}
    report(run, dataset)


def test_a_recipe_of_parts_is_told_part_by_part(make_run):
    run, dataset = make_run(recipe={"network": {"stages": [[32, 32], [64, 64]]}, "augmentation": {"flip": False}})
    page = report(run, dataset)
    assert "network stages" in page.text and "32, 32 | 64, 64" in page.text and "augmentation flip" in page.text


def test_a_damaged_file_is_an_error(make_run):
    run, dataset = make_run()
    (run.path / "evaluation.json").write_text("{")
    with pytest.raises(RunError):
        build_report(run, dataset)


def test_one_epoch_and_values_that_are_not_numbers(make_run):
    run, dataset = make_run()
    one = run.history[0]
    run.write_history([type(one)(**{**vars(one), "train_loss": float("nan"), "val_loss": float("inf")})])
    page = report(run, dataset)
    assert page.data["curves"]["loss"] == [[None], [None]]


def test_the_same_run_gives_the_same_page(make_run):
    run, dataset = make_run()
    assert report(run, dataset).source == report(run, dataset).source


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_opening_a_cell_in_a_browser(make_run, hostile, tmp_path):
    run, dataset = make_run(classes=(*hostile, "plain"))
    matrix = np.array(run.evaluation.confusion_matrix)
    true, said = next((t, p) for t, p in np.argwhere(matrix > 0).tolist() if t != p and t < 2)
    path = build_report(run, dataset)
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path}/browser"]
    shown = subprocess.run(
        ["chromium", *arguments, "--virtual-time-budget=2000", "--dump-dom", f"{path.as_uri()}#cell-{true}-{said}"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    panel = shown[shown.index('id="examples"') :].split("</div>")[0]
    assert panel.count("<li>") == min(24, matrix[true, said])
    assert f"{matrix[true, said]} image" in panel
    assert "<script>alert" not in panel and "<img" not in panel
