"""How well a surrogate predicts configurations it has not seen, beside others that could stand in its place.

Cross-validation grouped by configuration: all seeds of a configuration, and all rows with the same coordinates, are
held out together. Predicted is the expected metric over seeds, held against the mean over the seeds that were run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from hpsearch.analysis.inputs import Inputs
from hpsearch.analysis.process import fit_counts, fit_values
from hpsearch.analysis.seeds import SeedEffect
from hpsearch.analysis.surrogate import LEAST
from hpsearch.errors import InputError, show

Floats = NDArray[np.float64]

# In the order of preference: the intervals of a process are calibrated, and a constant is simpler than a forest.
PROCESS, SMOOTH, MEAN, FOREST = "process", "smooth process", "mean", "forest"
TREES = 64
MOST_SCORED = 200  # configurations; of more a random part, because every fold finds the settings of its processes anew


@dataclass(frozen=True)
class Score:
    """Of one candidate at held-out configurations.

    rmse: in the metric's unit. r2: 1 - SSE / SST, SST around the mean of the configurations fitted to; error: its
    standard error over configurations. n: configurations.
    """

    name: str
    rmse: float
    r2: float
    error: float
    n: int


@dataclass(frozen=True)
class TrainScore:
    """Brier scores, over held-out seeds, of the probability that a seed trains: the process's, a constant share's."""

    brier: float
    constant: float
    n: int


@dataclass(frozen=True)
class Scores:
    """Every candidate's score and which of them is `chosen`.

    The chosen one is the first, in the order of preference, whose squared error is not above the lowest by more than
    one standard error of the paired differences. explains: the R2 of the process, which is behind all answers, is
    above 0 by more than one standard error.
    ceiling: the highest R2 that the seed noise in the held-out means allows, NaN where no configuration has two seeds.
    n_scored: configurations scored of the n with a result. trains: where some seeds did not train, else None.
    """

    candidates: tuple[Score, ...]
    chosen: str
    explains: bool
    ceiling: float
    trains: TrainScore | None
    n: int
    n_scored: int
    folds: int

    def __getitem__(self, name: str) -> Score:
        return next(c for c in self.candidates if c.name == name)

    def describe(self) -> str:
        own = self[PROCESS]
        digits = 2 if own.error >= 0.01 or not own.error else 3
        others = ", ".join(f"{c.name} {_short(c.r2, digits)}" for c in self.candidates if c.name != PROCESS)
        scored = f"{self.n_scored:,}" if self.n_scored == self.n else f"{self.n_scored:,} of {self.n:,}"
        text = f"{self.folds}-fold cross-validation over {scored} configurations: "
        text += f"R² {_short(own.r2, digits)} ± {_short(own.error, digits)} ({PROCESS}; {others})"
        if math.isfinite(self.ceiling):
            text += f"; seed noise allows at most {_short(self.ceiling, digits)}"
        if self.trains is not None:
            brier, constant = (f"{b:.2g}" for b in (self.trains.brier, self.trains.constant))
            text += f"; whether a seed trains: Brier score {brier}, with a constant share {constant}"
        return text if self.explains else f"{text}. The surrogate explains nothing"


def score_candidates(
    configurations: pd.DataFrame, inputs: Inputs, effect: SeedEffect, chance: float, seed: int = 0, folds: int = 5
) -> Scores | str:
    """Scores over one arm's rows of `summarize`, or why there are none.

    chance: mean metric of the trials that did not train (not used where all did). Raises InputError if folds is below
    two, or where chance is needed and not finite.
    """
    if folds < 2:
        raise InputError(f"folds: {show(folds)}; allowed: 2 or more")
    data = _Data.of(configurations[configurations["n"] > 0], inputs, effect.share, chance)
    reason = data.unfit()
    if reason:
        return reason
    rng = np.random.default_rng(seed)
    n = len(data.mean)
    if n > MOST_SCORED:
        data = data.part(np.sort(rng.choice(n, MOST_SCORED, replace=False)))
        if reason := data.unfit():
            return f"{reason} (of {MOST_SCORED} taken at random)"
    fold = _folds(data.x, folds, rng)
    hurdle = data.some_failed
    names = [PROCESS, *([SMOOTH] if hurdle else []), MEAN, FOREST]
    predicted = {name: np.empty(len(fold)) for name in names}
    p, share = np.ones(len(fold)), np.ones(len(fold))
    for k in range(fold.max() + 1):
        out = fold == k
        train, x = data.part(np.flatnonzero(~out)), data.x[out]
        for name in names:
            if name != PROCESS:
                predicted[name][out] = OTHERS[name](train, x, seed)
        values = _process(train, train.mean_trained, train.n_trained, train.sd_trained, x, seed)
        if hurdle:
            p[out], share[out] = _probability(train, x, seed), train.n_trained.sum() / train.n.sum()
            values = p[out] * values + (1 - p[out]) * chance
        predicted[PROCESS][out] = values
    squares = {name: (data.mean - y) ** 2 for name, y in predicted.items()}  # (configurations,) each
    scores = tuple(_score(name, squares[name], squares[MEAN]) for name in names)
    chosen = choose(squares)
    own = next(s for s in scores if s.name == PROCESS)
    trains = TrainScore(data.brier(p), data.brier(share), int(data.n.sum())) if hurdle else None
    ceiling = data.ceiling(squares[MEAN])
    explains = own.r2 > own.error
    return Scores(scores, chosen, explains, ceiling, trains, n, len(fold), int(fold.max()) + 1)


@dataclass(frozen=True)
class _Data:
    """What the candidates see of configurations: x (m, d), the rest (m,)."""

    inputs: Inputs
    x: Floats
    n: Floats
    mean: Floats
    sd: Floats
    n_trained: Floats
    mean_trained: Floats
    sd_trained: Floats
    shared: float  # of the squared seed noise where it trains: it moves all configurations alike
    chance: float

    @classmethod
    def of(cls, rows: pd.DataFrame, inputs: Inputs, shared: float, chance: float) -> _Data:
        def column(name: str) -> Floats:
            return rows[name].to_numpy(float)

        means = (column("n"), column("mean"), column("sd"))
        trained = (column("n_trained"), column("mean_trained"), column("sd_trained"))
        data = cls(inputs, inputs.coordinates(rows), *means, *trained, shared, chance)
        if data.some_failed and not math.isfinite(chance):
            raise InputError(f"chance: {show(chance)}, and some trials did not train; allowed: a finite number")
        return data

    def part(self, rows: NDArray[np.int64]) -> _Data:
        means = (self.n[rows], self.mean[rows], self.sd[rows])
        trained = (self.n_trained[rows], self.mean_trained[rows], self.sd_trained[rows])
        return _Data(self.inputs, self.x[rows], *means, *trained, self.shared, self.chance)

    @property
    def some_failed(self) -> bool:
        return bool((self.n_trained < self.n).any())

    def unfit(self) -> str:
        """Why no surface can be scored; the same limits as of a surrogate."""
        if not len(self.inputs):
            return "no hyperparameter varied"
        known = self.n_trained > 0
        if known.sum() < LEAST:
            return f"{known.sum()} configurations with a result where training worked: a score needs {LEAST}"
        if (points := _points(self.x).max() + 1) < LEAST:
            return f"{points} different configurations: a score needs {LEAST}"
        constant = _constant(self.mean_trained[known]) or _constant(self.mean)
        return "the metric is constant" if constant else ""

    def ceiling(self, total: Floats) -> float:
        """1 - noise / total, of the variance pooled over all seeds; total (m,): squares around the mean."""
        df = np.maximum(self.n - 1, 0.0).sum()
        if not df:
            return math.nan
        within, trained = _within(self.sd, self.n), _within(self.sd_trained, self.n_trained)
        noise = (within - self.shared * trained) / df
        return float(np.clip(1 - (noise / self.n).sum() / total.sum(), 0.0, 1.0))

    def brier(self, p: Floats) -> float:
        """Mean over seeds of the squared difference between p (m,) and whether it trained."""
        squares = self.n_trained * (1 - p) ** 2 + (self.n - self.n_trained) * p**2
        return float(squares.sum() / self.n.sum())


def _smooth(train: _Data, x: Floats, seed: int) -> Floats:
    """One process of all means, as if every seed had trained."""
    return _process(train, train.mean, train.n, train.sd, x, seed)


def _forest(train: _Data, x: Floats, seed: int) -> Floats:
    from sklearn.ensemble import RandomForestRegressor  # half a second to import

    forest = RandomForestRegressor(TREES, random_state=seed, n_jobs=1)
    # Scikit-learn splits no node whose variance is below 2e-16, whatever the metric's unit: standardised.
    centre, unit = train.mean.mean(), train.mean.std() or 1.0
    forest.fit(train.x, (train.mean - centre) / unit)
    return np.asarray(centre + unit * forest.predict(x))


def _mean(train: _Data, x: Floats, seed: int) -> Floats:
    return np.full(len(x), train.mean.mean())


OTHERS: dict[str, Callable[[_Data, Floats, int], Floats]] = {SMOOTH: _smooth, FOREST: _forest, MEAN: _mean}


def _process(train: _Data, y: Floats, n: Floats, sd: Floats, x: Floats, seed: int) -> Floats:
    """A process of the means y over n seeds with spread sd, its settings found in the training part alone."""
    known = np.flatnonzero(n > 0)
    if len(known) < 2 or _constant(y[known]):
        return np.full(len(x), y[known].mean() if len(known) else train.chance)
    centre, unit = float(y[known].mean()), float(y[known].std())
    df = np.maximum(n - 1, 0.0).sum()
    noise = math.sqrt(_within(sd, n) / df * (1 - train.shared)) if df else 0.0
    process = fit_values(
        train.inputs,
        train.x[known],
        (y[known] - centre) / unit,
        n[known],
        max(noise / unit, 1e-4),
        int(df),
        seed,
        settings=0,
    )
    return centre + unit * process.best.mean(x)


def _probability(train: _Data, x: Floats, seed: int) -> Floats:
    """That a seed trains, at the median of its logit: its mean over what is not known blurs the cliff."""
    if not train.some_failed:
        return np.ones(len(x))
    process = fit_counts(train.inputs, train.x, train.n_trained, train.n, seed + 1, settings=0)
    return np.asarray(expit(process.best.mean(x)))


def _folds(x: Floats, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of every row, (m,): rows at one point are in the same one."""
    point = _points(x)
    shuffled = rng.permutation(point.max() + 1)
    return np.asarray(shuffled[point] % min(folds, len(shuffled)))


