"""The classifier as a scikit-learn estimator, for images that are arrays already."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from rung.data.arrays import check_pixel_types, find_layout, find_scale, pixel_range, to_images
from rung.data.dataset import Dataset, Images, Split
from rung.data.splits import check_classes, cut, val_size
from rung.errors import DataError, UsageError
from rung.evaluation.calibration import fit_temperature
from rung.memory import keeping_freed_memory
from rung.models.classifier import predict
from rung.pipeline.settings import check_settings
from rung.progress import SilentDisplay, training_display
from rung.torch_state import own_torch_state
from rung.training.clocks import Clock, StepClock, TimeClock
from rung.training.device import choose_device, measure_machine
from rung.training.session import DisplayObserver, new_state, plan_training, steps_per_epoch, total_steps, train
from rung.training.threads import avoiding_crowd, set_threads

WHERE = "X"
# Seconds of a fit's budget that the work after the training takes: choosing the temperature.
_AFTER = 0.05


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The most accurate convolutional network that this computer can train on the images in the time given.

    Args:
        budget: wall clock of one :meth:`fit`, as seconds or like ``"90s"``, ``"2m"``, ``"1h30m"``; 2 minutes unless
            ``epochs`` is given.
        epochs: passes over the training images instead of a budget, above 0. The same ``random_state`` on the same
            computer with the same number of threads then gives the same weights, bit for bit.
        validation_fraction: share of the images, above 0 and below 1, that weights and probabilities are chosen on
            instead of being learnt from; by default 10 %, but at most 2,500 images.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"float32"`` or ``"bfloat16"``; by default the faster one, measured.
        threads: CPU threads; by default one a core.
        max_memory: bytes that the process may use at its peak.
        rung: a rung of the ladder, such as ``"naive"`` or ``"batchnorm"``, instead of the planner's choice.
        random_state: of the validation split, the weights, the orders and the augmentation.
        verbose: whether to show the plan and the progress on standard error.

    Attributes:
        classes_: the distinct labels, sorted, shape (n_classes,).
        n_features_in_: pixels of an image times channels.
        image_shape_: height, width and channels (1 or 3) of the images as the network sees them.
        model_: the trained :class:`~rung.models.classifier.Classifier`.
        plan_: the :class:`~rung.training.plan.Plan` that was followed.
        history_: rows of the training, each an :class:`~rung.runs.Epoch`.
        validation_score_: accuracy on the validation images, 0 to 1. The weights were chosen by it: it flatters.

    Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4 (alpha, laid over white), as bytes, booleans
    or numbers from 0 to 1 or 0 to 255; at least 2 of each class. They keep their size.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> classifier = ImageClassifier(budget="10s").fit(X[:1500].reshape(-1, 8, 8), y[:1500])
        >>> classifier.score(X[1500:].reshape(-1, 8, 8), y[1500:])
    """

    def __init__(
        self,
        budget: str | float | None = None,
        *,
        epochs: float | None = None,
        validation_fraction: float | None = None,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        max_memory: float | None = None,
        rung: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.budget = budget
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.device = device
        self.precision = precision
        self.threads = threads
        self.max_memory = max_memory
        self.rung = rung
        self.random_state = random_state
        self.verbose = verbose

    @own_torch_state()
    @keeping_freed_memory()
    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Train on images and their labels.

        Args:
            X: see the class.
            y: shape (N,): labels of any kind that can be sorted, such as whole numbers or text.

        Raises:
            DataError: the images or labels cannot be used; it is a ValueError.
            UsageError: an argument of the estimator is out of its range, or the budget too short; a ValueError, too.
        """
        started = time.monotonic()
        seed = self._seed()
        settings = check_settings(
            data=WHERE,
            budget=self.budget,
            epochs=self.epochs,
            seed=seed,
            image_size=None,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            max_memory=self.max_memory,
            rung=self.rung,
        )
        fraction = self.validation_fraction
        if fraction is not None and not 0 < fraction < 1:
            raise UsageError(f"validation_fraction is {fraction}; it must be above 0 and below 1")
        device = choose_device(self.device)
        pixels, images = _Pixels.of(X)
        dataset, classes = self._dataset(images, y, seed)
        display = training_display() if self.verbose else SilentDisplay()
        try:
            set_threads(self.threads)
            with avoiding_crowd(settings.budget is not None):
                machine = measure_machine(device, self.precision)
                spent = time.monotonic() - started
                plan = plan_training(
                    dataset,
                    machine,
                    seconds=None if settings.budget is None else settings.budget - spent,
                    spent=spent,
                    epochs=self.epochs,
                    max_memory=self.max_memory,
                    seed=seed,
                    report_seconds=_AFTER,
                    rung=self.rung,
                )
            display.start(plan.lines())
            recipe = plan.recipe
            state = new_state(recipe, dataset, device, seed)
            clock: Clock
            if settings.budget is None:
                clock = StepClock(total_steps(dataset, recipe, plan.epochs))
            else:
                after = plan.expected_seconds["evaluation"] + _AFTER
                steps = total_steps(dataset, recipe, plan.epochs) if plan.ends_early else math.inf
                clock = TimeClock(started + settings.budget, after, steps=steps)
            train(
                state,
                dataset,
                recipe,
                clock,
                epochs=plan.epochs,
                seconds=None if settings.budget is None else plan.expected_seconds["training"],
                seed=seed,
                precision=machine.precision,
                observer=DisplayObserver(display, steps_per_epoch(dataset, recipe)),
            )
            on_val = predict(state.model, dataset.val, precision=machine.precision)
            state.model.temperature.mul_(fit_temperature(on_val, dataset.val.labels))
        finally:
            display.finish()
        # All at once, in the end: a fit that fails leaves what an earlier one has found as it was.
        self.classes_, self._pixels = classes, pixels
        self.image_shape_ = (*dataset.image_size, dataset.channels)
        self.n_features_in_ = int(np.prod(self.image_shape_))
        self.model_ = state.model.eval()
        self.plan_ = plan
        self.history_ = tuple(state.history)
        self.validation_score_ = float((on_val.argmax(1) == dataset.val.labels).mean())
        return self

    @own_torch_state()
    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Class probabilities, shape (N, n_classes), in the order of ``classes_``; each row sums to 1.

        Raises:
            sklearn.exceptions.NotFittedError: before :meth:`fit`.
            DataError: the images cannot be used, or have another size than those of :meth:`fit`.
        """
        check_is_fitted(self, "model_")
        images = self._pixels.images(X)
        if images.shape[1:] != self.image_shape_:
            height, width, channels = self.image_shape_
            raise DataError(
                f"{WHERE} has images of the shape {images.shape[1:]}, but the classifier was fitted to "
                f"{(height, width, channels)} (height, width, channels)"
            )
        split = Split("test", images, np.arange(len(images)), np.zeros(len(images), np.int64))
        if not len(split):
            raise DataError(f"{WHERE} has no images; give at least one")
        set_threads(self.threads)
        return predict(self.model_, split, precision=self.plan_.precision)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """The most probable class of every image, shape (N,); errors as of :meth:`predict_proba`."""
        best = self.predict_proba(X).argmax(1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    # --- arrays -----------------------------------------------------------------------------------

    def _dataset(self, images: Images, y: npt.ArrayLike, seed: int) -> tuple[Dataset, npt.NDArray[Any]]:
        """Training and validation images, the test split being empty; and the distinct labels."""
        values = column_or_1d(y, warn=True)
        check_classification_targets(values)
        if len(images) != len(values):
            raise DataError(f"{WHERE} has {len(images):,} images, but y has {len(values):,} labels")
        classes, labels = np.unique(values, return_inverse=True)
        labels = labels.astype(np.int64)
        names = tuple(str(name) for name in classes.tolist())
        check_classes(np.bincount(labels, minlength=len(names)).tolist(), names, WHERE, cuts=1)
        train_rows, val_rows = cut(labels, val_size(len(labels), self.validation_fraction), seed, "val")
        whole = Split("train", images, np.arange(len(images)), labels)
        dataset = Dataset(
            name=WHERE,
            origin="arrays",
            classes=names,
            train=whole.subset(train_rows),
            val=whole.subset(val_rows, "val"),
            test=whole.subset(np.empty(0, np.int64), "test"),
            fingerprint="",
        )
        return dataset, classes

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


@dataclass(frozen=True)
class _Pixels:
    """What a fit has found out about the numbers in its arrays.

    Attributes:
        kind: their type, float64 for all fractions.
        scale: what they are multiplied by to run from 0 to 255.
    """

    kind: np.dtype[Any]
    scale: float

    @classmethod
    def of(cls, X: npt.ArrayLike) -> tuple[Self, Images]:
        """What there is to find out about an array, and its images, uint8 (N, H, W, 1 or 3)."""
        array, least, most = _checked(X)
        scale = find_scale([array.dtype], least, most, WHERE)
        return cls(_kind(array), scale), to_images(array, find_layout(array.shape, WHERE), scale)

    def images(self, X: npt.ArrayLike) -> Images:
        """The images of another array."""
        array, least, most = _checked(X)
        layout = find_layout(array.shape, WHERE)
        if _kind(array) != self.kind:
            return to_images(array, layout, find_scale([array.dtype], least, most, WHERE))
        # The range of a few images can mislead: what was found out about many holds for them.
        if array.size and (least < 0 or round(most * self.scale) > 255):
            raise DataError(
                f"{WHERE} has pixels from {least:g} to {most:g}, "
                f"but the classifier was fitted to pixels from 0 to {255 / self.scale:g}"
            )
        return to_images(array, layout, self.scale)


def _checked(X: npt.ArrayLike) -> tuple[npt.NDArray[Any], float, float]:
    """The array, and its least and greatest number."""
    array = np.asarray(X)
    if array.ndim == 2:
        raise DataError(
            f"{WHERE} has rows of {array.shape[1]} numbers, which do not tell the shape of an image; "
            "reshape it to (N, height, width) or (N, height, width, channels)"
        )
    find_layout(array.shape, WHERE)
    check_pixel_types([array.dtype], WHERE)
    least, most = pixel_range([array], "some images", WHERE)
    return array, least, most


def _kind(array: npt.NDArray[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64) if array.dtype.kind == "f" else array.dtype
