"""Random crops, flips and cutout of a whole batch of raw images, on the device that they are on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Images treated at once. On a CPU what is worked on stays in its cache; a GPU wants few, large steps.
BLOCK_CPU, BLOCK_GPU = 256, 16384


@dataclass(frozen=True)
class Augmentation:
    """In this order, as the usual training code has them: padded crop, horizontal flip, cutout.

    padding: pixels of black (raw 0) on each side before a crop of the image's own size; 0 for no crop. Black, as that
        code pads before it normalises (torchvision's RandomCrop before ToTensor and Normalize).
    flip: left and right are exchanged with probability 1/2.
    cutout: the side in pixels of a square around a centre drawn uniformly over the image, clipped at the border
        (DeVries & Taylor 2017, arXiv 1708.04552); 0 for none. Applied to every image.
    fill: each channel's raw value in the square, the mean colour: that code cuts after normalising, where it is 0.
    """

    padding: int
    flip: bool
    cutout: int
    fill: tuple[int, ...]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """New images, uint8 (N, C, H, W) as given. All draws are made on the CPU, then moved at once."""
        if not (self.padding or self.flip or self.cutout):
            return images
        draws = self.draw(len(images), images.shape[-2], images.shape[-1], generator)
        flipped = [rows.nonzero().squeeze(1) for rows in torch.split(draws[:, 2], _block(images))]
        moved = draws.to(images.device, non_blocking=True)
        changed = torch.empty(images.shape, dtype=images.dtype, device=images.device)
        for rows, some in zip(_blocks(images), flipped, strict=True):
            block = changed[rows]
            if self.padding:
                crop(images[rows], moved[rows, 0], moved[rows, 1], self.padding, block)
            else:
                block.copy_(images[rows])
            if self.flip:
                on_device = some.to(images.device, non_blocking=True)
                mirrored = block.index_select(0, on_device).flip(-1)
                _words(block).index_copy_(0, on_device, _words(mirrored))
            if self.cutout:
                cut(block, moved[rows, 3], moved[rows, 4], self.cutout, self.fill)
        return changed

    def draw(self, number: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """(number, 5): rows and columns by which the window is moved in, whether flipped, the square's centre."""
        ends = (2 * self.padding + 1, 2 * self.padding + 1, 2 if self.flip else 1, height, width)
        drawn = [torch.randint(end, (number,), generator=generator) for end in ends]
        return torch.stack(drawn, 1)  # cutout is drawn last: with it or without, crops and flips are the same


def padding_for(side: int) -> int:
    """4 pixels at 32, in proportion at other sides, at least 1."""
    return max(1, round(side / 8))


def crop(images: Tensor, down: Tensor, right: Tensor, padding: int, out: Tensor) -> None:
    """Image n's window at (down[n], right[n]) of the padded image, written to out (N, C, H, W).

    Windows are gathered row by row: a row is contiguous in the padded image, wherever it begins.
    """
    number, channels, height, width = images.shape
    padded = functional.pad(images, (padding, padding, padding, padding))  # (N, C, H + 2p, W + 2p)
    tall, wide = padded.shape[-2:]
    flat = padded.reshape(-1)
    runs = flat.as_strided((flat.numel() - width + 1, width), (1, 1))  # run i: W values from place i
    planes = torch.arange(number * channels, device=images.device).view(number, channels, 1) * (tall * wide)
    rows = down.view(-1, 1, 1) + torch.arange(height, device=images.device)  # (N, 1, H)
    starts = planes + rows * wide + right.view(-1, 1, 1)  # (N, C, H)
    torch.index_select(runs, 0, starts.view(-1), out=out.view(-1, width))


def cut(images: Tensor, down: Tensor, right: Tensor, side: int, fill: tuple[int, ...]) -> None:
    """In place: the square of `side` from side // 2 before the centre (down[n], right[n]) is filled."""
    height, width = images.shape[-2:]
    inside = [
        ((distance >= 0) & (distance < side)).to(torch.uint8)
        for end, centre in ((height, down), (width, right))
        for distance in [torch.arange(end, device=images.device) - (centre - side // 2).unsqueeze(1)]
    ]
    keep = (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1) - 1  # (N, 1, H, W): 0 inside, 255 outside
    colour = torch.tensor(fill, dtype=torch.uint8, device=images.device).view(1, -1, 1, 1)
    images.bitwise_and_(keep).bitwise_or_(colour & ~keep)


def _words(images: Tensor) -> Tensor:
    """The same memory four bytes at a time where rows allow it: torch copies bytes five times slower than words."""
    return images.view(torch.int32) if images.shape[-1] % 4 == 0 else images


def _block(images: Tensor) -> int:
    return BLOCK_CPU if images.device.type == "cpu" else BLOCK_GPU


def _blocks(images: Tensor) -> Iterator[slice]:
    size = _block(images)
    return (slice(start, start + size) for start in range(0, len(images), size))
