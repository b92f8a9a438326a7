"""Coverage and calibration of what compares arms, on simulated studies with a known truth.

Each function makes `n_studies` studies of one cell and returns a dict: n, coverage or calibration, width, and the
Monte Carlo standard error where there is one share.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpsearch.analysis.best import best_of_arms
from hpsearch.analysis.compare import differences, improvements
from hpsearch.analysis.configurations import summarize
from hpsearch.analysis.equal_budget import at_equal_budgets
from hpsearch.analysis.front_probability import best_for_cost, cost_groups, front_probability
from hpsearch.analysis.objective import Objective
from hpsearch.analysis.pareto import front, non_dominated
from hpsearch.analysis.tuning import tuning_curves
from tests.calibration.simulate import CHANCE, Surface, design, trials

Floats = NDArray[np.float64]

ACCURACY = Objective("val_accuracy", "metrics.val_accuracy", True, True)
LEVEL = 0.95
COMMON = 0.4  # the share of a seed's noise that all configurations have, as `trials` makes it


def _coverage(covered: list[bool], widths: list[float]) -> dict[str, float]:
    n = len(covered)
    share = float(np.mean(covered)) if n else math.nan
    return {
        "n": n,
        "coverage": share,
        "error": math.sqrt(share * (1 - share) / n) if n else math.nan,
        "width": float(np.median(widths)) if n else math.nan,
    }


def _confirmed_study(
    rng: np.random.Generator, arms: int, configurations: int, seeds: int, confirm: int, sampler: str, cliff: bool
) -> tuple[pd.DataFrame, dict[str, float], dict[str, float]]:
    """A study whose arms' best are run again on fresh seeds; their true means, over all seeds and where it trains."""
    shift, fresh = rng.normal(size=seeds), rng.normal(size=confirm)
    tables, truth, trained = [], {}, {}
    for i in range(arms):
        arm, surface = f"arm{i}", Surface.draw(rng, cliff)
        u = design(sampler, configurations, rng)
        table = trials(surface, u, seeds, rng, arm=arm, sampler=sampler, shift=shift)
        means = table["metrics.val_accuracy"].to_numpy().reshape(configurations, seeds).mean(axis=1)
        at = int(np.argmax(means))
        name = str(table["configuration_id"].iloc[at * seeds])
        again = trials(
            surface, u[[at]], confirm, rng, arm, sampler, first_seed=1000, confirm=True, shift=fresh, names=[name]
        )
        tables += [table, again]
        truth[arm] = float(surface.mean(u[[at]])[0])
        trained[arm] = float(surface.accuracy(u[[at]])[0])
    return pd.concat(tables, ignore_index=True), truth, trained


def confirmed_best(
    n_studies: int,
    rng: np.random.Generator,
    configurations: int = 24,
    seeds: int = 3,
    confirm: int = 5,
    sampler: str = "random",
    cliff: bool = False,
) -> dict[str, float]:
    """The interval of an arm's best from its confirmation runs, of what it says: all seeds, or those that train.

    `selected_*`: from its selection runs, optimistic; `all_*`: for the mean over all seeds, whatever it says.
    """
    covered, widths, naive, naive_widths, everything = [], [], [], [], []
    for _ in range(n_studies):
        table, truth, trained = _confirmed_study(rng, 1, configurations, seeds, confirm, sampler, cliff)
        best = best_of_arms(table, summarize(table), ["arm0"], ACCURACY, None)[0]
        assert best.confirmation is not None
        exact = trained["arm0"] if best.given_training else truth["arm0"]
        confirmed = best.confirmation.objective
        for e, t, c, w in ((confirmed, exact, covered, widths), (best.selection, truth["arm0"], naive, naive_widths)):
            c.append(e.low <= t <= e.high)
            w.append(e.high - e.low)
        everything.append(confirmed.low <= truth["arm0"] <= confirmed.high)
    selected = _coverage(naive, naive_widths)
    more = {f"selected_{k}": selected[k] for k in ("coverage", "width")}
    return _coverage(covered, widths) | more | {"all_coverage": float(np.mean(everything))}


def difference_at_best(
    n_studies: int,
    rng: np.random.Generator,
    arms: int = 2,
    configurations: int = 24,
    seeds: int = 3,
    confirm: int = 5,
    sampler: str = "random",
    cliff: bool = False,
) -> dict[str, float]:
    """All intervals of a study together: arms against the first, at best. The noise shared by a seed cancels."""
    covered, widths = [], []
    names = [f"arm{i}" for i in range(arms)]
    for _ in range(n_studies):
        table, truth, trained = _confirmed_study(rng, arms, configurations, seeds, confirm, sampler, cliff)
        best = best_of_arms(table, summarize(table), names, ACCURACY, None)
        found = differences(table, names, best, ACCURACY)
        exact = {b.arm: trained[b.arm] if b.given_training else truth[b.arm] for b in best if b.rank == 1}
        covered.append(all(d.estimate.low <= exact[d.arm] - exact["arm0"] <= d.estimate.high for d in found))
        widths += [2 * d.estimate.half for d in found]
    return _coverage(covered, widths)


