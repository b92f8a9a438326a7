"""Finds the files behind `path`: a parquet file, a folder of parquet files, or folders of images by class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import nearest
from hpsearch.tasks.data.fingerprint import file_digest
from hpsearch.tasks.data.roles import by_role
from hpsearch.tasks.protocol import DataError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
LAYOUTS = (
    "give a parquet file, a folder with train and test parquet files, or a folder with train/<class>/*.png and "
    "test/<class>/*.png"
)


@dataclass(frozen=True)
class Files:
    """splits: the files of each split, in order. classes: of an image folder, the class folders' names, sorted."""

    root: Path
    splits: Mapping[str, tuple[Path, ...]]
    classes: tuple[str, ...] | None = None

    def digests(self) -> dict[str, list[str]]:
        """By split, SHA-256 of each file; an image folder's with the name of its class, which is its label."""
        try:
            return {
                split: [
                    f"{path.parent.name}/{file_digest(path)}" if self.classes else file_digest(path) for path in paths
                ]
                for split, paths in self.splits.items()
            }
        except OSError as error:
            raise DataError("path", f"{error.filename} cannot be read: {error.strerror}", "mend it") from None


def find(path: str) -> Files:
    """The files at `path`. Raises DataError that says what was found and what is allowed."""
    root = Path(path).expanduser()
    try:
        if root.is_file():
            return Files(root.parent, {"train": (root,)})
        inside = sorted(root.iterdir())
    except FileNotFoundError:
        raise DataError("path", f"there is no {root}{_hint(root)}", LAYOUTS) from None
    except NotADirectoryError:
        raise DataError("path", f"there is no {root}: a part of it is a file", LAYOUTS) from None
    except OSError as error:
        raise DataError("path", f"{root} cannot be read: {error.strerror}", "give a folder that can be read") from None
    parquet = [file for file in inside if file.suffix == ".parquet"]
    if not parquet and (root / "data").is_dir():  # as the hub lays its repositories out
        parquet = sorted((root / "data").glob("*.parquet"))
    if parquet:
        return _parquet(root, parquet)
    return _image_folders(root, [entry for entry in inside if entry.is_dir() and not entry.name.startswith(".")])


def _parquet(root: Path, files: list[Path]) -> Files:
    if len(files) == 1 and not by_role([files[0].stem]):
        return Files(root, {"train": tuple(files)})
    by_name = {file.stem: file for file in files}
    found = by_role(by_name)
    if "train" not in found:
        names = ", ".join(file.name for file in files[:5])
        remedy = "name them by split, e.g. train.parquet and test.parquet, or give one of them as path"
        raise DataError("path", f"no file in {root} is named for the training set (found {names})", remedy)
    for split, parts in found.items():
        _check_parts(root, split, parts)
    return Files(root, {split: tuple(by_name[name] for name in names) for split, names in found.items()})


def _check_parts(root: Path, split: str, names: list[str]) -> None:
    """Files numbered as the hub does must all be there: with one missing, a study would train on less, silently."""
    parts = [re.search(r"(\d+)-of-(\d+)", name) for name in names]
    numbered = [(int(part[1]), int(part[2])) for part in parts if part]
    if not numbered:
        return
    expected = [(number, numbered[0][1]) for number in range(numbered[0][1])]
    if len(numbered) < len(names) or numbered != expected:
        problem = (
            f"the {split} files in {root} are not parts 0 to {len(expected) - 1} of one set: {', '.join(names[:5])}"
        )
        raise DataError("path", problem, "put all parts of one set there, and nothing else")


def _image_folders(root: Path, folders: list[Path]) -> Files:
    found = by_role(folder.name for folder in folders)
    twice = next((names for names in found.values() if len(names) > 1), None)
    if twice:
        raise DataError("path", f"{root} has both {' and '.join(twice)}", "keep one folder for each split")
    roots = {split: root / names[0] for split, names in found.items()} if "train" in found else {"train": root}
    splits = {split: _by_class(folder) for split, folder in roots.items()}
    classes = sorted({path.parent.name for path in splits["train"]})
    if not classes:
        raise DataError("path", f"{roots['train']} holds no folders of images", LAYOUTS)
    for split, paths in splits.items():
        unknown = sorted({path.parent.name for path in paths} - set(classes))
        if unknown:
            near = nearest(unknown[0], classes)
            hint = f"; did you mean {near!r}?" if near else ""
            problem = f"{roots[split]} has a class {unknown[0]!r} that {roots['train']} lacks"
            raise DataError("path", problem, f"name the class folders alike{hint}")
    return Files(root, splits, tuple(classes))


def _by_class(folder: Path) -> tuple[Path, ...]:
    try:
        files = [path for path in folder.glob("*/*") if path.suffix.lower() in IMAGES and not path.name.startswith(".")]
    except OSError as error:
        raise DataError("path", f"{error.filename} cannot be read: {error.strerror}", "mend its permissions") from None
    return tuple(sorted(files, key=lambda path: (path.parent.name, path.name)))


def _hint(root: Path) -> str:
    """The nearest name beside what is missing; relative paths are told where they start."""
    try:
        near = nearest(root.name, (entry.name for entry in root.parent.iterdir()))
    except OSError:
        near = None
    where = "" if root.is_absolute() else f" (looked in {Path.cwd()})"
    return where + (f"; did you mean {root.parent / near}?" if near else "")
