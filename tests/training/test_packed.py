"""A pack against the one-trial engine: the same trials, step by step, and nothing of one in another."""

import itertools
import math
import random

import numpy
import pytest
import torch
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.utils.parametrize import register_parametrization

from hpsearch.hyperparameters import Settings
from hpsearch.optim.ghost import Ghost, GhostShards
from hpsearch.optim.traced import WORTH
from hpsearch.tasks import Classification, Data
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.tasks.pydoc_lm import PydocLM
from hpsearch.training.engine import Engine
from hpsearch.training.folding import Folding
from hpsearch.training.loop import TrialRun, train
from hpsearch.training.packed import PackRun, train_pack
from hpsearch.training.programs import NotStackable
from hpsearch.training.stack import Stack
from tests.training.resuming import finish

STEPS, ROWS = 60, 6


def plain():
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)).double()


class Small(Classification):
    """Random inputs in float64; a batch is the whole training set, so that an epoch is a step."""

    def __init__(self, make=plain, rows=ROWS):
        self.make, self.rows = make, rows

    def data(self, seed):
        draw = torch.Generator().manual_seed(seed % 2)  # two seeds' data differ, two others' do not
        inputs = torch.randn(self.rows + 20, 5, generator=draw, dtype=torch.float64)
        targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
        return Data(*((inputs[part], targets[part]) for part in (slice(self.rows), slice(-20, -10), slice(-10, None))))

    def model(self):
        return self.make()


def settings(**more):
    return Settings.merge({"epochs": STEPS, "batch_size": ROWS, "lr": 0.05, **more})


def same(alone, packed, tolerance=1e-4, first=1e-8):
    """Costs to the last sample, numbers up to rounding: Adam, and F-SAM near an optimum, divide by next to nothing, so
    that it grows from step to step. first: of the first 20 epochs.
    """
    assert (alone.status, alone.epochs, alone.epochs_planned) == (packed.status, packed.epochs, packed.epochs_planned)
    assert alone.cost.backward_samples == packed.cost.backward_samples and alone.cost.flops == packed.cost.flops
    close = {"rel": tolerance, "abs": tolerance, "nan_ok": True}
    assert dict(packed.metrics) == pytest.approx(dict(alone.metrics), **close)
    assert alone.curve.keys() == packed.curve.keys()
    for name, values in alone.curve.items():
        assert known(packed.curve[name]) == pytest.approx(known(values), **close), name
        early = pytest.approx(known(values[:20]), rel=first, abs=first, nan_ok=True)
        assert known(packed.curve[name][:20]) == early, name


def known(values):
    return [math.nan if value is None else value for value in values]


# Agreement ----------------------------------------------------------------------------------------------------------

METHODS = {
    "sgd": {},
    "sam": {"rho": 0.1},
    "asam": {"rho": 0.5, "adaptive": True},
    "msam": {"rho": 0.1, "num_shards": 4},
    "msam of unequal shards": {"rho": 0.1, "num_shards": 5},
    "a sample a shard": {"rho": 0.1, "num_shards": ROWS},
    "more shards than samples": {"rho": 0.1, "num_shards": ROWS + 3, "interval": 4},
    "fsam": {"rho": 0.1, "sigma": 1.0},
    "fsam now and then": {"rho": 0.1, "sigma": 1.0, "interval": 3},
    "fmsam": {"rho": 0.1, "sigma": 0.7, "num_shards": 3},
    "vasso": {"rho": 0.1, "sigma": -0.5},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "gsam over shards": {"rho": 0.1, "combine": "gsam", "num_shards": 2, "sigma": 0.3},
    "sam-on": {"rho": 0.1, "perturb": "normalization"},
    "fsam-on": {"rho": 0.1, "perturb": "normalization", "sigma": 1.0, "adaptive": True},
}
BASES = [
    {"momentum": 0.9, "weight_decay": 1e-3},
    {"momentum": 0.8, "nesterov": True},
    {"base": "adam", "lr": 0.01, "weight_decay": 0.01},
    {"base": "adamw", "lr": 0.01, "weight_decay": 0.1},
    {},
]
rates = st.floats(0.2, 2.0)
draws = st.fixed_dictionaries(
    {
        "lr": rates,
        "rho": rates,
        "weight_decay": st.floats(0.0, 0.1),
        "momentum": st.floats(0.1, 0.95),
        "beta1": st.floats(0.5, 0.95),
        "beta2": st.floats(0.9, 0.999),
        "ema_decay": st.floats(0.0, 0.99),
        "alpha": st.floats(0.0, 1.0),
        "schedule": st.sampled_from(["cosine", "linear", "constant", "step"]),
        "warmup": st.sampled_from([0.0, 0.1]),
        "epochs": st.sampled_from([STEPS, STEPS - 1, 1]),
    }
)


def drawn(shape, draw):
    """The shape's settings with numbers that were drawn; lr and rho are factors."""
    chosen = settings(**shape)
    numbers = {**draw, "lr": chosen.lr * draw["lr"], "rho": chosen.rho * draw["rho"]}
    return Settings.merge(vars(chosen), numbers)


