"""fastai's xresnet18 from random weights on a folder of images: its usual transforms, and one cycle in the time."""

from __future__ import annotations

import torch
from fastai.vision.all import (
    Callback,
    CancelFitException,
    CancelValidException,
    ImageDataLoaders,
    Learner,
    Normalize,
    ParamScheduler,
    aug_transforms,
    imagenet_stats,
    set_seed,
    xresnet18,
)
from peer import Clock, as_folder, options, report

BATCH = 64
RATE = 3e-3
STEPS_PER_LOOK = 100


class OneCycleByTheClock(Callback):
    """Moves the cycle on by time, where fastai would have to be told how many epochs fit. Nothing is validated."""

    order = ParamScheduler.order - 1

    def __init__(self, clock: Clock) -> None:
        self.clock, self.steps = clock, 0

    def before_batch(self) -> None:
        if self.training:
            self.learn.pct_train = self.clock.progress

    def after_batch(self) -> None:
        if self.training:
            self.steps += 1
            if self.steps % STEPS_PER_LOOK == 0:
                self.clock.look(lambda: test_accuracy(self.learn))
            if self.clock.over:
                raise CancelFitException

    def before_validate(self) -> None:
        raise CancelValidException


@torch.no_grad()
def test_accuracy(learn: Learner) -> float:
    learn.model.eval()
    right = [(learn.model(images).argmax(1) == labels).float() for images, labels in learn.dls.valid]
    learn.model.train()
    return torch.cat(right).mean().item()


def main() -> None:
    arguments = options(__doc__).parse_args()
    folder = as_folder(arguments.data)
    torch.set_num_threads(arguments.threads)
    transforms = [*aug_transforms(), Normalize.from_stats(*imagenet_stats)]
    dls = ImageDataLoaders.from_folder(
        folder, valid="test", batch_tfms=transforms, bs=BATCH, num_workers=arguments.threads
    )
    set_seed(arguments.seed)
    learn = Learner(dls, xresnet18(n_out=10))
    clock = Clock(arguments.seconds, arguments.until)
    cycle = OneCycleByTheClock(clock)
    with learn.no_bar(), learn.no_logging():
        clock.start()
        learn.fit_one_cycle(10**6, RATE, cbs=cycle)
        clock.pause()
    epochs = cycle.steps * BATCH / len(dls.train_ds)
    report(clock, test_accuracy(learn), epochs, ["fastai", "torch", "torchvision"])


if __name__ == "__main__":
    main()
