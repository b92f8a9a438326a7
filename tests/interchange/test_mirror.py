"""optuna.log: what Optuna sees in it, whatever happens to the run or to the file."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hpsearch.interchange.mirror import Mirror
from hpsearch.results import Result
from hpsearch.study import parse_study

ONE, TWO = "{val_accuracy: maximize}", "{val_loss: minimize, flops: minimize}"


def study_of(objectives=ONE):
    return parse_study(f"""
name: s
task: {{name: digits}}
arms:
  a: {{parameters: {{rho: {{low: 0.1, high: 1}}, num_shards: {{choices: [1, 2]}}}}}}
  b: {{parameters: {{lr: {{low: 0, high: 1, step: 0.25}}}}}}
sampling: [{{sampler: random, configurations: 9}}]
seeds: 2
objectives: {objectives}
""")


def result(arm, number, seed, status="complete", confirm=False, **more):
    params = {"rho": 0.1 * (number + 1), "num_shards": 2} if arm == "a" else {"lr": 0.25 * number}
    sampling = {"phase": 0, "index": number, "sampler": "random", "generation": None, "confirm": confirm}
    return Result(
        f"{arm}{number}-{seed}",
        f"{arm}{number}",
        arm,
        params,
        {},
        seed,
        sampling,
        status,
        metrics={"val_accuracy": number + 0.5 * seed, "val_loss": 2.0},
        cost={"flops": 100.0, "seconds": 60.0},
        curve={"epoch": [1, 2, 3], "val_accuracy": [0.1, 0.2 + seed, None if seed else 0.3]},
        started=f"2026-01-01T10:0{seed}:00+00:00",
        **more,
    )


RUN = [result(arm, number, seed) for number in range(4) for arm in "ab" for seed in range(2)]


def mirrored(folder, new, known=(), study=None):
    """What Optuna finds in the file after a run: arm -> trials; and what the run warned of."""
    warnings = []
    with Mirror(folder, study or study_of(), known, warnings.append) as mirror:
        for one in new:
            mirror.add([one])
    return opened(folder), warnings


def opened(folder):
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    studies = {arm: optuna.load_study(study_name=f"s/{arm}", storage=storage) for arm in "ab"}
    return {arm: study.trials for arm, study in studies.items()}


def test_a_trial_is_a_configuration_with_the_means_of_its_seeds(tmp_path):
    trials, warnings = mirrored(tmp_path, RUN)
    assert not warnings and len(trials["a"]) == len(trials["b"]) == 4
    third = trials["a"][2]
    assert third.state == TrialState.COMPLETE and third.params == {"rho": pytest.approx(0.3), "num_shards": 2}
    assert third.value == 2.25 and third.intermediate_values == {1: 0.1, 2: 0.7}  # where both seeds have one
    assert third.user_attrs["configuration_id"] == "a2" and third.user_attrs["sampler"] == "random"
    assert third.user_attrs["seeds"]["1"] == {"status": "complete", "val_accuracy": 2.5}
    assert third.duration.total_seconds() == 120  # from the first seed's start to the last one's end


def test_with_several_objectives_all_are_there(tmp_path):
    trials, warnings = mirrored(tmp_path, RUN, study=study_of(TWO))
    assert not warnings and trials["b"][1].values == [2.0, 100.0] and trials["b"][1].intermediate_values == {}


def test_what_is_not_whole_or_confirms_is_not_there(tmp_path):
    new = [result("a", 0, 0), result("b", 1, 0), result("a", 0, 1), result("a", 0, 10_000, confirm=True)]
    trials, warnings = mirrored(tmp_path, new)
    assert not warnings and [trial.user_attrs["n"] for trial in trials["a"]] == [2] and trials["b"] == []


def test_failed_and_stopped_ones_have_no_value(tmp_path):
    new = [result("a", 0, 0, "failed"), result("a", 0, 1, "failed")]
    new += [result("a", 1, 0, "stopped"), result("a", 1, 1, "stopped"), result("a", 2, 0, "failed"), result("a", 2, 1)]
    trials, warnings = mirrored(tmp_path, new)
    failed, stopped, half = trials["a"]
    assert not warnings and failed.state == TrialState.FAIL
    assert (
        stopped.state == TrialState.PRUNED and stopped.value is None and stopped.intermediate_values == {1: 0.1, 2: 0.7}
    )
    assert half.state == TrialState.COMPLETE and half.value == 2.5 and half.user_attrs["n"] == 1


@pytest.mark.parametrize("cut", [0, 1, 5, len(RUN) - 1, len(RUN)])
@pytest.mark.parametrize("lost", [0, 1, 30, 700])
def test_killed_and_run_again_the_file_is_the_uninterrupted_ones(tmp_path, cut, lost):
    """The kill may have come before the last lines, or within one."""
    mirrored(tmp_path, RUN)
    whole = (tmp_path / "optuna.log").read_bytes()
    (tmp_path / "optuna.log").unlink()
    mirrored(tmp_path, RUN[:cut])
    there = (tmp_path / "optuna.log").read_bytes()
    (tmp_path / "optuna.log").write_bytes(there[: max(0, len(there) - lost)])
    mirrored(tmp_path, RUN[cut:], known=RUN[:cut])
    assert (tmp_path / "optuna.log").read_bytes() == whole


def test_a_file_that_is_right_is_left_alone(tmp_path):
    """A dashboard that has it open reads on from where it was."""
    mirrored(tmp_path, RUN[:8])
    before = (tmp_path / "optuna.log").stat().st_ino
    mirrored(tmp_path, RUN[8:], known=RUN[:8])
    assert (tmp_path / "optuna.log").stat().st_ino == before


@pytest.mark.parametrize("content", [b"\x80\x04torn \n{", b"{}\n", b"[1, 2]\n" * 10, b"\n"])
def test_a_file_that_disagrees_is_written_anew(tmp_path, content):
    (tmp_path / "optuna.log").write_bytes(content)
    trials, warnings = mirrored(tmp_path, RUN[8:], known=RUN[:8])
    assert not warnings and len(trials["a"]) == 4


def test_what_was_failed_and_is_trained_now_replaces_what_stood_there(tmp_path):
    mirrored(tmp_path, [result("a", 0, 0, "failed"), result("a", 0, 1, "failed"), *RUN[4:]])
    trials, _ = mirrored(tmp_path, RUN[:2], known=RUN[4:])
    assert [trial.state for trial in trials["a"]] == [TrialState.COMPLETE] * 4


def test_a_file_that_cannot_be_written_is_one_warning(tmp_path):
    (tmp_path / "optuna.log").mkdir()
    warnings = []
    with Mirror(tmp_path, study_of(), (), warnings.append) as mirror:
        for one in RUN:
            mirror.add([one])
    assert len(warnings) == 1 and "the run goes on" in warnings[0] and "Is a directory" in warnings[0]


def test_a_row_that_it_cannot_tell_is_one_warning(tmp_path):
    strange = [result("a", 0, 0), result("a", 0, 1)]
    strange[0].params["rho"] = 77.0  # outside its range: Optuna refuses it
    warnings = []
    with Mirror(tmp_path, study_of(), (), warnings.append) as mirror:
        mirror.add(strange)
        mirror._thread.join(600)
        mirror.add(RUN)
        assert mirror._queue.empty()  # nothing piles up
    assert len(warnings) == 1


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path):
    curve = {"epoch": list(range(1, 331)), "val_accuracy": [float(epoch) for epoch in range(1, 331)]}
    new = [Result(**{**vars(result("a", 0, seed)), "curve": curve}) for seed in range(2)]
    trials, _ = mirrored(tmp_path, new)
    values = trials["a"][0].intermediate_values
    assert 40 <= len(values) <= 50 and values[330] == 330.0
