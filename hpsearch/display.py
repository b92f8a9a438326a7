"""A run on a terminal: one view that fits its width and height, and one line of it for a log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpsearch.duration import format_duration
from hpsearch.results import DID_NOT_TRAIN
from hpsearch.running import RunningPack
from hpsearch.status import ArmStatus, RunStatus
from hpsearch.study import IMPORTED_TASK
from hpsearch.tally import describe_best

NARROW = 100  # columns; below, diverged and collapsed share one
BAD = ("diverged", "collapsed", "stopped", "failed")  # columns that are there once they count something
PACKS = 4  # rows that packs in training take at least, before arms are left out
SHOWN = 10  # errors and warnings


class RunView:
    """The run as a table of arms, with what trains now beneath it.

    whole: every arm and every error, whatever the terminal's height; else what fits, and how much does not. own: of
    the driver itself, which tells in its summary what else there is.
    """

    def __init__(self, status: RunStatus, *, whole: bool, own: bool = False) -> None:
        self._status, self._whole, self._own = status, whole, own

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        status, width = self._status, options.max_width
        title = f"{status.study.name}{_busy(status, ': ')}" if self._own else _title(status, self._whole)
        yield Text(title, no_wrap=not self._whole, overflow="ellipsis")
        yield _bar(status, width, console.is_terminal)
        notes = [] if self._own and self._whole else _notes(status, self._whole)
        # Title, bar and the table's header; a line stays free, for the cursor.
        free = len(status.arms) + PACKS if self._whole else console.size.height - 4 - len(notes)
        packs = _packs(status, max(PACKS, free - len(status.arms)))
        yield _arms(status, width, len(status.arms) if self._whole else max(1, free - len(packs)))
        yield from packs
        yield from notes


def log_line(status: RunStatus) -> str:
    """What a log needs of it: one line, however many arms there are."""
    bad = {name: sum(arm.statuses.get(name, 0) for arm in status.arms.values()) for name in BAD}
    counts = "".join(f", {count} {name}" for name, count in bad.items() if count)
    done = f"{status.study.name}: {status.ended}/{status.planned} trials done{counts}"
    line = f"{done}; {time_left(status)}{_busy(status, ', ')}"
    first, best = _best_arm(status, status.arms)
    return f"{line}; best {status.study.objective}: {_cut(first, 24)} {best}" if first else line


def time_left(status: RunStatus) -> str:
    if status.ended >= status.planned:
        return "nothing left"
    if status.now is None or status.now.left_seconds is None:
        return "time left not known yet"
    return f"about {format_duration(status.now.left_seconds)} left"


def describe_pack(pack: RunningPack) -> str:
    """'fsam, seeds 0-2: rho=0.1, lr=0.3', or 'fsam, seeds 0-2: 8 configurations together'."""
    if pack.configurations > 1:
        return f"{_cut(pack.arm, 24)}, {describe_seeds(pack.seeds)}: {pack.configurations} configurations together"
    params = ", ".join(f"{key}={_value(value)}" for key, value in pack.params.items())
    return f"{_cut(pack.arm, 24)}, {describe_seeds(pack.seeds)}: {params or 'nothing is searched'}"


def describe_seeds(seeds: Sequence[int]) -> str:
    """(0, 1, 2, 7) -> 'seeds 0-2, 7'."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and spans[-1][-1] == seed - 1:
            spans[-1] = [spans[-1][0], seed]
        else:
            spans.append([seed, seed])
    listed = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _title(status: RunStatus, whole: bool) -> str:
    where = f"{status.study.name} in {status.folder}" if whole else status.study.name
    if not status.running:
        return f"{where}: no driver is running{_last(status)}"
    if status.now is None:
        return f"{where}: a driver is running{_last(status)}"
    who = f" (process {status.now.process} on {status.now.host})" if whole else ""
    return f"{where}: a driver is running{who}{_busy(status, ', ')}"


def _busy(status: RunStatus, before: str) -> str:
    packs = status.now.packs if status.now is not None and status.running else ()
    if not packs:
        return ""
    share = f" ({_share(packs[0])})" if packs[0].share else ""
    count = f"{len(packs)} {'pack' if len(packs) == 1 else 'packs'}"
    return f"{before}{count} in training, the oldest for {_age(packs[0])}{share}"


def _age(pack: RunningPack) -> str:
    return format_duration(max(0.0, time.time() - pack.since))  # clocks jump


def _share(pack: RunningPack) -> str:
    return f"{100 * pack.share:.0f} %" if pack.share else ""


def _last(status: RunStatus) -> str:
    if status.last_result is None:
        return ", no result yet"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.last_result))
    return f"; last result {format_duration(max(0.0, time.time() - status.last_result))} ago, {at}"


