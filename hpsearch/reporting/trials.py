"""All trials as data for the page's sortable table."""

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from hpsearch.analysis.axis import order_parameters
from hpsearch.analysis.columns import COSTS, NO_RESULT, Value, parameter_columns, plain

Kind = Literal["text", "number", "share", "samples", "flop", "seconds", "error"]
COST_KINDS: dict[str, tuple[str, Kind]] = {
    "backward_samples": ("samples", "samples"),
    "flops": ("FLOP", "flop"),
    "seconds": ("time", "seconds"),
}


@dataclass(frozen=True)
class TrialTable:
    """columns: label and kind of each; rows: their values, null as None. JSON-ready."""

    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Value | None, ...], ...]


def trial_table(trials: pd.DataFrame) -> TrialTable:
    """The columns that some trial has, in reading order: what it was, how it ended, what it cost."""
    ended = ~trials["status"].isin(NO_RESULT)
    chosen: list[tuple[str, Kind, pd.Series]] = [("arm", "text", trials["arm"])]
    names = order_parameters(c.removeprefix("params.") for c in parameter_columns(trials))
    chosen += [(name, _kind(trials[f"params.{name}"]), trials[f"params.{name}"]) for name in names]
    if "seed" in trials.columns:
        chosen.append(("seed", "number", trials["seed"]))
    chosen.append(("stage", "text", _stage(trials)))
    chosen.append(("status", "text", trials["status"]))
    for column in (str(c) for c in trials.columns if str(c).startswith("metrics.")):
        values = trials[column].where(ended)
        kind: Kind = _kind(values)
        if kind == "number" and "accuracy" in column and pd.to_numeric(values).dropna().between(0, 1).all():
            kind = "share"
        chosen.append((column.removeprefix("metrics.").replace("_", " "), kind, values))
    for cost in COSTS:
        if f"cost.{cost}" in trials.columns:
            chosen.append((*COST_KINDS[cost], trials[f"cost.{cost}"]))
    if "error" in trials.columns:
        chosen.append(("error", "error", trials["error"]))

    cleaned = [(label, kind, [_json_ready(plain(v)) for v in series]) for label, kind, series in chosen]
    used = [c for c in cleaned if any(v is not None for v in c[2])]
    return TrialTable(
        columns=tuple((label, kind) for label, kind, _ in used),
        rows=tuple(zip(*(values for _, _, values in used), strict=True)),
    )


def _json_ready(value: Value | None) -> Value | None:
    """JSON has no infinity: as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _kind(series: pd.Series) -> Kind:
    values = [plain(v) for v in series]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None)
    return "number" if numbers else "text"


def _stage(trials: pd.DataFrame) -> pd.Series:
    """ "confirm", or the phase and its sampler."""
    phase = trials.get("sampling.phase", pd.Series(None, index=trials.index, dtype=object))
    sampler = trials.get("sampling.sampler", pd.Series(None, index=trials.index, dtype=object))
    texts = []
    for confirm, p, s in zip(trials["sampling.confirm"], map(plain, phase), map(plain, sampler), strict=True):
        parts = ["confirm"] if confirm else [f"phase {p:g}" if isinstance(p, int | float) else "", str(s or "")]
        texts.append(" ".join(part for part in parts if part) or None)
    return pd.Series(texts, index=trials.index, dtype=object)
