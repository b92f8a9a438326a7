"""Packs that may be stopped early: side by side they are the trials that they are alone."""

import threading
from dataclasses import asdict

import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.digits import Digits
from hpsearch.training import cost, pack
from hpsearch.training.function import run_function
from hpsearch.training.function_run import FunctionRun
from hpsearch.training.lockstep import lockstep
from hpsearch.training.loop import start, train
from hpsearch.training.milestones import Milestones
from hpsearch.training.outcome import Cost, Outcome
from hpsearch.training.pack import PackOrder, run_pack


def failed(error):
    return Outcome("failed", 0, 0, {}, Cost(), error=str(error))


def drawing(params, seed, report):
    """Draws from the global generator before, between and after its reports."""
    value = torch.rand(()).item()
    for _ in range(params["epochs"]):
        value += torch.rand(()).item()
        report(loss=value)


def functions(function, epochs=4):
    return lambda seed: FunctionRun(function, {"epochs": epochs}, seed, ("loss",), "cpu")


@pytest.mark.parametrize(
    ("grace", "reduction", "expected"),
    [(1, 2.0, [1, 2, 4, 8, 16]), (5, 3.0, [5, 15, 45, 135]), (2, 1.5, [2, 3, 5, 7, 11]), (3, None, [3, 4, 5, 6, 7])],
)
def test_milestones_are_the_rungs(grace, reduction, expected):
    milestones, epoch, found = Milestones(grace, reduction), 0, []
    for _ in expected:
        epoch = milestones.after(epoch)
        found.append(epoch)
    assert found == expected
    assert [milestones.after(e) for e in range(expected[2])] == [
        next(m for m in expected if m > e) for e in range(expected[2])
    ]


class Weighing(Digits):
    """Its loss is weighed by what data() found in each seed's labels."""

    def data(self, seed):
        data = super().data(seed)
        self.weights = 1 / torch.bincount(data.train[1]) / (1 + seed)
        return data

    def measure(self, model, *batch):
        loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1], weight=self.weights)
        return {**super().measure(model, *batch), "loss": loss}


class Delegating:
    """Has what another task has; no copy is made of it as of a plain object."""

    semantics, metrics = Digits.semantics, Digits.metrics

    def __init__(self, **options):
        self.inner = Digits(**options)

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.parametrize("kind", [Digits, Weighing, Delegating])
def test_trials_side_by_side_are_the_trials_alone(kind):
    task, settings = kind(label_noise=0.3), Settings.merge({"epochs": 3, "rho": 0.1})
    ended = {}
    for _, some, *_ in lockstep((0, 1), lambda seed: start(task, settings, seed), failed, Milestones(1, 2.0)):
        ended |= some
    for seed in (0, 1):
        alone = train(task, settings, seed)
        assert ended[seed].metrics == alone.metrics and ended[seed].curve == alone.curve
        assert ended[seed].cost.backward_samples == alone.cost.backward_samples


def test_functions_side_by_side_are_the_functions_alone():
    before = torch.random.get_rng_state()
    ended = {}
    for _, some, *_ in lockstep((0, 1, 2), functions(drawing), failed, Milestones(1, 2.0)):
        ended |= some
    assert torch.equal(torch.random.get_rng_state(), before)
    for seed in (0, 1, 2):
        alone = run_function(drawing, {"epochs": 4}, seed, ("loss",))
        assert (ended[seed].metrics, ended[seed].curve, ended[seed].status) == (alone.metrics, alone.curve, "complete")


