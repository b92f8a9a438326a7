"""Code of others is vouched for where a call of it keeps nothing, and hangs on nothing that may change."""

import functools
import math
import random
import time
from dataclasses import dataclass
from random import random as draw
from types import SimpleNamespace

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hpsearch.optim.known import known
from hpsearch.optim.reading import REFUSED, is_known
from hpsearch.tasks import Classification, Task
from hpsearch.tasks.digits import Digits

SCALES = (0.5, 2.0)
factor = 1.0
TABLE = [1.0]
seen = []


def scaled(x, by=2.0):
    return x * by


def remembering(x, known=[]):  # noqa: B006
    return x * (len(known) + 1)


def counting(x):
    global factor
    factor = factor + 1
    return x


def nested(x):
    return [scaled(each) for each in x.unbind()]


@torch.no_grad()
def without_gradient(x):
    return x + 1


@torch.no_grad()
def without_gradient_but_counting(x):
    seen.append(1)
    return x


@dataclass
class Config:
    width: int = 4
    heads: int = 2

    @property
    def each(self):
        return self.width // self.heads


@dataclass(frozen=True)
class Frozen:
    rate: float = 2.0


class Net(nn.Module):
    """What tests give a forward of their own."""

    def __init__(self, **attributes):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4))])
        self.weight = nn.Parameter(torch.ones(4))
        self.__dict__.update(attributes)

    def helper(self, x):
        return self.layer(x)

    @property
    def scale(self):
        return 1 / math.sqrt(self.layer.in_features)

    @staticmethod
    def fixed(x):
        return x.clamp(min=0)


def net(forward, of=Net, **attributes):
    return type("Made", (of,), {"forward": forward})(**attributes)


def usual(self, x):
    outputs = []
    for block in self.blocks:
        x = F.relu(block(x) + x)
        outputs.append(x)
    if self.training and x.shape[0] > 1:
        x = self.norm(x)
    return torch.cat([x, *outputs], dim=-1)


def attention(self, x):
    q, k, v = (self.helper(x).view(len(x), 2, -1).transpose(0, 1) for _ in range(3))
    if self.config.each != 2:
        raise ValueError(f"{self.config.heads} heads")
    found = F.scaled_dot_product_attention(q, k, v) * self.scale
    return self.fixed(found).flatten(1) * self.weight


def everything_allowed(self, x):
    def inner(y, times=2):
        nonlocal x
        x = x + 1
        return scaled(y, times)

    if x.dim() != 2:
        raise ValueError(f"{x.shape}")
    with torch.no_grad():
        x = nested(without_gradient(x))[0]
    best = max(SCALES, key=lambda one: one * self.rate)
    penalty = sum(p.square().sum() for p in self.blocks.parameters())
    return torch.stack([inner(x), self.act(x)]).sum(0) * best * math.pi + penalty


def items(self, x):
    x, outputs = x.clone(), {}
    x[:, 0] = 1
    for index, block in enumerate(self.blocks):
        outputs[index] = block(x)
    del outputs[0]
    return outputs[1].to(next(self.parameters()).dtype)


