"""What workers on other machines need of this one: this package, the user's task, the files that the study names."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import hpsearch
from hpsearch.check import Checked
from hpsearch.errors import InputError
from hpsearch.tasks.registry import SHIPPED

MEBIBYTE = 2**20
LIMIT = 400 * MEBIBYTE  # Ray takes 512 MiB and keeps them in the memory of the cluster's head
NEVER = ("__pycache__", ".git", ".gitignore", ".rayignore", ".venv")  # Ray would leave out what the third ones list


@contextmanager
def shipment(checked: Checked, folder: Path) -> Iterator[Path]:
    """A directory to be unpacked on every node, where it is Python's path and the working directory.

    It holds this package; the module or package of the user's task, what that has imported from `folder` and the
    modules beside it; files and directories in `folder` that the task's options name by a relative path. folder: the
    driver's working directory. Raises InputError where that is too much, or a path leads out of the folder.
    """
    folder = folder.resolve()
    named = {} if checked.study.task.name in SHIPPED else _modules(checked, folder)
    named |= _files(checked, folder)
    _refuse_much(named)
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as made:
        target = Path(made) / "shipped"
        _copy(Path(hpsearch.__file__).parent, target / "hpsearch")
        for name, source in named.items():
            _copy(source, target / name)
        yield target


def _modules(checked: Checked, folder: Path) -> dict[str, Path]:
    """Top-level modules and packages of the user's own, by the name under which they are imported."""
    own = sys.modules[checked.study.task.name.partition(":")[0]]
    found = {} if _is_installed(own, folder) else _top(own)
    for module in list(sys.modules.values()):
        top = {} if _is_installed(module, folder) else _top(module)
        found |= {name: path for name, path in top.items() if path.is_relative_to(folder)}
    if any(path.parent == folder for path in found.values()):  # what is imported later only
        found |= {path.name: path for path in folder.glob("*.py")}
    return {name: path for name, path in found.items() if name != "hpsearch"}


def _top(module: ModuleType) -> dict[str, Path]:
    """The file or directory that makes the module's first name importable."""
    file = Path(str(module.__file__)).resolve()
    parts = module.__name__.split(".")
    deep = len(parts) if file.name == "__init__.py" else len(parts) - 1
    top = file if deep == 0 else file.parents[deep - 1]
    return {top.name: top} if top.stem == parts[0] else {}  # else a script under another name


def _is_installed(module: ModuleType, folder: Path) -> bool:
    """Whether the module is Python's or of an installed package: the nodes have those by themselves."""
    file = getattr(module, "__file__", None)
    if file is None:
        return True
    path = Path(file).resolve()
    if path.suffix != ".py" or {"site-packages", "dist-packages"} & set(path.parts):
        return True
    prefixes = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return any(path.is_relative_to(prefix) and not folder.is_relative_to(prefix) for prefix in prefixes)


def _files(checked: Checked, folder: Path) -> dict[str, Path]:
    study, found = checked.study, {}
    places = {f"task.{key}": value for key, value in study.task.options.items()}
    if checked.identity.function:  # a training function's options are hyperparameters
        for name, arm in study.arms.items():
            places |= {f"arms.{name}.fixed.{key}": value for key, value in arm.fixed.items()}
            places |= {f"arms.{name}.parameters.{key}": list(p.choices or ()) for key, p in arm.parameters.items()}
    for key, value in places.items():
        for text in _texts(value):
            path = folder / text
            if not text.strip() or Path(text).is_absolute() or not path.exists():
                continue
            if not path.resolve().is_relative_to(folder):
                raise InputError(
                    f"{key}: {text!r} lies outside of the working directory, so it cannot be sent to the cluster's "
                    "nodes; give an absolute path that is there on all nodes, or start from a directory above it"
                )
            found[str(path.resolve().relative_to(folder))] = path.resolve()
    return found


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _refuse_much(named: Mapping[str, Path]) -> None:
    sizes = {name: _size(path) for name, path in named.items()}
    total = sum(sizes.values())
    if total > LIMIT:
        most = max(sizes, key=sizes.__getitem__)
        raise InputError(
            f"{total / MEBIBYTE:.0f} MiB would have to be sent to the cluster's nodes, {sizes[most] / MEBIBYTE:.0f} of "
            f"them {most!r}; allowed: {LIMIT // MEBIBYTE} MiB. Put data on storage that all nodes share and give its "
            "absolute path"
        )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    files = (file for file in path.rglob("*") if not set(NEVER) & set(file.relative_to(path).parts))
    return sum(file.stat().st_size for file in files if file.is_file())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NEVER), dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
