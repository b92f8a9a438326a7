import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.digits import Digits
from hpsearch.training.checkpoint import Checkpoint
from hpsearch.training.engine import Engine
from hpsearch.training.loop import TrialRun, train
from tests.training.resuming import assert_goes_on, finish, same


class Drawing(Classification):
    """Draws from every generator that a trial has: dropout, augmentation, batch order; has running statistics."""

    def data(self, seed):
        found = Digits().data(seed)
        return Data(tuple(tensor[:300] for tensor in found.train), found.val, found.test)

    def model(self):
        return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))

    def augment(self, batch, generator):
        images, labels = batch
        return images + 0.1 * torch.randn(images.shape, generator=generator), labels


METHODS = {
    "sgd": {"momentum": 0.9},
    "adamw": {"base": "adamw", "lr": 0.01},
    "fmsam": {"rho": 0.1, "sigma": 1.0, "num_shards": 4, "momentum": 0.9},
    "interval": {"rho": 0.1, "interval": 3, "momentum": 0.9},
    "gsam": {"rho": 0.1, "combine": "gsam"},
}


def settings(method):
    return Settings.merge({"epochs": 3, "batch_size": 32, **METHODS[method]})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [1, 7, 9, 13])  # 9 batches an epoch: its last one, and the middle of the second
def test_a_trial_that_goes_on_is_the_trial_that_never_stopped(tmp_path, method, at):
    assert_goes_on(Drawing, settings(method), tmp_path / "deep" / "trial.pt", at)


class Tiring(nn.Module):
    """Its output falls with the steps that it has been trained for."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def forward(self, inputs):
        if self.training:
            self.steps += 1
        return self.last(inputs) / (1 + self.steps)


class Tired(Drawing):
    def model(self):
        return Tiring()


def test_buffers_that_a_state_dict_leaves_out_go_on(tmp_path):
    assert_goes_on(Tired, settings("sgd"), tmp_path / "trial.pt", at=13)


def test_a_fresh_process_goes_on(tmp_path):
    path = tmp_path / "trial.pt"
    code = f"""
from pathlib import Path
import sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
from test_checkpoint import Drawing, TrialRun, finish, settings
from tests.training.resuming import Counted, Stop
try:
    finish(TrialRun(Drawing(), settings("fmsam"), 5, checkpoint=Counted(Path({str(path)!r}), 13)))
except Stop:
    pass
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    going_on = TrialRun(Drawing(), settings("fmsam"), 5, checkpoint=Checkpoint(path, {"who": "me"}))
    assert going_on.epoch == 1
    same(finish(TrialRun(Drawing(), settings("fmsam"), 5)), finish(going_on))


