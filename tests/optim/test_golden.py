"""The golden trajectories: what public implementations of SAM, ASAM, mSAM and F-SAM did over 30 steps in float64."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.json"))


def test_all_golden_files_are_here():
    assert [path.stem for path in GOLDEN] == ["asam_sgd", "fsam_sgd", "msam4_sgd", "sam_sgd"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_reproduces_the_trajectory(path):
    golden = json.loads(path.read_text())
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), golden["initial"], strict=True):
            parameter.copy_(torch.tensor(value, dtype=torch.float64))
    base = {key: value for key, value in golden["base"].items() if key != "name"}
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), **base), model, **golden["settings"])
    inputs, targets = torch.tensor(golden["inputs"], dtype=torch.float64), torch.tensor(golden["targets"])

    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    assert len(golden["steps"]) == 30
    for batch, expected in zip(golden["batches"], golden["steps"], strict=True):
        loss = optimizer.step(closure, inputs[batch], targets[batch])
        assert loss.item() == pytest.approx(expected["loss"], abs=1e-10)
        for parameter, value in zip(model.parameters(), expected["params"], strict=True):
            torch.testing.assert_close(parameter.detach(), torch.tensor(value, dtype=torch.float64), rtol=0, atol=1e-10)
