"""An image set as arrays: decoded once, then opened from the cache without any data library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from hpsearch.errors import one_line
from hpsearch.tasks.data.cache import Entry, Writer, open_entry
from hpsearch.tasks.data.columns import Columns, choose, class_ids
from hpsearch.tasks.data.decode import Coloured, Shape, decode, first_shape
from hpsearch.tasks.data.files import Files, find
from hpsearch.tasks.data.fingerprint import digest
from hpsearch.tasks.data.rows import FolderRows, HubRows, ParquetRows, Rows, reading
from hpsearch.tasks.data.split import Ids, spread_order
from hpsearch.tasks.protocol import DataError

FORMAT = 1  # of the cached arrays; raised when what they hold changes

_OPEN: dict[str, ImageSet] = {}


@dataclass(frozen=True)
class Recipe:
    """Which images, and how they become arrays. `path` or `dataset` is given.

    image_column, label_column: the user's; usual: those of a known set. classes: of a known set, else 0.
    channels, side: of a known set, else 0. size: the side to bring images to, 0 to keep it.
    """

    path: str | None = None
    dataset: str | None = None
    config: str | None = None
    revision: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    usual: tuple[str, str] | None = None
    classes: tuple[str, ...] = ()
    channels: int = 0
    side: int = 0
    size: int = 0
    option: str = "path"  # what messages about the images name


@dataclass(frozen=True)
class ImageSet:
    """Splits "train", "test" and "validation", those that the set has, as (images, labels).

    images: uint8 (N, channels, side, side), labels: int64 (N,); train is in the order of split.spread_order.
    content: a hash of the labels and encoded images, the same wherever they come from.
    """

    splits: Mapping[str, tuple[Any, Any]]
    classes: tuple[str, ...]
    channels: int
    side: int
    content: str
    sums: Any  # int64 (N, 2, channels): each training image's sum, and sum of squares

    def mean_and_std(self, start: int, end: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of each channel over the pixels of training images start to end, in [0, 1]. A constant channel has std 1."""
        pixels = (end - start) * self.side**2
        total, squares = numpy.asarray(self.sums[start:end]).sum(0)  # (channels,) whole numbers: the same everywhere
        mean = total / pixels
        std = numpy.sqrt(numpy.maximum(squares / pixels - mean**2, 0))
        return tuple(map(float, mean / 255)), tuple(float(s) if s > 0 else 1.0 for s in std / 255)


def load(recipe: Recipe) -> ImageSet:
    """The set, decoded now or before. Raises DataError for anything wrong with it."""
    files = find(recipe.path) if recipe.path is not None else None
    plain = {name: value for name, value in asdict(recipe).items() if name not in ("path", "option")}
    source = {"files": files.digests(), "classes_of_folders": files.classes} if files else {}
    key = digest({"format": FORMAT, **plain, **source})[:32]
    entry = open_entry("images", key, lambda writer: _build(recipe, files, writer), recipe.option)
    where = str(entry.folder)
    if where not in _OPEN:
        _OPEN[where] = _opened(entry)
    return _OPEN[where]


def _opened(entry: Entry) -> ImageSet:
    meta = entry.meta
    splits = {split: (entry.array(f"{split}_images"), entry.array(f"{split}_labels")) for split in meta["splits"]}
    classes = tuple(meta["classes"])
    return ImageSet(splits, classes, meta["channels"], meta["side"], meta["content"], entry.array("train_sums"))


