"""What a pack in training is, for a checkpoint: the pack that goes on from it computes what it would have computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from hpsearch.optim.stacked import State
from hpsearch.training.outcome import Cost, Outcome

if TYPE_CHECKING:
    from hpsearch.training.packed import PackRun

PACK = ("rows", "epoch", "index", "ended")
TRIAL = ("epoch", "diverged", "initial_loss", "curve")


def state_of(pack: PackRun, orders: Sequence[Tensor]) -> dict[str, Any]:
    """Tensors and plain values. orders: of each row, the state of its batch order's generator at the epoch's start."""
    return {
        **{name: getattr(pack, name) for name in PACK},
        "state": dict(vars(pack.state)),
        "others": pack.stack.others,
        "globals": pack.globals.state(inside=True),
        "orders": list(orders),
        "losses": torch.stack(pack.losses),
        "trials": [{name: getattr(trial, name) for name in TRIAL} for trial in pack.trials],
        "meters": [trial.meter.state() for trial in pack.trials],
        "finished": {place: asdict(outcome) for place, outcome in pack.finished.items()},
    }


def restore(pack: PackRun, state: dict[str, Any]) -> None:
    """Of what state_of() gave, for a pack of the same trials that has not begun."""
    device = pack.state.weights.device
    moved = tree_map_only(Tensor, lambda tensor: tensor.to(device), state)
    for name in PACK:
        setattr(pack, name, state[name])
    pack.state, pack.stack.others = State(**moved["state"]), moved["others"]
    pack.globals.restore(state["globals"])
    pack.losses = list(moved["losses"])
    for place, order in zip(pack.rows, state["orders"], strict=True):
        pack.trials[place].order.set_state(order)
    for trial, kept, meter in zip(pack.trials, state["trials"], state["meters"], strict=True):
        vars(trial).update(kept)
        trial.begun = trial.epoch
        trial.meter.restore(meter)
    pack.finished = {
        place: Outcome(**{**outcome, "cost": Cost(**outcome["cost"])}) for place, outcome in state["finished"].items()
    }
