"""Checkpoints: saved here and loaded in a fresh process, a run goes on bit for bit as if it had not stopped."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

HALF, STEPS = 9, 20  # HALF is no multiple of the interval below
RUNS = {
    "fsam": (
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.8},
    ),
    "fmsam": (
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        {"rho": 0.1, "sigma": 1.0, "ema_decay": 0.9, "num_shards": 3, "interval": 2},
    ),
    "gsam": (
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        {"rho": 0.1, "combine": "gsam", "nonfinite": "skip"},
    ),
}


def start(name):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    draws = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5, generator=draws)
    base, settings = RUNS[name]
    return model, SharpnessAware(base(model.parameters()), model, **settings)


def train(model, optimizer, first, last):
    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    for step in range(first, last):
        draws = torch.Generator().manual_seed(step)
        inputs, targets = torch.randn(12, 4, generator=draws), torch.randint(0, 3, (12,), generator=draws)
        optimizer.step(closure, inputs, targets)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def checkpoint(name):
    model, optimizer = start(name)
    train(model, optimizer, 0, HALF)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def resume(name, saved):
    model, optimizer = start(name)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return train(model, optimizer, HALF, STEPS)


def uninterrupted(name):
    return train(*start(name), 0, STEPS)


def test_a_fresh_process_goes_on_bit_for_bit(tmp_path):
    for name in RUNS:
        torch.save(checkpoint(name), tmp_path / f"{name}.pt")
    result = subprocess.run([sys.executable, __file__, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name in RUNS:
        assert torch.equal(torch.load(tmp_path / f"{name}.end.pt", weights_only=True), uninterrupted(name)), name


@pytest.mark.parametrize("name", RUNS)
def test_what_a_checkpoint_holds_matters(name):
    """Without the base's state (a bug of a widely used wrapper), the EMA or the count of steps the run is another."""
    saved, expected = checkpoint(name), uninterrupted(name)
    assert torch.equal(resume(name, copy.deepcopy(saved)), expected)
    settings = RUNS[name][1]
    losses = [lambda optimizer: optimizer["base"]["state"].clear()]
    if "sigma" in settings:
        losses.append(lambda optimizer: optimizer["state"].clear())
    if "interval" in settings:
        losses.append(lambda optimizer: optimizer.update(steps=0))
    for lose in losses:
        poorer = copy.deepcopy(saved)
        lose(poorer["optimizer"])
        assert not torch.equal(resume(name, poorer), expected)


def test_the_counts_are_in_it():
    _, optimizer = start("gsam")
    optimizer.load_state_dict({**checkpoint("gsam")["optimizer"], "skipped": 2})
    assert (optimizer.steps, optimizer.skipped) == (HALF, 2)


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_without_the_count_of_skipped_steps_loads(name):
    """The format before there was one: state, param_groups, base, steps."""
    saved = checkpoint(name)
    del saved["optimizer"]["skipped"]
    assert set(saved["optimizer"]) == {"state", "param_groups", "base", "steps"}
    assert torch.equal(resume(name, saved), uninterrupted(name))


# States that do not fit ---------------------------------------------------------------------------------------------


def plain(state):
    return copy.deepcopy(state["base"])


def more_groups(state):
    state["param_groups"] = [{**state["param_groups"][0], "params": [i]} for i in range(4)]
    return state


def more_groups_of_the_base(state):
    state["base"]["param_groups"] = [{**state["base"]["param_groups"][0], "params": [i]} for i in range(4)]
    return state


def fewer_parameters(state):
    state["param_groups"][0]["params"] = [0, 1]
    return state


def no_steps(state):
    del state["steps"]
    return state


def steps_of_text(state):
    return {**state, "steps": "nine"}


def another_base(state):
    """AdamW's own loading fails half way on these."""
    for of_parameter in state["base"]["state"].values():
        of_parameter.clear()
        of_parameter["momentum_buffer"] = torch.zeros(1)
    return state


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (plain, KeyError, "not a state_dict of SharpnessAware: it has no base, steps"),
        (no_steps, KeyError, "it has no steps"),
        (more_groups, ValueError, "different number of parameter groups"),
        (more_groups_of_the_base, ValueError, "different number of parameter groups"),
        (fewer_parameters, ValueError, "doesn't match the size"),
        (steps_of_text, ValueError, "nine"),
        (another_base, KeyError, "step"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil, error, message):
    model, optimizer = start("fsam")
    train(model, optimizer, 0, HALF)
    other_model, other = start("fsam")
    other.param_groups[0].update(lr=7.0, rho=0.7)  # would be seen here
    train(other_model, other, 0, 3)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(spoil(copy.deepcopy(other.state_dict())))
    assert optimizer.param_groups is optimizer.base.param_groups
    assert (optimizer.param_groups[0]["lr"], optimizer.steps) == (0.01, HALF)
    assert torch.equal(train(model, optimizer, HALF, STEPS), uninterrupted("fsam"))


if __name__ == "__main__":
    for run in RUNS:
        loaded = torch.load(Path(sys.argv[1]) / f"{run}.pt", weights_only=True)
        torch.save(resume(run, loaded), Path(sys.argv[1]) / f"{run}.end.pt")
