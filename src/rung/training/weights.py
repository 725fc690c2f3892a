"""The weights that a run keeps, and the classifier that they make again."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from rung.errors import RunError
from rung.models.classifier import Classifier
from rung.runs import MODEL, RUN, Run
from rung.training.recipe import Recipe


def save_classifier(run: Run, model: Classifier) -> None:
    """Write the weights of ``model`` into the folder of ``run``.

    Raises:
        RunError: the folder cannot be written to.
    """
    run.write_bytes(MODEL, save({name: value.contiguous().cpu() for name, value in model.state_dict().items()}))


def load_classifier(run: Run, device: torch.device | str = "cpu") -> Classifier:
    """The classifier of a run, ready to predict: its shape from ``run.json``, its weights from ``model.safetensors``.

    Nothing that is read is executed, and no memory is taken for sizes that the weights do not have.

    Args:
        run: what to load.
        device: where to put the weights.

    Returns:
        The classifier in evaluation mode. ``run.info["plan"]["precision"]`` is the arithmetic it was trained in.

    Raises:
        RunError: the run has no weights yet, or a file of it is damaged or does not belong to the others.
    """
    path = run.path / MODEL
    try:
        content = run.read_bytes(MODEL)
    except FileNotFoundError as error:
        raise RunError(f"{run.path} has no {MODEL}: its training has not ended; go on with it by --resume") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    recipe = recipe_of(run)
    try:
        data = run.info["data"]
        # Without memory for the weights: those of the file take their places.
        with torch.device("meta"):
            network = recipe.network.build(tuple(data["image_size"]), data["channels"], len(data["classes"]))
            model = Classifier(network, [0.0] * data["channels"], [1.0] * data["channels"], recipe.views)
    except Exception as error:  # Altered sizes can fail anywhere in torch.
        raise RunError(f"{run.path / RUN} does not describe a network: {_line(error)}") from error
    try:
        weights = load(content)
        model.load_state_dict(weights, assign=True)
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged, or of another network than {RUN} tells: {_line(error)}") from error
    if not all(value.isfinite().all() for value in weights.values() if value.is_floating_point()):
        raise RunError(f"{path} is damaged: it holds weights that are not numbers")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def recipe_of(run: Run) -> Recipe:
    """The recipe in ``run.json``.

    Raises:
        RunError: it is missing or incomplete.
    """
    try:
        return Recipe.from_dict(run.info["recipe"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{run.path / RUN} has no complete recipe: {_line(error)}") from error


def _line(error: Any) -> str:
    """An error's message on one short line; torch writes whole lists of names."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"
