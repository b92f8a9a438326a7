"""One row per configuration: mean over seeds, spread, interval, share that did not train, compute."""

import numpy as np
import pandas as pd

from hpsearch.analysis.columns import (
    COSTS,
    NO_RESULT,
    NOT_TRAINED,
    TRAINED,
    numeric,
    parameter_columns,
    standard,
)
from hpsearch.analysis.estimate import t_quantile
from hpsearch.analysis.two_stage import with_two_stages
from hpsearch.seeds import TwoStage

KEYS = ["arm", "configuration_id"]


def summarize(table: pd.DataFrame, metric: str = "val_accuracy", rule: TwoStage | None = None) -> pd.DataFrame:
    """Statistics of every configuration over its seeds, without the confirmation runs.

    `metric` is a name under metrics. or cost., or a whole column name. rule: of a study with seeds by spread. Columns,
    in the metric's own unit:

    arm, configuration_id, params.*;
    n, mean, sd (ddof 1): over trials that ended with this metric, whether they trained or not;
    n_trained, mean_trained, sd_trained: of those, the complete ones;
    n_ended: complete, diverged or collapsed;
    n_not_trained, share_not_trained: diverged and collapsed, over all that ended;
    n_failed: failed or stopped, in no mean; n_missing: ended, but without this metric;
    low, high: 95 % interval of the mean; interval: how it was made, "pooled", "own", "two-stage" or "none" (NaN);
    cost.backward_samples, cost.flops, cost.seconds: means over trials that ended.
    """
    trials = standard(table)
    trials = trials[~trials["sampling.confirm"]]
    groups = _trial_values(trials, metric).groupby(KEYS, sort=False)
    rows = groups.agg(
        n=("value", "count"),
        mean=("value", "mean"),
        sd=("value", "std"),
        n_trained=("trained", "count"),
        mean_trained=("trained", "mean"),
        sd_trained=("trained", "std"),
        n_not_trained=("not_trained", "sum"),
        n_ended=("ended", "sum"),
        n_failed=("failed", "sum"),
        n_missing=("missing", "sum"),
        **{f"cost.{name}": (f"cost.{name}", "mean") for name in COSTS},
    )
    rows["share_not_trained"] = rows["n_not_trained"] / rows["n_ended"].where(rows["n_ended"] > 0)
    params = trials.drop_duplicates(KEYS).set_index(KEYS)[parameter_columns(trials)]
    made = params.join(_with_intervals(rows), how="right").reset_index()
    return with_two_stages(made, trials, metric_column(trials, metric), rule)


def metric_column(table: pd.DataFrame, metric: str) -> str:
    """The column that a metric's name stands for: itself, or metrics.<name>, or cost.<name>."""
    if metric in table.columns:
        return metric
    return f"cost.{metric}" if f"cost.{metric}" in table.columns else f"metrics.{metric}"


def _trial_values(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    status = trials["status"]
    not_trained = status.isin(NOT_TRAINED)
    ended = not_trained | (status == TRAINED)
    value = numeric(trials, metric_column(trials, metric)).where(ended)
    values = {
        "arm": trials["arm"],
        "configuration_id": trials["configuration_id"],
        "value": value,
        "trained": value.where(~not_trained),
        "not_trained": not_trained,
        "ended": ended,
        "failed": status.isin(NO_RESULT),
        "missing": ended & value.isna(),
    }
    costs = {f"cost.{name}": numeric(trials, f"cost.{name}").where(ended) for name in COSTS}
    return pd.DataFrame(values | costs)


def _with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds low, high and interval.

    Configurations whose seeds all trained share one variance per arm, sum of squares / sum of (n - 1): with
    three seeds each, an own variance would be too uncertain. Where some seeds did not train the spread is
    another one, mostly between 'trained' and 'did not', so such a configuration keeps its own.
    """
    clean = (rows["n_not_trained"] == 0) & (rows["n"] > 0)
    df = (rows["n"] - 1).where(clean, 0).clip(lower=0)
    squares = (rows["sd"] ** 2 * df).where(df > 0, 0.0)
    arms = rows.index.get_level_values("arm")
    pooled_df = df.groupby(arms, sort=False).transform("sum")
    pooled_variance = squares.groupby(arms, sort=False).transform("sum") / pooled_df.where(pooled_df > 0)

    sd = (pooled_variance**0.5).where(clean, rows["sd"])
    t = pd.Series(t_quantile(pooled_df.where(clean, rows["n"] - 1)), index=rows.index)
    half = t * sd / rows["n"] ** 0.5
    how = np.where(half.isna(), "none", np.where(clean, "pooled", "own"))
    return rows.assign(low=rows["mean"] - half, high=rows["mean"] + half, interval=how)
