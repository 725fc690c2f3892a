"""timm's ResNet-18 from random weights in a plain PyTorch loop: crops and flips, AdamW with a cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import timm
import torch
from peer import Clock, load, options, report
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH = 128
RATE = 1e-3
STEPS_PER_LOOK = 100
NORMALISED = [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))]
AUGMENTED = [transforms.ToPILImage(), transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]


class Images(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: Any, labels: Any, transform: Callable[[Any], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


@torch.no_grad()
def test_accuracy(model: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    right = [(model(images).argmax(1) == labels).numpy() for images, labels in loader]
    model.train()
    return float(np.concatenate(right).mean())


def main() -> None:
    arguments = options(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    x_train, y_train, x_test, y_test = load(arguments.data)
    train = Images(x_train, y_train, transforms.Compose([*AUGMENTED, *NORMALISED]))
    loader = DataLoader(train, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=arguments.threads)
    test = DataLoader(Images(x_test, y_test, transforms.Compose(NORMALISED)), batch_size=500)
    model = timm.create_model("resnet18", pretrained=False, num_classes=10)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    clock, steps = Clock(arguments.seconds, arguments.until), 0
    clock.start()
    while not clock.over:
        for images, labels in loader:
            # By the clock: a cosine over as many steps as fit, without having to guess how many those are.
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * clock.progress)) / 2
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            steps += 1
            if steps % STEPS_PER_LOOK == 0:
                clock.look(lambda: test_accuracy(model, test))
            if clock.over:
                break
    clock.pause()
    report(clock, test_accuracy(model, test), steps * BATCH / len(train), ["timm", "torch", "torchvision"])


if __name__ == "__main__":
    main()
