"""Packs: one trial after another, whatever becomes of each."""

import itertools
import json
import sys

import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.digits import Digits
from hpsearch.training import pack
from hpsearch.training.loop import TrialRun, train
from hpsearch.training.pack import ERROR_LINES, PackOrder, as_dict, run_trial

closure = TrialRun._closure
MODULES = (f"pack_module_{number}" for number in itertools.count())

CODE = """
import random
import torch
from torch import nn
from hpsearch.tasks import Classification, Data

class Sizes(Classification):
    def __init__(self, sizes: list = [3]):
        self.sizes, self.noise = sizes, torch.rand(()).item() + random.random()

    def data(self, seed):
        x, y = torch.linspace(0, 1, 40)[:, None] + self.noise, torch.arange(40) // 20
        return Data((x, y), (x, y), (x, y))

    def model(self):
        return nn.Sequential(nn.Linear(1, self.sizes[0]), nn.ReLU(), nn.Linear(self.sizes[0], 2))

def raises(params, seed, report):
    if seed == 1:
        deep(50)
    report(loss=float(seed))

def deep(n):
    if n == 0:
        raise KeyError("the reason")
    deep(n - 1)

def threads(params, seed, report):
    report(loss=torch.get_num_threads())

def hungry(params, seed, report):
    held = torch.zeros(2**20, device=params["device"])
    if params["device"] == "cpu":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4 EiB")
    held = [held, torch.zeros(2**60, device="cuda", dtype=torch.uint8)]
"""


@pytest.fixture
def order(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = next(MODULES)
    (tmp_path / f"{name}.py").write_text(CODE)
    threads = torch.get_num_threads()

    def build(task, **more):
        given = {"options": {}, "params": {}, "seeds": (0, 1), "objectives": ("loss",), "threads": 1, "device": "cpu"}
        task = task if task == "digits" else f"{name}:{task}"
        return PackOrder(task=task, folder=str(tmp_path), **{**given, **more})

    yield build
    torch.set_num_threads(threads)


def test_a_trial_of_a_pack_is_the_trial_alone(order):
    settings = Settings.merge({"epochs": 1, "rho": 0.1})
    asked = order("digits", options={"label_noise": 0.3}, params=vars(settings))
    report = run_trial(asked, 1)
    expected = train(Digits(label_noise=0.3), settings, 1)
    assert report.outcome.metrics == expected.metrics and report.outcome.curve == expected.curve
    assert (report.seed, report.threads, report.device, report.torch) == (1, 1, "cpu", torch.__version__)
    json.dumps(as_dict(report), allow_nan=False)


def test_a_pack_that_is_given_again_goes_on_where_a_long_trial_was_kept(order, tmp_path, monkeypatch):
    monkeypatch.setattr("hpsearch.training.checkpoint.FIRST", 0.0)
    monkeypatch.setattr("hpsearch.training.checkpoint.SHARE", 1e9)
    settings = Settings.merge({"epochs": 3, "rho": 0.1})
    asked = order("digits", params=vars(settings), checkpoints={"1": str(tmp_path / "checkpoints" / "id.pt")})
    first = run_trial(asked, 1)
    assert (tmp_path / "checkpoints" / "id.pt").exists()  # of the third epoch; the driver removes it
    steps = []
    monkeypatch.setattr(TrialRun, "_closure", lambda self, *batch: steps.append(1) or closure(self, *batch))
    again = run_trial(asked, 1)
    assert not steps  # it was kept after the last of them
    assert again.outcome.metrics == first.outcome.metrics and again.outcome.curve == first.outcome.curve
    assert run_trial(asked, 0).outcome.metrics != first.outcome.metrics


def test_an_exception_becomes_a_failed_outcome_with_the_last_lines(order, capsys):
    asked = order("raises", params={"epochs": "many"})
    report = run_trial(asked, 1)
    assert report.outcome.status == "failed" and report.outcome.metrics == {}
    lines = report.outcome.error.splitlines()
    assert lines[-1] == "KeyError: 'the reason'" and len(lines) == ERROR_LINES
    assert "Traceback" in capsys.readouterr().err  # whole, in the worker's log
    assert run_trial(asked, 2).outcome.metrics == {"loss": 2.0}


def test_lack_of_memory_is_told_from_other_failures(order):
    asked = order("hungry", params={"device": "cpu"})
    outcome = run_trial(asked, 0).outcome
    assert outcome.status == "failed" and outcome.out_of_memory and "out of memory" in outcome.error
    assert not run_trial(order("raises"), 1).outcome.out_of_memory


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_trial_that_ran_out_of_the_gpus_memory_leaves_it_free(order):
    before = torch.cuda.memory_allocated()
    report = run_trial(order("hungry", params={"device": "cuda"}, device="cuda"), 0)
    assert report.outcome.out_of_memory and report.device_memory > 2**30
    assert torch.cuda.memory_allocated() == before


def test_a_failed_task_trial_knows_the_epochs_planned(order):
    bad = order("Sizes", options={"sizes": []}, params=vars(Settings.merge({"epochs": 7})))
    outcome = run_trial(bad, 0).outcome
    assert outcome.status == "failed" and (outcome.epochs, outcome.epochs_planned) == (0, 7)


def test_options_may_be_lists(order):
    good = order("Sizes", options={"sizes": [5]}, params=vars(Settings.merge({"epochs": 1})))
    assert run_trial(good, 0).outcome.error is None


def test_what_a_tasks_constructor_draws_is_the_same_whatever_ran_before(order):
    outcomes = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        asked = order("Sizes", params=vars(Settings.merge({"epochs": 1})))
        outcomes.append(run_trial(asked, 0).outcome.metrics)
        pack._task.cache_clear()  # as in another process
    assert outcomes[0] == outcomes[1]


def test_threads_are_set_for_each_trial(order):
    for threads in (2, 1):
        assert run_trial(order("threads", threads=threads), 0).outcome.metrics == {"loss": threads}


def test_a_task_that_cannot_be_found_fails_the_trial(order):
    assert "has no 'zzz'" in run_trial(order("zzz"), 0).outcome.error