GOOD = {
    "usual": net(usual),
    "items": net(items),
    "attention": net(attention, config=Config()),
    "everything": net(everything_allowed, rate=2, act=F.gelu),
    "frozen configuration": net(lambda self, x: x * self.config.rate, config=Frozen()),
    "a loss of torch's": net(lambda self, x: self.loss(x, x), loss=nn.MSELoss()),
    "partial that is not read": net(usual, make=functools.partial(nn.LayerNorm, eps=1e-6)),
    "namespace": net(lambda self, x: x * self.config.width, config=SimpleNamespace(width=2)),
    "own function": net(lambda self, x: self.act(x), act=scaled),
    "list that is not read": net(lambda self, x: self.layer(x), calls=[]),
    "within torch's": nn.Sequential(net(usual), nn.Linear(12, 4)),
    "made of torch's": type("Own", (nn.Linear,), {"forward": lambda self, x: F.linear(x, self.weight.abs())})(4, 4),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_vouches_for(name):
    assert known(GOOD[name], Digits()) is not None


def writes(self, x):
    self.calls = 1
    return x


def writes_deep(self, x):
    self.config.width += 1
    return x


def in_place(self, x):
    mine = self.calls
    mine += [1]
    return x * len(mine)


def item_of_a_list(self, x):
    self.calls[0] += 1
    return x


def item_of_a_global(self, x):
    TABLE[0] = 2.0
    return x


def imports(self, x):
    import numpy

    return x * numpy.pi


def instantiates(self, x):
    return Config().width * x


def by_name(self, x):
    return getattr(self, "layer")(x)  # noqa: B009


def of_class(self, x):
    return x * self.__class__.total


def prints(self, x):
    print(x.shape)
    return x


class Getting(Net):
    def __getattr__(self, name):
        return super().__getattr__(name) if name != "rate" else time.time()

    def forward(self, x):
        return self.layer(x)


class OwnProduct(nn.Conv2d):
    """torch's forward calls it."""

    def _conv_forward(self, *given):
        seen.append(1)
        return super()._conv_forward(*given)


class Slotted:
    __slots__ = ("width",)


class Attributes(dict):
    __getattr__ = dict.__getitem__


class Remembers(list):
    """Of Python's own, with attributes."""


class Own(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class Wrapper:
    """Names itself as what it wraps."""

    def __init__(self):
        functools.update_wrapper(self, F.relu)

    def __call__(self, x):
        seen.append(1)
        return x


def logged(function):
    @functools.wraps(function)
    def inner(*given):
        return function(*given)

    return inner


@logged
def good(x):
    return x + 1


@logged
def bad(x):
    seen.append(1)
    return x


def with_place(x):
    with_place.calls.append(1)
    return x


with_place.calls = []


def counter():
    count = 0

    def forward(self, x):
        nonlocal count
        count += 1
        return x * count

    return forward


def writes_within(self, x):
    def inner(y):
        self.last = y
        return y

    return inner(x)


def configured(self, x):
    return x * self.config.a


def makes_a_class(self, x):
    class Inside:
        total = 1

    return x * Inside.total


def by_keyword(self, x, *, kept=[]):  # noqa: B006
    return x * len(kept)


def emptied():
    rate = 2.0

    def forward(self, x):
        return x * rate  # noqa: F821

    del rate
    return forward


def patched():
    network = net(usual)
    network.forward = bad
    return network


def hooked():
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda *_: None)
    return loss


def closed_over(changes):
    return lambda self, x: x * len(changes)


BAD = {
    "attribute": net(writes),
    "attribute of an attribute": net(writes_deep, config=Config()),
    "list in place": net(in_place, calls=[]),
    "list": net(lambda self, x: x * len(self.calls), calls=[]),
    "dict": net(lambda self, x: x * self.table["a"], table={"a": 1}),
    "item": net(item_of_a_list, calls=[0]),
    "item of a global": net(item_of_a_global),
    "global that is written": net(lambda self, x: counting(x)),
    "list of the module": net(lambda self, x: x * TABLE[0]),
    "default": net(lambda self, x: remembering(x)),
    "closure": net(closed_over([])),
    "time": net(lambda self, x: x * time.time()),
    "numpy": net(lambda self, x: x * numpy.random.rand()),
    "random": net(lambda self, x: x * random.random()),
    "method of an object": net(lambda self, x: x * draw()),
    "import": net(imports),
    "object": net(instantiates),
    "by name": net(by_name),
    "class": net(of_class),
    "print": net(prints),
    "wrapped": net(lambda self, x: without_gradient_but_counting(x)),
    "attributes on demand": Getting(),
    "called by torch": OwnProduct(4, 4, 1),
    "second of two functions of one code": net(lambda self, x: bad(good(x))),
    "place in a function": net(lambda self, x: with_place(x)),
    "counter": net(counter()),
    "writes within": net(writes_within),
    "makes a class": net(makes_a_class),
    "default by keyword": net(by_keyword),
    "emptied cell": net(emptied()),
    "tensor": net(lambda self, x: x * float(self.rate), rate=torch.tensor(2.0)),
    "dict with attributes": net(lambda self, x: x * self.config.rate, config=Attributes(rate=2)),
    "own list": net(in_place, calls=Remembers()),
    "class's own dict": type("Made", (Net,), {"config": Attributes(a=1), "forward": configured})(),
    "layer beside": net(lambda self, x: self.layers(x), layers=(nn.Sequential(Own()),)),
    "loss with a hook": net(lambda self, x: self.loss[0](x, x), loss=(hooked(),)),
    "named as torch's": net(lambda self, x: self.act(x), act=Wrapper()),
    "attribute's attribute": net(lambda self, x: self.act(self, x), act=lambda m, x: x * len(m.kept), kept=[]),
    "forward of its own": patched(),
    "slots": net(lambda self, x: x * self.config.width, config=Slotted()),
    "partial": net(lambda self, x: self.act(x), act=functools.partial(scaled, by=3)),
    "activation": nn.TransformerEncoderLayer(4, 1, 4, activation=counting),
    "inside": nn.Sequential(nn.Linear(4, 4), net(writes)),
    "train": type("Trains", (Net,), {"forward": usual, "train": lambda self, mode=True: seen.append(mode) or self})(),
}


@pytest.mark.parametrize("name", BAD)
def test_it_does_not_vouch_for(name):
    assert known(BAD[name], Digits()) is None


def test_of_hooks_nobody_knows():
    network = net(usual)
    assert known(network, Digits()) is not None
    network.blocks[0].register_forward_hook(lambda *_: None)
    assert known(network, Digits()) is None


class Mine(Classification):
    def __init__(self):
        self.weights, self.epoch = [1.0], 0

    def data(self, seed):
        self.seeds = seed

    def model(self):
        return net(usual)

    def augment(self, batch, generator):
        self.epoch += 1
        return batch


class Formal(Task):
    """Of a protocol's class."""

    semantics, metrics = 1, ("loss",)

    def measure(self, model, *batch):
        return {"loss": F.mse_loss(model(batch[0]), batch[1])}


class Smoothed(Mine):
    def measure(self, model, *batch):
        loss = F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1)
        return {**super().measure(model, *batch), "loss": loss}


