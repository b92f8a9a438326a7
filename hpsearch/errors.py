"""What can go wrong, and how it is told: one base class, the exit code decided here and used by the CLI only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


class HpsearchError(Exception):
    """Base of every error that hpsearch raises on purpose: its text is meant for the user, without a traceback."""

    exit_code = 1


class InputError(HpsearchError):
    """What the user gave is wrong (a file, a key, an option). Raised before anything runs; exit code 2."""

    exit_code = 2


class RunError(HpsearchError):
    """The run itself failed; exit code 1."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a study or search space file.

    path: keys from the top of the file to the wrong value, e.g. ("arms", "sam", "fixed", "rho").
    rule: what is wrong, the value included. allowed: what would be right. nearest: the valid name meant, if any.
    """

    path: KeyPath
    rule: str
    allowed: str = ""
    nearest: str | None = None

    def describe(self) -> str:
        text = f"{dotted(self.path)}: {self.rule}" if self.path else self.rule
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.nearest is not None:
            text += f"; did you mean {self.nearest!r}?"
        return text


class MistakesError(InputError):
    """A file with one or more mistakes; the text has a line for each, with file and line number."""

    def __init__(self, mistakes: Sequence[Mistake], lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.mistakes = tuple(mistakes)


def dotted(path: KeyPath) -> str:
    """("sampling", 0, "sampler") -> "sampling.0.sampler", the form that --set takes."""
    texts = [str(key) for key in path]
    return ".".join(text if text.isprintable() and len(text) <= 80 else show(text) for text in texts)


def nearest(name: object, valid: Iterable[str]) -> str | None:
    """The valid name closest to `name`, or None when none is near."""
    names, text = list(valid), str(name)[:200]
    found = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    if found:
        return found[0]
    # Case, and dashes for underscores.
    folded = {valid_name.lower().replace("_", "").replace("-", ""): valid_name for valid_name in names}
    return folded.get(text.lower().replace("_", "").replace("-", "").replace(" ", ""))


def show(value: object, limit: int = 80) -> str:
    """The value as a message quotes it: repr, cut where a hostile or huge value would flood the terminal."""
    if value is None or isinstance(value, bool):  # as the file writes them
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # e.g. an integer of more than 4300 digits refuses to print
        text = f"a {type(value).__name__} too large to print"
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def one_line(text: object, limit: int = 400) -> str:
    """Somebody else's message (an exception of the user's own module, say) on one line, cut."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
