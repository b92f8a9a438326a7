"""A pair of hyperparameters -> one row per cell of its map."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpsearch.analysis.cells import Cells


@dataclass(frozen=True)
class Surface:
    """The map of one arm over two hyperparameters.

    `cells` has one row per cell with a configuration that ended (its mean may be unknown): ix, iy (cell indices);
    mean (over configurations of their means over seeds), lowest and highest (of those means); n_configurations,
    n_trials; sd (over seeds, pooled within configurations; NaN with one seed each); n_not_trained, n_ended,
    share_not_trained; configurations (a tuple of configuration ids).
    """

    arm: str
    x: Cells
    y: Cells
    cells: pd.DataFrame


def surface(configurations: pd.DataFrame, arm: str, x: Cells, y: Cells) -> Surface:
    """The means of one arm's configurations in the cells of x times y. Null parameters are left out."""
    rows = configurations[(configurations["arm"] == arm) & (configurations["n_ended"] > 0)]
    placed = rows.assign(ix=x.assign(rows[f"params.{x.axis.name}"]), iy=y.assign(rows[f"params.{y.axis.name}"]))
    placed = placed[(placed["ix"] >= 0) & (placed["iy"] >= 0)]
    return Surface(arm, x, y, cell_means(placed, ["ix", "iy"]))


def cell_means(placed: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row per group of configurations; see Surface for the columns."""
    df = (placed["n"] - 1).clip(lower=0)
    work = placed.assign(
        df=df,
        squares=(placed["sd"] ** 2 * df).fillna(0.0),
        n_ended=placed["n_trained"] + placed["n_not_trained"],
    )
    means = work.groupby(by, sort=True).agg(
        mean=("mean", "mean"),
        lowest=("mean", "min"),
        highest=("mean", "max"),
        n_configurations=("configuration_id", "count"),
        n_trials=("n", "sum"),
        n_not_trained=("n_not_trained", "sum"),
        n_ended=("n_ended", "sum"),
        squares=("squares", "sum"),
        df=("df", "sum"),
        configurations=("configuration_id", tuple),
    )
    means["sd"] = np.sqrt(means["squares"] / means["df"].where(means["df"] > 0))
    means["share_not_trained"] = means["n_not_trained"] / means["n_ended"].where(means["n_ended"] > 0)
    return means.drop(columns=["squares", "df"]).reset_index()
