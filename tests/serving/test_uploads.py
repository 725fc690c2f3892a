"""From bodies to files."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.serving.limits import Limits
from rung.serving.refusal import Refusal
from rung.serving.uploads import NAME, SMALL, Parser, files_in

FORM = "multipart/form-data; boundary=XX"


def form(*parts: tuple[str, bytes]) -> bytes:
    pieces = [
        f"--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts
    ]
    return b"".join([*pieces, b"--XX--\r\n"])


def test_files_of_any_field_in_their_order_and_no_other_fields() -> None:
    body = form(
        ('name="a"; filename="one.png"', b"1"),
        ('name="note"', b"not a file"),
        ('name="b"; filename="größe.png"', b"2\r\n--X"),
        ('name="b"; filename=""', b""),
    )
    found = files_in(body, FORM, Limits())
    assert [(one.name, one.content) for one in found] == [("one.png", b"1"), ("größe.png", b"2\r\n--X"), ("", b"")]


def test_a_bare_image_is_a_file_without_a_name() -> None:
    for kind in ("image/png", "application/octet-stream", "", "Image/JPEG; q=1"):
        assert files_in(b"bytes", kind, Limits())[0].content == b"bytes"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 422),
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", FORM, 400),
        (form(('name="a"; filename="x"', b"1"))[:-9], FORM, 400),
        (form(('name="a"', b"1")), FORM, 422),
        (form(*[('name="a"; filename="x"', b"1")] * 3), FORM, 413),
        (b"x", "multipart/form-data; boundary=" + "X" * 500, 400),
        (b"--XX\r\n\r\n" * 100 + b"--XX--", FORM, 413),
        (form(('name="a"; filename="x"', b"\r\n--XXX" * 100)), FORM, 413),
    ],
)
def test_what_is_refused(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        files_in(body, kind, Limits(files=2))
    assert refused.value.status == status


def test_large_bodies_are_parsed_beside_the_loop_one_at_a_time() -> None:
    async def main() -> None:
        parser = Parser()
        at_once = most = 0

        def parse() -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            time.sleep(0.05)
            at_once -= 1

        turns = 0
        tasks = [asyncio.create_task(parser.run(parse, SMALL + 1)) for _ in range(3)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.005)
            turns += 1
        await asyncio.gather(*tasks)
        assert turns > 5 and most == 1
        assert await parser.run(threading.get_ident, SMALL) == threading.get_ident()
        parser.close()

    asyncio.run(main())


def test_long_names_are_cut() -> None:
    (found,) = files_in(form((f'name="a"; filename="{"x" * 1000}"', b"1")), FORM, Limits())
    assert found.name == "x" * NAME


@given(st.binary(max_size=200), st.text(st.characters(max_codepoint=255), max_size=40))  # as headers are decoded
def test_any_bytes_are_files_or_a_refusal(body: bytes, kind: str) -> None:
    for type_ in (FORM, f"multipart/form-data;{kind}", kind):
        for content in (body, form(('name="a"; filename="x"', body)), b"--XX" + body):
            try:
                assert files_in(content, type_, Limits())
            except Refusal as refusal:
                assert 400 <= refusal.status < 500
