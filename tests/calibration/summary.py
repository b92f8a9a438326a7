"""The table of README.md on what intervals hold: `python -m tests.calibration.summary` prints it."""

from __future__ import annotations

import pandas as pd

from hpsearch.analysis.calibration import LEAST, read_table

NAMES = {
    "configuration_mean": "a configuration's mean",
    "confirmed_best": "the confirmed best's mean",
    "arm_difference": "two arms' difference at best",
    "marginal_curve": "a marginal curve, at a point",
    "pair_map": "a pair map, at a point",
    "first_order": "first-order share of variance",
    "total": "total share of variance",
    "pair_share": "share of an interaction",
    "safe_low": "lower end of a safe range",
    "safe_high": "its upper end",
    "safe_ratio": "its ratio",
    "expected_loss": "expected loss over a range",
    "tuning_gain": "gain of tuning over the default",
    "robust_worst": "worst case at the robust optimum",
    "spread": "spread over the ranges",
}


UNGATED = ("confirmed_best", "arm_difference")  # Student's t over fresh seeds: they need no table


def summary(table: pd.DataFrame) -> str:
    """A Markdown table: coverage over all cells of a surface together, and the least of a cell."""
    lines = [
        "| 95 % interval of | smooth: all, least cell | beside a cliff: all, least cell | withheld in |",
        "|---|---|---|---|",
    ]
    for statistic, name in NAMES.items():
        own = table[table["statistic"] == statistic]
        shown = [_coverage(own[own["surface"] == surface]) for surface in ("smooth", "cliff")]
        low = 0 if statistic in UNGATED else int((own["coverage"] < LEAST).sum())
        lines.append(f"| {name} | {shown[0]} | {shown[1]} | {f'{low} of {len(own)} cells' if low else 'none'} |")
    return "\n".join(lines)


def _coverage(rows: pd.DataFrame) -> str:
    held = (rows["coverage"] * rows["intervals"]).sum() / rows["intervals"].sum()
    return f"{100 * held:.1f} %, {100 * rows['coverage'].min():.1f} %"


if __name__ == "__main__":
    print(summary(read_table()))
