"""Reads one YAML file with the safe loader, and remembers on which line every key stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpsearch.errors import InputError, KeyPath, Mistake, MistakesError, dotted, one_line, show

MAX_BYTES = 1_000_000
MAX_NODES = 20_000  # after aliases are expanded: an alias bomb has billions
MAX_DEPTH = 40
MAX_DIGITS = 1_000


@dataclass
class Document:
    """A YAML mapping with the origin of each value: a line of the file, or an option of the command line."""

    label: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """'study.yaml:12' or '--set arms.sam.fixed.rho=-1' for the value at `path` or its nearest parent."""
        for key, option in self.overrides.items():
            if path and key[: len(path)] == path:  # the option made what stands here
                return option
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
    document = Document(label, {})
    data = _load(text, document)
    if data is None:
        raise InputError(f"{label}: the file is empty; it must hold a YAML mapping (key: value)")
    if not isinstance(data, dict):
        raise InputError(f"{document.where(())}: must be a mapping (key: value) at the top, but got {show(data)}")
    document.data = data
    return document


def dump_yaml(data: object) -> str:
    """Text that read_yaml reads back equal."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """'sampling.0.options.seed=3' -> (("sampling", "0", "options", "seed"), 3): the form of --set."""
    key, separator, value = text.partition("=")
    parts = tuple(key.split("."))
    if not separator or not all(parts):
        raise InputError(f"{_option(text)}: must look like a.b.0.c=VALUE, with VALUE in YAML")
    if len(parts) > MAX_DEPTH:
        raise InputError(f"{_option(text)}: has {len(parts):,} keys; at most {MAX_DEPTH} are allowed")
    return parts, _load(value if value.strip() else "null", Document(_option(text), {}, overrides={(): _option(text)}))


def override(document: Document, text: str) -> None:
    """Sets one value of a document in place; missing mappings on the way are made, missing list items are not."""
    parts, value = parse_override(text)
    target: Any = document.data
    path: KeyPath = ()
    for position, part in enumerate(parts):
        key: str | int = part
        if isinstance(target, list):
            # Digits are a list's index; in a mapping they are a name like any other.
            key = int(part) if re.fullmatch(r"[0-9]{1,9}", part) else -1
            if not 0 <= key < len(target):
                allowed = f"a number from 0 to {len(target) - 1}" if target else "none: the list is empty"
                raise InputError(
                    f"{_option(text)}: {dotted(path)} is a list of {len(target)}, and {show(part)} is not in it; "
                    f"allowed there: {allowed}"
                )
        elif not isinstance(target, dict):
            raise InputError(f"{_option(text)}: {dotted(path)} is {show(target)}, which has no key {show(part)}")
        path = (*path, key)
        if position == len(parts) - 1:
            target[key] = value
        else:
            if isinstance(target, dict) and target.get(key) is None:
                target[key] = {}
            target = target[key]
    # What stood below is gone, and so are its lines.
    for known in (document.lines, document.overrides):
        for old in [old for old in known if old[: len(path)] == path]:
            del known[old]
    document.overrides[path] = _option(text)


def _option(text: str) -> str:
    return f"--set {one_line(text, 120)}"


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; give a YAML file")
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
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: is not UTF-8 text (byte 0x{raw[error.start]:02x}); it must be a YAML file in UTF-8"
        ) from None


def _load(text: str, document: Document) -> Any:
    """The value of a YAML text; notes its lines in the document. Raises InputError for what read_yaml refuses."""

    def where(line: int) -> str:
        return document.overrides.get((), f"{document.label}:{line}")

    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None
        _walk(node, (), document, where, [0])
        return _unshared(_Loader("").construct_document(node))
    except yaml.MarkedYAMLError as error:
        mark, begun = error.problem_mark or error.context_mark, error.context_mark
        says = ", ".join(part for part in (error.context, error.problem) if part)
        if mark and begun and begun.line != mark.line:
            says += f" (it began on line {begun.line + 1})"
        raise InputError(f"{where(mark.line + 1 if mark else 1)}: not valid YAML: {one_line(says)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character #x{error.character:04x} may not stand in it"
        raise InputError(f"{where(line)}: not valid YAML: {what}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{document.label}: not valid YAML: {one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{document.label}: nested deeper than {MAX_DEPTH} levels") from None
    except OverflowError:
        raise InputError(f"{document.label}: holds more than {MAX_NODES:,} values") from None


_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}


class _Loader(yaml.SafeLoader):
    """The safe loader, with plain values as everyone writes them, and keys that are always text.

    YAML 1.1 reads 5e-4 and 1e3 as text, 010 as 8, 1:30 as 90, and 2024-01-01 as a date.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Counts before the whole text is read: a megabyte of brackets takes a quarter of a minute."""
        self._nodes += 1
        self._depth += 1
        if self._nodes > 2 * MAX_NODES:  # keys count here, and not in _walk
            raise OverflowError
        if self._depth > MAX_DEPTH + 2:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}

    def construct_whole(self, node: Any) -> int:
        text = str(self.construct_scalar(node)).replace("_", "")
        return int(text, 16 if "x" in text else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that either _Loader or another YAML 1.1 reader would take for a number, and rare line ends."""

    def represent_text(self, text: str) -> yaml.Node:
        # In another style PyYAML writes these as they are, and reads a space.
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *(pair for pair in _Loader.yaml_implicit_resolvers.get(first, []) if pair[0].endswith((":int", ":float"))),
    ]
    for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **_Loader.yaml_implicit_resolvers}
}


def _walk(node: yaml.Node, path: KeyPath, document: Document, where: Any, count: list[int]) -> None:
    """Notes each value's line; refuses a key given twice, foreign types, and size or depth that only an attack has."""
    line = node.start_mark.line + 1
    count[0] += 1
    if count[0] > MAX_NODES:
        raise InputError(f"{document.label}: expands to more than {MAX_NODES:,} values (aliases included)")
    if len(path) > MAX_DEPTH:
        raise InputError(f"{where(line)}: nested deeper than {MAX_DEPTH} levels, or an alias that holds itself")
    if node.tag not in _TAGS:
        raise InputError(
            f"{where(line)}: {dotted(path)}: got the type tag {show(node.tag)}; allowed: plain YAML without type tags"
        )
    if node.tag.endswith(":int") and len(node.value) > MAX_DIGITS:
        digits = f"got a number of {len(node.value):,} digits; allowed: at most {MAX_DIGITS:,}"
        raise InputError(f"{where(line)}: {dotted(path)}: {digits}")
    document.lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = key.value, key.start_mark.line + 1
            if not isinstance(name, str):
                raise InputError(f"{where(line)}: a key must be plain text, not a list or a mapping")
            if name in seen:
                raise InputError(
                    f"{where(line)}: {dotted((*path, name))}: the key {show(name)} is given twice, "
                    f"first on line {seen[name]}; allowed: once"
                )
            seen[name] = line
            document.lines[(*path, name)] = line
            _walk(value, (*path, name), document, where, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), document, where, count)


def _unshared(value: Any) -> Any:
    """A copy in which an alias is a value of its own: --set on one place must not change the other."""
    if isinstance(value, dict):
        return {key: _unshared(part) for key, part in value.items()}
    return [_unshared(part) for part in value] if isinstance(value, list) else value