def improvement(
    n_studies: int, rng: np.random.Generator, confirm: int = 5, gap: float = 0.5, decimals: int | None = None
) -> dict[str, float]:
    """P(arm beats control) on a new seed where the arm is `gap` noise sds better. `decimals` rounds, so ties occur."""
    covered, widths = [], []
    big = rng.normal(size=(2, 400_000)) + np.array([[gap], [0.0]])
    big = big if decimals is None else np.round(big, decimals)
    truth = float((big[0] > big[1]).mean() + 0.5 * (big[0] == big[1]).mean())
    for _ in range(n_studies):
        rows = []
        for arm, centre in (("arm0", 0.0), ("arm1", gap)):
            y = centre + rng.normal(size=confirm + 1)
            y = y if decimals is None else np.round(y, decimals)
            rows += [(arm, arm, s, "complete", s > 0, v) for s, v in enumerate(y)]
        columns = ["arm", "configuration_id", "seed", "status", "sampling.confirm", "metrics.val_accuracy"]
        table = pd.DataFrame(rows, columns=columns)
        names = ["arm0", "arm1"]
        best = best_of_arms(table, summarize(table), names, ACCURACY, None)
        (found,) = improvements(table, names, best, ACCURACY)
        covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    return _coverage(covered, widths) | {"truth": truth}


def _expected_best(surface: Surface, k: float, seeds: int, rng: np.random.Generator, pool: int = 20_000) -> float:
    """The estimand of `at_equal_budgets`, on a large pool of configurations."""
    u = rng.random((pool, 3))
    trained = rng.random((pool, seeds)) < surface.trains(u)[:, None]
    noise = surface.noise * math.sqrt(1 - COMMON**2) * rng.normal(size=(pool, seeds))
    score = np.where(trained, surface.accuracy(u)[:, None] + noise, CHANCE).mean(axis=1)
    rank = np.linspace(0, 1, pool + 1)
    weight = (1 - rank[:-1]) ** k - (1 - rank[1:]) ** k
    return float(weight @ surface.mean(u)[np.argsort(-score)])


def difference_at_equal_configurations(
    n_studies: int,
    rng: np.random.Generator,
    configurations: int = 24,
    seeds: int = 3,
    sampler: str = "random",
    cliff: bool = False,
) -> dict[str, float]:
    covered, widths, errors = [], [], []
    for _ in range(n_studies):
        shift, tables, expected = rng.normal(size=seeds), [], []
        for arm in ("arm0", "arm1"):
            surface = Surface.draw(rng, cliff)
            u = design(sampler, configurations, rng)
            tables.append(trials(surface, u, seeds, rng, arm, sampler, shift=shift))
            expected.append(surface)
        rows = at_equal_budgets(pd.concat(tables, ignore_index=True), ["arm0", "arm1"], ACCURACY, ACCURACY)
        row = next(r for r in rows if r.budget == "configurations")
        truth = [_expected_best(s, row.k_arm, seeds - 1, rng) for s in expected]
        covered.append(row.low <= truth[1] - truth[0] <= row.high)
        widths.append(row.high - row.low)
        errors.append(row.difference - (truth[1] - truth[0]))
    return _coverage(covered, widths) | {"bias": float(np.mean(errors)), "rmse": float(np.std(errors))}


def _observed(surface: Surface, u: Floats, seeds: int, rng: np.random.Generator, decimals: int | None = None) -> Floats:
    """Means over seeds as a study observes them; what its seeds add to all is the same for the whole curve: 0."""
    trained = rng.random((len(u), seeds)) < surface.trains(u)[:, None]
    noise = surface.noise * math.sqrt(1 - COMMON**2) * rng.normal(size=(len(u), seeds))
    failed = CHANCE + 0.002 * rng.normal(size=(len(u), seeds))
    means = np.where(trained, surface.accuracy(u)[:, None] + noise, failed).mean(axis=1)
    return means if decimals is None else np.round(means, decimals)


