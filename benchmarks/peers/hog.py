"""Without a network: histograms of oriented gradients (scikit-image) and a logistic regression (scikit-learn)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from peer import Clock, Pixels, load, options, report
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

TRIAL = 1000


def features(images: Pixels, threads: int) -> npt.NDArray[np.float32]:
    def some(part: Pixels) -> npt.NDArray[np.float32]:
        cells = {"orientations": 9, "pixels_per_cell": (4, 4), "cells_per_block": (2, 2)}
        return np.stack([hog(image, channel_axis=-1, **cells) for image in part]).astype(np.float32)

    parts = np.array_split(images, max(1, len(images) // 250))
    return np.concatenate(Parallel(n_jobs=threads)(delayed(some)(part) for part in parts))


def main() -> None:
    arguments = options(__doc__).parse_args()
    if arguments.until is not None:
        raise SystemExit("hog has no steps between which to look at the accuracy")
    x_train, y_train, x_test, y_test = load(arguments.data)
    order = np.random.default_rng(arguments.seed).permutation(len(x_train))

    def fit(count: int, clock: Clock) -> LogisticRegression:
        clock.start()
        chosen = order[:count]
        model = LogisticRegression(max_iter=200, random_state=arguments.seed).fit(
            features(x_train[chosen], arguments.threads), y_train[chosen]
        )
        clock.pause()
        return model

    with threadpool_limits(arguments.threads):
        features(x_train[:TRIAL], arguments.threads)  # starts the workers
        trial = Clock(arguments.seconds)
        fit(TRIAL, trial)
        # Both parts take about as long an image: as many images as fit, if not all.
        count = min(len(x_train), int(TRIAL * arguments.seconds / trial.elapsed))
        clock = Clock(arguments.seconds)
        model = fit(count, clock)
        accuracy = model.score(features(x_test, arguments.threads), y_test)
    report(clock, accuracy, count / len(x_train), ["scikit-learn", "scikit-image"])


if __name__ == "__main__":
    main()
