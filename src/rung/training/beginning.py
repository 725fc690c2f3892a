"""The first part of a training that starts from a pretrained network: a head on its features as they are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from rung.data.dataset import Dataset, Split
from rung.models.classifier import predict
from rung.models.pretrained import PretrainedNetwork
from rung.runs import Epoch
from rung.training.clocks import Clock
from rung.training.features import features_of
from rung.training.head import fit_head
from rung.training.loop import Observer, TrainingState
from rung.training.recipe import Recipe

# Share of the time for training after which no more features are computed: the head is still to be fitted. Where it is
# to be fine-tuned, a head on fewer images is as good a start, and the time is for the steps.
FEATURES_SHARE, STARTING_SHARE = 0.9, 0.15
# Seconds of features that are computed in any case: where all images are so few, a head on half of them knows half.
WORTH_WAITING = 1.0
# Images of the training split on which a head is fitted that is to be fine-tuned: it is only where that starts.
STARTING_IMAGES = 4000


def start_from_features(
    state: TrainingState,
    dataset: Dataset,
    recipe: Recipe,
    clock: Clock,
    *,
    validation: Split,
    seed: int,
    precision: str,
    observer: Observer,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Give ``state.model`` the head that suits its backbone, and the history its first row.

    Where the head alone learns, that is the whole training, and counts as one epoch in one step. Otherwise it is what
    fine-tuning starts from, at step 0, so that the first gradients through the backbone are not those of a head that
    knows nothing (Kumar et al. 2022, arXiv:2202.10054).

    Args:
        validation: the images that the row's validation figures are measured on.
        state, dataset, recipe, clock, seed, precision, observer, stop: see :func:`rung.training.session.train`.
    """
    model = state.model
    network = model.network
    assert isinstance(network, PretrainedNetwork)
    # Of a training that was stopped here, the time until then is used as well.
    used, began, begun = state.seconds, time.monotonic(), clock.progress(0)
    whole = network.config.learns == "head"
    split = dataset.train
    if not whole and len(split) > STARTING_IMAGES:
        split = split.subset(np.random.default_rng((seed, 24)).permutation(len(split))[:STARTING_IMAGES])
    images = len(split)
    mirrored = whole and recipe.augmentation.flip

    computed = 0

    def passed() -> float:
        return time.monotonic() - began

    def of_features() -> float:
        """Seconds until the last of them is there."""
        return (images - computed) * passed() / max(computed, 1)

    def show(done: int) -> None:
        nonlocal computed
        computed = done
        state.seconds = used + passed()
        state.images_per_second = done / max(passed(), 1e-9)
        left = clock.seconds_left(0, math.inf)
        # Nobody knows yet how long a step takes, and a head has none.
        observer.step(state, min(1.0, done / images), of_features() if whole or math.isinf(left) else left)

    def enough() -> bool:
        share = (clock.progress(0) - begun) / (1 - begun) if begun < 1 else 1.0
        return stop() or (share > (FEATURES_SHARE if whole else STARTING_SHARE) and of_features() > WORTH_WAITING)

    features = features_of(model, split, precision, mirrored=mirrored, stop=enough, progress=show)
    head = fit_head(features, len(dataset.classes), network.widths, seed)
    network.set_head(head.weight.to(model.mean.device), head.bias.to(model.mean.device))
    learnt = passed()

    with torch.inference_mode():
        logits = head.logits(features.to_predict())
        train_loss = float(F.cross_entropy(logits, features.labels))
        train_accuracy = float((logits.argmax(1) == features.labels).float().mean())
    on_val = torch.from_numpy(predict(model, validation, precision=precision, views=1))
    labels = torch.from_numpy(validation.labels)
    accuracy = float((on_val.argmax(1) == labels).float().mean())
    state.seconds = used + passed()
    state.loss, state.accuracy = train_loss, train_accuracy
    state.step = 1 if whole else 0
    state.history.append(
        Epoch(
            epoch=1.0 if whole else 0.0,
            step=state.step,
            seconds=state.seconds,
            learning_rate=0.0,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=float(F.nll_loss(on_val.clamp(min=1e-12).log(), labels)),
            val_accuracy=accuracy,
            images_per_second=len(features) / learnt if whole else math.nan,
        )
    )
    state.keep_if_best(accuracy)
    observer.row(state)