@pytest.mark.parametrize("method", METHODS)
@hypothesis_settings(max_examples=2, deadline=None, phases=[Phase.generate], derandomize=True)
@given(st.sampled_from(BASES), st.lists(st.tuples(draws, st.integers(0, 5)), min_size=1, max_size=3))
def test_a_pack_agrees_with_the_one_trial_engine_step_by_step(method, base, chosen):
    trials = [(drawn({**base, **METHODS[method]}, draw), seed) for draw, seed in chosen]
    for (mine, seed), found in zip(trials, train_pack(Small(), trials), strict=True):
        same(train(Small(), mine, seed), found)


def test_the_weights_agree_too():
    trials = [(settings(rho=0.1, sigma=1.0, momentum=0.9, epochs=30, lr=lr), 3) for lr in (0.02, 0.1)]
    pack = PackRun(Small(), trials)
    for _ in range(29):
        pack.run_epoch()
    for row, (mine, seed) in zip(pack.state.weights, trials, strict=True):
        alone = TrialRun(Small(), mine, seed)
        for _ in range(29):
            alone.run_epoch()
        theirs = torch.cat([parameter.detach().flatten() for parameter in alone.model.parameters()])
        torch.testing.assert_close(row, theirs, rtol=1e-9, atol=1e-12)


class Unused(nn.Module):
    """A frozen layer between two trained ones, and a layer that nothing is sent through."""

    def __init__(self):
        super().__init__()
        self.first, self.frozen = nn.Linear(5, 8), nn.Linear(8, 8).requires_grad_(False)
        self.unused, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, inputs):
        return self.last(self.frozen(self.first(inputs)).relu())


class Items(nn.Module):
    """Assigns to items of a tensor and of a dict that it has made."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, inputs):
        found = {"first": self.first(inputs)}
        found["second"] = found["first"].tanh().clone()
        found["second"][:, 1] = 0.5
        return self.last(found["second"].to(next(self.parameters()).dtype))


class Tied(nn.Module):
    """One matrix in two places."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 5)
        self.last.weight = self.first.weight

    def forward(self, inputs):
        return self.last(self.first(inputs).tanh())[:, :3]


def batch_norm():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()


def test_nesterov_without_momentum_is_plain_sgd():
    trials = [(settings(rho=0.1, nesterov=True, momentum=momentum), 1) for momentum in (0.0, 0.9)]
    alone = [train(Small(), *trial) for trial in trials]
    for mine, found in zip(alone, train_pack(Small(), trials), strict=True):
        same(mine, found)
    assert alone[0].curve == train(Small(), settings(rho=0.1), 1).curve


class OfSamples(nn.Linear):
    """Not a Linear: its output for a sample depends on the other samples of its trial."""

    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(0))


class Scale(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.scale, self.dropout = nn.Parameter(torch.randn(features)), nn.Dropout(0.0)

    def forward(self, inputs):
        return self.dropout(inputs) * self.scale


def parametrized():
    return nn.Sequential(register_parametrization(nn.Linear(5, 8), "weight", nn.Tanh()), nn.ReLU(), nn.Linear(8, 3))


class Attending(nn.Module):
    """Each number is a place in a sequence, with a token before it; places: of what they are added up."""

    def __init__(self, *places, mask=lambda: torch.ones(6, 6).tril()):
        super().__init__()
        self.places, self.value, self.query = places, nn.Linear(1, 4), nn.Linear(4, 4)
        self.token, self.learned = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 6, 4))
        self.table, self.scale, self.last = nn.Embedding(6, 4), Scale(4), nn.Linear(4, 3)
        self.register_buffer("mask", mask())

    def forward(self, inputs):
        values = torch.cat([self.token.expand(len(inputs), -1, -1), self.value(inputs.unsqueeze(2))], 1)
        if "learned" in self.places:
            values = values + self.learned[:, : values.shape[1]]
        if "flat" in self.places:
            values = values + self.table(torch.arange(6))
        if "row" in self.places:
            values = values + self.table(torch.arange(6).unsqueeze(0))
        seen = self.query(values) @ values.mT * self.mask
        return self.last(self.scale(seen.softmax(2) @ values).mean(1))


def in_function(width=8, scale=lambda: 1.0):
    """Another class for each network, as a function makes them that has them inside."""
    drawn = scale()

    class Layer(nn.Linear):
        @property
        def scale(self):
            return drawn

        @staticmethod
        def bend(inputs):
            return torch.tanh(inputs)

        def forward(self, inputs):
            return self.bend(super().forward(inputs)) * self.scale

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = Layer(5, width), nn.Linear(width, 3)

        def forward(self, inputs):
            return self.last(self.first(inputs))

    return Network()


NETWORKS = {
    "classes of a function": lambda: in_function().double(),
    "another class": lambda: OfSamples(5, 3).double(),
    "by kind": lambda: ByKind().double(),
    "weights of its own": lambda: nn.Sequential(nn.Linear(5, 4), Scale(4), nn.Linear(4, 3)).double(),
    "learned places": lambda: Attending("learned").double(),
    "a table of places": lambda: Attending("flat").double(),
    "a table of places in a row": lambda: Attending("row").double(),
    "all kinds of places": lambda: Attending("learned", "flat", "row").double(),
    "batch norm": batch_norm,
    "parametrized": lambda: parametrized().double(),
    "another convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 3, 5), nn.Flatten()).double(),
    "unused": lambda: Unused().double(),
    "tied": lambda: Tied().double(),
    "group norm": lambda: nn.Sequential(nn.Linear(5, 8), nn.GroupNorm(2, 8), nn.GELU(), nn.Linear(8, 3)).double(),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 5, 1)), nn.Conv2d(1, 4, (3, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    ).double(),
}


