"""From a template to one self-contained HTML page: what every report of rung shares.

A page loads nothing: its style, script and pictures are inside it, and its content security policy forbids
the browser to fetch anything or to run any script but the one whose digest it names. All text that comes
from data is escaped: by Jinja2 in the markup, by :func:`embed` in JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.report import text

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, folder: Path | None = None, **context: Any) -> str:
    """Fill a template.

    Args:
        template: file name, usually one that extends ``base.html.jinja``.
        folder: where it is, if not in ``templates/``.
        context: what the template names. ``data`` becomes JSON for the page's script.

    Returns:
        The page. It refers to nothing outside itself.
    """
    return _environment(folder).get_template(template).render({"data": {}, **context})


def asset(name: str) -> str:
    """The text of a style sheet or script of the reports."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def embed(value: Any) -> Markup:
    """JSON that may stand inside ``<script type="application/json">`` whatever its strings hold."""
    from markupsafe import Markup

    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return Markup(plain)  # nosec B704 (nothing that could end the script element is left)


@cache
def _environment(folder: Path | None) -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, *([folder] if folder else [])]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = asset("report.js")
    environment.globals.update(
        style=Markup(asset("style.css")),  # nosec B704 (our own file)
        script=Markup(script),  # nosec B704 (our own file)
        policy=_policy(script),
    )
    environment.filters.update(
        {
            "embed": embed,
            "percent": text.percent,
            "points": text.points,
            "duration": text.duration,
            "number": text.number,
            "count": text.count,
            "humanise": text.humanise,
        }
    )
    return environment


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
