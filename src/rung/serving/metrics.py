"""What the server tells Prometheus about itself."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import Scope

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts requests, answers, images and batches; a registry of its own, so two servers do not share numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._paths: Collection[str] = ()
        registry = self._registry
        ProcessCollector(registry=registry)
        self._requests = Counter("rung_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "rung_request_seconds",
            "From a request's head to its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter("rung_images", "Images that were classified.", registry=registry)
        self.unusable = Counter("rung_images_unusable", "Images that could not be read.", registry=registry)
        self._batches = Histogram("rung_batch_images", "Images in a batch.", buckets=_IMAGES, registry=registry)
        self.waiting = Gauge("rung_waiting_images", "Images that wait for the model.", registry=registry)
        self._held = Gauge("rung_held_bytes", "Bytes of bodies in memory.", registry=registry)

    def watch(self, paths: Collection[str], waiting: object, held: object) -> None:
        """Which paths are told apart, and where to look up what changes by itself (functions without arguments)."""
        self._paths = frozenset(paths)
        self.waiting.set_function(waiting)  # type: ignore[arg-type]
        self._held.set_function(held)  # type: ignore[arg-type]

    def batch(self, images: int) -> None:
        self._batches.observe(images)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request; paths that clients make up share one name."""
        route = scope.get("route")
        path = getattr(route, "path", None) or scope["path"]
        if path not in self._paths:
            path = "other"
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
