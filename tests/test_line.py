"""Lines of trials.jsonl that are not what a run writes."""

import json

import pytest

from hpsearch.line import parse_line
from hpsearch.results import Result

GOOD = {
    "trial_id": "0123456789abcdef",
    "configuration_id": "f",
    "arm": "a",
    "params": {"x": 0.1, "kind": "a", "on": True, "none": None, "n": 3},
    "fixed": {},
    "seed": 0,
    "sampling": {"phase": 0, "index": 0, "sampler": "random", "generation": None, "confirm": False},
    "status": "complete",
    "metrics": {"val_accuracy": 1, "loss": 0.5, "other": None},
    "curve": {"epoch": [1, 2]},
}


def line(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def test_a_line_of_an_earlier_or_a_later_version_is_read():
    """The keys of the first version, and one that nobody knows yet."""
    needed = ("trial_id", "configuration_id", "arm", "params", "fixed", "seed", "sampling", "status")
    early = {key: GOOD[key] for key in needed}
    assert Result.from_line(json.dumps(early).encode()).attempt == 1
    assert Result.from_line(line(energy={"joules": 3}, metrics={})).metrics == {}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"trial_id": 3}, "trial_id is 3"),
        ({"trial_id": None}, "trial_id is null"),
        ({"seed": True}, "seed is true"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"seed": "../../etc"}, "seed is '../../etc'"),
        ({"params": []}, r"params is \[\]"),
        ({"params": {"x": {"y": 1}}}, "params.x is"),
        ({"metrics": None}, "metrics is null"),
        ({"metrics": {"val_accuracy": "0.9"}}, "metrics.val_accuracy is '0.9'"),
        ({"cost": {"seconds": []}}, "cost.seconds is"),
        ({"curve": {"epoch": 3}}, "curve.epoch is 3"),
        ({"sampling": None}, "sampling is null"),
        ({"sampling": {"phase": 0}}, "sampling has no confirm, generation, index, sampler"),
        ({"sampling": {**GOOD["sampling"], "phase": None}}, "sampling.phase is null"),
        ({"error": ["x"]}, "error is"),
        ({"attempt": "1"}, "attempt is '1'"),
        ({"versions": "1"}, "versions is '1'"),
        ({"bundle": "1"}, "bundle is '1'"),
        ({"bundle": {"key": "a"}}, "bundle has no together, trials"),
        ({"bundle": {"key": "a", "trials": 2.0, "together": True}}, "bundle.trials is 2.0"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(changes, said):
    with pytest.raises(ValueError, match=f"not a result: {said}"):
        parse_line(line(**changes))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_no_json_are_told(text):
    with pytest.raises(ValueError, match=f"holds {text}"):
        parse_line(line().replace(b"0.5", text.encode()))


@pytest.mark.parametrize("text", [b"[" * 100_000, line()[:-3], b"\xff", b'{"a": ' * 50_000, b"1" * 10_000])
def test_what_is_torn_or_meant_to_harm_is_no_result(text):
    with pytest.raises(ValueError, match="not a"):
        parse_line(text)
