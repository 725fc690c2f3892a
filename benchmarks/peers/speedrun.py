"""The CIFAR-10 speed-run recipe on a CPU: airbench94 with Muon (Keller Jordan, arXiv:2404.00498), its numbers kept.

Written for a GPU that does eight epochs in three seconds. Here the schedule runs by the clock, so that as many epochs
or as much of one is trained as fits; ``--epochs`` gives it a fixed length instead. Where the processor is faster in
bfloat16, it trains in that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import torch
from peer import Clock, Pixels, load, options, report
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = torch.tensor((0.4914, 0.4822, 0.4465)), torch.tensor((0.2470, 0.2435, 0.2616))
BATCH = 2000
FILTER_RATE, BIAS_RATE, HEAD_RATE = 0.24, 0.053, 0.67
DECAY = 2e-6  # of a step, for each image in it
WHITENING_BIAS = 3 / 8  # the share of the training in which it learns
SHIFT = 2


class Whitening(nn.Conv2d):
    """2×2 patches to their principal components at unit variance, with both signs; only the bias ever learns."""

    def __init__(self, images: Tensor, floor: float = 5e-4) -> None:
        super().__init__(3, 24, 2)
        self.weight.requires_grad_(False)
        patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (components / (variances + floor).sqrt()).T.reshape(12, 3, 2, 2)
        self.weight.data.copy_(torch.cat([filters, -filters]))


class Filters(nn.Conv2d):
    """A 3×3 convolution that begins by passing its input through."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding="same", bias=False)
        nn.init.dirac_(self.weight.data[:inputs])


