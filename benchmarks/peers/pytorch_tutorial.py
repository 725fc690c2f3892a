"""The network of PyTorch's CIFAR-10 tutorial, trained as it is there: SGD with momentum, batches of 4."""

from __future__ import annotations

import torch
from peer import Clock, load, options, report
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 4
STEPS_PER_LOOK = 2000


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


@torch.no_grad()
def test_accuracy(net: nn.Module, data: TensorDataset) -> float:
    images, labels = data.tensors
    return (torch.cat([net(part) for part in images.split(500)]).argmax(1) == labels).float().mean().item()


def main() -> None:
    arguments = options(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    x_train, y_train, x_test, y_test = load(arguments.data)
    # Tensors in memory where the tutorial decodes each image again in each epoch: that spares it time.
    train, test = (
        TensorDataset((torch.from_numpy(x).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5, torch.from_numpy(y))
        for x, y in ((x_train, y_train), (x_test, y_test))
    )
    loader = DataLoader(train, batch_size=BATCH, shuffle=True)
    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    clock, steps = Clock(arguments.seconds, arguments.until), 0
    clock.start()
    while not clock.over:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            steps += 1
            if steps % STEPS_PER_LOOK == 0:
                clock.look(lambda: test_accuracy(net, test))
            if clock.over:
                break
    clock.pause()
    report(clock, test_accuracy(net, test), steps * BATCH / len(train), ["torch"])


if __name__ == "__main__":
    main()
