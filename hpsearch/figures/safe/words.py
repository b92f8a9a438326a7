"""What stands around a sensitivity figure: title, alternative text, caption, numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from hpsearch.analysis.answer import TRAINS, Answer
from hpsearch.analysis.writing import briefly, by_reason, count, gap, interval, listed, number, parameters
from hpsearch.errors import one_line
from hpsearch.figures import format as fmt
from hpsearch.figures.picture import unique_keys
from hpsearch.figures.result import Result
from hpsearch.figures.safe.numbers import RAW, SURROGATE, SensitivityInfo
from hpsearch.figures.safe.rows import SafeRow
from hpsearch.figures.style import LONGEST_NAME, safe

MOST_BANDS = 3  # that can lie over each other and still be told apart

MOST_REFERENCES = 6  # arms whose reference configuration a caption tells


def keys(names: Sequence[str]) -> dict[str, str]:
    """Hyperparameter -> the key of its picture."""
    return dict(zip(names, unique_keys("sensitivity", [(name,) for name in names]), strict=True))


def title(result: Result, parameter: str) -> str:
    name = fmt.metric_name(result.objective.name) if result.objective else "metric"
    return f"{fmt.sentence(name)} over {parameter}"


def metric_title(info: SensitivityInfo) -> str:
    return safe(fmt.axis_title(info.objective))


def within(info: SensitivityInfo, row: SafeRow | None = None) -> str:
    """within 1.0 points of the best; of several arms whose epsilon differs: within epsilon of the best."""
    rows = info.rows if row is None else (row,)
    known = {r.epsilon for r in rows if math.isfinite(r.epsilon)}
    return f"within {_epsilon(info, known.pop()) if len(known) == 1 else 'epsilon'} of the best"


def crowded(info: SensitivityInfo) -> bool:
    return len(info.arms) > MOST_BANDS


def seeds_train() -> str:
    return "half of the seeds train" if TRAINS == 0.5 else f"{10 * TRAINS:g} of 10 seeds train"


def alt(info: SensitivityInfo) -> str:
    told = [f"{_name(row.arm)} {text}" for row in info.rows if (text := _in_words(row))]
    metric, arms = fmt.sentence(fmt.metric_name(info.objective.name)), [_name(arm) for arm in info.arms]
    text = f"{metric} over {_name(info.parameter)} for {listed(arms)}."
    return f"{text} {within(info).capitalize()}: {'; '.join(told)}." if told else text


def _name(arm: str) -> str:
    return one_line(arm, LONGEST_NAME)


def _in_words(row: SafeRow) -> str:
    if row.low is not None and row.high is not None and row.ratio is not None:
        times = row.ratio.unit == "times"
        width = interval(row.ratio, "times" if times else "percent") + ("" if times else " of the range")
        return f"from {number(row.low.value)} to {number(row.high.value)} ({width})"
    if row.levels is None or row.levels.empty:
        return ""
    pairs = zip(row.levels["level"], row.levels["probability"], strict=True)
    return "with probability " + ", ".join(f"{100 * p:.0f} % at {fmt.parameter(level)}" for level, p in pairs)


def caption(result: Result, info: SensitivityInfo) -> str:
    return " ".join([_trials(info), *_curves(result, info), *_ranges(result, info), *_failures(info)])


def _trials(info: SensitivityInfo) -> str:
    shown = len(info.trials)
    part = f"{shown:,} of {count(info.n_trials, 'trial')}" if shown < info.n_trials else count(shown, "trial")
    text = f"Points: {part} of the selection, one a seed"
    text += f"; crosses: those that did not train, {info.n_not_trained:,} in all" if info.n_not_trained else ""
    return (
        f"{text}; {count(info.n_without, 'more trial')} did not train and have no value."
        if info.n_without
        else f"{text}."
    )


def _curves(result: Result, info: SensitivityInfo) -> list[str]:
    made = []
    drawn = info.curves[info.curves["source"] == SURROGATE].drop_duplicates("arm")
    if len(drawn):
        about = result.method(drawn["method"].iloc[0])
        how = about["text"]
        if info.axis.kind == "choice" or crowded(info):  # what would be a band is drawn as lines
            some = "" if info.axis.kind == "choice" else ", at some of the values"
            how = how.replace("pointwise 95 % band", f"upright lines: pointwise 95 % intervals{some}")
        made.append(f"Lines: {how}, by each arm's surrogate (n = {_counts(drawn)} {about['n_counts']}).")
        reasons = [
            (_name(arm), briefly(why)) for arm, why in zip(drawn["arm"], drawn["why_no_interval"], strict=True) if why
        ]
        made += [f"No interval of the line: {by_reason(reasons)}."] if reasons else []
    raw = info.curves[info.curves["source"] == RAW]
    reasons = [
        (_name(str(a)), briefly(str(w))) for a, w in raw[["arm", "why_no_interval"]].drop_duplicates().to_numpy()
    ]
    if reasons:
        text = "Thin lines: means of the configurations at neighbouring values, no model and no interval"
        made.append(f"{text} ({by_reason(reasons)}).")
    return made


def _counts(drawn: pd.DataFrame) -> str:
    if drawn["n"].nunique() == 1:
        return str(drawn["n"].iloc[0])
    return ", ".join(f"{_name(arm)} {n}" for arm, n in zip(drawn["arm"], drawn["n"], strict=True))


def _ranges(result: Result, info: SensitivityInfo) -> list[str]:
    known = [row for row in info.rows if not row.why]
    made = []
    ranges = [row for row in known if row.low is not None]
    levels = [row for row in known if row.levels is not None and len(row.levels)]
    if ranges:
        how = f"{result.method(ranges[0].method)['text']} (n = {_numbers_of(ranges)} configurations)"
        made.append(f"Rows, bars: where the expected metric stays {within(info)}; {how}.")
        made.append(
            "Above a bar the interval of its lower end, below it that of its upper end; an arrow: it reaches the"
        )
        made[-1] += " edge of what was searched."
        reasons = [
            (_name(r.arm), briefly(e.why)) for r in ranges for e in (r.low, r.high, r.ratio) if e is not None and e.why
        ]
        made += [f"No interval: {by_reason(reasons)}."] if reasons else []
    if levels:
        how = result.method(levels[0].method)["text"]
        made.append(f"Rows, columns: {how} ({within(info)}; n = {_numbers_of(levels)} configurations).")
        reasons = [(_name(r.arm), briefly(r.not_checked)) for r in levels if r.not_checked]
        made += [f"Not checked: {by_reason(reasons)}."] if reasons else []
    if len({row.epsilon for row in known}) > 1:
        made.append("Epsilon: " + ", ".join(f"{_name(r.arm)} {_epsilon(info, r.epsilon)}" for r in known) + ".")
    held = [row for row in known if row.held]
    if held:
        told = [f"{_name(row.arm)} {parameters(row.held or {})}" for row in held[:MOST_REFERENCES]]
        more = "; the others in analysis.json" if len(held) > MOST_REFERENCES else ""
        made.append(f"References (best expected metric of those tried): {'; '.join(told)}{more}.")
    missing = [(_name(row.arm), row.why) for row in info.rows if row.why]
    return made + ([f"No safe range: {by_reason(missing)}."] if missing else [])


def _numbers_of(rows: list[SafeRow]) -> str:
    return _counts(pd.DataFrame({"arm": [row.arm for row in rows], "n": [row.n for row in rows]}))


def _epsilon(info: SensitivityInfo, epsilon: float) -> str:
    """1.0 points; of a metric that is no share the number alone."""
    return gap(epsilon, info.objective.share) + (" points" if info.objective.share else "")


def _failures(info: SensitivityInfo) -> list[str]:
    made = []
    ends = [e for row in info.rows for e in (row.trains_from, row.trains_to) if e is not None]
    if ends:
        made.append(
            f"Crosses beside the bars: the end of where {seeds_train()}, the others at the reference, with its 95 % "
            "interval; a triangle: none within what was searched."
        )
    failing = [row for row in info.rows if row.fails]
    if failing:
        told = ", ".join(f"{_name(row.arm)} {row.n_failing} of {row.n_inside}" for row in failing)
        made.append(f"Hatched: the side that holds every configuration of which a seed did not train ({told} there).")
    return made


def numbers(info: SensitivityInfo) -> pd.DataFrame:
    """Everything that is drawn: parameter, arm, what, at, value, low, high, unit, n, method, why_no_interval."""
    unit, rows = info.objective.unit, []
    for curve in info.curves.to_dict("records"):
        rows.append(
            {"arm": curve["arm"], "what": curve["source"], "at": curve["value"], "value": curve["mean"], "unit": unit}
            | {name: curve[name] for name in ("low", "high", "n", "method", "why_no_interval")}
        )
    for row in info.rows:
        rows += _row_numbers(row, unit)
    for trial in info.trials.to_dict("records"):
        what = "trial" if trial["trained"] else "trial that did not train"
        rows.append(
            {"arm": trial["arm"], "what": what, "at": trial["value"], "value": trial["metric"], "unit": unit, "n": 1}
        )
    made = pd.DataFrame(rows)
    made.insert(0, "parameter", info.parameter)
    return made


def _row_numbers(row: SafeRow, unit: str) -> list[dict[str, object]]:
    answers: dict[str, Answer | None] = {
        "safe range from": row.low,
        "safe range to": row.high,
        "safe range, width": row.ratio,
        "trains from": row.trains_from,
        "trains to": row.trains_to,
    }
    made: list[dict[str, object]] = [
        {"arm": row.arm, "what": what, "value": a.value, "low": a.low, "high": a.high, "unit": a.unit, "n": a.n}
        | {"method": a.method, "why_no_interval": a.why}
        for what, a in answers.items()
        if a is not None
    ]
    if row.levels is not None:
        for level, share in zip(row.levels["level"], row.levels["probability"], strict=True):
            found = {"arm": row.arm, "what": "probability of being within epsilon", "at": level, "value": share}
            made.append(found | {"unit": "probability", "n": row.n, "method": row.method})
    if math.isfinite(row.epsilon):
        made.append({"arm": row.arm, "what": "epsilon", "value": row.epsilon, "unit": unit})
    failing = [
        {"arm": row.arm, "what": "failures, region", "low": a, "high": b, "n": row.n_inside} for a, b in row.fails
    ]
    return made + failing
