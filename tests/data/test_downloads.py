from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rung.data.cache import Cache
from rung.data.downloads import fetch
from rung.data.names import KNOWN, Download, KnownData
from rung.errors import DataError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server:
    """Serves ``content`` with ranges, after ``drop`` bytes loses the connection, and writes down what was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.drop: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.headers.get("Range"))
                if self.path.startswith("/absent"):
                    self.send_error(404)
                    return
                wanted = self.headers.get("Range")
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and outer.ranges else 0
                total = len(outer.content)
                if start >= total and start:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if outer.drop is None else body[: outer.drop])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def known(self, *paths: str, md5: str = MD5) -> KnownData:
        urls = tuple(f"http://127.0.0.1:{self.http.server_port}/{path}" for path in paths)
        return KnownData("Some data", downloads=(Download("data.bin", urls, md5),))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def test_a_file_is_fetched_with_progress_and_once(server: Server) -> None:
    calls: list[tuple[str, int, int | None]] = []
    cache = Cache()
    folder = fetch("some", server.known("data"), cache, lambda *call: calls.append(call))
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert calls[-1] == ("Downloading data.bin", len(CONTENT), len(CONTENT))
    assert fetch("some", server.known("data"), cache, lambda *call: None) == folder
    assert len(server.asked) == 1
    assert [path.name for path in folder.iterdir()] == ["data.bin"]


def test_a_lost_connection_is_told_and_resumed(server: Server) -> None:
    server.drop = 300_000
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        fetch("some", server.known("data"), Cache(), lambda *call: None)
    assert "data.bin" in str(caught.value) and "RUNG_DATA" in str(caught.value)
    part = Cache().root / "downloads" / "some" / "data.bin.part"
    had = part.stat().st_size
    assert 0 < had <= 300_000
    server.drop = None
    folder = fetch("some", server.known("data"), Cache(), lambda *call: None)
    assert server.asked[-1] == f"bytes={had}-"
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_server_without_ranges(server: Server) -> None:
    folder = Cache().root / "downloads" / "some"
    folder.mkdir(parents=True)
    (folder / "data.bin.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    fetch("some", server.known("data"), Cache(), lambda *call: None)
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, b"wrong" * 1000, CONTENT + b"longer"])
def test_a_part_that_is_whole_or_wrong(server: Server, part: bytes) -> None:
    folder = Cache().root / "downloads" / "some"
    folder.mkdir(parents=True)
    (folder / "data.bin.part").write_bytes(part)
    fetch("some", server.known("data"), Cache(), lambda *call: None)
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server: Server) -> None:
    with pytest.raises(DataError, match="wrong checksum"):
        fetch("some", server.known("data", md5="0" * 32), Cache(), lambda *call: None)
    assert list((Cache().root / "downloads" / "some").iterdir()) == []


def test_the_next_address_is_tried(server: Server) -> None:
    folder = fetch("some", server.known("absent", "data"), Cache(), lambda *call: None)
    assert (folder / "data.bin").is_file()
    with pytest.raises(DataError, match="answered 404"):
        fetch("other", server.known("absent"), Cache(), lambda *call: None)


def test_no_network() -> None:
    known = KnownData("Some data", downloads=(Download("data.bin", ("http://127.0.0.1:9/data.bin",), MD5),))
    with pytest.raises(DataError) as caught:
        fetch("some", known, Cache(), lambda *call: None)
    message = str(caught.value)
    assert "the server cannot be reached" in message
    assert "get data.bin from http://127.0.0.1:9/data.bin and put it into" in message
    assert str(Path("downloads") / "some") in message


def test_known_data_is_complete() -> None:
    assert set(KNOWN) == {"digits", "cifar10", "cifar100", "mnist", "fashion-mnist"}
    for known in KNOWN.values():
        for download in known.downloads:
            assert len(download.digest) == 32
            assert all(url.endswith(download.file) for url in download.urls)
