"""Images a second of the trial engine for plain SGD, beside a hand-written loop on the same data, network and settings.

    python -m tests.benchmarks.engine [resnet18] [width] [images]

An epoch each in turn: shuffling, crops and flips, forward, backward, step. The loop is what a careful person writes:
data on the device, augmentation a batch at a time, no wait for the device before the epoch's end. Aim: 0.95 of it.
"""

from __future__ import annotations

import statistics
import sys

import torch
from torch import Tensor, nn

from hpsearch.hyperparameters import Settings
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.augmentation import Augmentation
from hpsearch.tasks.images.normalize import Normalize
from hpsearch.tasks.networks import build
from hpsearch.training.engine import Engine
from hpsearch.training.loop import TrialRun
from tests.benchmarks.timing import DEVICE, blocks, device_name, ratio

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Synthetic(Classification):
    """Random images in CIFAR-10's shape, pad-crop and flip."""

    def __init__(self, network: str, width: float, images: int) -> None:
        self.network, self.width, self.images = network, width, images
        self.augmentation = Augmentation(4, True, 0, (0, 0, 0))

    def data(self, seed: int) -> Data:
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(256, (self.images, 3, 32, 32), generator=draw, dtype=torch.uint8)
        labels = torch.randint(10, (self.images,), generator=draw)
        small = (images[:BATCH], labels[:BATCH])
        return Data((images, labels), small, small)

    def model(self) -> nn.Module:
        network = build(self.network, channels=3, side=32, classes=10, norm="batch", width=self.width)
        return nn.Sequential(Normalize(MEAN, STD), network)

    def augment(self, batch: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        return self.augmentation(batch[0], generator), batch[1]


class Loop:
    """An epoch of the hand-written loop at a time."""

    def __init__(self, task: Synthetic, engine: Engine) -> None:
        self.images, self.labels = (tensor.to(DEVICE) for tensor in task.data(0).train)
        self.engine, self.model = engine, engine.place(task.model())
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, foreach=True)

    def __call__(self) -> None:
        self.model.train()
        order = torch.randperm(len(self.images), device=DEVICE)
        total = torch.zeros((), device=DEVICE)
        for first in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[first : first + BATCH]
            images, labels = nn.functional.pad(self.images[rows], (4, 4, 4, 4)), self.labels[rows]
            down, right = torch.randint(9, (2, BATCH, 1), device=DEVICE)
            side = torch.arange(32, device=DEVICE)
            mirrored = torch.where(torch.rand(BATCH, 1, device=DEVICE) < 0.5, side.flip(0), side)
            y, x = (down + side)[:, :, None], (right + mirrored)[:, None, :]
            images = images.permute(0, 2, 3, 1)[torch.arange(BATCH, device=DEVICE)[:, None, None], y, x]
            with self.engine.autocast():
                loss = nn.functional.cross_entropy(self.model(images.permute(0, 3, 1, 2)), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        float(total)


def main(network: str = "resnet18", width: float = 1.0, images: int | None = None) -> None:
    on_gpu = DEVICE.type == "cuda"
    images = images or (50_000 if on_gpu else 512)
    task = Synthetic(network, width, images)
    settings = Settings.merge(
        {"momentum": 0.9, "weight_decay": 5e-4, "batch_size": BATCH, "schedule": "constant", "epochs": 10**6}
        | {"precision": "bf16" if on_gpu else "fp32"}
    )
    engine = Engine.choose(DEVICE.type, settings.precision)
    trial, loop = TrialRun(task, settings, 0, DEVICE.type, engine), Loop(task, engine)

    def epoch() -> None:
        with trial.globals.swapped():
            trial._train_epoch()  # without the evaluation, which the loop has not

    found = blocks({"engine": epoch, "loop": loop}, count=10, steps=1, warm=1)
    middle, low, high = ratio(found["loop"], found["engine"])
    print(f"\nplain SGD, {network} of width {width:g}, batch {BATCH}, {settings.precision}, {device_name()}")
    for name, times in found.items():
        print(f"{name:<8}{images // BATCH * BATCH / statistics.median(times):>12,.0f} images a second")
    print(f"the engine's rate over the loop's: {middle:.3f}, 95 % {low:.3f} to {high:.3f}, 10 epochs each in turn")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*given[:1], *map(float, given[1:2]), *map(int, given[2:3]))  # type: ignore[arg-type]
