"""Evaluating in a process of its own, which has scikit-learn ready when it is needed.

Importing scikit-learn takes more than a second, which nothing in a training can hide: a thread would take
it from the training. But while the command starts, importing PyTorch keeps one core busy and leaves the
others idle. A process started then imports scikit-learn for nothing.
"""

from __future__ import annotations

import json
import os
import subprocess  # nosec B404 (it starts this module and nothing else)
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.evaluation.metrics import evaluate, preload
from rung.evaluation.result import Evaluation

NEW_GROUP = 0x200  # Windows' CREATE_NEW_PROCESS_GROUP, which subprocess names on Windows alone


class EvaluationWorker:
    """A waiting process that runs :func:`rung.evaluation.metrics.evaluate` once.

    Make it as early as possible. Whatever happens to the process, :meth:`evaluate` gives the same answer:
    where the process cannot be started or does not reply, it computes here instead.
    """

    def __init__(self) -> None:
        # -P: a file of the current folder must not stand in for a library. A group of its own: Ctrl-C is for
        # the training, which still wants its evaluation then.
        command = [sys.executable, "-P", "-m", "rung.evaluation.worker"]
        group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {"creationflags": NEW_GROUP}
        self._process: subprocess.Popen[bytes] | None
        try:
            self._process = subprocess.Popen(  # nosec B603 (a fixed command)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                **group,
            )
        except OSError:
            self._process = None

    def evaluate(
        self,
        probabilities: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
        **given: Any,
    ) -> Evaluation:
        """What :func:`rung.evaluation.metrics.evaluate` returns for the same arguments, and raises for wrong ones."""
        reply = self._ask(probabilities, labels, classes, given)
        return Evaluation.from_dict(reply) if reply else evaluate(probabilities, labels, classes, **given)

    def close(self) -> None:
        """End the process. It also ends by itself when this one does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> EvaluationWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self,
        probabilities: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
        given: dict[str, Any],
    ) -> dict[str, Any] | None:
        """The evaluation as a dictionary, or None where the process has none to give."""
        if self._process is None:
            return None
        header = json.dumps({"shape": probabilities.shape, "classes": list(classes), "given": given})
        pieces = (
            header.encode() + b"\n",
            np.ascontiguousarray(probabilities, np.float32).tobytes(),
            np.ascontiguousarray(labels, np.int64).tobytes(),
        )
        try:
            reply, _ = self._process.communicate(b"".join(pieces))
            found: dict[str, Any] | None = json.loads(reply) if self._process.returncode == 0 else None
        except (OSError, ValueError):
            found = None
        self.close()
        return found


def main() -> None:
    """The process: import, wait for a question on standard input, answer on standard output."""
    preload()
    header = sys.stdin.buffer.readline()
    if not header:
        return
    question = json.loads(header)
    images, count = question["shape"]
    probabilities = np.frombuffer(sys.stdin.buffer.read(4 * images * count), np.float32).reshape(images, count)
    labels = np.frombuffer(sys.stdin.buffer.read(8 * images), np.int64)
    answer = evaluate(probabilities, labels, question["classes"], **question["given"])
    sys.stdout.write(json.dumps(answer.to_dict()))
    sys.stdout.flush()
    os._exit(0)  # Python's own way out frees a thousand modules first, while the command waits


if __name__ == "__main__":
    main()