class Weighted(Mine):
    def measure(self, model, *batch):
        return {"loss": super().measure(model, *batch)["loss"] * self.weights[0]}


class Replaced(Mine):
    def __init__(self):
        super().__init__()
        self.measure = self.other

    def other(self, model, *batch):
        seen.append(1)


@pytest.mark.parametrize("task", [Mine, Formal, Smoothed])
def test_measure_is_read(task):
    assert known(nn.Linear(4, 4), task()) is not None


@pytest.mark.parametrize("task", [Weighted, Replaced])
def test_a_measure_that_may_change_is_not_vouched_for(task):
    assert known(nn.Linear(4, 4), task()) is None


# What it takes from elsewhere -----------------------------------------------------------------------------------------


class Curriculum(Mine):
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    power = 1

    def __init__(self):
        super().__init__()
        self.config = Config()

    def measure(self, model, *batch):
        return {
            "loss": self.loss(model(batch[0]), batch[1])
            * self.epoch
            * factor
            * self.config.width
            * self.rate() ** self.power
        }

    rate = staticmethod(lambda: 1.0)


def changed_global():
    global factor
    factor += 1


CHANGES = {
    "number": lambda task: setattr(task, "epoch", 5),
    "number of the class": lambda task: setattr(task, "power", 2),
    "method of its own": lambda task: setattr(task, "rate", lambda: 2.0),
    "by augment": lambda task: task.augment(None, None),
    "kind of number": lambda task: setattr(task, "epoch", 0.0),
    "global": lambda task: changed_global(),
    "configuration": lambda task: setattr(task.config, "width", 8),
    "another configuration": lambda task: setattr(task, "config", Config()),
    "method": lambda task: setattr(Curriculum, "rate", staticmethod(lambda: 2.0)),
    "of a loss": lambda task: setattr(task.loss, "label_smoothing", 0.2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_read_is_watched(change, monkeypatch):
    monkeypatch.setattr(Curriculum, "rate", Curriculum.__dict__["rate"])
    monkeypatch.setattr(Curriculum, "loss", nn.CrossEntropyLoss(label_smoothing=0.1))
    task = Curriculum()
    watched = known(nn.Linear(4, 4), task)
    before = watched()
    assert before == watched() == known(nn.Linear(4, 4), task)()
    task.seeds = 5  # nobody reads it
    assert watched() == before
    CHANGES[change](task)
    try:
        assert watched() != before
    except TypeError:  # of another object nobody knows
        assert change in ("another configuration", "method", "method of its own")


def test_a_variable_of_a_function_is_watched():
    rate = 1.0

    def change():
        nonlocal rate
        rate = 2.0

    watched = known(net(lambda self, x: x * rate), Digits())
    before = watched()
    change()
    assert watched() != before


def test_a_list_in_the_place_of_a_number_is_seen():
    network = net(lambda self, x: x * self.rate, rate=2.0)
    watched = known(network, Digits())
    network.rate = [2.0]
    with pytest.raises(TypeError):
        watched()


def test_what_is_known():
    for each in (torch.relu, F.relu, F.gelu, F.linear, nn.Linear, math.sqrt, torch.Tensor.add):
        assert is_known(each) is (each is not torch.Tensor.add)
    for each in (draw, time.time, torch.Generator().seed, Net, scaled, [].append):
        assert not is_known(each)


def test_every_operation_that_writes_is_refused():
    """Whatever Python's next version calls them."""
    assert {"STORE_ATTR", "STORE_GLOBAL", "DELETE_ATTR", "DELETE_GLOBAL", "STORE_NAME"} <= REFUSED
    assert not {"STORE_FAST", "STORE_DEREF", "LOAD_ATTR"} & REFUSED


def test_what_changes_often_is_not_vouched_for():
    network = net(lambda self, x: x * self.rate, rate=0)
    watched = known(network, Digits())
    for rate in (0, 1, 2, 3, 3, 0):
        network.rate = rate
        watched()
    network.rate = 4
    with pytest.raises(TypeError):
        watched()


def test_networks_that_are_alike_are_watched_alike():
    def make(rate):
        shapes, config = (rate, (2, 3)), Config(width=rate)
        act = lambda x: x * rate  # noqa: E731
        return net(everything_alike, shapes=shapes, config=config, act=act)

    one, same, other = (known(make(rate), Digits())() for rate in (2, 2, 3))
    assert one == same != other


def everything_alike(self, x):
    return self.act(x) * self.shapes[0] * self.config.width