def _build(recipe: Recipe, files: Files | None, writer: Writer) -> dict[str, Any]:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        from hpsearch.tasks.data.hub import INSTALL

        raise DataError(recipe.option, "reading images needs the library Pillow", INSTALL) from None
    splits, names = _from_files(recipe, files) if files else _from_hub(recipe)
    sources = {split: rows.name for split, rows in splits.items()}
    found = {split: rows.labels() for split, rows in splits.items()}
    for split, values in found.items():
        if not values:
            raise DataError(
                recipe.option, f"the {split} set ({sources[split]}) is empty", "give data with images in it"
            )
    if recipe.classes and names and len(recipe.classes) != len(names):
        problem = f"{sources['train']} has {len(names)} classes, and the set {len(recipe.classes)}"
        raise DataError(recipe.option, problem, "check that it is this set; task images takes any")
    # A known set's numbers stand for its own order of the names, whatever the order of the folders is.
    known = recipe.classes if recipe.classes and (not names or set(names) == set(recipe.classes)) else names
    ids, classes = class_ids(found, known, sources, recipe.option if files and files.classes else "label_column")
    present = len(numpy.unique(ids["train"]))
    if recipe.classes and present < len(recipe.classes):  # e.g. CIFAR-10's files given to cifar100
        problem = f"{sources['train']} has images of {present} classes, and the set {len(recipe.classes)}"
        raise DataError(recipe.option, problem, "check that it is this set; task images takes any")
    shape = _shape(recipe, splits["train"])
    try:
        content = _write(splits, ids, shape, writer, recipe.option)
    except Coloured:
        if recipe.channels:
            raise DataError(recipe.option, "some images have colours, and the set is grey", "check the set") from None
        writer.arrays.clear()  # files of one channel, written over
        shape = Shape(3, shape.side, shape.resized)
        content = _write(splits, ids, shape, writer, recipe.option)
    return {
        "splits": list(splits),
        "classes": list(classes),
        "channels": shape.channels,
        "side": shape.side,
        "content": content,
    }


def _write(splits: Mapping[str, Rows], ids: Mapping[str, Ids], shape: Shape, writer: Writer, option: str) -> str:
    """All arrays of the set; gives the content hash."""
    content = {}
    for split, rows in splits.items():
        labels = ids[split]
        order = spread_order(labels) if split == "train" else numpy.arange(len(labels))
        places = numpy.argsort(order)  # where row i goes
        images = writer.array(f"{split}_images", (len(labels), shape.channels, shape.side, shape.side), "uint8")
        sums = writer.array("train_sums", (len(labels), 2, shape.channels), "int64") if split == "train" else None
        writer.array(f"{split}_labels", labels.shape, "int64")[:] = labels[order]
        content[split] = [decode(rows, shape, places, images, sums, option), labels.tolist()]
    return digest(content)[:32]


def _shape(recipe: Recipe, rows: Rows) -> Shape:
    shape = first_shape(rows, recipe.size, recipe.option)
    known = recipe.channels, recipe.side
    if any(known) and known != (shape.channels, shape.side):
        problem = (
            f"{rows.where(0)}: the image is {_told(shape.channels, shape.side)}, and the set's are {_told(*known)}"
        )
        raise DataError(recipe.option, problem, "check that it is this set; task images takes any")
    return shape


def _told(channels: int, side: int) -> str:
    return f"{side}x{side} pixels in {'one channel' if channels == 1 else f'{channels} channels'}"


def _from_files(recipe: Recipe, files: Files) -> tuple[dict[str, Rows], tuple[str, ...] | None]:
    if files.classes is not None:
        return {split: FolderRows(files.root / split, paths) for split, paths in files.splits.items()}, files.classes
    splits: dict[str, Rows] = {}
    names = None
    for split, paths in files.splits.items():
        for path in paths:
            with reading(path) as file:
                columns = _columns(recipe, file.schema_arrow, path.name)
        names = names or columns.names
        splits[split] = ParquetRows(paths, columns)
    return splits, names


def _from_hub(recipe: Recipe) -> tuple[dict[str, Rows], tuple[str, ...] | None]:
    from hpsearch.tasks.data.hub import fetch

    found = fetch(str(recipe.dataset), recipe.config, recipe.revision, recipe.option)
    splits: dict[str, Rows] = {}
    names = None
    for split, table in found.items():
        columns = _columns(recipe, table.features.arrow_schema, f"{recipe.dataset} ({split})")
        names = names or columns.names
        splits[split] = HubRows(f"{recipe.dataset}, {split}", table, columns)
    return splits, names


def _columns(recipe: Recipe, schema: Any, source: str) -> Columns:
    return choose(schema, one_line(source), (recipe.image_column, recipe.label_column), recipe.usual)