def _bar(status: RunStatus, width: int, drawn: bool) -> RenderableType:
    done = f"{status.ended:,}/{status.planned:,} trials"
    times = []
    if status.now is not None and status.running:
        times = [f"{format_duration(max(0.0, time.time() - status.now.started))} so far", time_left(status)]
    told = "  ".join([done, *times])
    if not drawn:
        return Text(told)
    bar = ProgressBar(
        total=max(1, status.planned), completed=status.ended, width=max(8, min(40, width - len(told) - 2))
    )
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(min_width=8)
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(bar, told)
    return row


def _arms(status: RunStatus, width: int, rows: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    wide = width >= NARROW
    names = {name: _cut(name, 24 if wide else 14) for name in status.arms}
    table.add_column("arm", no_wrap=True, min_width=max(map(len, names.values())))
    groups = _groups(status, width)
    for name in ("done", "left", *groups):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(4, len(name)))
    interval = ", 95 % interval" if wide else ""
    table.add_column(f"best {status.study.objective}{interval}", no_wrap=True, overflow="ellipsis")
    shown = _fitting(status.arms, rows)
    for name, arm in shown.items():
        best = escape(describe_best(status.study, arm.best))
        table.add_row(escape(names[name]), *_numbers([arm], groups), best)
    hidden = {name: arm for name, arm in status.arms.items() if name not in shown}
    if hidden:
        first, best = _best_arm(status, hidden)
        of = f"{best}: {escape(names[first])}" if first else ""
        table.add_row(f"{len(hidden)} more arms", *_numbers(list(hidden.values()), groups), of)
    return table


def _best_arm(status: RunStatus, arms: Mapping[str, ArmStatus]) -> tuple[str, str]:
    """Which of the arms has the best mean so far, and that in words; empty where none has one."""
    best = {name: arm.best for name, arm in arms.items() if arm.best is not None}
    if not best:
        return "", ""
    sign = 1 if status.study.objectives[status.study.objective] == "maximize" else -1
    first = max(best, key=lambda name: sign * best[name].mean)
    return first, describe_best(status.study, best[first])


def _groups(status: RunStatus, width: int) -> dict[str, tuple[str, ...]]:
    """Columns of statuses other than complete: those that some arm has."""
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in BAD}
    if width < NARROW:
        groups = {"untrained": DID_NOT_TRAIN, "stopped": ("stopped",), "failed": ("failed",)}
    there = {name for arm in status.arms.values() for name, count in arm.statuses.items() if count}
    return {name: parts for name, parts in groups.items() if there.intersection(parts)}


def _numbers(arms: Sequence[ArmStatus], groups: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield str(sum(arm.ended for arm in arms))
    yield str(sum(arm.left for arm in arms))
    for parts in groups.values():
        yield str(sum(arm.statuses.get(part, 0) for arm in arms for part in parts))


def _fitting(arms: Mapping[str, ArmStatus], rows: int) -> dict[str, ArmStatus]:
    """As many arms as fit, those first that still change; in the study's order."""
    if len(arms) <= rows:
        return dict(arms)
    changing = sorted(arms, key=lambda name: arms[name].left == 0)
    chosen = set(changing[: rows - 1])
    return {name: arm for name, arm in arms.items() if name in chosen}


def _packs(status: RunStatus, rows: int) -> list[RenderableType]:
    """What trains now, the oldest first, a line each."""
    packs = status.now.packs if status.now is not None and status.running else ()
    shown = packs if len(packs) <= rows else packs[: rows - 1]
    width = 6 if any(pack.share for pack in packs) else 0
    lines: list[RenderableType] = [
        Text(f"{_age(pack):>12}{_share(pack):>{width}}  {describe_pack(pack)}", no_wrap=True, overflow="ellipsis")
        for pack in shown
    ]
    if len(shown) < len(packs):
        lines.append(Text(f"{len(packs) - len(shown):>12} more packs"))
    return lines


def _notes(status: RunStatus, whole: bool) -> list[RenderableType]:
    """What is not as it should be, and what to do about it."""
    notes = []
    if status.set_aside:
        notes.append(f"{status.set_aside} more trials are not part of the study as it stands in study.yaml")
    notes += [f"failed in {arm}: {error}" for arm, error in _last_of(status.errors, whole)]
    notes += [f"warning: {warning}" for warning in _last_of(status.warnings, whole)]
    if whole:
        notes += [f"{arm}: {found.spent}" for arm, found in status.arms.items() if found.spent is not None]
    if whole and not status.running and status.ended < status.planned and status.study.task.name != IMPORTED_TASK:
        notes.append(f"to go on: hpsearch run {status.folder / 'study.yaml'} --out {status.folder}")
    if whole:
        return [Text(note) for note in notes]
    return [Text(note, no_wrap=True, overflow="ellipsis") for note in notes]


def _last_of(items: Sequence[Any], whole: bool) -> Sequence[Any]:
    return items[-SHOWN:] if whole else items[-1:]


def _cut(text: str, length: int) -> str:
    """Long names of arms begin alike, so that the middle goes."""
    end = length // 2
    return text if len(text) <= length else f"{text[: length - end - 1]}…{text[-end:]}"