def tuning_bands(
    n_studies: int,
    rng: np.random.Generator,
    configurations: int = 24,
    seeds: int = 3,
    sampler: str = "random",
    cliff: bool = False,
    decimals: int | None = None,
    surfaces: int = 20,
) -> dict[str, float]:
    """Whether the band holds the median best of k observed means at every k at once. `decimals` rounds: ties."""
    covered, widths = [], []
    every = max(1, n_studies // surfaces)
    for i in range(n_studies):
        if i % every == 0:
            surface = Surface.draw(rng, cliff)
            reference = np.sort(_observed(surface, rng.random((200_000, 3)), seeds, rng, decimals))
        y = _observed(surface, design(sampler, configurations, rng), seeds, rng, decimals)
        table = pd.DataFrame(
            {
                "arm": "arm0",
                "configuration_id": np.arange(configurations).astype(str),
                "seed": 0,
                "status": "complete",
                "sampling.sampler": sampler,
                "sampling.confirm": False,
                "metrics.val_accuracy": y,
            }
        )
        (curve,) = tuning_curves(table, summarize(table), ["arm0"], ACCURACY)
        at = np.ceil(0.5 ** (1 / curve.points["k"]) * len(reference) - 1e-9).astype(int) - 1
        truth = reference[at]
        low, high = curve.points["low"], curve.points["high"]
        covered.append(bool(((low <= truth) & (truth <= high)).all()))
        widths.append(float((high - low).iloc[min(3, len(low) - 1)]))
    return _coverage(covered, widths)


def front_calibration(
    n_studies: int,
    rng: np.random.Generator,
    configurations: int = 24,
    arms: int = 2,
    seeds: int = 3,
    epochs: int = 1,
    sampler: str = "random",
    cliff: bool = False,
    draws: int = 1000,
) -> dict[str, object]:
    """Stated probabilities of being on the front against how often it was so, beside a plain bootstrap over seeds.

    Arm i costs i + 1; with `epochs` > 1 each configuration has one of so many levels of training, with diminishing
    returns, that multiply its cost. The truth is the front of the true means of those whose seeds all trained.
    """
    stated, boot, actual = [], [], []
    for _ in range(n_studies):
        shift, tables, truth = rng.normal(size=seeds), [], []
        surface = Surface.draw(rng, cliff)
        for i in range(arms):
            arm, u = f"arm{i}", design(sampler, configurations, rng)
            table = trials(surface, u, seeds, rng, arm, sampler, shift=shift)
            level = rng.integers(1, epochs + 1, configurations)
            # The second arm is a little better, so that both may be on the front.
            lift = 0.5 * surface.noise * i - 2 * surface.noise * (1 / level - 1 / epochs)
            table["metrics.val_accuracy"] += np.repeat(lift, seeds) * (table["status"] == "complete")
            table["cost.backward_samples"] = 1000.0 * (i + 1) * np.repeat(level, seeds)
            tables.append(table)
            truth.append(surface.mean(u) + lift * surface.trains(u))
        table = pd.concat(tables, ignore_index=True)
        table["sampling.confirm"] = False
        points = front(summarize(table), ACCURACY, "backward_samples")
        found = front_probability(table, points, ACCURACY, seed=int(rng.integers(2**31)), draws=draws).points
        able = (found["n_not_trained"] == 0).to_numpy()
        cost = found["compute"].to_numpy()[able]
        y = table["metrics.val_accuracy"].to_numpy().reshape(-1, seeds)[able]
        resampled = np.array([y[:, rng.integers(0, seeds, seeds)].mean(axis=1) for _ in range(200)])
        stated.append(found["probability"].to_numpy()[able])
        boot.append(best_for_cost(resampled, cost_groups(cost)).mean(axis=0))
        actual.append(non_dominated(cost, np.concatenate(truth)[able]))
    true = np.concatenate(actual)
    model, plain = _calibration(np.concatenate(stated), true), _calibration(np.concatenate(boot), true)
    return {"n": n_studies, "configurations": len(true), "model": model, "bootstrap": plain}


def _calibration(stated: Floats, true: NDArray[np.bool_]) -> dict[str, object]:
    """Ten bins: number, mean stated, frequency. Brier score; expected calibration error over all and above 0.05."""
    at = np.minimum((stated * 10).astype(int), 9)
    bins = [
        {"n": int((at == b).sum()), "stated": float(stated[at == b].mean()), "true": float(true[at == b].mean())}
        for b in range(10)
        if (at == b).any()
    ]
    brier = float(((stated - true) ** 2).mean())
    gaps = [(int(str(b["n"])), abs(float(b["stated"]) - float(b["true"]))) for b in bins]
    upper = gaps[1:] if stated.min() < 0.1 else gaps
    ece = sum(n * g for n, g in gaps) / len(stated)
    above = sum(n * g for n, g in upper) / max(1, sum(n for n, _ in upper))
    return {"bins": bins, "brier": brier, "ece": ece, "ece_above": above}
