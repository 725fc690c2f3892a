"""What a network costs on this computer: counted (weights, multiply-adds, memory) and measured (seconds)."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from rung.data.batches import make_batches
from rung.data.dataset import Dataset
from rung.memory import keeping_freed_memory
from rung.models import NetworkConfig
from rung.models.classifier import Classifier, predict
from rung.models.convolution import Conv3x3
from rung.training.device import Machine, fastest_seconds, wait_for
from rung.training.optimizers import Optimizers
from rung.training.recipe import Recipe
from rung.training.step import WARM_UP, step_for
from rung.training.threads import worthwhile_threads

# What Python, torch and the libraries take before the first batch, in bytes: measured at 420 MiB, with a margin.
BASE_BYTES = 500 * 2**20
# Images of the trial of a forward pass, at least.
FORWARD_IMAGES = 64
# Seconds after which no further trial step is made.
PATIENCE = 1.0
# Two steps are timed, and more until they have taken so many seconds or there are so many of them: short ones take half
# as long again as usual while their memory is new.
TRIAL_SECONDS, TRIAL_STEPS = 0.2, 10


@dataclass(frozen=True)
class NetworkSize:
    """Counts that hold on every computer.

    Attributes:
        parameters: weights, trained and frozen.
        multiply_adds: of one image going through the convolutions and linear layers.
        activations: numbers that these layers put out for one image.
        spectra: numbers of the spectra of kernels that a step on a CPU keeps, and of the largest twice more.
    """

    parameters: int
    multiply_adds: int
    activations: int
    spectra: int = 0


@dataclass(frozen=True)
class Cost:
    """What training a network costs here: seconds an image, in a training step and in one forward pass; and bytes."""

    size: NetworkSize
    step: float
    forward: float
    base_bytes: int
    bytes_per_image: int


def network_size(config: NetworkConfig, dataset: Dataset) -> NetworkSize:
    """The size of the network that ``config`` describes, for the images of ``dataset``."""
    return count(config, dataset.image_size, dataset.channels, len(dataset.classes))


def count(config: NetworkConfig, image_size: tuple[int, int], channels: int, classes: int) -> NetworkSize:
    """The size of the network that ``config`` describes, for images of that size.

    One blank image goes through it, which takes milliseconds; the first tensor on torch's "meta" device, which
    needs no arithmetic, takes more than a second.
    """
    network = config.build(image_size, channels, classes)
    image = torch.zeros(1, channels, *image_size)
    multiply_adds = activations = 0
    spectra = [0]

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal multiply_adds, activations
        assert isinstance(module.weight, Tensor)
        multiply_adds += output.numel() * module.weight[0].numel()
        activations += output.numel()
        if isinstance(module, Conv3x3):
            spectra.append(module.spectrum_size(*output.shape[2:]))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    with torch.inference_mode():
        network.eval()(image)
    return NetworkSize(
        sum(p.numel() for p in network.parameters()), multiply_adds, activations, sum(spectra) + 2 * max(spectra)
    )


@keeping_freed_memory()
def measure_cost(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine,
    seed: int,
    max_memory: float | None = None,
    forward: float | None = None,
) -> Cost:
    """Time real steps of a throw-away network on real batches, in about half a second.

    A first step, in which libraries prepare themselves, is not counted, nor are those after which a GPU records one; of
    the next, two to ten, the median of the later half is taken.

    Args:
        max_memory: bytes that the process may use; the trial's batches are as small as that needs, or of eight.
        forward: seconds of an image in a forward pass, where they are known; it is not timed then.
    """
    device = torch.device(machine.device)
    size = network_size(recipe.network, dataset)
    # Each activation is kept for the backward pass about four times (convolution, pooling, normalisation,
    # ReLU), in half precision or in full.
    each = 2 if machine.precision == "bfloat16" else 4
    bytes_per_image = 4 * each * size.activations
    # Weights, gradients, what the optimizer remembers, and the best weights.
    base_bytes = BASE_BYTES + 5 * 4 * size.parameters
    if device.type == "cpu":
        base_bytes += each * size.spectra
    if max_memory is not None:
        fitting = max(8, int((max_memory - base_bytes) / bytes_per_image))
        recipe = replace(recipe, batch_size=min(recipe.batch_size, fitting))
    network = recipe.network.build(dataset.image_size, dataset.channels, len(dataset.classes))
    model = Classifier(network, [128.0] * dataset.channels, [64.0] * dataset.channels).to(device)
    optimizers = Optimizers(network, recipe)
    batches = make_batches(dataset.train, recipe.batch_size, recipe.augmentation, seed, device)
    step = step_for(device)(
        model, optimizers, batches, recipe, classes=len(dataset.classes), precision=machine.precision
    )

    def timed(number: int) -> float:
        start = time.perf_counter()
        step(number, 0.0)
        wait_for(device)
        return time.perf_counter() - start

    # A GPU records a step after some, and makes the first of the recorded ones then.
    first = WARM_UP + 1 if device.type == "cuda" else 1
    with worthwhile_threads(size.multiply_adds, batches.batch_size):
        began = time.perf_counter()
        for number in range(first):
            timed(number)
        timings = [timed(first)]
        while time.perf_counter() - began < PATIENCE and (
            len(timings) < 2 or (len(timings) < TRIAL_STEPS and sum(timings) <= TRIAL_SECONDS)
        ):
            timings.append(timed(first + len(timings)))
    seconds = statistics.median(timings[len(timings) // 2 :])
    if forward is None:
        # Few training images make small batches, whose images take longer each than the evaluation's.
        sample = dataset.train.subset(np.resize(batches.positions(0), max(batches.batch_size, FORWARD_IMAGES)))
        work = lambda: predict(model, sample, precision=machine.precision)  # noqa: E731
        forward = fastest_seconds(work, device, repeats=1) / len(sample)
    return Cost(size, seconds / batches.batch_size, forward, base_bytes, bytes_per_image)
