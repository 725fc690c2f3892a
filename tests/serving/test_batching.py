"""Batches: every image gets its own row, crowds wait together, patient images wait for all others."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest

from rung.serving.batching import Batcher
from rung.serving.refusal import Refusal


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


class Slow:
    """Gives each image's value back, and waits for ``go`` before."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        assert self.go.wait(5)
        self.batches.append(pixels.reshape(-1).tolist())
        return pixels.reshape(-1, 1).astype(np.float32)


def test_rows_belong_to_their_images_and_waiting_ones_go_together() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(slow, batch_images=4, waiting_images=100, patient_images=100)
        tasks = [asyncio.create_task(batcher.run(images(*values))) for values in ((1,), (2, 3), (4,), (5, 6, 7, 8, 9))]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 8  # the first one went at once
        slow.go.set()
        answers = [answer.reshape(-1).tolist() for answer in await asyncio.gather(*tasks)]
        assert answers == [[1], [2, 3], [4], [5, 6, 7, 8, 9]]
        assert slow.batches == [[1], [2, 3, 4], [5, 6, 7, 8], [9]]
        assert batcher.waiting == 0
        batcher.close()

    asyncio.run(main())


def test_many_images_of_one_request_use_all_threads_and_single_ones_leave_a_core() -> None:
    class Counting(Slow):
        most = now = 0

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return super().__call__(pixels)
            finally:
                self.now -= 1

    async def most_at_once(*requests: np.ndarray) -> int:
        compute = Counting()
        batcher = Batcher(compute, batch_images=2, waiting_images=100, patient_images=100, threads=3)
        tasks = [asyncio.create_task(batcher.run(pixels)) for pixels in requests]
        await asyncio.sleep(0.05)
        compute.go.set()
        for pixels, answer in zip(requests, await asyncio.gather(*tasks), strict=True):
            assert answer.reshape(-1).tolist() == pixels.reshape(-1).tolist()
        batcher.close()
        return compute.most

    assert asyncio.run(most_at_once(*(images(k) for k in range(9)))) == 2
    assert asyncio.run(most_at_once(images(*range(9)))) == 3
    assert asyncio.run(most_at_once(images(1, 2), images(*range(3)), images(4))) == 3


def test_patient_images_let_others_go_first() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(slow, batch_images=2, waiting_images=100, patient_images=100)
        first = asyncio.create_task(batcher.run(images(0)))
        await asyncio.sleep(0.01)
        patient = asyncio.create_task(batcher.run(images(1, 2, 3, 4), patient=True))
        await asyncio.sleep(0.01)
        urgent = asyncio.create_task(batcher.run(images(5, 6, 7)))
        await asyncio.sleep(0.01)
        assert batcher.waiting == 3
        slow.go.set()
        await asyncio.gather(first, patient, urgent)
        assert slow.batches == [[0], [5, 6], [7], [1, 2], [3, 4]]
        batcher.close()

    asyncio.run(main())


def test_a_full_queue_refuses_and_takes_again_what_comes_later() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(slow, batch_images=2, waiting_images=3, patient_images=100)
        tasks = [asyncio.create_task(batcher.run(images(k))) for k in range(4)]
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as refused:
            await batcher.run(images(9))
        assert refused.value.status == 503 and refused.value.retry_after
        slow.go.set()
        await asyncio.gather(*tasks)
        assert (await batcher.run(images(9))).tolist() == [[9]]
        batcher.close()

    asyncio.run(main())


def test_patient_images_have_a_limit_of_their_own_and_do_not_outlive_their_request() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(slow, batch_images=2, waiting_images=100, patient_images=3)
        first = asyncio.create_task(batcher.run(images(0)))
        await asyncio.sleep(0.01)
        pixels = images(1, 2, 3, 4)
        memory = weakref.ref(pixels)
        patient = asyncio.create_task(batcher.run(pixels, patient=True))  # any number, as none waits
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as refused:
            await batcher.run(images(5), patient=True)
        assert refused.value.status == 503
        urgent = asyncio.create_task(batcher.run(images(6)))
        patient.cancel()
        await asyncio.sleep(0.01)
        del patient, pixels
        gc.collect()
        assert memory() is None  # while the model is still busy with the first
        later = asyncio.create_task(batcher.run(images(7), patient=True))
        await asyncio.sleep(0.01)
        slow.go.set()
        await asyncio.gather(first, urgent, later)
        assert slow.batches == [[0], [6], [7]]
        batcher.close()

    asyncio.run(main())


def test_images_of_clients_that_left_are_not_computed() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(slow, batch_images=2, waiting_images=10, patient_images=100)
        first = asyncio.create_task(batcher.run(images(0)))
        gone = asyncio.create_task(batcher.run(images(1)))
        last = asyncio.create_task(batcher.run(images(2)))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        slow.go.set()
        await asyncio.gather(first, last)
        assert slow.batches == [[0], [2]] and batcher.waiting == 0
        batcher.close()

    asyncio.run(main())


def test_an_error_reaches_everyone_in_the_batch_and_nobody_else() -> None:
    async def main() -> None:
        def fails(pixels: np.ndarray) -> np.ndarray:
            if pixels[0, 0, 0, 0] == 1:
                raise ValueError("one")
            return pixels.reshape(-1, 1).astype(np.float32)

        batcher = Batcher(fails, batch_images=1, waiting_images=10, patient_images=100)
        bad, good = await asyncio.gather(batcher.run(images(1)), batcher.run(images(2)), return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert good.tolist() == [[2]]
        batcher.close()

    asyncio.run(main())
