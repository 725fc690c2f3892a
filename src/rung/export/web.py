"""A page that classifies images in the browser. It needs no server and no network, and no image leaves the computer.

Everything is in one ``index.html``: the model, ONNX Runtime Web, style and script. So it works from any static host
and from a disk, where browsers let a page load nothing. Model and engine are compressed and written as text in
elements that are never executed; the content security policy allows the page's own script, and WebAssembly, alone.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

import numpy as np

from rung.evaluation.result import Evaluation
from rung.export.card import model_card
from rung.export.engine import VERSION, web_engine
from rung.export.onnx import IMAGES, PROBABILITIES, metadata, onnx_model
from rung.export.target import Answers, Target
from rung.models.classifier import Classifier
from rung.progress import Progress
from rung.report import page
from rung.runs import EVALUATION, Run

FOLDER = Path(__file__).parent / "page"
# Of the server's page; by its place, since importing that package takes the server's libraries.
STYLE = Path(__file__).parents[1] / "serving" / "web" / "classify.css"
PAGE, CARD = "index.html", "README.md"
LOADING = f"""`{PAGE}` is everything: open it in a browser, from a disk or any web server, and drop images onto it.
It needs no network, and no image leaves the computer."""


def _write(run: Run, model: Classifier, path: Path, progress: Progress) -> None:
    engine = web_engine(progress)
    onnx = onnx_model(model, metadata(run)).SerializeToString(deterministic=True)
    parts = {"engine": engine.script, "binary": engine.binary, "model": onnx}
    path.mkdir()
    (path / PAGE).write_text(_page(run, {name: packed(content) for name, content in parts.items()}), encoding="utf-8")
    (path / CARD).write_text(model_card(run, LOADING), encoding="utf-8")


def packed(content: bytes) -> str:
    """Bytes as text that the page's script unpacks. The same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _page(run: Run, parts: dict[str, str]) -> str:
    from markupsafe import Markup

    data = run.info["data"]
    evaluation: Evaluation | None = run.evaluation if (run.path / EVALUATION).exists() else None
    own = [(FOLDER / name).read_text(encoding="utf-8") for name in ("prepare.js", "web.js")]
    script = "\n".join([page.asset("report.js"), *own])
    return page.render(
        "web.html.jinja",
        folder=FOLDER,
        title=str(data["name"]),
        classes=list(data["classes"]),
        evaluation=evaluation,
        size=data["image_size"],
        grey=data["channels"] == 1,
        version=VERSION,
        parts={name: Markup(text) for name, text in parts.items()},
        page_style=Markup(STYLE.read_text(encoding="utf-8")),
        script=Markup(script),
        policy=_policy(script),
        data={
            "classes": list(data["classes"]),
            "size": list(data["image_size"]),
            "channels": data["channels"],
            "names": [IMAGES, PROBABILITIES],
        },
    )


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        # The engine is a module that is imported from memory (blob:).
        f"default-src 'none'; script-src 'sha256-{digest}' blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def answers(path: Path) -> Answers:
    """What the model inside the page in the folder ``path`` answers, computed by ONNX Runtime."""
    import onnxruntime

    text = (path / PAGE).read_text(encoding="utf-8")
    found = re.search(r'id="model">([^<]*)<', text)
    assert found is not None
    model = gzip.decompress(base64.b64decode(found[1]))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([PROBABILITIES], {IMAGES: images})[0])


TARGET = Target("web", "ONNX Runtime", ("onnx", "onnxruntime"), "export", _write, answers, (PAGE, CARD))
