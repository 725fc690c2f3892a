"""ONNX Runtime Web: what computes in the page of ``--to web``.

Wheels of rung bring it along (``setup.py``). Elsewhere it is taken from the npm registry when the first page is
written, and kept in the cache. An archive, wherever it comes from, is checked by the digest that npm publishes for this
version.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from rung.data.cache import Cache
from rung.data.downloads import fetch
from rung.data.names import Download, KnownData
from rung.errors import DataError
from rung.progress import Progress

_HERE = Path(__file__).parent
_ABOUT: dict[str, str] = json.loads((_HERE / "engine.json").read_text(encoding="utf-8"))
NAME, VERSION = _ABOUT["name"], _ABOUT["version"]
_ARCHIVE = Download(f"{NAME}-{VERSION}.tgz", (_ABOUT["url"],), _ABOUT["sha512"], "sha512")


@dataclass(frozen=True)
class Engine:
    """The two files of ONNX Runtime Web: a JavaScript module, and the WebAssembly that it drives."""

    script: bytes
    binary: bytes


def web_engine(progress: Progress) -> Engine:
    """ONNX Runtime Web, from the installed package, ``$RUNG_DATA/onnxruntime-web/``, the cache or the npm registry.

    Raises:
        DataError: it cannot be had, or is damaged. The message says which file to put where.
    """
    names = _ABOUT["script"], _ABOUT["binary"]
    bundled = _HERE / NAME
    if all((bundled / name).is_file() for name in names):
        return Engine(*((bundled / name).read_bytes() for name in names))
    archive = _place(progress) / _ARCHIVE.file
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}") from error
    if hashlib.new(_ARCHIVE.algorithm, content).hexdigest() != _ARCHIVE.digest:
        raise DataError(f"{archive} is damaged, or another file; remove it, and it is fetched again")
    with tarfile.open(fileobj=io.BytesIO(content)) as inside:
        found = [inside.extractfile(f"package/dist/{name}") for name in names]
        return Engine(*(stream.read() if stream else b"" for stream in found))


def _place(progress: Progress) -> Path:
    root = os.environ.get("RUNG_DATA")
    if root and (Path(root) / NAME / _ARCHIVE.file).is_file():
        return Path(root) / NAME
    return fetch(NAME, KnownData("ONNX Runtime Web", downloads=(_ARCHIVE,)), Cache(), progress)