def test_at_a_milestone_every_seed_says_what_it_would_come_to():
    settings = Settings.merge({"epochs": 4, "rho": 0.1})
    stages = lockstep((0, 1), lambda seed: start(Digits(), settings, seed), failed, Milestones(2, 4.0))
    for done in (0.25, 0.5, 0.75, 1.0):  # two epochs of four, and two of the other seed
        assert next(stages) == (None, {}, {}, (done, done))
    milestone, ended, waiting, progress = next(stages)
    assert progress == (1.0, 1.0)  # trials' worth of epochs
    assert (milestone, ended, set(waiting)) == (2, {}, {0, 1})
    alone = train(Digits(), settings, 1)
    assert waiting[1].status == "stopped" and (waiting[1].epochs, waiting[1].epochs_planned) == (2, 4)
    assert waiting[1].curve == {name: values[:2] for name, values in alone.curve.items()}
    assert set(waiting[1].metrics) == set(alone.metrics) and set(waiting[1].metrics.values()) == {None}
    assert waiting[1].cost.backward_samples == alone.cost.backward_samples // 2
    stages.close()


def test_what_has_ended_counts_until_it_is_told():
    made = {seed: Settings.merge({"epochs": epochs}) for seed, epochs in ((0, 1), (1, 4))}
    stages = list(lockstep((0, 1), lambda seed: start(Digits(), made[seed], seed), failed, Milestones(2, 2.0)))
    assert [(milestone, *ended, *waiting) for milestone, ended, waiting, _ in stages if ended] == [(2, 0, 1), (None, 1)]
    assert [progress.done for *_, progress in stages] == [1.25, 1.5, 0.5, 0.75, 0]


def test_a_function_that_ends_at_a_milestone_is_not_asked_about():
    stages = list(lockstep((0,), functions(drawing, epochs=4), failed, Milestones(2, 2.0)))
    assert [milestone for milestone, *_ in stages] == [2, None]
    assert stages[-1][1][0].epochs == 4


def test_stopping_ends_the_functions():
    reached = []

    def function(params, seed, report):
        try:
            drawing(params, seed, report)
        except Exception:  # a stop is none of the function's
            reached.append("caught")
            raise
        finally:
            reached.append(seed)

    threads = threading.active_count()
    stages = lockstep((0, 1), functions(function, epochs=100), failed, Milestones(2, 2.0))
    next(stages)
    assert reached == []
    stages.close()
    assert sorted(reached) == [0, 1] and threading.active_count() == threads


def test_one_bad_seed_leaves_the_others():
    def function(params, seed, report):
        report(loss=1.0)
        if seed == 1:
            raise RuntimeError("no such luck")
        report(loss=float("nan") if seed == 2 else 0.5)
        report(loss=float("nan") if seed == 2 else 0.25)

    function.chance = {"loss": 9.0}
    ended = {}
    for _, some, waiting, _ in lockstep((0, 1, 2), functions(function), failed, Milestones(1, 2.0)):
        assert not set(some) & set(waiting)
        ended |= some
    assert {seed: outcome.status for seed, outcome in ended.items()} == {0: "complete", 1: "failed", 2: "diverged"}
    assert ended[1].error == "no such luck" and ended[2].metrics == {"loss": 9.0} and ended[0].metrics == {"loss": 0.25}


def test_a_pack_without_milestones_is_one_trial_after_another():
    settings = vars(Settings.merge({"epochs": 2}))
    order = PackOrder("digits", {}, ".", settings, (0, 1), ("val_accuracy",), 1, "cpu")
    assert PackOrder.from_json(pack.json.dumps(asdict(order))) == order
    stages = list(run_pack(order))
    assert [[report.seed for report in stage.ended] for stage in stages] == [[], [], [0], [], [], [1]]
    assert [stage.progress.done for stage in stages] == [0.5, 1, 0, 0.5, 1, 0]
    assert all(stage.milestone is None and not stage.waiting for stage in stages)


def test_what_is_known_of_a_task_holds_for_all_its_trials(monkeypatch):
    """Each trial has a task of its own; FLOPs are counted for the one that it was made of."""
    counted, real = [], cost._count
    monkeypatch.setattr(cost, "_count", lambda *given: counted.append(0) or real(*given))
    task = Digits()
    for seed in (0, 1, 2):
        train(task, Settings.merge({"epochs": 1}), seed)
    assert len(counted) == 1
