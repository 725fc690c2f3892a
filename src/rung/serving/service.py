"""What the server does with images, without HTTP: decode, classify, explain, compare."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.cores import usable_cores
from rung.data.dataset import Images
from rung.data.preprocessing import Unusable
from rung.runs import Run
from rung.serving import explain
from rung.serving.batching import Batcher
from rung.serving.examples import Examples, Neighbours
from rung.serving.limits import Limits
from rung.serving.metrics import Metrics
from rung.serving.predictor import Predictor
from rung.serving.refusal import Refusal
from rung.serving.uploads import Bodies, Decoder, Parser, Upload

Floats = npt.NDArray[np.float32]

SIMILAR = 8  # training images shown beside an answer


class Service:
    """A model at work.

    Args:
        run: what is served.
        predictor: its model.
        limits: of the server.
        metrics: told what happens.
        examples: whether the run's images may be looked for and shown.
    """

    def __init__(
        self, run: Run, predictor: Predictor, limits: Limits, metrics: Metrics, *, examples: bool = True
    ) -> None:
        self.run = run
        self.predictor = predictor
        self.limits = limits
        self.metrics = metrics
        self.bodies = Bodies(limits)
        self.parser = Parser()
        self.batcher = Batcher(
            predictor.rows,
            limits.batch_images,
            limits.waiting_images,
            limits.patient_images,
            metrics.batch,
            usable_cores(),
        )
        self.decoder = Decoder(predictor.image_size, predictor.channels, limits)
        self.examples = Examples(run) if examples else None
        self.neighbours = Neighbours(run, len(predictor.classes), self._insistently)
        self._building: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.examples is not None:
            self.examples.start()

    def close(self) -> None:
        if self._building is not None:
            self._building.cancel()
        self.batcher.close()
        self.decoder.close()
        self.parser.close()

    async def classify(self, pixels: Images) -> Floats:
        """Probabilities (N, K) of images (N, H, W, C)."""
        rows = await self.batcher.run(pixels)
        self.metrics.images.inc(len(pixels))
        return rows[:, : len(self.predictor.classes)]

    async def predict(self, uploads: Sequence[Upload], top: int, everything: bool) -> list[dict[str, Any]]:
        """An answer for each file, or why there is none."""
        decoded = await self.decoder.decode(uploads)
        readable = [image for image in decoded if not isinstance(image, Unusable)]
        probabilities = iter(await self.classify(np.stack(readable)) if readable else ())
        self.metrics.unusable.inc(len(decoded) - len(readable))
        return [
            {"file": upload.name, "error": f"the image cannot be used: {image}"}
            if isinstance(image, Unusable)
            else {"file": upload.name, **self.answer(next(probabilities), top, everything)}
            for upload, image in zip(uploads, decoded, strict=True)
        ]

    def answer(self, probabilities: Floats, top: int, everything: bool = False) -> dict[str, Any]:
        """What is said about one image: its most probable classes, the most probable first."""
        classes = self.predictor.classes
        best = np.argsort(-probabilities, kind="stable")[:top].tolist()
        values = [round(value, 7) for value in probabilities.tolist()]
        found: dict[str, Any] = {
            "label": classes[best[0]],
            "class": best[0],
            "probability": values[best[0]],
            "top": [{"label": classes[k], "class": k, "probability": values[k]} for k in best],
        }
        if everything:
            found["probabilities"] = values
        return found

    async def explain(self, upload: Upload, top: int) -> dict[str, Any]:
        """The answer for one image, what the model saw of it, and where it looked."""
        pixels = await self._pixels(upload)
        probabilities = (await self.classify(pixels[None]))[0]
        answer = self.answer(probabilities, top)
        heat = await explain.occlusion(pixels, answer["class"], self._patient_probabilities)
        size = self.predictor.image_size
        return {
            "file": upload.name,
            **answer,
            "seen": explain.picture(pixels),
            "normalised": explain.normalised_picture(pixels, self.predictor.mean, self.predictor.std),
            "heat": {
                "picture": explain.heat_picture(heat, size),
                "values": [[round(value, 3) for value in row] for row in heat.values.tolist()],
                "place": heat.place,
                "clear": heat.clear,
                "probability_without": round(heat.without, 7),
            },
        }

    async def similar(self, upload: Upload) -> dict[str, Any]:
        """The training images that are most like this one to the model; building the index if there is none."""
        if self.examples is None or self.examples.state == "gone":
            return {"state": "gone", "done": 0.0, "images": []}
        data = self.examples.data
        if data is None:
            return {"state": "loading", "done": 0.0, "images": []}
        if not self.neighbours.ready:
            if self._building is None or self._building.done():
                self._building = asyncio.create_task(self.neighbours.build(data))
            return {"state": "building", "done": round(self.neighbours.done, 3), "images": []}
        pixels = (await self._pixels(upload))[None]
        rows = await self.batcher.run(pixels)
        vector = self.neighbours.describe(pixels, rows)[0]
        found = self.neighbours.nearest(vector, data.train, SIMILAR)
        return {
            "state": "ready",
            "done": 1.0,
            "images": [
                {
                    "index": one.position,
                    "label": data.classes[one.label],
                    "likeness": round(one.likeness, 4),
                    "picture": explain.picture(data.train.take([one.position])[0]),
                }
                for one in found
            ],
        }

    async def _pixels(self, upload: Upload) -> Images:
        decoded = (await self.decoder.decode([upload]))[0]
        if isinstance(decoded, Unusable):
            self.metrics.unusable.inc()
            raise Refusal(422, f"the image cannot be used: {decoded}")
        return decoded

    async def _patiently(self, pixels: Images) -> Floats:
        return await self.batcher.run(pixels, patient=True)

    async def _insistently(self, pixels: Images) -> Floats:
        """For what runs in the background: where explanations are refused, it waits."""
        while True:
            try:
                return await self._patiently(pixels)
            except Refusal as refusal:
                await asyncio.sleep(refusal.retry_after or 1)

    async def _patient_probabilities(self, pixels: Images) -> Floats:
        return (await self._patiently(pixels))[:, : len(self.predictor.classes)]
