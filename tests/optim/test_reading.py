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


GOOD = {
    "usual": net(usual),
    "attention": net(attention, config=Config()),
    "everything": net(everything_allowed, rate=2, act=F.gelu),
    "namespace": net(lambda self, x: x * self.config.width, config=SimpleNamespace(width=2)),
    "own function": net(lambda self, x: self.act(x), act=scaled),
    "list that is not read": net(lambda self, x: self.layer(x), calls=[]),
    "within torch's": nn.Sequential(net(usual), nn.Linear(12, 4)),
    "made of torch's": type("Own", (nn.Linear,), {"forward": lambda self, x: F.linear(x, self.weight.abs())})(4, 4),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_vouches_for(name):
    assert known(GOOD[name], Digits())


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


def item(self, x):
    x[0] = 1
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


class Switched(Net):
    """forward reads what another method writes."""

    def switch(self, rate):
        self.rate = rate

    def forward(self, x):
        return x * self.rate


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


def closed_over(changes):
    return lambda self, x: x * len(changes)


BAD = {
    "attribute": net(writes),
    "attribute of an attribute": net(writes_deep, config=Config()),
    "list in place": net(in_place, calls=[]),
    "list": net(lambda self, x: x * len(self.calls), calls=[]),
    "dict": net(lambda self, x: x * self.table["a"], table={"a": 1}),
    "item": net(item),
    "global that is written": net(lambda self, x: counting(x)),
    "variable": net(lambda self, x: x * factor),
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
    "written elsewhere": Switched(rate=2),
    "attributes on demand": Getting(),
    "called by torch": OwnProduct(4, 4, 1),
    "slots": net(lambda self, x: x * self.config.width, config=Slotted()),
    "partial": net(lambda self, x: self.act(x), act=functools.partial(scaled, by=3)),
    "activation": nn.TransformerEncoderLayer(4, 1, 4, activation=counting),
    "inside": nn.Sequential(nn.Linear(4, 4), net(writes)),
    "train": type("Trains", (Net,), {"forward": usual, "train": lambda self, mode=True: seen.append(mode) or self})(),
}


@pytest.mark.parametrize("name", BAD)
def test_it_does_not_vouch_for(name):
    assert not known(BAD[name], Digits())


def test_of_hooks_nobody_knows():
    network = net(usual)
    assert known(network, Digits())
    network.blocks[0].register_forward_hook(lambda *_: None)
    assert not known(network, Digits())


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


class Curriculum(Mine):
    def measure(self, model, *batch):
        return {"loss": super().measure(model, *batch)["loss"] * self.epoch}


class Weighted(Mine):
    def measure(self, model, *batch):
        return {"loss": super().measure(model, *batch)["loss"] * self.weights[0]}


@pytest.mark.parametrize(
    "task, expected", [(Mine, True), (Formal, True), (Smoothed, True), (Curriculum, False), (Weighted, False)]
)
def test_measure_is_read_and_what_it_reads_is_written_by_no_one(task, expected):
    assert known(nn.Linear(4, 4), task()) is expected


def test_what_is_known():
    for each in (torch.relu, F.relu, F.gelu, F.linear, nn.Linear, math.sqrt, torch.Tensor.add):
        assert is_known(each) is (each is not torch.Tensor.add)
    for each in (draw, time.time, torch.Generator().seed, Net, scaled, [].append):
        assert not is_known(each)


def test_every_operation_that_writes_is_refused():
    """Whatever Python's next version calls them."""
    assert {"STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR", "DELETE_ATTR", "STORE_NAME"} <= REFUSED
    assert not {"STORE_FAST", "STORE_DEREF", "LOAD_ATTR"} & REFUSED
