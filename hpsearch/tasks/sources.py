"""A fingerprint of the code that a task is made of: the file that defines it, and what it imports from beside it."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

INSTALLED = {"site-packages", "dist-packages"}


def source_hash(found: Callable[..., Any]) -> str:
    """Of a task's class or function, of what a decorator or functools.partial() was given, of an object's class."""
    while isinstance(found, functools.partial):
        found = found.func
    found = inspect.unwrap(found)
    return _hash(found if isinstance(found, (type, FunctionType)) else type(found))


@functools.cache  # the code that runs is the one that was imported, whatever the files say later
def _hash(found: type | FunctionType) -> str:
    """Of the file that defines a class or function, and of the files that it imports, and those import, and so on.

    Only the user's own: modules in the folder from which the first one is imported, and of an installed package those
    of that package. By what the files say, so that it is the same before and after an import within a function; what
    is imported by a name made while running is not seen.
    """
    name = inspect.getsourcefile(found)
    if name is None:
        return ""
    file = Path(name).absolute()  # where its neighbours are, also if it is a link
    files = {file.name: file.read_bytes()} if _top(found.__module__) == "hpsearch" else _own(file, found.__module__)
    if len(files) == 1:
        return _digest(*files.values())
    return _digest(*(part for module in sorted(files) for part in (module.encode(), files[module])))


def _own(file: Path, module: str) -> dict[str, bytes]:
    """Module -> what its file says."""
    if module == "__main__":
        module = file.stem
    parts = module.split(".")
    folder = file.parents[len(parts) if file.name == "__init__.py" else len(parts) - 1]
    only = parts[0] if INSTALLED & set(folder.parts) else None
    if folder.joinpath(*parts) not in (file.with_suffix(""), file.parent):
        return {module: file.read_bytes()}  # imported in another way: there is no telling where its neighbours are
    found: dict[str, bytes] = {}
    left = [module]
    while left:
        module = left.pop()
        place = folder.joinpath(*module.split("."))
        package = place / "__init__.py"
        file = package if package.is_file() else place.with_suffix(".py")
        own = _top(module) == only if only else _top(module) != "hpsearch"
        if module in found or not all(module.split(".")) or not own or not file.is_file():
            continue
        found[module] = file.read_bytes()
        left += _imported(found[module], module if file == package else module.rpartition(".")[0])
    return found


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Names of what may be modules; package: the one that the file is in, "" where there is none."""
    yield from _parents(package)
    try:
        tree = ast.parse(source)
    except SyntaxError:  # of a neighbour that is never imported in truth
        return
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield from _parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All of them, in functions and branches, too; expressions, most of a file, have none in them."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            left += getattr(node, part, [])


def _parents(name: str) -> Iterator[str]:
    """a.b.c -> a, a.b, a.b.c: packages are run before what is in them."""
    parts = name.split(".") if name else []
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _digest(*parts: bytes) -> str:
    """16 hexadecimal digits of SHA-256."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()[:16]
