"""What the pipeline adds to a trial: 2,001 trials of a function that returns at once, three seeds a configuration."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIGURATIONS = 667

STUDY = """
name: trivial
task: {name: "trivial:train"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 667}]
seeds: 3
objectives: {val_accuracy: maximize}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "trivial.py").write_text("def train(params, seed, report):\n    report(val_accuracy=params['x'])\n")
        (place / "study.yaml").write_text(STUDY)
        start = _seconds(place, 2, "start")  # imports, Ray, both workers
        whole = _seconds(place, CONFIGURATIONS, "whole")
    each = (whole - start) / (3 * (CONFIGURATIONS - 2)) * 1e3
    print(f"{3 * CONFIGURATIONS} trivial trials: {whole:.1f} s, {start:.1f} s of it the start: {each:.1f} ms a trial")


def _seconds(place: Path, configurations: int, out: str) -> float:
    command = [sys.executable, "-m", "hpsearch.cli", "run", "study.yaml", "--no-dashboard", "--quiet", "--out", out]
    started = time.perf_counter()
    subprocess.run([*command, "--configurations", str(configurations)], cwd=place, check=True)
    return time.perf_counter() - started
