"""A run for people who have PyTorch but not rung: a program that can be run, the weights, and a model card."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rung.data.dataset import Images
from rung.export.card import model_card
from rung.export.onnx import metadata
from rung.export.target import Answers, Target
from rung.models.classifier import Classifier
from rung.progress import Progress
from rung.runs import Run

PROGRAM, WEIGHTS, CARD, ABOUT = "model.pt2", "model.safetensors", "README.md", "rung.json"


class _Predictor(nn.Module):
    """uint8 images in, probabilities out: what ``Classifier.predict`` does, as a module that can be traced."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.predict(images)


def _write(run: Run, model: Classifier, path: Path, progress: Progress) -> None:
    about = metadata(run)
    path.mkdir()
    height, width = json.loads(about["image_size"])
    example = torch.zeros((2, height, width, json.loads(about["channels"])), dtype=torch.uint8)
    with warnings.catch_warnings():
        # Of its own deprecated parts, which nobody who exports can do anything about.
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _Predictor(model).eval(), (example,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},)
        )
        torch.export.save(program, path / PROGRAM, extra_files={ABOUT: json.dumps(about, ensure_ascii=False)})
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    buffers = {name: getattr(model, name) for name in ("mean", "std", "temperature")}
    save_file({**weights, **buffers}, path / WEIGHTS, metadata=about)
    (path / CARD).write_text(model_card(run, _loading(run.info["data"])), encoding="utf-8")


def _loading(data: dict[str, Any]) -> str:
    height, width = data["image_size"]
    return f"""`model.pt2` needs PyTorch and nothing else. It takes pixels as they are and gives probabilities:

```python
import json
import torch

files = {{"rung.json": ""}}
model = torch.export.load("model.pt2", extra_files=files).module()
classes = json.loads(json.loads(files["rung.json"])["classes"])
images = torch.zeros((1, {height}, {width}, {data["channels"]}), dtype=torch.uint8)  # your images, any number of them
probabilities = model(images)  # (1, {len(data["classes"])})
print(classes[int(probabilities[0].argmax())])
```

`model.safetensors` has the weights alone, for `safetensors.torch.load_file`."""


def answers(path: Path) -> Answers:
    """What the program in the folder ``path`` answers, opened as anybody opens it."""
    program = torch.export.load(path / PROGRAM).module()

    def answer(images: Images) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(program(torch.from_numpy(images)))

    return answer


TARGET = Target("torch", "torch.export", (), "", _write, answers, (PROGRAM, WEIGHTS, CARD))
