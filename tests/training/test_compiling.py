"""Bundles are compiled where that pays in one study; their numbers are a bundle's up to rounding, and do not hang on
what was trained before.
"""

import json
import math
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.optim import compiled
from hpsearch.optim.compiled import NotCompiled, OtherNumbers
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.training import bundle, compiling, engine, kept
from hpsearch.training.bundle import Timing, Way
from hpsearch.training.compiling import Compiling, if_compiled, time_compiled
from hpsearch.training.engine import Engine, keep_compiled
from hpsearch.training.pack import PackOrder, run_pack
from hpsearch.training.packed import PackRun, train_pack
from tests.training.resuming import finish
from tests.training.test_packed import Small, batch_norm, counted
from tests.training.test_packed_state import goes_on

pytestmark = pytest.mark.filterwarnings("ignore")  # the compiler's own

CPU = Engine.choose("cpu")
COMPILED = replace(CPU, compile=True)
TRIALS = [(Settings.merge({"epochs": 20, "batch_size": 50, "rho": rho}), 0) for rho in (0.05, 0.1)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and a process that has timed nothing; the compiler's own is kept."""
    keep_compiled()
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(kept, "_IN_PROCESS", {})
    monkeypatch.setattr(compiling, "_REFUSED", set())
    return tmp_path / "bundles"


@pytest.fixture
def quick(monkeypatch):
    """Compiles all but the kernels, which takes most of the time."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda what, **_: real(what, backend="aot_eager", fullgraph=True))


# Numbers --------------------------------------------------------------------------------------------------------------


def trials(**more):
    return [(Settings.merge({"epochs": 4, "batch_size": 40, "lr": 0.05, **more, "rho": rho}), 0) for rho in (0.1, 0.3)]


CHOSEN = {
    "fsam": {"sigma": 0.7},
    "mfsam": {"sigma": 0.7, "num_shards": 4},
    "interval": {"interval": 3, "base": "adamw"},
    "unequal shards": {"num_shards": 3},
}
KERNELS = ("fsam", "mfsam")  # of which these are compiled, too


@pytest.mark.parametrize("method", CHOSEN)
def test_a_compiled_pack_agrees(method, request):
    if method not in KERNELS:
        request.getfixturevalue("quick")
    task, chosen = Small(batch_norm if method == "interval" else Small().make), trials(**CHOSEN[method])
    pack = finish(PackRun(task, chosen, engine=COMPILED))
    assert pack.stack.lists.compiling > 0
    for found, expected in zip(pack.outcomes(), train_pack(task, chosen), strict=True):
        assert found.cost.backward_samples == expected.cost.backward_samples
        assert found.curve["val_loss"] == pytest.approx(expected.curve["val_loss"], rel=1e-6)


def test_what_leaves_the_pack_takes_the_compiled_steps_with_it(quick, monkeypatch):
    """For each number of trials everything would be compiled again."""
    chosen = [(replace(settings, epochs=epochs), 0) for (settings, _), epochs in zip(trials(), (70, 140), strict=True)]
    calls, compare = counted(monkeypatch), compiled._compare
    compared = []
    monkeypatch.setattr(compiled, "_compare", lambda *given: compared.append(len(given[2][0])) or compare(*given))
    found = train_pack(Small(), chosen, engine=COMPILED)
    assert compared == [2] and len(calls) <= 2 * 4 + 4  # a list for one trial
    for mine, theirs in zip(found, train_pack(Small(), chosen), strict=True):
        assert mine.curve["val_loss"] == pytest.approx(theirs.curve["val_loss"], rel=1e-6)


@pytest.mark.parametrize("at", [1, 13])
@pytest.mark.parametrize("lost", [0.0, 1e3], ids=["", "norms lose digits"])
def test_a_compiled_pack_goes_on_from_its_checkpoint(tmp_path, at, lost, monkeypatch):
    monkeypatch.setattr("hpsearch.optim.ghost.LOST", lost)
    shards = {"epochs": 3, "batch_size": 32, "rho": 0.1, "sigma": 1.0, "num_shards": 4}
    chosen = [(Settings.merge({**shards, "lr": lr}), seed) for seed, lr in enumerate((0.1, 0.02))]
    goes_on(chosen, tmp_path / "pack.pt", at, engine=COMPILED)


def test_a_network_that_is_not_vouched_for_is_compiled_as_it_is():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.rate = nn.Linear(5, 3).double(), [2.0]

        def forward(self, inputs):
            return self.layer(inputs.tanh() * self.rate[0])

    task, chosen = Small(Mine), trials()
    pack = PackRun(task, chosen, engine=COMPILED)
    assert pack.stack.whole
    for found, expected in zip(finish(pack).outcomes(), train_pack(task, chosen), strict=True):
        assert found.curve["val_loss"] == pytest.approx(expected.curve["val_loss"], rel=1e-6)


def test_compiling_is_no_part_of_a_trials_seconds(quick, monkeypatch):
    real = compiled._compare

    def slow(*given):
        real(*given)
        for each in clocks:
            each[0] += 1000

    clocks, now = [[0.0]], compiled.time.perf_counter
    monkeypatch.setattr(compiled.time, "perf_counter", lambda: now() + clocks[0][0])
    monkeypatch.setattr(compiled, "_compare", slow)
    pack = finish(PackRun(Small(), trials(), engine=COMPILED))
    assert pack.stack.lists.compiling > 1000
    assert sum(outcome.cost.seconds for outcome in pack.outcomes()) < 500


# Whether --------------------------------------------------------------------------------------------------------------


def timed(step=1.0, operations=10):
    """Of two trials, 10 steps an epoch."""
    return Timing(2, 10, 0, Way(0, 1, 0), Way(0, step, 0), operations=operations)


LONG = timed()


def decide(found, alike, monkeypatch, timed=LONG, trials=TRIALS, still=None):
    asked = []

    def measure(*_):
        asked.append(0)
        if isinstance(found, Exception):
            raise found
        return found

    class Pack:
        """Of which a step is made, to see that it still can be."""

        def __init__(self, *_, engine):
            assert engine.compile and found is QUICK  # where it is not worth it nothing is compiled

        def probe(self):
            if isinstance(still, Exception):
                raise still

    monkeypatch.setattr(compiling, "time_compiled", measure)
    monkeypatch.setattr(compiling, "PackRun", Pack)
    after = if_compiled(BreastCancer(), {}, trials, CPU, timed, alike)
    return None if after is None else after.together.step, len(asked)


QUICK = Compiling(100.0, 1.0, 0.5)  # saves half a second of each of 200 steps of two trials


@pytest.mark.parametrize(
    "found, alike, timed, expected",
    [
        (QUICK, 2, LONG, (None, 1)),  # saves as much as it takes
        (QUICK, 4, LONG, (0.5, 1)),
        (Compiling(1.0, 1.0, 0.95), 400, LONG, (None, 1)),  # may have been luck
        (QUICK, 4, timed(operations=0), (None, 0)),  # no list
        (QUICK, 4, timed(step=1e-3), (None, 0)),  # too short to be worth trying
        (QUICK, 4, timed(operations=2000), (None, 0)),  # too long to compile
        (NotCompiled("no compiler"), 4, LONG, (None, 1)),
        (torch.OutOfMemoryError("two packs"), 4, LONG, (None, 1)),
        (Compiling(1.0, 1.0, math.inf), 400, LONG, (None, 1)),  # other numbers
        (QUICK, 4, timed(step=2.2), (1.1, 1)),  # quicker than trials one after another, as the list is not
        (QUICK, 4, timed(step=3.6), (None, 0)),  # not likely to be
        (Compiling(1.0, 1.0, 0.9), 400, timed(step=2.2), (None, 1)),  # nor is it
        (QUICK, 4, Timing(why="data"), (None, 0)),
    ],
)
def test_it_must_pay_for_itself_in_one_study(folder, monkeypatch, found, alike, timed, expected):
    assert decide(found, alike, monkeypatch, timed) == expected


def test_what_was_found_is_kept_but_not_that_there_is_no_compiler(folder, monkeypatch):
    for times in (1, 0):  # once a process
        assert decide(NotCompiled("no compiler"), 4, monkeypatch) == (None, times)
    compiling._REFUSED.clear()
    assert decide(QUICK, 4, monkeypatch) == (0.5, 1)
    kept._IN_PROCESS.clear()  # another process
    assert decide(QUICK, 4, monkeypatch) == (0.5, 0)
    assert decide(QUICK, 2, monkeypatch) == (None, 0)  # a smaller study
    assert decide(QUICK, 6, monkeypatch, trials=TRIALS * 3)[1] == 1  # other sizes are compiled anew
    assert len(os.listdir(folder)) == 2
    assert decide(QUICK, 4, monkeypatch, still=NotCompiled("no compiler here")) == (None, 0)
    assert decide(QUICK, 4, monkeypatch) == (None, 0)


def test_it_is_timed(folder, quick):
    found = time_compiled(Small(), trials(), CPU)
    assert found.seconds > 0 and 0 < found.compiled and 0 < found.listed


def test_what_computes_other_numbers_is_timed_once_for_all(folder, quick, monkeypatch):
    def differs(*_):
        raise OtherNumbers("other numbers")

    monkeypatch.setattr(compiled, "_compare", differs)
    assert time_compiled(Small(), trials(), CPU).compiled == math.inf


def test_operations_are_counted(folder):
    chosen = [(replace(settings, epochs=100), seed) for settings, seed in TRIALS]
    assert 100 < bundle.time_trials(BreastCancer(width=4), chosen, CPU).operations < 400
    assert bundle.time_trials(Foreign(width=4), chosen, CPU).operations == 0


class Foreign(BreastCancer):
    """Its measure keeps something."""

    def measure(self, model, *batch):
        self.last = len(batch[0])
        return super().measure(model, *batch)


# In a worker ----------------------------------------------------------------------------------------------------------


def order(**more):
    bundle = tuple((vars(settings), seed) for settings, seed in TRIALS)
    blank = PackOrder("breast_cancer", {"width": 4}, "", {}, (), ("val_accuracy",), 1, "cpu", bundle=bundle)
    return PackOrder.from_json(json.dumps(vars(replace(blank, **more))))


def engines(order):
    *_, stage = run_pack(order)
    return [report.engine["compile"] for report in stage.ended]


@pytest.mark.parametrize(
    "more, expected",
    [
        ({"alike": 7}, True),
        ({"alike": 7, "engine": {"compile": "auto"}}, True),
        ({"alike": 6}, False),
        ({"alike": 7, "engine": {"compile": False}}, False),
        ({"alike": 7, "pack": 2}, False),  # nothing is timed
        ({"engine": {"compile": True}, "pack": 2}, True),
    ],
)
def test_the_row_tells(folder, quick, monkeypatch, more, expected):
    monkeypatch.setattr("hpsearch.training.pack.timing", lambda *_: timed())
    monkeypatch.setattr("hpsearch.training.pack.if_compiled", lambda *given: LONG if given[-1] > 6 else None)
    assert engines(order(**more)) == [expected] * 2


def test_what_has_begun_goes_on_as_it_began(folder, quick, monkeypatch, tmp_path):
    monkeypatch.setattr("hpsearch.training.pack.timing", lambda *_: timed())
    monkeypatch.setattr("hpsearch.training.pack.if_compiled", lambda *_: LONG)
    monkeypatch.setattr("hpsearch.training.checkpoint.FIRST", 0.0)
    wanted = order(checkpoint=str(tmp_path / "bundle.pt"))
    stages = run_pack(wanted)
    next(stages)
    stages.close()
    monkeypatch.setattr("hpsearch.training.pack.if_compiled", lambda *_: None)
    assert engines(wanted) == [True] * 2
    (tmp_path / "bundle.pt").unlink()
    assert engines(wanted) == [False] * 2


def test_the_compilers_cache_is_beside_the_data_unless_there_is_another(tmp_path, monkeypatch):
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path))
    for given, expected in [(None, "compiled"), ("mine", "mine")]:
        if given is None:
            monkeypatch.delenv(engine.PLACE, raising=False)
        else:
            monkeypatch.setenv(engine.PLACE, str(tmp_path / given))
        keep_compiled()
        assert os.environ[engine.PLACE] == str(tmp_path / expected)
    (tmp_path / "file").touch()
    monkeypatch.delenv(engine.PLACE)
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "file" / "below"))
    keep_compiled()
    assert engine.PLACE not in os.environ or "below" not in os.environ[engine.PLACE]
