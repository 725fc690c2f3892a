"""Who is let in, how much of what they send is read, and what every answer carries."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from rung.errors import RungError, UsageError
from rung.runs import Run
from rung.serving.limits import Limits
from rung.serving.metrics import Metrics
from rung.serving.server import address_of, is_loopback, prepare
from rung.serving.service import Service

from .conftest import SIDE, Shades, png, serving

Start = Callable[..., contextlib.AbstractContextManager[str]]


def post(address: str, *shades: int, path: str = "/predict", **options: Any) -> requests.Response:
    files = [("files", (f"{shade}.png", png(shade))) for shade in shades]
    return requests.post(address + path, files=files, timeout=10, **options)


def raw(address: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What a server answers to bytes, sent with pauses, until it closes the connection."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return answer


# --- answers ------------------------------------------------------------------------------------------


def test_one_image_many_images_and_a_bare_body(shades: Start) -> None:
    with shades() as address:
        answers = post(address, 10, 128, 250).json()
        assert answers["model"] == "shades"
        assert [(one["file"], one["label"]) for one in answers["predictions"]] == [
            ("10.png", "dark"),
            ("128.png", "medium"),
            ("250.png", "bright"),
        ]
        first = answers["predictions"][0]
        assert first["top"][0] == {"label": "dark", "class": 0, "probability": first["probability"]}
        bare = requests.post(address + "/predict?top=1&all=true", data=png(250), headers={"content-type": "image/png"})
        (answer,) = bare.json()["predictions"]
        assert len(answer["top"]) == 1 and len(answer["probabilities"]) == 3
        assert sum(answer["probabilities"]) == pytest.approx(1)


def test_an_unreadable_image_among_others_keeps_its_place(shades: Start) -> None:
    with shades() as address:
        files = [("files", ("good.png", png())), ("files", ("../<img>.png", b"not an image"))]
        answer = requests.post(address + "/predict", files=files)
        assert answer.status_code == 200
        good, bad = answer.json()["predictions"]
        assert good["label"] == "bright" and "error" not in good
        assert bad["file"] == "../<img>.png" and "label" not in bad and "cannot be used" in bad["error"]
        assert requests.post(address + "/predict", files=files[1:]).status_code == 422


def test_every_answer_has_the_headers_that_browsers_heed(shades: Start) -> None:
    with shades() as address:
        for path in ("/", "/docs", "/health", "/metrics", "/openapi.json", "/nothing", "/v2", "/v2/models/other"):
            answer = requests.get(address + path)
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers
            policy = dict(
                rule.strip().partition(" ")[::2] for rule in answer.headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
            script = policy.get("script-src", "'none'")
            assert "unsafe" not in script and "http" not in answer.headers["content-security-policy"]


def test_errors_are_one_sentence_of_json(shades: Start) -> None:
    with shades() as address:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("GET", "/predict", 405),
            ("POST", "/predict?top=0", 422),
            ("POST", "/predict?all=1", 422),
            ("GET", "/examples?count=x", 422),
            ("GET", "/examples?count=0", 422),
            ("GET", "/examples/x.png", 422),
            ("GET", "/examples/7.png", 404),
            ("GET", "/%00/..%2f", 404),
        ):
            answer = requests.request(method, address + path, data=b"x" if method == "POST" else None)
            assert (answer.status_code, list(answer.json())) == (status, ["error"]), path


def test_a_failing_model_says_nothing_about_the_machine(shades: Start, caplog: pytest.LogCaptureFixture) -> None:
    with shades(Shades(error=ValueError("/home/someone/secret"))) as address:
        answer = post(address, 1)
        assert answer.status_code == 500
        assert answer.json() == {"error": "the server failed; its log says how"}


def test_metrics_count_and_do_not_grow_with_made_up_paths(shades: Start) -> None:
    with shades() as address:
        post(address, 1, 2, 3)
        for number in range(20):
            requests.get(f"{address}/nothing-{number}")
        text = requests.get(address + "/metrics").text
        assert "rung_images_total 3.0" in text
        assert 'rung_requests_total{path="/predict",status="200"} 1.0' in text
        assert 'rung_requests_total{path="other",status="404"} 20.0' in text
        assert "nothing-" not in text


# --- limits -------------------------------------------------------------------------------------------


def test_too_many_bytes_files_or_pixels(shades: Start) -> None:
    with shades(limits={"body_bytes": 20_000, "files": 2, "pixels": 1000}) as address:
        assert post(address, 1, 2).status_code == 200
        assert post(address, 1, 2, 3).status_code == 413
        assert requests.post(address + "/predict", data=b"x" * 30_000).status_code == 413
        chunks = (b"x" * 1000 for _ in range(30))
        with contextlib.suppress(requests.ConnectionError):  # it may close before all has been sent
            assert requests.post(address + "/predict", data=chunks).status_code == 413
        bomb = requests.post(address + "/predict", data=png(1, (50, 50)), headers={"content-type": "image/png"})
        assert bomb.status_code == 422 and "50 × 50 pixels" in bomb.json()["error"]
        squeezed = requests.post(address + "/predict", data=png(), headers={"content-encoding": "gzip"})
        assert squeezed.status_code == 415


def test_a_full_queue_says_when_to_come_again_and_recovers(shades: Start) -> None:
    with shades(Shades(0.2), limits={"waiting_images": 2, "batch_images": 1}) as address:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda k: post(address, k), range(12)))
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 3
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
        assert post(address, 1).status_code == 200


def test_too_many_requests_at_once_are_turned_away(shades: Start) -> None:
    with shades(Shades(0.3), limits={"requests": 2}) as address:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda k: post(address, k), range(6)))
            assert requests.get(address + "/health").status_code == 200
        refused = [answer for answer in answers if answer.status_code == 503]
        assert 1 <= len(refused) <= 4 and all("retry-after" in answer.headers for answer in refused)


def test_too_much_data_held_is_turned_away(shades: Start) -> None:
    with shades(Shades(0.3), limits={"held_bytes": 100_000}) as address:
        big = {"files": ("x.png", png() + b"\0" * 60_000)}
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: requests.post(address + "/predict", files=big, timeout=10), range(3)))
        assert {answer.status_code for answer in answers} == {200, 503}
        time.sleep(0.05)
        assert "rung_held_bytes 0.0" in requests.get(address + "/metrics").text


def test_data_is_held_until_an_explanation_is_there(shades: Start) -> None:
    with shades(Shades(0.3), limits={"held_bytes": 100_000}) as address:
        big = {"files": ("x.png", png() + b"\0" * 60_000)}
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(requests.post, address + "/explain", files=big, timeout=10)
            time.sleep(0.15)
            assert "rung_held_bytes 0.0" not in requests.get(address + "/metrics").text
            assert requests.post(address + "/explain", files=big, timeout=10).status_code == 503
            assert first.result().status_code == 200
        time.sleep(0.05)
        assert "rung_held_bytes 0.0" in requests.get(address + "/metrics").text


def test_explanations_have_a_limit_of_their_own(shades: Start) -> None:
    with shades(Shades(0.1), limits={"patient_images": 100}) as address:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda k: post(address, k, path="/explain"), range(6)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)


def test_what_runs_in_the_background_waits_where_explanations_are_refused(bare: Run) -> None:
    async def main() -> None:
        limits = Limits(patient_images=1, batch_images=1)
        service = Service(bare, Shades(0.1), limits, Metrics(), examples=False)
        pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
        task = asyncio.create_task(service.neighbours._rows(pixels))
        await asyncio.sleep(0.01)
        assert len(await service.neighbours._rows(pixels)) == len(await task) == 2
        service.close()

    asyncio.run(main())


def test_an_answer_that_takes_too_long(shades: Start) -> None:
    with shades(Shades(1.0), limits={"seconds": 0.3}) as address:
        answer = post(address, 1)
        assert answer.status_code == 504 and "too long" in answer.json()["error"]


def test_a_body_that_drips_is_cut_off(shades: Start) -> None:
    with shades(limits={"seconds": 0.4}) as address:
        start = time.monotonic()
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        answer = raw(address, head, *[b"x"] * 6, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 408") and time.monotonic() - start < 3


def test_a_head_that_drips_is_cut_off_also_on_a_used_connection(shades: Start) -> None:
    with shades(limits={"header_seconds": 0.4}) as address:
        start = time.monotonic()
        assert raw(address, b"GET /health HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 6, pause=0.1) == b""
        assert raw(address) == b""
        whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = raw(address, whole, b"GET /hea", *[b"x"] * 6, pause=0.1)
        assert answer.count(b"HTTP/1.1") == 1 and answer.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - start < 5


def test_endless_heads_and_bodies_that_nobody_reads_are_cut_off(shades: Start) -> None:
    with shades(limits={"header_bytes": 4096, "body_bytes": 10_000}) as address:
        assert b" 431 " in raw(address, b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1000] * 8, pause=0.01)
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        head = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b" 404 " in raw(address, head, *[chunk] * 40)
        assert requests.get(address + "/health").status_code == 200


@pytest.mark.parametrize("rest", [[b"x"], [b"x"] * 30])
def test_bodies_that_come_after_the_answer_do_not_keep_a_connection(shades: Start, rest: list[bytes]) -> None:
    with shades(limits={"idle_seconds": 1}) as address:
        start = time.monotonic()
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (len(rest) ** 2)
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), 5) as connection:
            connection.sendall(head)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            with contextlib.suppress(ConnectionError):
                for byte in rest:
                    time.sleep(0.1)
                    connection.sendall(byte)
                assert connection.recv(65536) == b""
        assert time.monotonic() - start < 4.5


def test_a_connection_is_kept_for_the_next_request_also_after_a_late_body(shades: Start) -> None:
    with shades() as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), 5) as connection:
            for body in (b"", b"late", b"", b"late"):
                head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                connection.sendall(body)


def test_a_form_that_takes_long_to_parse_stops_nobody_else(shades: Start) -> None:
    with shades() as address, ThreadPoolExecutor(1) as pool:
        padded = b"--a\r\n\r\n\r\n--a" + b" " * 6_000_000
        kind = {"content-type": "multipart/form-data; boundary=a"}
        slow = pool.submit(requests.post, address + "/predict", data=padded, headers=kind, timeout=60)
        time.sleep(0.3)
        assert requests.get(address + "/health").status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 400


def test_too_many_connections_are_turned_away(shades: Start) -> None:
    with shades(limits={"connections": 3, "header_seconds": 0.5}) as address:
        place = urlsplit(address)
        idle = [socket.create_connection((place.hostname, place.port)) for _ in range(3)]
        time.sleep(0.1)
        assert raw(address, b"GET /health HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503")
        time.sleep(0.6)  # the idle ones have had their time
        assert requests.get(address + "/health").status_code == 200
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_requests_that_are_none(shades: Start, request_: bytes) -> None:
    with shades(limits={"header_seconds": 1.0, "idle_seconds": 1}) as address:
        answer = raw(address, request_)
        assert not answer or 400 <= int(answer.split()[1]) < 500 or answer.startswith(b"HTTP/1.1 200")
        assert requests.get(address + "/health").status_code == 200


def test_stopping_finishes_what_is_in_work(bare: Run) -> None:
    with serving(bare, predictor=Shades(0.5), examples=False) as address:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda k=k: answers.append(post(address, k).status_code)) for k in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert answers == [200] * 3


# --- who is let in ------------------------------------------------------------------------------------


def test_a_token_is_asked_for_everywhere_but_health(shades: Start) -> None:
    with shades(token="open sesame") as address:
        paths = [
            "/",
            "/docs",
            "/model",
            "/metrics",
            "/openapi.json",
            "/examples",
            "/v2",
            "/v2/models/shades",
            "/nothing",
        ]
        for path in paths:
            answer = requests.get(address + path)
            assert answer.status_code == 401 and "Basic" in answer.headers["www-authenticate"], path
        assert post(address, 1).status_code == 401
        for path in ("/health", "/v2/health/live", "/v2/health/ready"):
            assert requests.get(address + path).status_code == 200
        bearer = {"authorization": "Bearer open sesame"}
        assert requests.get(address + "/metrics", headers=bearer).status_code == 200
        assert post(address, 1, headers=bearer).status_code == 200
        assert requests.get(address + "/", auth=("anyone", "open sesame")).status_code == 200
        for wrong in (
            "Bearer open sesam",
            "Bearer ",
            "bearer",
            "Basic !!!",
            "Basic " + base64.b64encode(b"x").decode(),
            "Digest open sesame",
        ):
            assert requests.get(address + "/metrics", headers={"authorization": wrong}).status_code == 401, wrong


def test_pages_of_other_sites_are_kept_out(shades: Start) -> None:
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    with shades() as address:
        assert post(address, 1, headers=foreign).status_code == 403
        assert post(address, 1, headers={"host": "evil.example"}).status_code == 421
        for host in ("localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"):
            assert requests.get(address + "/health", headers={"host": host}).status_code == 200
        ask = {**foreign, "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in requests.options(address + "/predict", headers=ask).headers
    with shades(origins=["https://friend.example"], hosts=["photos.example"], token="open sesame") as address:
        friend = {**foreign, "origin": "https://friend.example", "access-control-request-method": "POST"}
        assert requests.options(address + "/predict", headers=friend).status_code == 200
        answer = post(address, 1, headers={**friend, "authorization": "Bearer open sesame", "host": "photos.example"})
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert post(address, 1, headers={**foreign, "authorization": "Bearer open sesame"}).status_code == 403


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no 127.0.0.2")
def test_the_address_that_is_listened_at_is_one_of_the_names(bare: Run) -> None:
    server, listener = prepare(
        bare, host="127.0.0.2", port=0, hosts=["Photos.example"], predictor=Shades(), examples=False
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        address = address_of(listener, "127.0.0.2")
        assert requests.get(address + "/health").status_code == 200
        for host, status in (("photos.example", 200), ("PHOTOS.example:80", 200), ("evil.example", 421)):
            assert requests.get(address + "/health", headers={"host": host}).status_code == status
        for path in ("/", "/docs"):
            assert f"curl -F files=@image.png {address}/predict" in requests.get(address + path).text
    finally:
        server.should_exit = True
        thread.join(10)


def test_wrong_arguments_are_refused_in_a_sentence(bare: Run) -> None:
    for wrong in ({"token": "short"}, {"origins": ["example.org"]}, {"port": 70000}):
        with pytest.raises(UsageError):
            prepare(bare, predictor=Shades(), **{"host": "127.0.0.1", "port": 0, **wrong})
    with pytest.raises(UsageError, match="files"):
        Limits(files=0)
    with (
        serving(bare, predictor=Shades(), examples=False) as address,
        pytest.raises(RungError, match="choose another"),
    ):
        prepare(bare, predictor=Shades(), host="127.0.0.1", port=urlsplit(address).port or 0)
    assert is_loopback("localhost") and is_loopback("::1") and not is_loopback("0.0.0.0")
    assert not is_loopback("photos.example")


def test_a_card_of_a_run_that_has_little_to_say(shades: Start) -> None:
    with shades() as address:
        card = requests.get(address + "/model").json()
        assert card["classes"] == ["dark", "medium", "bright"] and "metrics" not in card
        page = requests.get(address + "/").text
        assert "What is in the picture?" in page and "How good it is" not in page
        assert requests.get(address + "/examples").json() == {"state": "gone", "images": []}
        assert json.loads(post(address, 1, path="/similar").text)["state"] == "gone"