class Mixing(nn.Module):
    """Has no weights, and mixes the samples of a batch."""

    def forward(self, inputs):
        return inputs - inputs.mean(0)


class Positions(nn.Module):
    """Weights of its own, and a layer that is called with what all trials share."""

    def __init__(self, shared):
        super().__init__()
        self.shared, self.table, self.last = shared, nn.Embedding(5, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(5)) if not shared else None

    def forward(self, inputs):
        place = self.table(torch.arange(5, device=inputs.device)).mean(0)
        return self.last(inputs + place * (1 if self.scale is None else self.scale))


class Clipping(nn.Module):
    """Mixes samples only where the norm of all that it is given is large."""

    def forward(self, inputs):
        return inputs * (1e3 / inputs.norm()).clamp(max=1.0)


class InParts(nn.Module):
    """Takes many samples in parts; of: the number of them."""

    def __init__(self, of):
        super().__init__()
        self.of, self.last = of, nn.Linear(5, 3)

    def forward(self, inputs):
        return torch.cat([self.last(part) for part in inputs.split(self.of)])


class ByKind(nn.Module):
    """Goes by what its layers are."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)])

    def forward(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs) * (2 if isinstance(layer, nn.Linear) else 1)
        return inputs


UNFOLDED = {
    "in parts": lambda: InParts(11).double(),  # of two trials on few samples it makes one
    "buffers that differ": lambda: Attending("row", mask=lambda: torch.rand(6, 6)).double(),
    "mixing": lambda: nn.Sequential(nn.Linear(5, 8), Mixing(), nn.Linear(8, 3)).double(),
    "mixing what is large": lambda: nn.Sequential(nn.Linear(5, 8), Clipping(), nn.Linear(8, 3)).double(),
    "weights beside layers": lambda: Positions(shared=False).double(),
    "what all share": lambda: Positions(shared=True).double(),
}


@pytest.mark.parametrize("method", ["sgd", "fsam", "fmsam"])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_agree(network, method):
    check_network(NETWORKS[network], method)


class Recalling(Small):
    """A metric that has no value where the samples have none of a class."""

    metrics = ("loss", "accuracy", "recall")

    def chance(self, data):
        return {**super().chance(data), "val_recall": 0.0, "test_recall": 0.0}

    def measure(self, model, *batch):
        absent = batch[1] == 7
        hits = (model(batch[0]).argmax(1) == batch[1]) & absent
        return {**super().measure(model, *batch), "recall": hits.double().sum() / absent.double().sum()}


def test_a_metric_without_a_value_is_no_difference():
    assert PackRun(Recalling(), [(settings(), 0), (settings(), 1)]).stack.folded is not None


def test_as_many_places_as_samples_are_places():
    task, trials = Small(NETWORKS["a table of places"], rows=3), [(settings(batch_size=3, rho=0.1), s) for s in (0, 1)]
    assert PackRun(task, trials).stack.folded is not None  # six places, and two times three samples
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found)


class Placed(nn.Module):
    """Drops out some of what its places add: of all samples the same."""

    def __init__(self, own):
        super().__init__()
        self.own = nn.Parameter(torch.randn(1, 8)) if own else None
        self.table, self.drop = nn.Embedding(1, 8), nn.Dropout(0.5)
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, inputs):
        places = self.table(torch.zeros(1, dtype=torch.long)) if self.own is None else self.own
        return self.last(self.first(inputs) + self.drop(places))


@pytest.mark.parametrize("own", [True, False])
def test_draws_that_all_samples_share_are_not_made_for_each(own):
    assert not is_folded(lambda: Placed(own).double())


@pytest.mark.parametrize("network", UNFOLDED)
def test_networks_that_torch_func_computes_agree(network):
    check_network(UNFOLDED[network], "fmsam")


def check_network(make, method):
    task = Small(make)
    trials = [(settings(**METHODS[method], weight_decay=0.01, epochs=epochs), epochs) for epochs in (10, 10, 4)]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found)


@pytest.mark.parametrize("large", ["", "training.stack.COPIES", "optim.layers.UNKNOWN"])
def test_shards_are_computed_at_once_unless_their_copies_are_large(monkeypatch, large):
    seen, real = [], GhostShards._forward
    monkeypatch.setattr(GhostShards, "_forward", lambda self, leaves: seen.append(self) or real(self, leaves))
    if large:
        monkeypatch.setattr(f"hpsearch.{large}", 0)
    task = Small(NETWORKS["weights of its own"])
    trials = [(settings(rho=0.1, num_shards=3, epochs=12), seed) for seed in range(2)]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found)
    assert bool(seen) == (not large)


@pytest.mark.parametrize("lost, steps", [(0.0, {0}), (0.5, set(range(1, 12))), (1e9, {12})], ids=["no", "some", "all"])
def test_norms_that_lose_digits_are_computed_another_way(monkeypatch, lost, steps):
    repaired, real = [], Ghost.square
    monkeypatch.setattr(Ghost, "square", lambda *given: repaired.append(given[-1]) or real(*given))
    monkeypatch.setattr("hpsearch.optim.ghost.LOST", lost)
    trials = [(settings(rho=0.1, num_shards=2, epochs=12), 0)]
    for (mine, seed), found in zip(trials, train_pack(Small(), trials), strict=True):
        same(train(Small(), mine, seed), found)
    assert repaired.count(True) / 2 in steps


def test_a_shipped_task_in_float32():
    task = Digits(label_noise=0.3)
    trials = [
        (settings(batch_size=100, epochs=2, rho=rho, num_shards=2), seed) for rho in (0.05, 0.2) for seed in (0, 1)
    ]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found, tolerance=1e-3, first=1e-3)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_pack_agrees():
    counters.clear()
    trials = [(settings(rho=rho, sigma=0.7, num_shards=2, epochs=8), 0) for rho in (0.1, 0.3)]
    compiled = train_pack(Small(), trials, engine=Engine.choose("cpu", switches={"compile": True}))
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]  # a whole step is one graph
    for (mine, seed), found in zip(trials, compiled, strict=True):
        same(train(Small(), mine, seed), found)


@pytest.mark.parametrize("seeds", [(0,), (1, 1)], ids=["one trial", "configurations of one seed"])
@pytest.mark.parametrize(
    "layer", [Mixing, lambda: nn.BatchNorm1d(8, affine=False, track_running_stats=False)], ids=["mixing", "batch norm"]
)
def test_what_mixes_samples_is_seen_where_the_trials_begin_alike(layer, seeds):
    task = Small(lambda: nn.Sequential(nn.Linear(5, 8), layer(), nn.Linear(8, 3)).double())
    trials = [(settings(rho=0.1, num_shards=2, epochs=8, lr=0.1 + 0.1 * row), seed) for row, seed in enumerate(seeds)]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found)


class Penalized(Small):
    """Its loss reads the weights, and not only what the network makes of a batch."""

    def measure(self, model, *batch):
        found = super().measure(model, *batch)
        return {**found, "loss": found["loss"] + 1e-2 * sum(p.square().sum() for p in model.parameters())}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_task_that_reads_the_weights_agrees(shards):
    trials = [(settings(rho=0.1, num_shards=shards, epochs=8), seed) for seed in (0, 1)]
    for (mine, seed), found in zip(trials, train_pack(Penalized(), trials), strict=True):
        same(train(Penalized(), mine, seed), found)


def test_a_pack_in_bf16_is_folded_and_trains():
    trials = [(settings(batch_size=100, epochs=2, rho=0.1, precision="bf16", num_shards=2), seed) for seed in (0, 1)]
    assert PackRun(Digits(), trials, engine=Engine.choose("cpu", "bf16")).stack.folded is not None
    for (mine, seed), found in zip(trials, train_pack(Digits(), trials), strict=True):
        alone = train(Digits(), mine, seed)
        assert found.metrics["val_loss"] == pytest.approx(alone.metrics["val_loss"], rel=0.05)


def test_networks_of_known_layers_are_folded_and_others_are_not():
    folded = {name: is_folded(make) for name, make in {**NETWORKS, **UNFOLDED}.items()}
    others = ["batch norm", "parametrized", "another convolution", *UNFOLDED]
    assert folded == {**dict.fromkeys(NETWORKS, True), **dict.fromkeys(others, False)}


@pytest.mark.parametrize(
    "task",
    [Digits("mlp"), Digits("convnet"), BreastCancer(), PydocLM()],
    ids=["mlp", "convnet", "breast cancer", "gpt"],
)
def test_small_networks_that_ship_are_folded(task):
    trials = [(settings(batch_size=8), seed) for seed in (0, 1)]
    assert PackRun(task, trials).stack.folded is not None


def counted(monkeypatch):
    """Calls of the networks' gradients other than by a list of operations."""
    calls, real = [], Stack.compute
    monkeypatch.setattr(Stack, "compute", lambda *given: calls.append(0) or real(*given))
    return calls


