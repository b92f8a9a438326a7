"""Whole runs with early stopping."""

import pandas as pd
import pytest

from hpsearch.results import load

EARLY = """
name: early
task: {name: "mine:train"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}, b: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 8}]
seeds: 2
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
stopping: {scheduler: asha, grace: 1, reduction: 2}
"""


def table(folder):
    columns = ["arm", "status", "epochs", "metrics.val_accuracy", "curve.val_accuracy", "sampling.confirm"]
    return load(folder).sort_values("trial_id", ignore_index=True)[["trial_id", *columns]]


BUNDLED = """
name: early
task: {name: breast_cancer, width: 8, batch_size: 50, epochs: 3}
arms: {a: {parameters: {lr: &lr {low: 0.001, high: 1, log: true}}}, b: {parameters: {lr: *lr}, fixed: {rho: 0.1}}}
sampling: [{sampler: random, configurations: 8}]
seeds: 2
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize}
resources: {concurrent: 1, pack: 8}
stopping: {scheduler: asha, grace: 1, reduction: 2}
"""


@pytest.mark.parametrize("study", [EARLY, BUNDLED], ids=["one by one", "in bundles"])
def test_a_run_with_early_stopping_goes_on_as_if_it_had_not_been_cut_off(place, study):
    place.study(study)
    place.run("run", "study.yaml", "--no-dashboard")
    folder = place.folder / "runs" / "early"
    whole = table(folder)
    stopped = whole["status"] == "stopped"
    assert 8 <= stopped.sum() < 32 and not whole.loc[stopped, "sampling.confirm"].any()
    assert whole.loc[stopped, "metrics.val_accuracy"].isna().all()  # never mistaken for a final value
    assert (whole.loc[stopped, "curve.val_accuracy"].map(len) == whole.loc[stopped, "epochs"]).all()
    assert set(whole.loc[~stopped, "epochs"]) == {3}
    assert set(load(folder)["together"]) == ({1} if study == EARLY else {2})

    lines = (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "trials.jsonl").write_bytes(b"".join(lines[:13]))  # half a pack, too
    place.run("run", "study.yaml", "--no-dashboard")
    pd.testing.assert_frame_equal(table(folder), whole, check_exact=True)

    # Without the rule what it stopped is left to be trained in full, and nothing else.
    out, _ = place.run("plan", "study.yaml", "--set", "stopping=null")
    left = {words[0]: int(words[5]) for line in out.splitlines() if (words := line.split()) and words[0] in "ab"}
    assert left == whole[stopped].groupby("arm").size().to_dict()
