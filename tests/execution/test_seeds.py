"""Seeds by spread and a warm start, in whole runs of the command."""

import json

STUDY = """
name: spread
task: {name: "mine:noisy"}
arms: {a: {parameters: {x: {low: 0, high: 1}}}}
sampling: [{sampler: random, configurations: 6}]
seeds: {min: 3, max: 9, half_width: 0.05}
objectives: {val_accuracy: maximize}
resources: {concurrent: 2}
"""
NOISY = """
import random

def noisy(params, seed, report):
    report(val_accuracy=params["x"] + (0.05 if params["x"] > 0.5 else 1e-4) * random.Random(seed).gauss(0, 1))
"""


def rows(folder):
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_seeds_are_added_where_they_matter_and_what_was_spent_is_said(place):
    (place.folder / "mine.py").write_text(NOISY)
    path = str(place.study(STUDY))
    planned, _ = place.run("plan", path)
    assert "3 to 9 seeds by spread, for intervals of ± 0.05" in planned
    assert "at least 18 trials, at most 54" in planned
    out, _ = place.run("run", path, "--no-dashboard", "--out", "there")
    found = rows(place.folder / "there")
    numbers = {row["configuration_id"]: row["params"]["x"] for row in found}
    seeds = {key: sorted(r["seed"] for r in found if r["configuration_id"] == key) for key in numbers}
    assert all(each == list(range(len(each))) for each in seeds.values())
    assert {len(seeds[key]) for key, x in numbers.items() if x < 0.5} == {3}
    assert all(len(seeds[key]) > 3 for key, x in numbers.items() if x > 0.5)
    said = f"a: {len(found)} seeds for 6 configurations, 3 to "
    assert said in out and f"{len(found)} trials trained" in out and ", 0 left" in out
    assert said in place.run("status", "there")[0]
    again, _ = place.run("run", path, "--no-dashboard", "--out", "there")
    assert "0 trials trained" in again and len(rows(place.folder / "there")) == len(found)
    assert "4 seeds" in place.run("plan", path, "--seeds", "4")[0]

    warm = STUDY.replace("name: spread", "name: warm\nwarm_start: there").replace("random, c", "tpe, c")
    planned, _ = place.run("plan", str(place.study(warm, "warm.yaml")))
    assert "warm start: 6 of 6 configurations of there" in planned
    _, error = place.run("run", "warm.yaml", "--no-dashboard", "--out", "warm", "--configurations", "2")
    assert "warm start: 6 of 6 configurations of there" in error
    assert len({row["configuration_id"] for row in rows(place.folder / "warm")}) == 2
    _, error = place.run("run", "warm.yaml", "--no-dashboard", "--out", "there", "--set", "name=spread", code=2)
    assert "warm_start: there is this run's own folder" in error