@pytest.mark.parametrize(
    "make", [plain, batch_norm, lambda: Tied().double(), lambda: Positions(8).double(), lambda: Items().double()]
)
def test_the_operations_of_a_step_are_noted_down_once_for_packs_that_are_alike(make, monkeypatch):
    task, calls, found = Small(make), counted(monkeypatch), []
    for rho in (0.1, 0.2, 0.3):
        before = len(calls)
        train_pack(task, [(settings(rho=rho, epochs=WORTH), seed) for seed in (0, 1)])
        found.append(len(calls) - before)
    assert found == [4, 0, 0]  # two a step: noted down, and compared


def test_packs_of_one_task_whose_networks_are_not_alike_do_not_share():
    """Their weights are of one shape, and so are their steps."""
    makes = [nn.Tanh(), nn.ReLU(), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)]
    trials = [(settings(rho=0.1, epochs=WORTH), seed) for seed in (0, 1)]
    network = [nn.Identity()]

    def make():
        return nn.Sequential(nn.Linear(5, 8), network[0], nn.Linear(8, 3)).double()

    task, found = Small(make), []
    for network[0] in makes:
        found.append(list(map(bits, train_pack(task, trials))))
        assert found[-1] == list(map(bits, train_pack(Small(make), trials)))
    assert all(one != other for one, other in itertools.pairwise(found))
    network[0] = makes[0]
    assert list(map(bits, train_pack(task, trials))) == found[0]


