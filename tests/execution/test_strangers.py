"""A run folder from a stranger is data: nothing in it is run, whatever reads it, and no name in it leads outside."""

import json
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpsearch.check import check_study
from hpsearch.checkpoints import remove_checkpoints
from hpsearch.errors import InputError
from hpsearch.identity import Identity
from hpsearch.planning import Planner
from hpsearch.results import Result, load, read_run
from hpsearch.study import load_study, parse_study

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("imported")

class Task:
    pass
"""

STUDY = """
name: stranger
task: {name: "evil:Task"}
arms:
  one: {parameters: {x: {low: 0, high: 1}, y: {low: 0, high: 1}}}
  two: {parameters: {x: {low: 0, high: 1}}}
sampling: [{sampler: random, configurations: 6}]
seeds: 3
objectives: {val_accuracy: maximize}
recorded: {versions: {hpsearch: 0.1.0}, task: {name: "evil:Task", semantics: 1, options: {}, function: true}}
"""


class Payload:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return (Path.write_text, (Path(self.marker), "unpickled"))


def plant(folder: Path, marker: Path, trials: list[str]) -> None:
    """Pickles in the place of everything that a run folder may hold."""
    code = pickle.dumps(Payload(marker))
    for name in ("checkpoints", "ray", "ray/abc_00000"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, trial in enumerate(trials):
        if number % 2:
            torch.save({"identity": Payload(marker)}, folder / "checkpoints" / f"{trial}.pt")
        else:
            (folder / "checkpoints" / f"{trial}.pt").write_bytes(code)
    names = ("tuner.pkl", "trainable.pkl", "searcher-state-1.pkl", "search_gen_state-1.json", "abc_00000/params.pkl")
    for name in names:
        (folder / "ray" / name).write_bytes(code)
    state = {"trial_data": [[json.dumps({"_type": "CLOUDPICKLE_FALLBACK", "value": code.hex()}), "{}"]]}
    (folder / "ray" / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    for name in ("optuna.log", "analysis.json", "running.json", "trials.pkl", "study.pkl", "optuna.log.lock"):
        (folder / name).write_bytes(code)


def rows():
    study = parse_study(STUDY)
    identity = Identity.recorded(study)
    for arm in study.arms:
        for index in range(6):
            params = {name: (index + 1) / 8 if name == "x" else (index % 3) / 3 for name in study.arms[arm].parameters}
            for seed in study.seeds:
                yield Result(
                    trial_id=identity.trial_id(arm, params, seed),
                    configuration_id=identity.configuration_id(arm, params),
                    arm=arm,
                    params=params,
                    fixed={},
                    seed=seed,
                    sampling={"phase": 0, "index": index, "sampler": "random", "generation": None, "confirm": False},
                    status="complete",
                    metrics={"val_accuracy": 0.5 + params["x"] / 4 + seed / 100},
                )


@pytest.fixture
def stranger(place):
    """A run folder with its own evil.py, and one in the working directory: two places from which it could come."""
    folder, marker = place.folder / "stranger", place.folder / "marker"
    folder.mkdir()
    for path in (folder, place.folder):
        (path / "evil.py").write_text(EVIL.format(marker=str(marker)))
    (folder / "study.yaml").write_text(STUDY)
    (folder / "trials.jsonl").write_bytes(b"".join(row.to_line() for row in rows()))
    plant(folder, marker, [row.trial_id for row in rows()])
    return folder, marker


def test_the_pickles_and_the_module_of_these_tests_do_harm(tmp_path, monkeypatch):
    """Else the tests below would show nothing."""
    marker = tmp_path / "marker"
    plant(tmp_path, marker, ["a", "b"])
    for name in ("a.pt", "b.pt"):
        with suppress(RuntimeError):  # not what torch writes: told when it is too late
            torch.load(tmp_path / "checkpoints" / name, weights_only=False)
        assert marker.read_text() == "unpickled"
        marker.unlink()
    exec(compile(EVIL.format(marker=str(marker)), "evil.py", "exec"), {})
    assert marker.exists()


def test_a_strangers_run_is_read_without_running_any_of_it(place, stranger):
    folder, marker = stranger
    commands = [
        ("status", "stranger"),
        ("analyze", "stranger"),
        ("report", "stranger"),
        ("compare", "stranger", "stranger"),
        *(("export", "stranger", "--format", kind) for kind in ("csv", "parquet", "optuna")),
    ]
    for command in commands:
        process = place.start(*command)
        out, error = process.communicate()
        assert not marker.exists(), command
        assert "Traceback" not in error, error
        assert process.returncode == (2 if command[0] == "compare" else 0), (command, out, error)  # one run, twice
    assert len(load(folder)) == 36
    for command in ("run", "plan"):  # these do import it, as they must
        place.run(command, "stranger/study.yaml", "--out", "other", code=2)
        assert marker.read_text() == "imported"
        marker.unlink()


DIGITS = """
name: planted
task: {name: digits, epochs: 1}
arms: {sgd: {parameters: {lr: {low: 0.05, high: 0.2}}}}
sampling: [{sampler: random, configurations: 2}]
seeds: 2
objectives: {val_accuracy: maximize}
resources: {concurrent: 1}
"""


def test_a_run_that_goes_on_in_a_folder_full_of_pickles_loads_none(place):
    path, marker = place.study(DIGITS), place.folder / "marker"
    planner = Planner(check_study(*load_study(path)), [])
    packs = iter(planner.next, None)
    trials = [trial for pack in packs for trial in pack.seeds.values()]
    assert len(trials) == 4
    plant(place.folder / "planted", marker, trials)
    out, _ = place.run("run", "study.yaml", "--out", "planted", "--no-dashboard")
    assert "4 trials trained" in out
    assert not marker.exists()
    assert set(load(place.folder / "planted")["trial_id"]) == set(trials)


@pytest.mark.parametrize(
    "trial", ["../../victim", "../victim", "/victim", "*", ".", "..", "", "victim\0", "a/../../victim"]
)
def test_no_trials_id_leads_outside_the_folder(tmp_path, trial):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    victims = [tmp_path / "victim.pt", folder / "victim.pt", folder / "checkpoints" / "other.pt", tmp_path / ".pt"]
    for victim in victims:
        victim.touch()
    remove_checkpoints(folder, [replace(next(rows()), trial_id=trial)])
    assert all(victim.exists() for victim in victims)


@pytest.mark.parametrize("name", ["../x", "..", ".hidden", "a/b", "/tmp/x", "", "a\0b", "~", "a b"])
@pytest.mark.parametrize("where", ["study", "arm", "parameter", "objective"])
def test_no_name_leads_outside_the_folder(name, where):
    text = STUDY[: STUDY.index("recorded")]
    old = {"study": "name: stranger", "arm": "  one: {", "parameter": "{x: {", "objective": "{val_accuracy: "}[where]
    quoted = json.dumps(name)
    new = {"study": f"name: {quoted}", "arm": f"  {quoted}: {{", "parameter": f"{{{quoted}: {{"}
    changed = text.replace(old, new.get(where, f"{{{quoted}: "), 1)
    assert changed != text
    with pytest.raises(InputError):
        parse_study(changed)


@pytest.mark.parametrize(
    "text",
    [
        STUDY.replace("name: stranger", "name: !!python/object/apply:os.system ['touch marker']"),
        STUDY + "x: &a [1,1,1,1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nz: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "u: &d [*c,*c,*c,*c,*c,*c,*c,*c]\nv: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
        STUDY.replace(", function: true", ""),
        STUDY[: STUDY.index("recorded")],
    ],
    ids=["object", "bomb", "no function", "not recorded"],
)
def test_a_study_that_no_run_has_written_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match="study.yaml"):
        read_run(tmp_path)
    assert not (tmp_path / "marker").exists()
