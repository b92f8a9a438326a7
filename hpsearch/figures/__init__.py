"""analysis results -> plotly figures. Numbers are computed in hpsearch.analysis and only drawn here.

Each `plot_...` takes a run folder, a table like hpsearch.load's, what hpsearch.analyze made of one, or the Result that
`read_result` gives, which saves reading and analysing it again; those across tasks take several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.figures.across.best import plot_across_best
    from hpsearch.figures.across.confirmed import plot_across_confirmed
    from hpsearch.figures.across.scores import plot_across_loss, plot_across_plane
    from hpsearch.figures.arms.attainment import plot_attainment
    from hpsearch.figures.arms.best import plot_best
    from hpsearch.figures.arms.difference import plot_differences
    from hpsearch.figures.arms.equal_budget import plot_equal_budgets
    from hpsearch.figures.arms.front import plot_front
    from hpsearch.figures.arms.tuning import plot_tuning
    from hpsearch.figures.curves.curves import plot_curves
    from hpsearch.figures.maps.maps import plot_map
    from hpsearch.figures.matters.along import plot_along
    from hpsearch.figures.matters.importances import plot_importances
    from hpsearch.figures.matters.interactions import plot_interactions
    from hpsearch.figures.parallel import plot_parallel
    from hpsearch.figures.result import read_result
    from hpsearch.figures.safe.ranges import plot_sensitivity

_HOME = {
    "plot_across_best": "across.best",
    "plot_across_confirmed": "across.confirmed",
    "plot_across_loss": "across.scores",
    "plot_across_plane": "across.scores",
    "plot_along": "matters.along",
    "plot_attainment": "arms.attainment",
    "plot_best": "arms.best",
    "plot_curves": "curves.curves",
    "plot_differences": "arms.difference",
    "plot_equal_budgets": "arms.equal_budget",
    "plot_front": "arms.front",
    "plot_importances": "matters.importances",
    "plot_interactions": "matters.interactions",
    "plot_map": "maps.maps",
    "plot_parallel": "parallel",
    "plot_sensitivity": "safe.ranges",
    "plot_tuning": "arms.tuning",
    "read_result": "result",
}
__all__ = [
    "plot_across_best",
    "plot_across_confirmed",
    "plot_across_loss",
    "plot_across_plane",
    "plot_along",
    "plot_attainment",
    "plot_best",
    "plot_curves",
    "plot_differences",
    "plot_equal_budgets",
    "plot_front",
    "plot_importances",
    "plot_interactions",
    "plot_map",
    "plot_parallel",
    "plot_sensitivity",
    "plot_tuning",
    "read_result",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"hpsearch.figures.{_HOME[name]}"), name)
    raise AttributeError(f"module 'hpsearch.figures' has no attribute {name!r}")
