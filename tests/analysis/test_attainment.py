"""Attainment and hypervolume on cases that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from synthetic import digits_table, small_table, trial

from hpsearch.analysis.attainment import attainments
from hpsearch.analysis.columns import standard
from hpsearch.analysis.estimate import estimate
from hpsearch.analysis.objective import Objective

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", True, True)
LOSS = Objective("val_loss", "metrics.val_accuracy", False, False)
REFERENCE = {"backward_samples": (100.0, 0.0)}


def study(values, arm="sam", costs=(25.0, 50.0)):
    """values: (seeds, configurations)."""
    return [
        trial(arm=arm, configuration=f"{arm}{i}", seed=s, value=v, samples=costs[i])
        for s, row in enumerate(values)
        for i, v in enumerate(row)
    ]


def of(rows, arms=("sam",), objective=ACCURACY, **more):
    return attainments(standard(small_table(*rows)), list(arms), objective, **more)


def test_a_quarter_half_and_three_quarters_of_four_seeds() -> None:
    (found,) = of(study([(0.1, 0.8), (0.2, 0.7), (0.3, 0.6), (0.4, 0.5)]))
    expected = {25: [(25, 0.4), (50, 0.8)], 50: [(25, 0.3), (50, 0.7)], 75: [(25, 0.2), (50, 0.6)]}
    for percent, points in expected.items():
        curve = found.curves[found.curves["percent"] == percent]
        assert curve[["compute", "value"]].to_numpy() == pytest.approx(np.array(points))


def test_the_hypervolume_is_the_share_of_the_box() -> None:
    (found,) = of(study([(0.5, 1.0), (0.4, 0.8), (0.5, 0.5)]), reference=REFERENCE)
    # Between compute 25 and 50 the first value counts, from 50 to 100 the better one; the box is 100 by 1.
    by_hand = [0.25 * 0.5 + 0.5 * 1.0, 0.25 * 0.4 + 0.5 * 0.8, 0.75 * 0.5]
    assert found.hypervolume.mean == pytest.approx(np.mean(by_hand))
    assert found.hypervolume.half == pytest.approx(estimate(by_hand).half)


def test_differences_are_paired_by_seed_and_share_reference_and_level() -> None:
    base = np.array([(0.5, 0.9), (0.4, 0.8), (0.6, 0.7)])
    rows = study(base, "sgd") + study(base + 0.05, "sam")
    control, arm = of(rows, ("sgd", "sam"), reference=REFERENCE)
    assert control.difference is None and arm.difference is not None and arm.comparisons == 2
    assert arm.difference.mean == pytest.approx(0.75 * 0.05 / 0.95)
    assert arm.difference.half == pytest.approx(0, abs=1e-12) and arm.hypervolume.half > 0
    assert control.reference == arm.reference


def test_a_minimised_metric_is_the_mirror_image() -> None:
    values = np.array([(0.5, 0.9), (0.4, 0.8), (0.6, 0.7)])
    (up,), (down,) = of(study(values)), of(study(-values), objective=LOSS)
    assert up.hypervolume == down.hypervolume and up.reference[1] == -down.reference[1]
    assert up.curves["value"].tolist() == pytest.approx((-down.curves["value"]).tolist())


def test_a_run_that_diverged_is_neither_cheap_nor_the_reference() -> None:
    rows = study([(0.5, 0.9)] * 3)
    rows.append(trial(configuration="sam0", seed=3, value=0.1, samples=1.0, status="diverged"))
    one, other = of(rows)[0], of(rows[:-1])[0]
    assert one.reference == other.reference and one.curves.equals(other.curves)


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_interval_below_three_seeds(seeds) -> None:
    (found,) = of(study([(0.5, 0.9), (0.4, 0.8)][:seeds]))
    assert found.n_seeds == seeds and found.hypervolume.mean > 0 and not found.hypervolume.has_interval


def test_a_constant_metric_has_no_volume() -> None:
    (found,) = of(study([(0.5, 0.5)] * 3))
    assert found.hypervolume.mean == 0 and set(found.curves["compute"]) == {25.0}


def test_a_seed_with_few_configurations_is_left_out_and_repeated_rows_count_once() -> None:
    rows = study([(0.5, 0.9), (0.4, 0.8), (0.6, 0.7)])
    assert of(rows + rows[:1])[0].hypervolume == of(rows)[0].hypervolume
    three = (25.0, 50.0, 75.0)
    full = study([(0.5, 0.7, 0.9)] * 3, costs=three)
    late = trial(configuration="sam2", seed=7, value=0.9, samples=75.0)
    assert of([*full, late])[0].n_seeds == 3


def test_nothing_trained_or_no_costs() -> None:
    assert of([trial(value=0.1, status="diverged")]) == ()
    assert of([trial(value=0.9, samples=None)]) == ()
    assert of([trial(value=None)]) == ()
    assert attainments(standard(pd.DataFrame()), [], ACCURACY) == ()


def test_on_a_whole_study() -> None:
    trials = standard(digits_table(12))
    found = attainments(trials, list(trials["arm"].unique()), ACCURACY)
    assert {f.compute for f in found} == {"backward_samples", "flops", "seconds"} and len(found) == 18
    assert all(0 <= f.hypervolume.mean <= 1 and set(f.curves["percent"]) == {25, 50, 75} for f in found)
