"""Reads one YAML file with the safe loader, and remembers on which line every key stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpsearch.errors import InputError, KeyPath, Mistake, MistakesError, dotted, show

MAX_BYTES = 1_000_000
MAX_NODES = 20_000  # after aliases are expanded: an alias bomb has billions
MAX_DEPTH = 40


@dataclass
class Document:
    """A YAML mapping with the origin of each value: a line of the file, or an option of the command line."""

    label: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """'study.yaml:12' or '--set arms.sam.fixed.rho=-1' for the value at `path` or its nearest parent."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.overrides:
                return self.overrides[path[:length]]
            if path[:length] in self.lines:
                return f"{self.label}:{self.lines[path[:length]]}"
        return self.label

    def error(self, mistakes: Sequence[Mistake]) -> MistakesError:
        shown = [f"{self.where(mistake.path)}: {mistake.describe()}" for mistake in mistakes[:20]]
        if len(mistakes) > 20:
            shown.append(f"{self.label}: and {len(mistakes) - 20} more mistakes")
        return MistakesError(mistakes, shown)


def read_yaml(path: Path) -> Document:
    """Reads the mapping in a YAML file.

    Raises InputError, naming the file and the line where YAML gives one, for a file that cannot be read, is a
    directory, binary, empty, larger than 1 MB, not YAML, not a mapping, has a key twice, or expands past 20,000 nodes.
    """
    return parse_yaml(_read_text(path), str(path))


def parse_yaml(text: str, label: str) -> Document:
    """As read_yaml, for text already in hand; `label` stands for the file name in messages."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise InputError(f"{label}: the file is empty; it must hold a YAML mapping (key: value)")
        document = Document(label, {})
        _walk(node, (), document, [0], 0)
        data = _Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{label}{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{label}: not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InputError(f"{label}: nested too deeply; at most {MAX_DEPTH} levels are allowed") from None
    if not isinstance(data, dict):
        raise InputError(f"{label}:1: must be a mapping (key: value) at the top, but got {show(data)}")
    document.data = data
    return document


def parse_override(text: str) -> tuple[KeyPath, Any]:
    """'sampling.0.options.seed=3' -> (("sampling", 0, "options", "seed"), 3): the form of --set."""
    key, separator, value = text.partition("=")
    parts = key.split(".")
    if not separator or not all(parts):
        raise InputError(f"--set {text}: must look like a.b.0.c=VALUE, with VALUE in YAML")
    wrapped = parse_yaml("value: " + value if value.strip() else "value: null", f"--set {text}")
    return tuple(int(part) if part.isdigit() else part for part in parts), wrapped.data["value"]


def override(document: Document, text: str) -> None:
    """Sets one value of a document in place; missing mappings on the way are made, missing list items are not."""
    path, value = parse_override(text)
    target: Any = document.data
    taken: list[str | int] = []
    for position, key in enumerate(path):
        last = position == len(path) - 1
        if isinstance(target, list):
            if not isinstance(key, int) or key >= len(target):
                raise InputError(
                    f"--set {text}: {dotted(path[:position])} is a list of {len(target)}; "
                    f"allowed there: a number from 0 to {len(target) - 1}, but got {show(key)}"
                )
        elif isinstance(target, dict):
            # A digit may be a mapping's key too ("0"): YAML keys decide.
            key = key if key in target else str(key)
            if not last and target.get(key) is None:
                target[key] = {}
        else:
            raise InputError(
                f"--set {text}: {dotted(path[:position])} is {show(target)}, which has no key {show(key)}"
            )
        taken.append(key)
        if last:
            target[key] = value
        else:
            target = target[key]
    document.overrides[tuple(taken)] = f"--set {text}"


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give a YAML file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: has {size:,} bytes; at most {MAX_BYTES:,} are allowed")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)  # a pipe or a device says size 0
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: has more than {MAX_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; it must be a YAML file") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, with floats as everyone writes them: YAML 1.1 reads 5e-4 and 1e3 as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _walk(node: yaml.Node, path: KeyPath, document: Document, count: list[int], depth: int) -> None:
    """Notes each value's line; refuses a key given twice, and size or depth that only an attack has."""
    count[0] += 1
    if count[0] > MAX_NODES:
        raise InputError(f"{document.label}: expands to more than {MAX_NODES:,} values (aliases included)")
    if depth > MAX_DEPTH:
        raise RecursionError
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = key.value, key.start_mark.line + 1
            if not isinstance(name, str):
                raise InputError(f"{document.label}:{line}: a key must be plain text, not a list or a mapping")
            if name in seen:
                raise InputError(
                    f"{document.label}:{line}: {dotted((*path, name))}: the key {show(name)} is given twice, "
                    f"first on line {seen[name]}; allowed: once"
                )
            seen[name] = line
            document.lines[(*path, name)] = line
            _walk(value, (*path, name), document, count, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), document, count, depth + 1)
