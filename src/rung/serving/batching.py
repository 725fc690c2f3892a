"""Images of different requests go through the model together.

A network computes 32 images in far less than 32 times the time of one. So while it is busy, what arrives waits, and
then goes in together: the busier the server, the larger the batches. A request that comes alone never waits for
company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images
from rung.serving.refusal import busy

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Images of one request that stay together; ``result`` is set to their rows of the answer."""

    pixels: Images
    result: asyncio.Future[Floats]


class _Queue:
    """Pieces that wait, oldest first, and how many images they have together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: deque[_Piece] = deque()
        self.images = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def refuses(self, images: int) -> bool:
        """Whether so many are too many; an empty queue takes any number."""
        return bool(self.images) and self.images + images > self._most

    def add(self, pieces: list[_Piece]) -> None:
        self._pieces.extend(pieces)
        self.images += sum(len(piece.pixels) for piece in pieces)

    def first(self) -> _Piece:
        return self._pieces[0]

    def take(self) -> _Piece:
        piece = self._pieces.popleft()
        self.images -= len(piece.pixels)
        return piece

    def drop(self, pieces: list[_Piece]) -> None:
        """Forget those of the pieces that still wait."""
        gone = set(pieces)
        kept = deque(piece for piece in self._pieces if piece not in gone)
        self._pieces, self.images = kept, sum(len(piece.pixels) for piece in kept)


class Batcher:
    """Hands images to a function in batches, one batch at a time, in a thread beside the event loop.

    Args:
        compute: uint8 images (N, H, W, C) to float32 rows (N, K).
        batch_images: that ``compute`` is given at most.
        waiting_images: that may wait; what comes on top of them is refused.
        patient_images: the same for patient images, which wait in a queue of their own.
        observe: told the number of images of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Images], Floats],
        batch_images: int,
        waiting_images: int,
        patient_images: int,
        observe: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._compute = compute
        self._batch_images = batch_images
        self._observe = observe
        self._urgent = _Queue(waiting_images)
        self._patient = _Queue(patient_images)
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def waiting(self) -> int:
        """Images that wait, without the patient ones."""
        return self._urgent.images

    async def run(self, pixels: Images, *, patient: bool = False) -> Floats:
        """The rows of ``pixels``.

        Args:
            pixels: uint8 (N, H, W, C), N > 0.
            patient: whether these images let all others go first (explanations do, and whatever runs in the
                background).

        Raises:
            Refusal: too many images are waiting already.
        """
        queue = self._patient if patient else self._urgent
        if queue.refuses(len(pixels)):
            raise busy(f"{queue.images} images are waiting for the model")
        loop = asyncio.get_running_loop()
        size = self._batch_images
        pieces = [_Piece(pixels[at : at + size], loop.create_future()) for at in range(0, len(pixels), size)]
        queue.add(pieces)
        if not self._running:
            self._next(loop)
        try:
            if len(pieces) == 1:
                return await pieces[0].result
            return np.concatenate(await asyncio.gather(*(piece.result for piece in pieces)))
        except BaseException:
            # Nobody wants the rest any more, and it may be long until its turn would come.
            queue.drop(pieces)
            raise

    def close(self) -> None:
        """End the thread, after the batch that it is working on."""
        self._thread.shutdown()

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._take()
        self._running = bool(batch)
        if batch:
            self._observe(sum(len(piece.pixels) for piece in batch))
            work = loop.run_in_executor(self._thread, self._rows, batch)
            work.add_done_callback(lambda done: self._finish(loop, batch, done))

    def _take(self) -> list[_Piece]:
        """The pieces of the next batch; patient ones only where nothing else waits."""
        batch: list[_Piece] = []
        images = 0
        for queue in (self._urgent, self._patient):
            while queue and not (queue is self._patient and batch):
                if images + len(queue.first().pixels) > self._batch_images:
                    return batch
                piece = queue.take()
                if not piece.result.done():  # else its client has gone
                    batch.append(piece)
                    images += len(piece.pixels)
        return batch

    def _rows(self, batch: list[_Piece]) -> Floats:
        return self._compute(batch[0].pixels if len(batch) == 1 else np.concatenate([piece.pixels for piece in batch]))

    def _finish(self, loop: asyncio.AbstractEventLoop, batch: list[_Piece], done: asyncio.Future[Floats]) -> None:
        error = done.exception()
        at = 0
        for piece in batch:
            end = at + len(piece.pixels)
            if piece.result.done():
                pass
            elif error is None:
                piece.result.set_result(done.result()[at:end])
            else:
                piece.result.set_exception(error)
            at = end
        self._next(loop)