def test_what_is_not_this_trials_or_torn_is_not_read(tmp_path):
    path = tmp_path / "trial.pt"
    Checkpoint(path, {"who": "me"}).save({"weights": torch.ones(100)})
    assert torch.equal(Checkpoint(path, {"who": "me"}).load()["weights"], torch.ones(100))
    assert Checkpoint(path, {"who": "you"}).load() is None
    assert Checkpoint(tmp_path / "none.pt", {}).load() is None
    for cut in (0, 10, path.stat().st_size // 2):
        torn = tmp_path / "torn.pt"
        torn.write_bytes(path.read_bytes()[:cut])
        assert Checkpoint(torn, {"who": "me"}).load() is None


def test_code_in_a_file_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "trial.pt"
    torch.save({"identity": {}, "state": Evil()}, path, pickle_module=pickle)
    assert Checkpoint(path, {}).load() is None
    assert not (tmp_path / "made").exists()


def test_writing_takes_two_percent_at_most(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hpsearch.training.checkpoint.time.monotonic", lambda: now[0])
    keep = Checkpoint(tmp_path / "trial.pt", {}, first=60)
    now[0] = 59.9
    assert not keep.due()
    now[0] = 60.0
    assert keep.due()

    def slow(state, file):
        now[0] += 6.0

    monkeypatch.setattr("hpsearch.training.checkpoint.torch.save", slow)
    keep.save({})
    now[0] = 66.0 + 299.9
    assert not keep.due()
    now[0] = 66.0 + 300.0  # 6 s are 2 % of that
    assert keep.due()


def test_a_disk_that_refuses_does_not_stop_training(tmp_path, monkeypatch):
    def full(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hpsearch.training.checkpoint.torch.save", full)
    monkeypatch.setattr("hpsearch.training.checkpoint.FIRST", 0.0)
    keep = Checkpoint(tmp_path / "trial.pt", {"who": "me"}, first=0.0)
    trial = finish(TrialRun(Drawing(), settings("sgd"), 5, checkpoint=keep))
    monkeypatch.undo()
    same(finish(TrialRun(Drawing(), settings("sgd"), 5)), trial)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_in_the_middle_keeps_the_last_checkpoint(tmp_path):
    """torch tells it as a RuntimeError, and only where a part was written."""
    code = f"""
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
from test_checkpoint import *
keep = Checkpoint(Path({str(tmp_path / "trial.pt")!r}), {{"who": "me"}})
keep.save({{"weights": torch.ones(10)}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    keep.save({{"weights": torch.ones(100_000)}})
except OSError:
    print("refused")
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == "refused\n"
    assert torch.equal(Checkpoint(tmp_path / "trial.pt", {"who": "me"}).load()["weights"], torch.ones(10))
    assert [path.name for path in tmp_path.iterdir()] == ["trial.pt"]


@pytest.mark.parametrize("other", ["threads", "engine", "settings", "seed", "source"])
def test_what_computed_the_trial_otherwise_starts_anew(tmp_path, monkeypatch, other):
    monkeypatch.setattr("hpsearch.training.checkpoint.FIRST", 0.0)
    path, steps, closure = tmp_path / "trial.pt", [], TrialRun._closure
    train(Drawing(), settings("sgd"), 5, checkpoint=path)
    monkeypatch.setattr(TrialRun, "_closure", lambda self, *batch: steps.append(1) or closure(self, *batch))
    given = {"settings": settings("sgd"), "seed": 5, "engine": None}
    threads = torch.get_num_threads()
    if other == "threads":
        torch.set_num_threads(threads + 1)
    if other == "source":
        monkeypatch.setattr("hpsearch.training.checkpoint.source_hash", lambda found: "another")
    changed = {
        "engine": Engine.choose("cpu", switches={"channels_last": False}),
        "settings": settings("interval"),
        "seed": 6,
    }
    given |= {other: changed[other]} if other in changed else {}
    try:
        train(Drawing(), given["settings"], given["seed"], engine=given["engine"], checkpoint=path)
    finally:
        torch.set_num_threads(threads)
    assert len(steps) >= 27  # all of 3 epochs of 9 batches


def test_short_trials_leave_no_file(tmp_path):
    train(Drawing(), settings("sgd"), 5, checkpoint=tmp_path / "trial.pt")
    assert list(tmp_path.iterdir()) == []


class Distant:
    """A store that is no file; it can be made to refuse."""

    def __init__(self):
        self.content, self.refuses = None, False

    def read(self):
        return None if self.content is None else io.BytesIO(self.content)

    def write(self, dump):
        if self.refuses:
            raise OSError("nobody there")
        buffer = io.BytesIO()
        dump(buffer)
        self.content = buffer.getvalue()


def test_a_trial_goes_on_from_any_store():
    store = Distant()
    assert_goes_on(Drawing, settings("fmsam"), store, 13)
    before = store.content
    store.refuses = True
    with pytest.raises(OSError):
        Checkpoint(store, {"who": "me"}).save({"weights": torch.ones(3)})
    assert store.content == before
    same(
        finish(TrialRun(Drawing(), settings("sgd"), 5, checkpoint=Checkpoint(store, {"who": "you"}, first=0.0))),
        finish(TrialRun(Drawing(), settings("sgd"), 5)),
    )
