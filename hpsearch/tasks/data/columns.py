"""Which columns of a table hold the images and the labels, and what the labels say as whole numbers from 0."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from hpsearch.errors import nearest, show
from hpsearch.tasks.data.split import Ids
from hpsearch.tasks.protocol import DataError

LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
KINDS = {"image_column": "encoded images (bytes)", "label_column": "labels (whole numbers or names)"}


@dataclass(frozen=True)
class Columns:
    """names: of the classes, where the schema gives them (a ClassLabel of Hugging Face datasets)."""

    image: str
    label: str
    names: tuple[str, ...] | None


def choose(schema: Any, source: str, wanted: tuple[str | None, str | None], usual: tuple[str, str] | None) -> Columns:
    """The columns that the user wants, else the usual ones of the set, else the only ones that can be meant.

    schema: pyarrow's. source: what messages call the table.
    """
    features = _features(schema)
    images = [column.name for column in schema if _is_image(column.type)]
    image = wanted[0] or (usual[0] if usual and usual[0] in schema.names else None)
    image = _one("image_column", source, schema.names, image, images)
    labels = [column.name for column in schema if column.name != image and _is_label(column.type)]
    label = wanted[1] or (usual[1] if usual and usual[1] in labels else None)
    if label is None:
        classed = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
        named = [name for name in labels if name in LABEL_NAMES]
        labels = classed if len(classed) == 1 else named if len(named) == 1 else labels
    label = _one("label_column", source, schema.names, label, labels)
    names = features.get(label, {}).get("names")
    return Columns(image, label, tuple(map(str, names)) if names else None)


def _one(option: str, source: str, present: Sequence[str], wanted: str | None, possible: Sequence[str]) -> str:
    columns = ", ".join(present)
    if wanted is not None:
        if wanted in possible:
            return wanted
        if wanted in present:
            what = KINDS[option]
            raise DataError(option, f"column {wanted!r} of {source} holds no {what}", f"its columns are {columns}")
        near = nearest(wanted, present)
        hint = f"; did you mean {near!r}?" if near else ""
        raise DataError(option, f"{source} has no column {wanted!r}", f"its columns are {columns}{hint}")
    if len(possible) == 1:
        return possible[0]
    if not possible:
        raise DataError(option, f"{source} has no column of {KINDS[option]}", f"its columns are {columns}")
    raise DataError(option, f"{source} has several columns of {KINDS[option]}", f"name one: {', '.join(possible)}")


def _features(schema: Any) -> Mapping[str, Any]:
    """What Hugging Face datasets wrote about the columns, {} where it did not."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _is_image(kind: Any) -> bool:
    from pyarrow import types  # type: ignore[import-untyped]

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_label(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)
    )


def class_ids(
    found: Mapping[str, Sequence[Any]], names: Sequence[str] | None, sources: Mapping[str, str], option: str
) -> tuple[dict[str, Ids], tuple[str, ...]]:
    """Labels of each split (N,) as whole numbers from 0, and the classes' names.

    names: of the known classes; whole numbers are then places among them. Without, the classes are the training
    set's distinct labels, sorted. Raises DataError for a label that is missing, hidden (-1) or of no known class.
    """
    train = [value for value in found["train"] if value is not None]
    if len(set(train)) == 1:
        problem = f"every label in {sources['train']} is {show(train[0])}"
        raise DataError(option, problem, "a classification needs two classes; give another column, or other data")
    numbers = all(isinstance(value, int) for value in train)
    if names is not None and numbers:
        classes: Sequence[Any] = range(len(names))
    else:
        classes = sorted(set(train), key=lambda value: (str(type(value)), value)) if names is None else names
    known = {value: number for number, value in enumerate(classes)}
    ids: dict[str, Ids] = {}
    for split, values in found.items():
        row = next((row for row, value in enumerate(values) if value not in known or _hidden(value)), None)
        if row is not None:
            _refuse(option, values[row], f"{sources[split]}, row {row}", classes)
        ids[split] = numpy.fromiter((known[value] for value in values), numpy.int64, len(values))
    return ids, tuple(map(str, names if names is not None else classes))


def _hidden(value: Any) -> bool:
    return isinstance(value, int) and value < 0


def _refuse(option: str, value: Any, where: str, classes: Sequence[Any]) -> None:
    if value is None:
        raise DataError(option, f"{where}: the label is missing", "give every image a label, or leave it out")
    if _hidden(value):
        raise DataError(option, f"{where}: the label is {value}", "give data with labels from 0 (-1 often hides them)")
    known = f"0 to {len(classes) - 1}" if isinstance(classes, range) else ", ".join(map(str, classes[:10]))
    near = None if isinstance(value, int) else nearest(value, map(str, classes))
    hint = f"; did you mean {near!r}?" if near else ""
    raise DataError(option, f"{where}: the label is {show(value)}", f"the classes are {known}{hint}")
