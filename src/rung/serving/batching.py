"""Images of different requests go through the model together, in one thread a core.

A network computes some images together in less time than one after the other. So while it is busy, what arrives waits,
and then goes in together: the busier the server, the larger the batches. A request that comes alone never waits for
company.

The threads take their next batches by themselves: were they handed them by the event loop, they would be idle until the
loop is through with all the requests that came meanwhile. And requests of a batch or less leave a core to that loop,
which has nearly as much work with each of them as the model.
"""

from __future__ import annotations

import asyncio
import threading
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
    of_many: bool  # whether the request has other pieces
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
    """Hands images to a function in batches, in threads beside the event loop. One loop may use it.

    Args:
        compute: uint8 images (N, H, W, C) to float32 rows (N, K); called from all threads.
        batch_images: that ``compute`` is given at most.
        waiting_images: that may wait; what comes on top of them is refused.
        patient_images: the same for patient images, which wait in a queue of their own.
        observe: told the number of images of each batch, in the thread that computes it.
        threads: that compute at once, >= 1; one fewer (but one) where no request has more images than a batch.
    """

    def __init__(
        self,
        compute: Callable[[Images], Floats],
        batch_images: int,
        waiting_images: int,
        patient_images: int,
        observe: Callable[[int], None] = lambda images: None,
        threads: int = 1,
    ) -> None:
        self._compute = compute
        self._most, self._usual = threads, max(1, threads - 1)
        self._batch_images = batch_images
        self._observe = observe
        self._urgent = _Queue(waiting_images)
        self._patient = _Queue(patient_images)
        self._queues = (self._urgent, self._patient)
        self._working = 0  # threads that are at work, or will be
        self._closed = False
        self._lock = threading.Lock()  # of all that is above
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="model")

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
        loop = asyncio.get_running_loop()
        size = self._batch_images
        many = len(pixels) > size
        pieces = [_Piece(pixels[at : at + size], many, loop.create_future()) for at in range(0, len(pixels), size)]
        with self._lock:
            if queue.refuses(len(pixels)):
                raise busy(f"{queue.images} images are waiting for the model")
            queue.add(pieces)
            more = min(max(0, self._wanted() - self._working), len(pieces))
            self._working += more
        for _ in range(more):
            self._threads.submit(self._work, loop)
        try:
            if len(pieces) == 1:
                return await pieces[0].result
            return np.concatenate(await asyncio.gather(*(piece.result for piece in pieces)))
        except BaseException:
            # Nobody wants the rest any more, and it may be long until its turn would come.
            with self._lock:
                queue.drop(pieces)
            raise

    def close(self) -> None:
        """End the threads, after the batches that they are working on."""
        with self._lock:
            self._closed = True
        self._threads.shutdown()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Compute batch after batch, until none is left."""
        while batch := self._next():
            outcome: Floats | Exception
            try:
                self._observe(sum(len(piece.pixels) for piece in batch))
                outcome = self._rows(batch)
            except Exception as error:
                outcome = error
            loop.call_soon_threadsafe(_hand_out, batch, outcome)
            del batch, outcome  # or they stay in memory until the next ones come

    def _next(self) -> list[_Piece]:
        with self._lock:
            stop = self._closed or self._working > self._wanted()
            batch = [] if stop else self._take()
            self._working -= not batch
            return batch

    def _wanted(self) -> int:
        """Threads that should be at work on what waits."""
        return self._most if any(queue and queue.first().of_many for queue in self._queues) else self._usual

    def _take(self) -> list[_Piece]:
        """The pieces of the next batch; patient ones only where nothing else waits."""
        batch: list[_Piece] = []
        images = 0
        for queue in self._queues:
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


def _hand_out(batch: list[_Piece], outcome: Floats | Exception) -> None:
    """Tell every request of a batch what came of it, in the thread of the event loop."""
    at = 0
    for piece in batch:
        end = at + len(piece.pixels)
        if piece.result.done():  # its client has gone
            pass
        elif isinstance(outcome, Exception):
            piece.result.set_exception(outcome)
        else:
            piece.result.set_result(outcome[at:end])
        at = end
