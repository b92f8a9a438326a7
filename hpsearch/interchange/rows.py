"""The rows of a table as trials: a foreign table by the roles of its columns, an exported one by its own columns."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpsearch.analysis.columns import STATUSES, Value
from hpsearch.errors import InputError, show
from hpsearch.hyperparameters import finite
from hpsearch.interchange.content import Content, Trial, Wishes, guess_direction, plain, renamed, split_metric, unknown
from hpsearch.interchange.roles import METRICS, STATES, Roles, find_roles
from hpsearch.interchange.sheets import Sheet

OWN = {"trial_id", "configuration_id", "arm", "seed", "status"}  # what an exported table has
TEXTS = ("error", "host", "device", "started")
WHOLES = ("epochs", "epochs_planned", "attempt", "threads", "concurrent")
ONE_ARM = "all"


def read_rows(sheet: Sheet, wishes: Wishes) -> Content:
    """Raises InputError for wishes that the table cannot meet."""
    if wishes.study is not None:
        raise InputError(f"--study: {sheet.source} is a table; allowed: only where the source is an Optuna storage")
    guided = wishes.params or wishes.seed or wishes.arm
    return _own(sheet, wishes) if sheet.columns.keys() >= OWN and not guided else _foreign(sheet, wishes)


def _foreign(sheet: Sheet, wishes: Wishes) -> Content:
    roles = find_roles(sheet, wishes)
    told = [*sheet.told, *roles.told]
    for what, names in (("hyperparameters", roles.params), ("metrics", roles.metrics)):
        bare = {column: name for column, name in names.items() if not column.endswith(name)}
        told += renamed(bare, what)
    params = {name: sheet.cells(column) for column, name in roles.params.items()}
    metrics = {name: sheet.numbers(column) for column, name in roles.metrics.items()}
    costs = {name: sheet.numbers(column) for column, name in roles.costs.items()}
    states = _states(sheet, roles)
    arms = [ONE_ARM] * len(sheet) if roles.arm is None else [str(plain(cell)) for cell in sheet.cells(roles.arm)]
    seeds = _seeds(sheet, roles, told)
    first = next(iter(roles.objectives))
    trials = []
    for row, state in enumerate(states):
        status = _status(state, metrics[first][row])
        if status is None:
            continue
        trials.append(
            Trial(
                arm=arms[row],
                params=_present({name: cells[row] for name, cells in params.items()}),
                seed=seeds[row],
                status=status,
                metrics={name: _finite(cells[row]) for name, cells in metrics.items()},
                where=f"row {row + 1}",
                cost={name: _finite(cells[row]) for name, cells in costs.items()},
            )
        )
    told += _tell_statuses(trials, len(sheet) - len(trials), first)
    if not trials:
        raise InputError(f"{sheet.source}: no row has ended; by their status all {len(sheet)} run or wait")
    return Content(sheet.source, Path(sheet.source).stem, tuple(trials), roles.objectives, tuple(told))


def _states(sheet: Sheet, roles: Roles) -> list[str]:
    if roles.status is None:
        return ["complete"] * len(sheet)
    cells = ("complete" if cell is None else str(cell) for cell in sheet.cells(roles.status))
    return [STATES[cell.strip().lower().rpartition(".")[2]] for cell in cells]


def _status(state: str, value: float | None) -> str | None:
    """None for what has not ended. An empty metric is no result, NaN or infinite is divergence."""
    if state != "complete":
        return state or None
    if value is None:
        return "failed"
    return "complete" if math.isfinite(value) else "diverged"


def _tell_statuses(trials: list[Trial], running: int, metric: str) -> list[str]:
    counts = Counter(trial.status for trial in trials)
    words = {
        "diverged": f"diverged: their {metric} is NaN or infinite, or their status says so",
        "collapsed": "collapsed, by their status",
        "failed": f"failed: no {metric}, or their status says so",
        "stopped": "stopped, by their status",
    }
    told = [f"{counts[status]} of {len(trials)} trials {text}" for status, text in words.items() if counts[status]]
    return told + ([f"{running} rows left out: by their status they have not ended"] if running else [])


def _seeds(sheet: Sheet, roles: Roles, told: list[str]) -> list[int | None]:
    """Seeds as whole numbers >= 0; other values are numbered in the order in which they come."""
    if roles.seed is None:
        return [None] * len(sheet)
    cells = [plain(cell) for cell in sheet.cells(roles.seed)]
    if all(cell is None or _is_seed(cell) for cell in cells):
        seeds = [None if cell is None else int(cell) for cell in cells]
    else:
        numbers: dict[Value, int] = {}
        seeds = [None if cell is None else numbers.setdefault(cell, len(numbers)) for cell in cells]
        shown = ", ".join(f"{show(cell)} -> {number}" for cell, number in list(numbers.items())[:5])
        told.append(f"seeds numbered, as they are no whole numbers >= 0: {shown}{', …' if len(numbers) > 5 else ''}")
    if None in seeds:
        told.append(f"{seeds.count(None)} rows have no seed; each gets the first that its configuration does not use")
    return seeds


def _is_seed(cell: Value) -> bool:
    return not isinstance(cell, (bool, str)) and cell >= 0 and cell == int(cell) and cell < 2**63


def _own(sheet: Sheet, wishes: Wishes) -> Content:
    """A table with the columns of hpsearch.load, or the lines of a trials.jsonl."""
    groups = {
        group: {c.removeprefix(f"{group}."): sheet.cells(c) for c in sheet.columns if c.startswith(f"{group}.")}
        for group in ("params", "fixed", "metrics", "cost", "sampling", "curve")
    }
    versions = {c.removeprefix("versions."): c for c in sheet.columns if c.startswith("versions.")}
    plain_columns = {name: sheet.cells(name) for name in WHOLES if name in sheet.columns}
    seeds = sheet.cells("seed")
    waiting = sheet.cells("seconds_waiting") if "seconds_waiting" in sheet.columns else [None] * len(sheet)
    latest: dict[str, Trial] = {}
    for row in range(len(sheet)):
        status, seed = sheet.columns["status"][row], plain(seeds[row])
        where = f"row {row + 1}"
        if status not in STATUSES:
            raise InputError(f"{sheet.source}: {where}: got the status {show(status)}; allowed: {', '.join(STATUSES)}")
        if seed is None or not _is_seed(seed):
            raise InputError(f"{sheet.source}: {where}: got the seed {show(seed)}; allowed: a whole number >= 0")
        rest: dict[str, Any] = {n: sheet.columns[n][row] for n in TEXTS if n in sheet.columns}
        rest |= {name: _whole(cells[row]) for name, cells in plain_columns.items()}
        rest["attempt"] = rest.get("attempt") or 1
        rest["versions"] = {n: str(sheet.columns[c][row]) for n, c in versions.items() if sheet.columns[c][row]}
        curve = {
            name: _curve(cells[row], f"{sheet.source}: {where}: curve.{name}")
            for name, cells in groups["curve"].items()
        }
        rest["curve"] = {name: values for name, values in curve.items() if values is not None}
        rest["seconds_waiting"] = _measured(waiting[row])
        found = {name: cells[row] for name, cells in groups["sampling"].items()}
        trial_id = str(sheet.columns["trial_id"][row])
        trial = Trial(
            arm=str(sheet.columns["arm"][row]),
            params=_present({name: cells[row] for name, cells in groups["params"].items()}),
            seed=int(seed),
            status=str(status),
            metrics={name: _measured(cells[row]) for name, cells in groups["metrics"].items()},
            where=where,
            fixed=_present({name: cells[row] for name, cells in groups["fixed"].items()}),
            cost={name: _measured(cells[row]) for name, cells in groups["cost"].items()},
            sampling={
                "phase": _whole(found.get("phase")),
                "index": _whole(found.get("index")),
                "sampler": plain(found.get("sampler")) or "unknown",
                "generation": _whole(found.get("generation")),
                "confirm": plain(found.get("confirm")) is True,
            },
            rest=rest,
            ids=(trial_id, str(sheet.columns["configuration_id"][row])),
        )
        before = latest.get(trial_id)
        latest[trial_id if before is None or trial.rest["attempt"] > before.rest["attempt"] else where] = trial
    origin = _origin(sheet)
    told = [*sheet.told, f"an export of hpsearch: {len(latest)} trials, their columns by name"]
    objectives = _own_objectives(sheet, wishes, origin, groups["metrics"], groups["cost"], told)
    name = str(origin.get("name")) if origin else Path(sheet.source).stem
    return Content(sheet.source, name, tuple(latest.values()), objectives, tuple(told), origin=origin or {})


def _origin(sheet: Sheet) -> Mapping[str, Any] | None:
    """What the column `study` says, where all rows say the same."""
    texts = {text for text in sheet.columns.get("study", ()) if text}
    try:
        found = json.loads(texts.pop()) if len(texts) == 1 else None
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _own_objectives(
    sheet: Sheet,
    wishes: Wishes,
    origin: Mapping[str, Any] | None,
    metrics: Mapping[str, list[Any]],
    costs: Mapping[str, list[Any]],
    told: list[str],
) -> dict[str, str]:
    known = [*metrics, *costs]
    if wishes.metrics:
        pairs = [split_metric(text, known) for text in wishes.metrics]
        for name, _ in pairs:
            if name not in known:
                raise unknown("--metric", name, sheet.source, "metric", known)
        return {name: direction or guess_direction(name) for name, direction in pairs}
    given = origin.get("objectives") if origin else None
    if isinstance(given, dict) and given:
        return {str(name): str(direction) for name, direction in given.items()}
    best = next((name for name in (*METRICS, *metrics) if name in metrics), None)
    if best is None:
        raise InputError(f"{sheet.source}: has no column metrics.*, so there is nothing to select on")
    told.append(f"metric: {best} ({guess_direction(best)}), guessed from its name")
    return {best: guess_direction(best)}


def _present(cells: Mapping[str, Any]) -> dict[str, Value]:
    values = ((name, plain(cell)) for name, cell in cells.items())
    return {name: value for name, value in values if value is not None}


def _curve(cell: object, where: str) -> list[float | None] | None:
    """A list, or in CSV its text: JSON, or as Python prints it where a table of `load` was written without `export`."""
    found = cell
    if isinstance(cell, str):
        try:
            found = json.loads(cell.replace("None", "null"))
        except ValueError:
            found = cell
    if found is not None and not isinstance(found, list):
        raise InputError(f"{where}: got {show(cell)}; allowed: a list of numbers and nulls, [0.1, null], or nothing")
    return None if found is None else [_measured(value) for value in found]


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _measured(cell: object) -> float | None:
    """A finite number in the type that it has."""
    return cell if isinstance(cell, (int, float)) and not isinstance(cell, bool) and finite(cell) else None


def _whole(cell: object) -> int | None:
    value = plain(cell)
    if isinstance(value, (bool, str)) or value is None or value != int(value):
        return None
    return int(value)
