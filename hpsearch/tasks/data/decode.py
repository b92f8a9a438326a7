"""Encoded images to pixels: many at once, each at its place in an array."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy

from hpsearch.tasks.data.rows import Rows
from hpsearch.tasks.data.split import Ids
from hpsearch.tasks.protocol import DataError

Pixels = numpy.ndarray[Any, numpy.dtype[numpy.uint8]]
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")


class Coloured(Exception):
    """An image has colours where all before it were grey."""


@dataclass(frozen=True)
class Shape:
    """Of every image of a set. side: pixels. resized: whether images of other sizes are brought to it."""

    channels: int
    side: int
    resized: bool


def first_shape(rows: Rows, size: int, option: str) -> Shape:
    """The shape that the first image sets for all. size: the side asked for, 0 to keep what is there."""
    batch = next(iter(rows.images()), [])
    pixels = _pixels(batch[0] if batch else None, rows, 0, size, option)
    height, width, channels = pixels.shape
    if height != width:
        problem = f"{rows.where(0)}: the image is {width}x{height} pixels, and the networks take squares"
        raise DataError("size", problem, f"set size, e.g. size: {min(height, width)}")
    return Shape(channels, height, size > 0)


def decode(rows: Rows, shape: Shape, places: Ids, images: Pixels, sums: Any, option: str) -> str:
    """Puts row i at images[places[i]], (N, channels, side, side); gives the SHA-256 of the encoded images in order.

    sums (N, 2, channels): of each image's values and of their squares; None where they are not wanted.
    Raises Coloured where an image is not grey and shape.channels is 1.
    """
    found = hashlib.sha256()
    workers = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    pending: deque[Future[None]] = deque()

    def convert(start: int, batch: Sequence[bytes | None]) -> None:
        block = numpy.empty((len(batch), shape.channels, shape.side, shape.side), numpy.uint8)
        for offset, data in enumerate(batch):
            block[offset] = _fitting(data, rows, start + offset, shape, option).transpose(2, 0, 1)
        at = places[start : start + len(batch)]
        images[at] = block
        if sums is not None:
            flat = block.reshape(len(batch), shape.channels, -1).astype(numpy.uint32)
            sums[at, 0], sums[at, 1] = flat.sum(2, numpy.int64), (flat * flat).sum(2, numpy.int64)

    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes without Python's lock
        start = 0
        for batch in rows.images():
            for data in batch:
                found.update(f"{-1 if data is None else len(data)};".encode() + (data or b""))
            pending.append(pool.submit(convert, start, batch))
            start += len(batch)
            if len(pending) > 2 * workers:  # not all of them in memory
                pending.popleft().result()
        for future in pending:
            future.result()
    return found.hexdigest()


def _fitting(data: bytes | None, rows: Rows, row: int, shape: Shape, option: str) -> Pixels:
    """The image (side, side, channels); grey is spread over three channels where the set has colours."""
    pixels = _pixels(data, rows, row, shape.side if shape.resized else 0, option)
    height, width, channels = pixels.shape
    if (height, width) != (shape.side, shape.side):
        problem = f"{rows.where(row)}: the image is {width}x{height} pixels, the first one {shape.side}x{shape.side}"
        raise DataError("size", problem, f"set size to bring all to one, e.g. size: {shape.side}")
    if channels > shape.channels:
        raise Coloured
    return pixels


def _pixels(data: bytes | None, rows: Rows, row: int, size: int, option: str) -> Pixels:
    """(height, width, 1) of a grey image and (height, width, 3) of any other; transparency is dropped."""
    from PIL import Image, ImageOps

    if data is None:
        raise DataError(option, f"{rows.where(row)}: the image is missing", "give it, or leave the row out")
    try:
        with Image.open(io.BytesIO(data)) as file:
            # As photographs are looked at: some cameras store them lying down.
            image: Image.Image = ImageOps.exif_transpose(file) if "exif" in file.info else file
            if image.mode in ("I", "F"):
                raise ValueError(f"its pixels are of mode {image.mode}, not 8 or 16 bits")
            grey = image.mode in GREY
            if image.mode.startswith("I;16"):  # the upper eight bits
                image = Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8))
            image = image.convert("L" if grey else "RGB")
            if size:
                image = _square(image, size)
            pixels: Pixels = numpy.asarray(image)
    except Exception as error:  # Pillow raises whatever a broken file leads to
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        reason = "it is of no known format" if "cannot identify" in reason else reason
        remedy = "mend it, or leave it out"
        raise DataError(option, f"{rows.where(row)}: the image cannot be read ({reason})", remedy) from None
    return pixels[:, :, None] if grey else pixels


def _square(image: Any, size: int) -> Any:
    """The short side brought to `size` (bilinear, with a filter against aliasing), then the centre cut out."""
    from PIL import Image

    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
