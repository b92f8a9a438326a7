import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import digits_table, small_table, trial

from hpsearch.analysis.configurations import summarize
from hpsearch.errors import InputError


def row(table: pd.DataFrame, configuration: str = "a", metric: str = "val_accuracy") -> pd.Series:
    rows = summarize(table, metric).set_index("configuration_id")
    return rows.loc[configuration]


def test_mean_spread_and_counts() -> None:
    values = [0.90, 0.92, 0.97]
    found = row(small_table(*(trial(seed=i, value=v, rho=0.1) for i, v in enumerate(values))))
    assert found["n"] == found["n_trained"] == 3
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert found["share_not_trained"] == 0
    assert found["params.rho"] == 0.1


def test_interval_pools_the_variance_of_an_arm() -> None:
    a, b = [0.90, 0.92, 0.97], [0.80, 0.81]
    table = small_table(
        *(trial(configuration="a", seed=i, value=v) for i, v in enumerate(a)),
        *(trial(configuration="b", seed=i, value=v) for i, v in enumerate(b)),
        # Neither another arm nor a configuration with a collapsed seed may enter the pool.
        *(trial(arm="sgd", configuration="c", seed=i, value=v) for i, v in enumerate([0.1, 0.9])),
        trial(configuration="d", seed=0, value=0.9),
        trial(configuration="d", seed=1, value=0.1, status="collapsed"),
    )
    df = 3
    variance = (2 * np.var(a, ddof=1) + 1 * np.var(b, ddof=1)) / df
    for name, values in (("a", a), ("b", b)):
        half = stats.t.ppf(0.975, df) * math.sqrt(variance / len(values))
        found = row(table, name)
        assert found["interval"] == "pooled"
        assert found["low"] == pytest.approx(np.mean(values) - half)
        assert found["high"] == pytest.approx(np.mean(values) + half)


def test_a_configuration_that_partly_trained_has_its_own_interval() -> None:
    values = [0.9, 0.92, 0.1]
    statuses = ["complete", "complete", "diverged"]
    others = [trial(configuration="b", seed=i, value=v) for i, v in enumerate([0.5, 0.51, 0.52])]
    pairs = enumerate(zip(values, statuses, strict=True))
    found = row(small_table(*(trial(seed=i, value=v, status=s) for i, (v, s) in pairs), *others))
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert found["interval"] == "own"
    assert found["high"] - found["mean"] == pytest.approx(half)
    assert found["mean_trained"] == pytest.approx(0.91)
    assert found["share_not_trained"] == pytest.approx(1 / 3)


def test_one_seed_has_an_interval_only_where_there_is_something_to_pool() -> None:
    alone = row(small_table(trial()))
    assert math.isnan(alone["low"]) and alone["interval"] == "none" and alone["mean"] == 0.9
    b = [trial(configuration="b", seed=i, value=v) for i, v in enumerate([0.5, 0.6])]
    pooled = row(small_table(trial(), *b))
    assert pooled["interval"] == "pooled"
    assert pooled["high"] - pooled["mean"] == pytest.approx(stats.t.ppf(0.975, 1) * np.std([0.5, 0.6], ddof=1))


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_trials_without_a_result_enter_no_mean(status: str) -> None:
    found = row(small_table(trial(value=0.8), trial(seed=1, value=0.1, status=status)))
    assert found["n"] == 1 and found["mean"] == 0.8 and found["n_failed"] == 1
    assert found["share_not_trained"] == 0


def test_confirmation_runs_enter_no_selection_mean() -> None:
    found = row(small_table(trial(value=0.8), trial(seed=9, value=0.1, confirm=True)))
    assert found["n"] == 1 and found["mean"] == 0.8


def test_missing_and_infinite_metrics_are_counted_not_averaged() -> None:
    found = row(small_table(trial(value=0.8), trial(seed=1, value=None), trial(seed=2, value=math.inf)))
    assert found["n"] == 1 and found["n_missing"] == 2 and found["mean"] == 0.8


def test_metric_by_any_of_its_names() -> None:
    table = small_table(trial(value=0.8, samples=500.0))
    assert row(table, metric="metrics.val_accuracy")["mean"] == 0.8
    assert row(table, metric="backward_samples")["mean"] == 500.0
    assert row(table, metric="absent")["n"] == 0


def test_arms_may_share_a_configuration_id() -> None:
    found = summarize(small_table(trial(arm="sam", value=0.8), trial(arm="sgd", value=0.6)))
    assert found.set_index("arm")["mean"].to_dict() == {"sam": 0.8, "sgd": 0.6}


def test_agrees_with_the_slow_way_on_a_whole_study() -> None:
    table = digits_table()
    fast = summarize(table).set_index("configuration_id")
    selection = table[~table["sampling.confirm"]]
    assert len(fast) == selection["configuration_id"].nunique()
    for name, rows in selection.groupby("configuration_id"):
        ended = rows[rows["status"].isin(["complete", "diverged", "collapsed"])]
        values = ended["metrics.val_accuracy"].to_numpy()
        found = fast.loc[name]
        assert found["n"] == len(values)
        assert found["mean"] == pytest.approx(values.mean())
        assert found["sd"] == pytest.approx(values.std(ddof=1))
        assert found["cost.seconds"] == pytest.approx(ended["cost.seconds"].mean())
        assert found["share_not_trained"] == pytest.approx((ended["status"] != "complete").mean())


def test_ten_thousand_rows_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    table = pd.DataFrame(
        {
            "arm": rng.choice(["sam", "fsam"], n),
            "configuration_id": [f"c{i // 3}" for i in range(n)],
            "status": "complete",
            "params.rho": rng.uniform(size=n),
            "metrics.val_accuracy": rng.uniform(size=n),
        }
    )
    seconds = []
    for _ in range(5):  # the quickest one, of the process: a busy machine stretches the others
        start = time.process_time()
        summarize(table)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0, seconds


def test_an_empty_table_has_the_columns_and_no_rows() -> None:
    found = summarize(pd.DataFrame())
    assert len(found) == 0 and {"arm", "mean", "low", "cost.flops"} <= set(found.columns)


def test_a_table_without_the_needed_columns_is_refused() -> None:
    with pytest.raises(InputError, match="lacks configuration_id, status"):
        summarize(pd.DataFrame({"arm": ["sam"]}))
