"""Running statistics come from clean passes only, and the modules are left as they were found."""

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware


class Stopped(Exception):
    pass


NORMS = {
    "batch": lambda: nn.BatchNorm1d(6),
    "cumulative": lambda: nn.BatchNorm1d(6, momentum=None),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()
    ),
}


def build(norm, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), NORMS[norm](), nn.ReLU(), nn.Linear(6, 1))
    return model, SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, **settings)


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def clean_statistics(model, parts):
    """What forward passes over the parts, one after another, would leave."""
    buffers = statistics(model)
    with torch.no_grad():
        for part in parts:
            model(part)
    expected = statistics(model)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return expected


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shards", [1, 3])
def test_running_statistics_come_from_the_clean_passes(norm, shards):
    model, optimizer = build(norm, rho=5.0, num_shards=shards)
    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    expected = clean_statistics(model, inputs.chunk(shards))

    def closure(inputs):
        loss = (model(inputs) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure, inputs)
    found = statistics(model)
    assert found.keys() == expected.keys() and "0" not in found
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_perturbed_pass_normalises_with_the_batch(norm):
    """In evaluation mode the output would depend on the running statistics; in the perturbed pass it may not."""

    def second_output(mean):
        model, optimizer = build(norm, rho=0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.fill_(mean)
        outputs = []

        def closure(inputs):
            outputs.append(model(inputs))
            loss = (outputs[-1] ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure, torch.randn(12, 4, generator=torch.Generator().manual_seed(1)))
        return outputs[1].detach()

    assert torch.equal(second_output(0.0), second_output(100.0))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("fails", [False, True])
def test_modules_are_left_as_found(norm, fails):
    model, optimizer = build(norm, rho=0.5)
    frozen = nn.BatchNorm1d(6).eval()  # e.g. of a pretrained part: it must stay frozen
    untracked = nn.BatchNorm1d(6, track_running_stats=False)
    model.append(nn.Sequential(nn.Linear(1, 6), frozen, untracked, nn.Linear(6, 1)))
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.5)
    modules = [m for m in model.modules() if hasattr(m, "track_running_stats")]
    before = [(m.training, m.track_running_stats, m.momentum, set(m.state_dict())) for m in modules]
    frozen_before = {name: value.clone() for name, value in frozen.state_dict().items() if "running" in name}
    calls = []

    def closure(inputs):
        calls.append(1)
        if fails and len(calls) == 2:
            raise Stopped
        loss = (model(inputs) ** 2).mean()
        loss.backward()
        return loss

    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    if fails:
        with pytest.raises(Stopped):
            optimizer.step(closure, inputs)
    else:
        optimizer.step(closure, inputs)
    assert len(calls) == 2
    assert before == [(m.training, m.track_running_stats, m.momentum, set(m.state_dict())) for m in modules]
    for name, value in frozen_before.items():
        assert torch.equal(frozen.state_dict()[name], value)