def test_the_operations_of_an_evaluation_are_noted_down_once_too(monkeypatch):
    calls, real, task, found = [], Stack._measure, Small(), []
    monkeypatch.setattr(Stack, "_measure", lambda *given: calls.append(0) or real(*given))
    for _ in range(3):
        found.append(train_pack(task, [(settings(epochs=WORTH + 1), seed) for seed in (0, 1)]))
        calls.append("pack")
    # A pack's first one says the names; then it is noted down, and compared.
    assert "".join(map(str, calls)) == "000pack0pack0pack"
    assert list(map(bits, found[0])) == list(map(bits, found[1])) == list(map(bits, found[2]))


def test_a_network_is_folded_on_trial_once_for_each_structure(monkeypatch):
    tried, real = [], Folding._agree
    monkeypatch.setattr(Folding, "_agree", lambda *given, **more: tried.append(0) or real(*given, **more))
    task, calls = Small(), []
    for task.make in (plain, plain, hooked, hooked, plain):
        PackRun(task, [(settings(), 0), (settings(), 1)])
        calls.append(len(tried))
    assert calls == [1, 1, 2, 3, 3]  # of what has hooks nobody knows that it is the same


class Remembering(Small):
    def measure(self, model, *batch):
        self.last = len(batch[0])
        return super().measure(model, *batch)


def hooked():
    network = plain()
    network.register_forward_hook(lambda *_: None)
    return network


@pytest.mark.parametrize(
    "task",
    [Remembering(plain), Small(hooked)],
    ids=["measure", "hook"],
)
def test_code_that_is_not_vouched_for_is_called_in_every_step(task, monkeypatch):
    calls = counted(monkeypatch)
    train_pack(task, [(settings(rho=0.1, epochs=WORTH), seed) for seed in (0, 1)])
    assert len(calls) == 2 * WORTH


class Scaling(nn.Module):
    """Its scale is drawn with the network; it may count, or put another buffer in its buffer's place."""

    def __init__(self, draw=lambda: 1.0, keep=lambda scaling: None):
        super().__init__()
        self.scale, self.keep, self.seen = draw(), keep, 0
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, inputs):
        self.keep(self)
        return inputs * self.scale


def count(scaling):
    scaling.seen += 1


def average(scaling):
    scaling.mean = scaling.mean * 0.9


def average_in_place(scaling):
    scaling.mean *= 0.9


DRAWN = {
    "a number": lambda: float(torch.rand(())),
    "a tensor": lambda: torch.rand(8),
    "a list": lambda: torch.rand(8).tolist(),
    "a function": lambda: (lambda scale: lambda: scale)(float(torch.rand(()))),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())
def test_networks_that_differ_in_more_than_weights_are_refused(draw):
    task = Small(lambda: nn.Sequential(*plain(), Scaling(draw)))
    with pytest.raises(NotStackable, match=r"differ in more than their weights and buffers: in 4\.scale"):
        train_pack(task, [(settings(), seed) for seed in (0, 1)])


def test_classes_made_by_a_function_that_differ_are_refused():
    trials = [(settings(), seed) for seed in (0, 1)]
    train_pack(Small(lambda: in_function().double()), trials)
    with pytest.raises(NotStackable, match="in layers"):
        train_pack(Small(lambda: in_function(scale=lambda: float(torch.rand(()))).double()), trials)


def test_networks_of_other_layers_are_refused():
    task = Small(lambda: nn.Sequential(*plain(), nn.Tanh() if torch.rand(()) < 0.5 else nn.ReLU()))
    with pytest.raises(NotStackable, match="in layers"):
        train_pack(task, [(settings(), seed) for seed in range(8)])


@pytest.mark.parametrize(("keep", "name"), [(count, "seen"), (average, "mean"), (average_in_place, "mean")])
def test_networks_that_keep_something_are_refused(keep, name):
    task = Small(lambda: nn.Sequential(*plain(), Scaling(keep=keep)))
    with pytest.raises(NotStackable, match=rf"changes more of the network than its weights and buffers: 4\.{name}"):
        train_pack(task, [(settings(), seed) for seed in (0, 1)])
    alike = Small(lambda: nn.Sequential(*plain(), Scaling()))
    assert len(train_pack(alike, [(settings(), seed) for seed in (0, 1)])) == 2


@pytest.mark.parametrize("draw", [random.random, lambda: numpy.random.rand()], ids=["random", "numpy"])
def test_draws_that_would_be_the_same_for_all_trials_are_refused(draw):
    task = Small(lambda: nn.Sequential(*plain(), Scaling(keep=lambda _: draw())))
    with pytest.raises(NotStackable, match="draws from random or numpy"):
        train_pack(task, [(settings(), seed) for seed in (0, 1)])


