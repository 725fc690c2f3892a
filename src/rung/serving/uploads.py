"""From the body of a request to the image files in it, and from those to the model's pixels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from rung.data.dataset import Images
from rung.data.preprocessing import Unusable, open_image, prepare
from rung.errors import DataError
from rung.serving.limits import Limits
from rung.serving.refusal import Refusal, busy

NAME = 200  # characters of a file's name that are repeated in an answer
SMALL = 2**16  # bytes, and pixels, up to which work is done faster than it could be handed to a thread
DECODERS = 2
FIELDS = 64  # parts of a form that need not be files

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """One file of a request, with the name that its sender gave it."""

    name: str
    content: bytes


class Bodies:
    """Receives the bodies of requests within ``limits``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0  # bytes

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, whose bytes count as held until the end of the context: stay there with all made of them.

        Raises:
            Refusal: it is too long, or too much is held.
        """
        body = await self._read(request)
        try:
            yield body
        finally:
            self.held -= len(body)

    async def _read(self, request: Request) -> bytes:
        limits = self._limits
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "compressed bodies are not read; send it as it is", close=True)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limits.body_bytes:
            raise self._too_long()
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                self.held += len(part)
                if size > limits.body_bytes:
                    raise self._too_long()
                if self.held > limits.held_bytes:
                    refusal = busy("the server is holding as much data as it may")
                    refusal.close = True
                    raise refusal
                parts.append(part)
        except BaseException as error:
            self.held -= size
            if isinstance(error, ClientDisconnect):
                raise Refusal(400, "the connection ended before the request did", close=True) from error
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_long(self) -> Refusal:
        return Refusal(413, f"the body is longer than the {self._limits.body_bytes:,} bytes that are read", close=True)


class Parser:
    """Takes bodies apart: small ones at once, others in a thread, one after the other.

    A body can be made so that this takes seconds, or many times its size in memory.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parse")

    async def run(self, parse: Callable[[], T], size: int) -> T:
        """What ``parse`` returns, which has so many bytes to look at."""
        if size <= SMALL:
            return parse()
        return await asyncio.get_running_loop().run_in_executor(self._thread, parse)

    def close(self) -> None:
        self._thread.shutdown()


def files_in(body: bytes, content_type: str, limits: Limits) -> list[Upload]:
    """The image files of a body: the files of a form (``multipart/form-data``), or the body itself.

    Raises:
        Refusal: the form is damaged, or there is no file or too many.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "multipart/form-data":
        found = _form_files(body, parameters, limits)
        if not found:
            raise Refusal(422, "the form has no file; send images as files, with curl: -F files=@image.png")
        return found
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise Refusal(
            415, "send image files as multipart/form-data, or the bytes of one as image/* or application/octet-stream"
        )
    if not body:
        raise Refusal(422, "the body is empty; send an image")
    return [Upload("", body)]


def _form_files(body: bytes, parameters: str, limits: Limits) -> list[Upload]:
    """Files of a form, whatever their fields are called; fields that are not files are left out."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    found: list[Upload] = []
    part: dict[str, Any] = {}
    damaged = Refusal(400, "the form is damaged, cut off or has no boundary; send it as multipart/form-data")
    ended = False

    def begin() -> None:
        part.clear()
        part.update(header=b"", value=b"", disposition=b"", start=-1, pieces=[])

    def field(data: bytes, start: int, end: int) -> None:
        part["header"] += data[start:end]

    def value(data: bytes, start: int, end: int) -> None:
        part["value"] += data[start:end]

    def header_end() -> None:
        if part["header"].lower() == b"content-disposition":
            part["disposition"] = part["value"]
        part["header"] = part["value"] = b""

    def content(data: bytes, start: int, end: int) -> None:
        part["pieces"].append(data[start:end])

    def end() -> None:
        _, options = parse_options_header(part["disposition"])
        if b"filename" in options:
            if len(found) == limits.files:
                raise Refusal(413, f"more than {limits.files} files in one request; send them in several")
            name = options[b"filename"].decode("utf-8", "replace")[:NAME]
            found.append(Upload(name, b"".join(part["pieces"])))

    def end_of_form() -> None:
        nonlocal ended
        ended = True

    _, options = parse_options_header(f"multipart/form-data;{parameters}")
    boundary = options.get(b"boundary", b"")
    # Before parsing, which takes a microsecond for each part and for whatever looks like one: there may be millions.
    if body.count(b"\r\n--" + boundary) > limits.files + FIELDS:
        raise Refusal(413, f"the form has too many parts; send {limits.files} files in one request at most")
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": field,
                "on_header_value": value,
                "on_header_end": header_end,
                "on_part_data": content,
                "on_part_end": end,
                "on_end": end_of_form,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise damaged from error
    if not ended:
        raise damaged
    return found


class Decoder:
    """Decodes images as training did: small ones at once, others in threads, so that they do not stop the server."""

    def __init__(self, size: tuple[int, int], channels: int, limits: Limits) -> None:
        self._size = size
        self._channels = channels
        self._pixels = limits.pixels
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    async def decode(self, uploads: Sequence[Upload]) -> list[Images | Unusable]:
        """For each upload its pixels, uint8 (H, W, C), or why it has none."""
        return [await self._one(upload.content) for upload in uploads]

    def close(self) -> None:
        self._threads.shutdown()

    async def _one(self, content: bytes) -> Images | Unusable:
        try:
            with open_image(content) as image:
                pixels = image.width * image.height
                if pixels > self._pixels:
                    size = f"{image.width} × {image.height}"
                    raise DataError(f"it has {size} pixels; at most {self._pixels:,} are read here")
                if len(content) <= SMALL and pixels <= SMALL:
                    return prepare(image, self._size, self._channels)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, prepare, image, self._size, self._channels)
        except Unusable as error:
            return error