def normalisation(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def group(inputs: int, outputs: int) -> nn.Sequential:
    first, second = Filters(inputs, outputs), Filters(outputs, outputs)
    return nn.Sequential(
        first, nn.MaxPool2d(2), normalisation(outputs), nn.GELU(), second, normalisation(outputs), nn.GELU()
    )


class Network(nn.Module):
    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.whitening = Whitening(images)
        self.groups = nn.Sequential(group(24, 64), group(64, 256), group(256, 256))
        self.head = nn.Linear(256, 10, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(F.gelu(self.whitening(x)))
        return self.head(F.max_pool2d(x, 3).flatten(1)) / 256


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step is made nearly orthogonal; each filter bank keeps its norm."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for settings in self.param_groups:
            for weight in settings["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.mul_(settings["momentum"]).add_(weight.grad)
                step = weight.grad.add(momentum, alpha=settings["momentum"])
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.add_(orthogonal(step.flatten(1)).view_as(weight), alpha=-settings["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Three Newton-Schulz steps towards the nearest orthogonal matrix, with coefficients that hurry."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


def prepare(images: Pixels) -> Tensor:
    x = (torch.from_numpy(images).float() / 255 - MEAN) / STD
    return x.permute(0, 3, 1, 2)  # which leaves the channels last in memory


def shifted(images: Tensor) -> Tensor:
    """Every image moved by up to two pixels each way, with its edge mirrored."""
    padded = F.pad(images, (SHIFT,) * 4, mode="reflect")
    moves = torch.randint(2 * SHIFT + 1, (2, len(images)))
    out = torch.empty_like(images)
    for down in range(2 * SHIFT + 1):
        for right in range(2 * SHIFT + 1):
            chosen = ((moves[0] == down) & (moves[1] == right)).nonzero()[:, 0]
            out[chosen] = padded[chosen, :, down : down + 32, right : right + 32]
    return out


def batches(images: Tensor, labels: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch; an image is mirrored in every other one, so that it is seen both ways equally often."""
    mirrored = torch.rand(len(images)) < 0.5
    for epoch in count():
        for rows in torch.randperm(len(images))[: len(images) // batch * batch].split(batch):
            x, turned = shifted(images[rows]), mirrored[rows] ^ bool(epoch % 2)
            x[turned] = x[turned].flip(3)
            yield x.contiguous(memory_format=torch.channels_last), labels[rows]


def loss_of(network: Network, images: Tensor, labels: Tensor, bfloat16: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = network(images)
    return F.cross_entropy(logits.float(), labels, label_smoothing=0.2, reduction="sum")


def bfloat16_is_faster(images: Tensor, labels: Tensor) -> bool:
    """Measured on a network of its own, so that nothing is learnt from it; not counted as training."""
    network, seconds = Network(images).to(memory_format=torch.channels_last), {False: 0.0, True: 0.0}
    for bfloat16 in (False, True, False, True):  # the first round warms up
        start = time.perf_counter()
        loss_of(network, images, labels, bfloat16).backward()
        seconds[bfloat16] = time.perf_counter() - start
    return seconds[True] < seconds[False]


@torch.no_grad()
def test_accuracy(network: Network, images: Tensor, labels: Tensor, bfloat16: bool, views: bool = True) -> float:
    """With the recipe's ``views`` as well: mirrored, and moved by one pixel along the diagonal."""

    def mirrored(x: Tensor) -> Tensor:
        return (network(x).float() + network(x.flip(3)).float()) / 2

    network.eval()
    answers = []
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for x in images.split(500):
            if views:
                padded = F.pad(x, (1,) * 4, mode="reflect")
                moved = (mirrored(padded[:, :, :32, :32]) + mirrored(padded[:, :, 2:, 2:])) / 2
                answers.append((mirrored(x) + moved).argmax(1))
            else:
                answers.append(network(x).argmax(1))
    network.train()
    return (torch.cat(answers) == labels).float().mean().item()


def optimizers(network: Network, batch: int) -> tuple[torch.optim.Optimizer, ...]:
    filters = [p for p in network.groups.parameters() if p.ndim == 4]
    shifts = [p for p in network.groups.parameters() if p.ndim == 1 and p.requires_grad]
    # SGD multiplies its decay by the rate; dividing makes the decay of a step the recipe's.
    groups = [
        {"params": params, "lr": rate, "weight_decay": DECAY * batch / rate}
        for params, rate in (
            ([network.whitening.bias], BIAS_RATE),
            (shifts, BIAS_RATE),
            ([network.head.weight], HEAD_RATE),
        )
    ]
    # The loss is a sum, so SGD's steps follow the batch by themselves; Muon's have the length of their rate.
    muon = Muon(filters, {"lr": FILTER_RATE * (batch / BATCH) ** 0.5, "momentum": 0.6})
    return torch.optim.SGD(groups, lr=BIAS_RATE, momentum=0.85, nesterov=True), muon


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, help="a schedule of so many epochs, whatever --seconds says")
    parser.add_argument("--batch", type=int, default=BATCH, help="images a step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    x_train, y_train, x_test, y_test = load(arguments.data)
    images, labels = prepare(x_train), torch.from_numpy(y_train)
    test = prepare(x_test), torch.from_numpy(y_test)
    bfloat16 = bfloat16_is_faster(images[:50], labels[:50])
    steps_an_epoch = len(images) // arguments.batch
    last = arguments.epochs * steps_an_epoch if arguments.epochs else None
    steps = 0

    def accuracy() -> float:
        # The views add about a point and take six times as long: not where they cannot matter.
        plain = test_accuracy(network, *test, bfloat16, views=False)
        return plain if plain < arguments.until - 0.03 else test_accuracy(network, *test, bfloat16)

    clock = Clock(float("inf") if arguments.epochs else arguments.seconds, arguments.until)
    clock.start()
    network = Network(images[:5000]).to(memory_format=torch.channels_last)
    whitening_bias = network.whitening.bias
    both = optimizers(network, arguments.batch)
    groups = [group for optimizer in both for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    for x, y in batches(images, labels, arguments.batch):
        share = steps / last if last else clock.progress
        for settings, peak in zip(groups, peaks, strict=True):
            ends = WHITENING_BIAS if settings is groups[0] else 1
            settings["lr"] = peak * max(0.0, 1 - share / ends)
        whitening_bias.requires_grad_(share < WHITENING_BIAS)
        loss_of(network, x, y, bfloat16).backward()
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad()
        steps += 1
        if steps % steps_an_epoch == 0:
            clock.look(accuracy)
        # Steps are long: the one that ends nearest to the budget is the last.
        if steps == last or clock.over or clock.elapsed * (1 + 0.5 / steps) > clock.seconds:
            break
    clock.pause()
    report(clock, test_accuracy(network, *test, bfloat16), steps / steps_an_epoch, ["torch"])


if __name__ == "__main__":
    main()