class Annealed(Small):
    """What its measure reads may be changed between steps."""

    rate = 1.0

    def measure(self, model, *batch):
        found = super().measure(model, *batch)
        return {**found, "loss": found["loss"] * self.rate}


def annealed(every, monkeypatch, trials):
    task = Annealed()
    pack = PackRun(task, trials)

    def anneal(number):
        task.rate = 1 / (1 + number // every)
        PackRun._set_lr(pack, number)

    monkeypatch.setattr(pack, "_set_lr", anneal)
    return pack


@pytest.mark.parametrize("every", [2, 3 * WORTH])
def test_what_changes_between_steps_counts_at_once(every, monkeypatch):
    chosen = [(settings(rho=0.1, epochs=4 * WORTH), seed) for seed in (0, 1)]
    listed, calls = annealed(every, monkeypatch, chosen), counted(monkeypatch)
    assert listed.stack.lists.any
    found = finish(listed).outcomes()
    assert (len(calls) < 4 * WORTH) is (every > WORTH)
    monkeypatch.setattr("hpsearch.training.lists.known", lambda *_: None)
    expected = finish(annealed(every, monkeypatch, chosen)).outcomes()
    assert [each.curve for each in found] == [each.curve for each in expected]


def test_no_operations_are_noted_down_for_a_few_steps(monkeypatch):
    """Each number of trials has a list of its own, which is used by later packs, too."""
    calls, task = counted(monkeypatch), Small(plain)
    epochs = [WORTH // 2, WORTH - 1, WORTH - 1 + WORTH]  # only when one is left it stays long enough
    train_pack(task, [(settings(rho=0.1, epochs=each), 0) for each in epochs])
    assert len(calls) == 2 * (WORTH - 1) + 4


def is_folded(make):
    return PackRun(Small(make), [(settings(), 0), (settings(), 1)]).stack.folded is not None


# One trial and the others ---------------------------------------------------------------------------------------------


def bits(outcome):
    return outcome.status, outcome.epochs, dict(outcome.metrics), dict(outcome.curve), outcome.cost.backward_samples


def test_neither_the_others_nor_their_end_change_a_trials_bits():
    mine = (settings(rho=0.1, momentum=0.9), 1)
    calm = train_pack(Small(), [(settings(rho=0.2), 0), mine, (settings(rho=0.3, lr=0.1), 2)])
    wild = train_pack(Small(), [(settings(rho=0.2, lr=1e200), 4), mine, (settings(rho=0.3, epochs=STEPS // 2), 3)])
    again = train_pack(Small(), [(settings(rho=0.2), 0), mine, (settings(rho=0.3, lr=0.1), 2)])
    assert wild[0].status == "diverged" and wild[0].curve["val_loss"][-1] is None
    assert bits(calm[1]) == bits(wild[1])
    assert list(map(bits, calm)) == list(map(bits, again))


def test_a_diverged_trial_is_told_as_alone_and_leaves_when_half_of_the_pack_has():
    trials = [(settings(rho=0.1, epochs=6, lr=lr), 0) for lr in (0.05, 1e200, 0.1, 1e200, 0.02)]
    pack = PackRun(Small(), trials)
    pack.run_epoch()
    pack.run_epoch()
    assert [trial.diverged for trial in pack.trials] == [False, True, False, True, False] and len(pack.rows) == 5
    for (mine, seed), found in zip(trials, train_pack(Small(), trials), strict=True):
        same(train(Small(), mine, seed), found)

    more = PackRun(Small(), [*trials, (settings(rho=0.1, epochs=6, lr=1e200), 1)])
    more.run_epoch()
    more.run_epoch()
    assert more.rows == [0, 2, 4] and len(more.state.weights) == 3
    while not more.done:
        more.run_epoch()
    assert [outcome.status for outcome in more.outcomes()].count("diverged") == 3


def test_a_long_epoch_of_a_trial_that_diverges_is_cut_as_alone(monkeypatch):
    monkeypatch.setattr("hpsearch.training.loop.CHECK_STEPS", 5)
    monkeypatch.setattr("hpsearch.training.packed.CHECK_STEPS", 5)
    trials = [(settings(batch_size=2, epochs=2, lr=lr), 0) for lr in (0.05, 1e200)]
    for (mine, seed), found in zip(trials, train_pack(Small(), trials), strict=True):
        same(train(Small(), mine, seed), found)


def test_what_networks_draw_is_the_packs_own_and_the_same_each_time():
    task = Small(lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double())
    trials = [(settings(epochs=5), 0), (settings(epochs=5), 0)]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = train_pack(task, trials)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert list(map(bits, train_pack(task, trials))) == [bits(first), bits(second)]
    assert bits(first) != bits(second)  # each trial has draws of its own


def test_costs_are_shared_out():
    trials = [(settings(epochs=4, rho=0.1), seed) for seed in range(3)]
    found = train_pack(Small(), trials)
    assert all(outcome.cost.seconds > 0 for outcome in found)
    assert len({outcome.cost.seconds for outcome in found}) == 1
    assert [outcome.cost.backward_samples for outcome in found] == [4 * ROWS * 2] * 3


# What cannot be packed ----------------------------------------------------------------------------------------------


def test_trials_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape, but they differ in num_shards, perturbs"):
        train_pack(Small(), [(settings(), 0), (settings(rho=0.1, num_shards=2), 0)])
    with pytest.raises(ValueError, match="a trial at least"):
        train_pack(Small(), [])


class Cropped(Small):
    def data(self, seed):
        data = super().data(seed)
        return Data(data.train, data.val, data.test, {"train": torch.ones(len(data.train[0]))})

    def crop(self, batch, length):
        return batch


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 3), nn.Linear(3, 3).double()

    def forward(self, inputs):
        return self.last(self.first(inputs.float()).double())


class Renormed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(4, 8, max_norm=0.5).double(), nn.Linear(8, 3).double()

    def forward(self, inputs):
        return self.last(self.table((inputs[:, 0] > 0).long()))


class Counting(nn.Module):
    """Counts evaluations."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(5, 3).double()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs):
        if not self.training:
            self.count += 1
        return self.last(inputs)


class Growing(Small):
    def data(self, seed):
        data = super().data(seed)
        return Data(tuple(part[: 5 + seed] for part in data.train), data.val, data.test)


@pytest.mark.parametrize(
    "task, said",
    [
        (Cropped(), "longest sequence"),
        (Small(Mixed), "float32, torch.float64"),
        (Growing(rows=20), "depends on the seed"),
        (Small(Renormed), r"more of the network than its weights and buffers: table\.weight"),
        (Small(Counting), "an evaluation changes the network: count"),
    ],
    ids=["cropped", "two types", "growing", "shortened", "evaluations"],
)
def test_what_cannot_be_stacked_is_said(task, said):
    with pytest.raises(NotStackable, match=said):
        train_pack(task, [(settings(batch_size=5), 0), (settings(batch_size=5), 9)])


class Weighing(Small):
    """Its loss is weighed by what it found in the data. keep(task, seed, classes)."""

    def __init__(self, keep):
        super().__init__()
        self.keep, self.kept, self.weights = keep, {}, None

    def data(self, seed):
        data = super().data(seed)
        self.keep(self, seed, torch.bincount(data.train[1], minlength=3).double() + 1)
        return data


def in_a_list(task, seed, classes):
    task.kept.setdefault("all", [None])[0] = classes


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda task, seed, classes: setattr(task, "weights", classes), "own: weights"),
        (lambda task, seed, classes: task.kept.update(weights=classes), r"own: kept\['weights'\]"),
        (in_a_list, r"own: kept\['all'\]\[0\]"),
    ],
    ids=["attribute", "dict", "list"],
)
def test_a_task_that_keeps_something_of_each_seed_is_refused(keep, said):
    with pytest.raises(NotStackable, match=said):
        train_pack(Weighing(keep), [(settings(), 0), (settings(), 1)])


@pytest.mark.parametrize(
    "keep",
    [
        lambda task, seed, classes: task.kept.update({seed: classes}),
        lambda task, seed, classes: setattr(task, "weights", torch.ones(3)),
        lambda task, seed, classes: setattr(task, "kept", {"draws": numpy.random.default_rng(seed)}),
        lambda task, seed, classes: setattr(task, "weights", torch.inference_mode()(torch.ones)(3)),
        lambda task, seed, classes: setattr(task, "weights", torch.tensor([1.0, math.nan])),
    ],
    ids=["a cache", "the same for all", "a generator", "of inference", "NaN"],
)
def test_a_task_that_keeps_no_seeds_own_is_not_refused(keep):
    assert len(train_pack(Weighing(keep), [(settings(epochs=1), 0), (settings(epochs=1), 1)])) == 2


class Looking(Small):
    """Decides by a value, which one program for all trials cannot."""

    def measure(self, model, *batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss if loss > 0 else -loss, "accuracy": loss.detach()}


@pytest.mark.parametrize("program", ["ByFunc", "ByFolding"])
def test_memory_that_runs_out_says_nothing_of_the_network(monkeypatch, program):
    def full(*args):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(f"hpsearch.training.programs.{program}.gradients", full)
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        train_pack(Small(), [(settings(), 0), (settings(), 1)])


def test_a_task_that_decides_by_values_is_refused():
    with pytest.raises(NotStackable, match="data-dependent"):
        train_pack(Looking(), [(settings(), 0), (settings(), 1)])


# What is not seen of a network that is called, or shows only later ----------------------------------------------------


def masked():
    network = plain()
    network[0].weight.register_hook(lambda gradient: gradient * 0.5)
    return network


class Listing(nn.Module):
    """Has its weights in a list, too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3).double()
        self.all = [self.layer.weight]

    def forward(self, inputs):
        return self.layer(inputs) * (1 + self.all[0].square().sum())


class Penalizing(Small):
    """Its loss has a part of the weights, which it finds by a way of its own."""

    def measure(self, model, *batch):
        found = super().measure(model, *batch)
        return {**found, "loss": found["loss"] + 0.1 * BESIDE[0].square().sum()}


BESIDE = []


def beside():
    network = plain()
    BESIDE.append(network[0].weight)
    return network


class Noise(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self, make):
        super().__init__()
        self.draws, self.layer = make(), nn.Linear(5, 3).double()

    def forward(self, inputs):
        if isinstance(self.draws, torch.Generator):
            return self.layer(inputs) + torch.rand(3, generator=self.draws)
        return self.layer(inputs) + self.draws.random()


class Annealing(Small):
    calls = 0

    def measure(self, model, *batch):
        self.calls += 1
        return {key: value / self.calls for key, value in super().measure(model, *batch).items()}


class Shaking(Small):
    strength = 0.0

    def augment(self, batch, draws):
        self.strength = float(torch.rand((), generator=draws))
        return batch

    def measure(self, model, *batch):
        return {key: value * (1 + self.strength) for key, value in super().measure(model, *batch).items()}


class Recalled(Small):
    """Makes what it needs where it is first needed."""

    weights = None

    def __init__(self):
        super().__init__()
        self.factor = None

    def measure(self, model, *batch):
        if self.weights is None:
            self.weights, self.factor = torch.ones(3, device=batch[0].device).double(), 2.0
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1], self.weights) * self.factor
        return {"loss": loss, "accuracy": loss.detach()}


def test_a_task_that_makes_something_once_is_trained_together_and_alone():
    task, trials = Recalled(), [(settings(epochs=4), seed) for seed in (0, 1)]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(Recalled(), mine, seed), found)
    assert [train(task, mine, seed).status for mine, seed in trials]


class Owning(Small):
    """Its loss hangs on the network that it made last."""

    def model(self):
        self.network = plain()
        return self.network

    def measure(self, model, *batch):
        found = super().measure(model, *batch)
        return {**found, "loss": found["loss"] + 0.1 * self.network[0].weight.square().sum()}


@pytest.mark.parametrize(
    "task, said",
    [
        (Small(masked), r"0\.weight has a hook"),
        (Small(Listing), "all holds weights"),
        (Small(lambda: Noise(torch.Generator)), "more of the network than its weights and buffers: draws"),
        (Small(lambda: Noise(numpy.random.default_rng)), "in draws"),
        (Annealing(), r"measure\(\) changes the task.*calls"),
        (Shaking(), r"augment\(\) changes the task.*strength"),
        (Penalizing(beside), "does more with the network than to call it"),
        (Owning(), r"or model\(\), keeps something of each trial's own: network"),
    ],
    ids=["hook", "list", "generator", "numpy's", "measure", "augment", "weights found elsewhere", "network"],
)
def test_what_no_program_for_all_follows_is_refused(task, said):
    with pytest.raises(NotStackable, match=said):
        train_pack(task, [(settings(rho=rho), 0) for rho in (0.1, 0.2)])


def scaled(network):
    factor = float(torch.rand(()))
    network.register_forward_hook(lambda module, inputs, outputs: outputs * factor)


def frozen(network):
    network[0].weight.requires_grad_(bool(torch.rand(()) < 0.5))


@pytest.mark.parametrize(("change", "said"), [(scaled, "_forward_hooks"), (frozen, r"0\.weight")])
def test_networks_that_differ_in_hooks_or_in_what_is_trained_are_refused(change, said):
    def make():
        network = plain()
        change(network)
        return network

    with pytest.raises(NotStackable, match=f"differ in more than their weights and buffers: in {said}"):
        train_pack(Small(make), [(settings(), seed) for seed in range(8)])


class Viewing(nn.Module):
    """Two views of each sample, in training only, are compared by a layer that nothing else uses."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.head = (nn.Linear(*sizes).double() for sizes in ((5, 8), (8, 3), (8, 4)))

    def forward(self, inputs):
        hidden = torch.tanh(self.first(inputs))
        if inputs.dim() == 2:
            return self.last(hidden)
        apart = (self.head(hidden[:, 0]) - self.head(hidden[:, 1])).square().sum(1, keepdim=True)
        return self.last(hidden.mean(1)) + apart


class Views(Small):
    def augment(self, batch, draws):
        inputs, targets = batch
        noise = torch.randn(len(inputs), 2, 5, generator=draws, dtype=torch.float64)
        return inputs.unsqueeze(1) + 0.1 * noise, targets


@pytest.mark.parametrize("method", ["sgd", "fsam", "fmsam"])
def test_what_only_augmented_samples_use_is_trained(method):
    task, trials = Views(Viewing), [(settings(**METHODS[method]), seed) for seed in (0, 1)]
    for (mine, seed), found in zip(trials, train_pack(task, trials), strict=True):
        same(train(task, mine, seed), found)


def test_samples_in_the_same_memory_are_told_apart_by_their_strides():
    square = torch.arange(25.0, dtype=torch.float64).view(5, 5).sin()

    class Shared(Small):
        def data(self, seed):
            data = super().data(0)
            return Data(data.train, (square.T if seed else square, data.val[1][:5]), data.test)

    trials = [(settings(), seed) for seed in (0, 1)]
    for (mine, seed), found in zip(trials, train_pack(Shared(), trials), strict=True):
        same(train(Shared(), mine, seed), found)
