"""The pages of the server, from the same templates as the reports."""

from __future__ import annotations

import base64
import hashlib
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.responses import Response

from rung import __version__
from rung.errors import RunError
from rung.report import builder, confusion, page, verdict
from rung.serving.card import findings
from rung.serving.service import Service

WEB = Path(__file__).parent / "web"
_PAIRS = 8


class Pages:
    """Renders each page when it is first asked for, and keeps it; ``address`` is the server's, for examples in it."""

    def __init__(self, service: Service, address: str) -> None:
        self._service = service
        self._address = address
        self._lock = threading.Lock()
        self._kept: dict[str, Response] = {}

    def classify(self) -> Response:
        """The page for people."""
        return self._page("classify.html.jinja", self._run)

    def docs(self, schema: dict[str, Any]) -> Response:
        """What OpenAPI says about the server, for reading."""
        return self._page("docs.html.jinja", lambda: _operations(schema))

    def _page(self, template: str, context: Any) -> Response:
        with self._lock:
            if template not in self._kept:
                self._kept[template] = self._render(template, context())
            return self._kept[template]

    def _render(self, template: str, context: dict[str, Any]) -> Response:
        policy = self._policy
        text = page.render(
            template,
            folder=WEB,
            title=self._service.predictor.name,
            version=__version__,
            script=self._script,
            page_style=self._style,
            policy=policy,
            base=f"{self._address}/",
            **context,
        )
        # The policy of a page in a header, too, as not all of its rules count in the markup.
        headers = {"content-security-policy": f"{policy}; frame-ancestors 'none'"}
        return Response(text.encode("utf-8", "replace"), media_type="text/html; charset=utf-8", headers=headers)

    @cached_property
    def _script(self) -> Any:
        from markupsafe import Markup

        own = (WEB / "classify.js").read_text(encoding="utf-8")
        script = f"{page.asset('report.js')}\nif (document.getElementById('stage')) {{\n{own}\n}}"
        return Markup(script)  # nosec B704 (our own files)

    @cached_property
    def _style(self) -> Any:
        from markupsafe import Markup

        return Markup((WEB / "classify.css").read_text(encoding="utf-8"))  # nosec B704 (our own file)

    @cached_property
    def _policy(self) -> str:
        styles = " ".join(_digest(text) for text in (f"\n{page.asset('style.css')}\n", str(self._style)))
        rules = {
            "default-src": "'none'",
            "script-src": _digest(str(self._script)),
            "style-src-elem": styles,
            # Bars and cells of the matrix have their lengths and strengths in attributes, which no digest can cover.
            "style-src-attr": "'unsafe-inline'",
            "img-src": "'self' data: blob:",
            "media-src": "'self'",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in rules.items())

    def _run(self) -> dict[str, Any]:
        run, predictor = self._service.run, self._service.predictor
        try:
            evaluation = run.evaluation
        except RunError:
            evaluation = None
        history = run.history
        curves = builder.curves(history)
        confused = confusion.triples(evaluation) if evaluation else []
        script: dict[str, Any] = {
            "classes": len(predictor.classes),
            "small": max(predictor.image_size) <= 96,
            "body_bytes": self._service.limits.body_bytes,
        }
        if curves:
            script["curves"] = builder.hover(history, curves)
        return {
            "classes": predictor.classes,
            "size": predictor.image_size,
            "grey": predictor.channels == 1,
            "evaluation": evaluation,
            "majority": verdict.majority(evaluation) if evaluation else None,
            "verdict": verdict.verdict(evaluation) if evaluation else (),
            "curves": curves,
            "matrix": confusion.picture(evaluation) if evaluation else None,
            "pairs": confusion.pairs(evaluation, confused[:_PAIRS]) if evaluation else (),
            "findings": findings(run),
            "data": script,
        }


def _operations(schema: dict[str, Any]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation.get("tags", ["Other"])[0], []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": operation.get("summary", ""),
                    "description": " ".join(operation.get("description", "").replace("`", "").split()),
                    "parameters": [one for one in operation.get("parameters", ()) if one["in"] != "path"],
                    "takes": list(operation.get("requestBody", {}).get("content", {})),
                }
            )
    return {"groups": list(groups.items())}


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
