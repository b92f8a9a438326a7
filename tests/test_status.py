"""What `hpsearch status` reads: a folder at rest, one that a driver writes, one whose driver died."""

import json
import os
import time
from dataclasses import replace

import pytest

from hpsearch.errors import InputError
from hpsearch.identity import Identity
from hpsearch.results import Result, RunFolder
from hpsearch.running import Running, RunningPack, read_running, remove_running, write_running
from hpsearch.status import Follower, read_status
from hpsearch.study import Recorded, parse_study

STUDY = """
name: seen
task: {name: digits, epochs: 2}
arms:
  sam: {parameters: {rho: {low: 0.1, high: 1.0}}}
  base: {fixed: {lr: 0.1}}
sampling: [{sampler: random, configurations: 4}]
seeds: 2
objectives: {val_accuracy: maximize}
stopping: {scheduler: asha, grace: 1}
"""
TASK = {"name": "digits", "semantics": 1, "options": {}}


def study(text=STUDY):
    recorded = Recorded(versions={"hpsearch": "0"}, task={**TASK, "function": False})
    return parse_study(text).model_copy(update={"recorded": recorded})


def result(rho, seed=0, status="complete", **more):
    identity = Identity(study(), TASK, False)
    return Result(
        trial_id=identity.trial_id("sam", {"rho": rho}, seed),
        configuration_id=identity.configuration_id("sam", {"rho": rho}),
        arm="sam",
        params={"rho": rho},
        fixed={},
        seed=seed,
        sampling={"phase": 0, "index": 0, "sampler": "random", "generation": None, "confirm": False},
        status=status,
        **{"metrics": {"val_accuracy": rho}, **more},
    )


@pytest.fixture
def folder(tmp_path):
    with RunFolder(tmp_path) as run:
        run.write_study(study())
    return tmp_path


def running(**more):
    now = time.time()
    packs = (RunningPack("sam", {"rho": 0.25}, (0, 1), now - 100),)
    given = Running(1, "here", now - 200, now, 60.0, "http://127.0.0.1:8265", packs, {"sam": 8, "base": 2}, {"sam": 1})
    return replace(given, **more)


def test_what_is_appended_is_seen_and_nothing_is_read_twice(folder, monkeypatch):
    follower = Follower(folder)
    seen = follower.look()
    assert (seen.planned, seen.ended, seen.last_result, seen.running) == (10, 0, None, False)
    taken = []
    monkeypatch.setattr(
        Follower, "_take", lambda self, lines, take=Follower._take: (taken.extend(lines), take(self, lines))
    )
    with RunFolder(folder) as run:
        for seed in (0, 1):
            run.append([result(0.2, seed)])
            seen = follower.look()
            assert seen.running and seen.ended == seed + 1
        run.append([result(0.4, 0, "failed", metrics={}, error="Oops")])
        run.append([result(0.6, 0, "stopped", stopping=vars(study().stopping))])
    seen = follower.look()
    assert seen.arms["sam"].statuses == {"complete": 2, "failed": 1, "stopped": 1}
    assert seen.ended == 3  # failed trials are left to do, stopped ones are not
    assert seen.errors == (("sam", "Oops"),) and seen.last_result is not None
    assert seen.arms["sam"].best.mean == pytest.approx(0.2)
    assert [json.loads(line)["seed"] for line in taken] == [0, 1, 0, 0]
    assert read_status(folder) == seen


def test_a_line_that_is_being_written_is_waited_for_and_one_of_a_dead_driver_is_told(folder):
    follower = Follower(folder)
    line = result(0.2).to_line()
    with RunFolder(folder), (folder / "trials.jsonl").open("ab", buffering=0) as file:
        file.write(line[:40])
        seen = follower.look()
        assert seen.ended == 0 and seen.warnings == ()
        file.write(line[40:])
        assert follower.look().ended == 1
        file.write(line[:40])
    seen = follower.look()
    assert seen.ended == 1 and "trials.jsonl:2: not a whole result" in seen.warnings[0]
    with RunFolder(folder) as run:  # which ends the torn line
        run.append([result(0.3)])
        seen = follower.look()
        assert seen.ended == 2 and len(seen.warnings) == 1


def test_another_study_or_another_file_is_read_from_the_start(folder):
    follower = Follower(folder)
    with RunFolder(folder) as run:
        run.append([result(0.2), result(0.9)])
        assert follower.look().ended == 2
        run.write_study(study(STUDY.replace("high: 1.0", "high: 0.5")))
        seen = follower.look()
        assert (seen.ended, seen.set_aside) == (1, 1)
    (folder / "new").write_bytes(result(0.3).to_line())
    os.replace(folder / "new", folder / "trials.jsonl")
    seen = follower.look()
    assert (seen.ended, seen.set_aside) == (1, 0) and seen.arms["sam"].best.params == {"rho": 0.3}


def test_what_trains_now_is_believed_while_a_driver_holds_the_folder(folder):
    now = running()
    with RunFolder(folder):
        assert read_status(folder).now is None
        write_running(folder, now)
        seen = read_status(folder)
        assert seen.now == now and seen.arms["sam"].planned == 8
    seen = read_status(folder)  # as after kill -9: the file is there, the lock is not held
    assert seen.now is None and not seen.running
    (folder / ".running.json.999").touch()  # half written
    remove_running(folder)
    assert not list(folder.glob("*running.json*")) and not list(folder.glob(".running*"))
    remove_running(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"packs": 1}', '{"packs": [{"arm": "a"}]}', "\xff"])
def test_a_running_json_that_is_not_ours_is_no_error(folder, text):
    (folder / "running.json").write_text(text, encoding="latin-1")
    assert read_running(folder) is None
    with RunFolder(folder):
        assert read_status(folder).running


def test_running_json_is_no_reason_to_fail(tmp_path):
    write_running(tmp_path / "not there", running())
    assert read_running(tmp_path / "not there") is None
    write_running(tmp_path, running())
    assert read_running(tmp_path).left_seconds == 60.0
    assert [path.name for path in tmp_path.iterdir()] == ["running.json"]


def test_no_run_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="it is not a run folder"):
        Follower(tmp_path)
