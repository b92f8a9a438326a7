import pytest
import torch
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.digits import Digits
from hpsearch.training.engine import SWITCHES, Engine
from hpsearch.training.loop import TrialRun, train

CONVNET = Digits(model="convnet")


def settings(**changed):
    return Settings.merge({"epochs": 2, "rho": 0.1, "momentum": 0.9, **changed})


def test_defaults_of_a_device_and_what_is_asked_for():
    assert Engine.choose("cpu").recorded() == {"channels_last": True, "tf32": False, "compile": False}
    on_gpu = Engine.choose("cuda", switches={name: "auto" for name in SWITCHES[:2]})
    assert on_gpu.recorded() == {"channels_last": True, "tf32": True, "compile": False}
    assert Engine.choose("cuda", switches={"tf32": False, "compile": True}).recorded() == {
        "channels_last": True,
        "tf32": False,
        "compile": True,
    }
    assert not Engine.choose("cpu", switches={"tf32": True}).tf32  # there is none


def test_channels_last_is_the_same_network_in_another_layout():
    plain, other = (Engine.choose("cpu", switches={"channels_last": on}) for on in (False, True))
    trial = TrialRun(CONVNET, settings(), 0, engine=other)
    convolution = next(m for m in trial.model.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 1)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert not convolution.weight.is_contiguous()
    one, two = (train(CONVNET, settings(), 0, engine=engine) for engine in (plain, other))
    assert two.metrics["train_loss"] == pytest.approx(one.metrics["train_loss"], rel=1e-3)


def test_channels_last_leaves_layers_of_other_ranks_alone():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Unflatten(2, (2, -1)), nn.Conv3d(8, 4, 3))
    placed = Engine.choose("cpu").place(model)
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last) and placed[2].weight.is_contiguous()


def test_bf16_rounds_the_forward_pass_and_keeps_the_weights():
    trials = [TrialRun(CONVNET, settings(precision=name), 0) for name in ("fp32", "bf16")]
    for trial in trials:
        trial.run_epoch()
    exact, rounded = (trial.curve["train_loss"][0] for trial in trials)
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.05)
    assert {p.dtype for p in trials[1].model.parameters()} == {torch.float32}
    assert trials[1].curve["val_accuracy"][0] > 0.3


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_trial_learns_as_the_eager_one():
    equal = settings(epochs=1, batch_size=100)  # of 1000 samples: each size would be compiled
    one, two = (
        train(Digits(), equal, 0, engine=Engine.choose("cpu", switches={"compile": on})) for on in (False, True)
    )
    assert two.metrics["train_loss"] == pytest.approx(one.metrics["train_loss"], rel=1e-3)
    assert two.cost.backward_samples == one.cost.backward_samples