def _points(x: Floats) -> NDArray[np.int64]:
    """The number of each row's point, (m,); an inactive input (NaN) is a coordinate of its own."""
    return np.asarray(np.unique(np.nan_to_num(x, nan=-1.0), axis=0, return_inverse=True)[1]).ravel()


def _score(name: str, squares: Floats, total: Floats) -> Score:
    """squares, total (m,): of the candidate's errors, and around the mean. The error of R2 is that of a ratio."""
    ratio = squares.sum() / total.sum()
    spread = (squares - ratio * total).std(ddof=1) / total.mean()
    n = len(squares)
    return Score(name, math.sqrt(squares.mean()), float(1 - ratio), float(spread / math.sqrt(n)), n)


def choose(squares: Mapping[str, Floats]) -> str:
    """The one-standard-error rule. squares: (n,) squared errors each, in the order of preference."""
    lowest = min(squares, key=lambda name: squares[name].mean())
    for name, own in squares.items():
        worse = own - squares[lowest]
        if worse.mean() <= worse.std(ddof=1) / math.sqrt(len(worse)):
            return name
    return lowest


def _within(sd: Floats, n: Floats) -> float:
    """Sum of squares within configurations."""
    return float(np.where(n > 1, sd**2 * (n - 1), 0.0).sum())


def _constant(y: Floats) -> bool:
    return not y.std() > 1e-12 * max(1.0, abs(y.mean()))


def _short(value: float, digits: int) -> str:
    """An exact 0 or 1 without digits behind the point; no minus before what rounds to 0."""
    return f"{value:.0f}" if value in (0.0, 1.0) else f"{round(value, digits) + 0.0:.{digits}f}"
