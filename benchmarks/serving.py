"""What ``rung serve`` delivers: start-up, latency under load, images a second, memory.

    python benchmarks/serving.py runs/cifar10-… --seconds 60 --connections 64
    python benchmarks/serving.py runs/cifar10-… --minutes 10                  # memory

The run must be of CIFAR-10 or another data set that is at hand, whose test images are sent as PNG files. The clients
are a process of their own and share the machine's cores with the server, so that a server with cores to itself does
better. Each client sends its next request as soon as it has its answer. A row a run is appended to
``benchmarks/results/serving.jsonl``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import secrets
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

RESULTS = Path(__file__).parent / "results" / "serving.jsonl"


def form(files: list[bytes], host: str) -> bytes:
    """A whole request to ``/predict`` with these files."""
    boundary = secrets.token_hex(16).encode()
    parts = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="files"; filename="%d.png"\r\n\r\n%b\r\n'
        % (boundary, number, content)
        for number, content in enumerate(files)
    )
    body = parts + b"--%b--\r\n" % boundary
    kind = b"multipart/form-data; boundary=" + boundary
    head = b"POST /predict HTTP/1.1\r\nHost: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (host.encode(), kind, len(body)) + body


class Client(asyncio.Protocol):
    """One connection that asks again and again, with as little work of its own as possible."""

    def __init__(self, requests: list[bytes], first: int, until: float) -> None:
        self.requests, self.number, self.until = requests, first, until
        self.times: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.requests[self.number % len(self.requests)])
        self.number += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.buffer = b""
        now = time.perf_counter()
        self.times.append(now - self.sent)
        self.errors += not head.startswith(b"HTTP/1.1 200") or b'"error"' in body
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self.until:
            self.errors += 1
        if not self.done.done():
            self.done.set_result(None)


def load(address: str, files: list[bytes], each: int, connections: int, seconds: float, pipe: Any) -> None:
    """The process of the clients: sends (latencies in seconds, errors, seconds) through ``pipe``."""

    async def main() -> tuple[list[float], int, float]:
        place = urlsplit(address)
        requests = [form(files[at : at + each], place.netloc) for at in range(0, len(files) - each + 1, each)]
        start = time.perf_counter()
        clients = [Client(requests, number * 7, start + seconds) for number in range(connections)]
        loop = asyncio.get_running_loop()
        for client in clients:
            await loop.create_connection(lambda client=client: client, place.hostname, place.port)  # type: ignore[misc]
        await asyncio.gather(*(client.done for client in clients))
        times = [moment for client in clients for moment in client.times]
        return times, sum(client.errors for client in clients), time.perf_counter() - start

    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    pipe.send(run(main()))


def measured(address: str, files: list[bytes], each: int, connections: int, seconds: float) -> dict[str, Any]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=load, args=(address, files, each, connections, seconds, there)
    )
    before = processor_seconds(address)
    process.start()
    times, errors, took = here.recv()
    process.join()
    used = processor_seconds(address) - before
    cuts = statistics.quantiles(times, n=100)
    return {
        "images_each": each,
        "connections": connections,
        "seconds": round(took, 1),
        "requests": len(times),
        "errors": errors,
        "requests_per_second": round(len(times) / took, 1),
        "images_per_second": round(len(times) * each / took, 1),
        "p50_ms": round(cuts[49] * 1e3, 2),
        "p99_ms": round(cuts[98] * 1e3, 2),
        "max_ms": round(max(times) * 1e3, 2),
        # Tells what a request costs also on a machine that is busy with other things.
        "server_cpu_ms_per_request": round(used / len(times) * 1e3, 3),
    }


def get(address: str) -> bytes:
    with urlopen(address, timeout=30) as answer:
        return bytes(answer.read())


def metric(address: str, name: str) -> float:
    """A number of the server's ``/metrics``."""
    lines = get(address + "/metrics").decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))


def memory(address: str) -> float:
    """Resident memory of the server in MiB."""
    return round(metric(address, "process_resident_memory_bytes") / 2**20, 1)


def processor_seconds(address: str) -> float:
    return metric(address, "process_cpu_seconds_total")


def start(run: str) -> tuple[subprocess.Popen[str], str, float]:
    """The server, its address, and the seconds from the command to its first answer about an image."""
    from rung.runs import Run
    from rung.serving.explain import png

    info = Run(run).info["data"]
    import numpy as np

    blank = form([png(np.zeros((*info["image_size"], info["channels"]), np.uint8))], "localhost")
    command = [sys.executable, "-m", "rung", "serve", run, "--port", "0", "--json"]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["url"]
    place = urlsplit(address)

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(blank)
        assert b" 200 " in await reader.readline()
        writer.close()

    asyncio.run(ask())
    return server, address, time.perf_counter() - began


def images_of(address: str, count: int = 256) -> list[bytes]:
    """Test images as PNG files."""
    while (found := json.loads(get(f"{address}/examples?count=48")))["state"] == "loading":
        time.sleep(0.1)
    if found["state"] != "ready":
        raise SystemExit("the data of this run is not at hand; set RUNG_DATA or choose another run")
    return [get(f"{address}/examples/{index}.png") for index in range(count)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run")
    arguments.add_argument("--seconds", type=float, default=60.0, help="of load with one image a request")
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--minutes", type=float, default=0.0, help="of load to watch the memory under")
    asked = arguments.parse_args()
    first, _, unready = start(asked.run)
    first.kill()  # it may have had to make the ONNX file
    server, address, ready = start(asked.run)
    try:
        files = images_of(address)
        row: dict[str, Any] = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.processor() or platform.machine(),
            "network": json.loads(get(address + "/model"))["network"],
            "first_start_seconds": round(unready, 2),
            "start_seconds": round(ready, 2),
            "idle_mib": memory(address),
            "alone": measured(address, files, 1, 1, min(5.0, asked.seconds)),
            "crowd": measured(address, files, 1, asked.connections, asked.seconds),
            "full": measured(address, files, 32, 4, min(15.0, asked.seconds)),
            "busy_mib": memory(address),
        }
        if asked.minutes:
            row["memory_mib"] = []
            for _ in range(max(2, round(asked.minutes * 2))):
                measured(address, files, 1, asked.connections, 30.0)
                row["memory_mib"].append(memory(address))
    finally:
        server.terminate()
        server.wait()
    print(json.dumps(row, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
