"""Writes a task that runs as it is, to be made one's own: a Python file, and a study of it."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import InputError, show

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Written:
    """The two files, and the commands to go on with."""

    task: Path
    study: Path
    commands: tuple[str, ...]


def write_template(path: Path, function: bool = False) -> Written:
    """Writes `path` (.py is added where it is missing) and beside it a study with the same name and .yaml.

    function: a plain training function instead of a class. Raises InputError, and writes nothing, for a name that is no
    module's, a folder that is not there or not to be written to, and a file that is there already.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the file to write, e.g. {path / 'my_task.py'}")
    task = path if path.suffix else path.with_name(f"{path.name}.py")
    study = task.with_suffix(".yaml")
    _check_name(task)
    if not task.parent.is_dir():
        raise InputError(f"{task.parent}: there is no such folder; make it, or give another path")
    _check_clash(task)
    for file in (task, study):
        if file.exists() or file.is_symlink():
            raise InputError(f"{file}: is there already; nothing was written. Give another name, or move it away")
    form, written = "function" if function else "task", []
    for file in (task, study):
        text = (TEMPLATES / f"{form}{file.suffix}.txt").read_text(encoding="utf-8")
        text = text.replace("MODULE", task.stem).replace("CLASS", class_name(task.stem))
        try:
            with file.open("x", encoding="utf-8") as new:  # never over what another process has written meanwhile
                written.append(file)
                new.write(text)
        except OSError as error:
            for half in written:  # both or none
                half.unlink(missing_ok=True)
            raise InputError(f"{file}: cannot be written: {error.strerror}; give another path") from None
    here = task.parent.resolve() == Path.cwd().resolve()
    enter = () if here else (f"cd {task.parent}",)  # a study's module is found from the working directory
    commands = (
        *enter,
        f"hpsearch plan {study.name}",
        f"hpsearch run {study.name}",
        f"hpsearch report runs/{task.stem}",
    )
    return Written(task, study, commands)


def class_name(module: str) -> str:
    """two_spirals -> TwoSpiralsTask; the ending keeps it apart from what the file imports."""
    words = [word for word in module.split("_") if word]
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name.lower().endswith("task") else f"{name}Task"


def _check_name(task: Path) -> None:
    if task.suffix != ".py":
        raise InputError(
            f"{task}: ends in {show(task.suffix)}; allowed: a Python file, e.g. {task.stem or 'mytask'}.py"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", task.stem) or keyword.iskeyword(task.stem):
        rule = "letters, digits and underscores, beginning with a letter, at most 60 of them, and no word of Python's"
        raise InputError(f"{task}: {show(task.stem)} cannot be a module's name; allowed: {rule}, e.g. my_task.py")


def _check_clash(task: Path) -> None:
    """A file that is named like a library hides it, or is hidden by it."""
    taken = task.stem in sys.stdlib_module_names or task.with_suffix("").is_dir()
    if not taken:
        try:
            found = importlib.util.find_spec(task.stem)
        except (ImportError, ValueError):  # e.g. __main__ has no spec
            found = None
        taken = found is not None and found.origin is not None and Path(found.origin).resolve() != task.resolve()
    if taken:
        raise InputError(f"{task}: there is another module named {show(task.stem)}; give another name")
