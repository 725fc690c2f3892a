"""ONNX Runtime Web: what computes in the page of ``--to web``.

Its package is 33 MB, of which a page needs 4, so rung does not carry it: it is taken from the npm registry when the
first page is written, checked by the digest that npm publishes for this version, and kept in the cache.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from rung.data.cache import Cache
from rung.data.downloads import fetch
from rung.data.names import Download, KnownData
from rung.errors import DataError
from rung.progress import Progress

NAME, VERSION = "onnxruntime-web", "1.30.0"

_ARCHIVE = Download(
    f"{NAME}-{VERSION}.tgz",
    (f"https://registry.npmjs.org/{NAME}/-/{NAME}-{VERSION}.tgz",),
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61",
    "sha512",
)
_SCRIPT, _BINARY = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"


@dataclass(frozen=True)
class Engine:
    """The two files of ONNX Runtime Web: a JavaScript module, and the WebAssembly that it drives."""

    script: bytes
    binary: bytes


def web_engine(progress: Progress) -> Engine:
    """ONNX Runtime Web, from ``$RUNG_DATA/onnxruntime-web/``, the cache or the npm registry.

    Raises:
        DataError: it cannot be had, or is damaged. The message says which file to put where.
    """
    archive = _place(progress) / _ARCHIVE.file
    try:
        with tarfile.open(archive) as inside:
            found = {name: inside.extractfile(name) for name in (_SCRIPT, _BINARY)}
            script, binary = (stream.read() if stream else b"" for stream in found.values())
    except (OSError, KeyError, tarfile.TarError) as error:
        raise DataError(f"{archive} is damaged; remove it, and it is fetched again") from error
    return Engine(script, binary)


def _place(progress: Progress) -> Path:
    root = os.environ.get("RUNG_DATA")
    if root and (Path(root) / NAME / _ARCHIVE.file).is_file():
        return Path(root) / NAME
    return fetch(NAME, KnownData("ONNX Runtime Web", downloads=(_ARCHIVE,)), Cache(), progress)
