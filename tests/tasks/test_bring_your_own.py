"""A user's own class or function: both train; what a class lacks or gives wrongly is told before a study begins."""

from __future__ import annotations

import itertools
import sys
import textwrap

import pytest
import torch
from torch import nn

from hpsearch.errors import InputError
from hpsearch.tasks import Classification, Data, resolve
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.tasks.interface import SIGNATURES, class_problem
from hpsearch.tasks.protocol import DataError, Task
from hpsearch.tasks.regression import Regression
from hpsearch.tasks.trial_run import try_task
from hpsearch.training.pack import PackOrder, run_trial

MODULES = (f"own_module_{number}" for number in itertools.count())  # Python keeps a module by its name

OWN = '''
"""A class of one's own in full, and a function."""
import torch
from torch import nn
from hpsearch.tasks import Data

class Density:
    """Fits a normal density; the loss may be negative, and nothing is a class."""
    semantics = 1
    metrics = ("loss", "spread")

    def __init__(self, mean: float = 2.0):
        self.mean = mean

    def data(self, seed):
        draws = torch.Generator().manual_seed(0)
        rows = self.mean + torch.randn(300, 1, generator=draws)
        return Data((rows[:200],), (rows[200:250],), (rows[250:],))

    def model(self):
        return nn.Linear(1, 2)

    def measure(self, model, rows):
        mean, log_sd = model(torch.ones_like(rows)).unbind(1)
        loss = (log_sd + 0.5 * ((rows[:, 0] - mean) / log_sd.exp()) ** 2).mean()
        return {"loss": loss, "spread": log_sd.exp().mean()}

    def chance(self, data):
        return {"train_loss": 10.0, "val_loss": 10.0, "val_spread": 0.0, "test_loss": 10.0, "test_spread": 0.0}

def train(params, seed, report):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=params["lr"])
    for _ in range(params["epochs"]):
        optimizer.zero_grad()
        loss = (weight - 3).square().sum()
        loss.backward()
        optimizer.step()
        report(val_loss=loss.item())
'''


def order(task, folder, params, objectives, options=None):
    return PackOrder(task, options or {}, str(folder), params, (0,), objectives, 1, "cpu")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a user's module into a folder; gives its name."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text, package=None):
        name = next(MODULES)
        folder = tmp_path / package if package else tmp_path
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return f"{package}.{name}" if package else name

    return write


def test_a_class_that_is_no_classification_trains(own, tmp_path):
    name = f"{own(OWN, package='own_package')}:Density"
    try_task(resolve(name, tmp_path)())
    report = run_trial(order(name, tmp_path, {"epochs": 40, "lr": 0.1, "rho": 0.05}, ("val_loss",), {"mean": 1.0}), 0)
    assert report.outcome.status == "complete", report.outcome.error
    assert 0.7 < report.outcome.metrics["test_spread"] < 1.3


def test_a_function_trains(own, tmp_path):
    name = f"{own(OWN)}:train"
    report = run_trial(order(name, tmp_path, {"epochs": 30, "lr": 0.1}, ("val_loss",)), 0)
    assert report.outcome.status == "complete", report.outcome.error
    assert report.outcome.metrics["val_loss"] < 0.01 and len(report.outcome.curve["val_loss"]) == 30


# What a class may get wrong without an object of it being made: the class body, the parts of the message.
WRONG_CLASSES = {
    "semantics": ("semantics = 'one'", ["semantics is 'one'", "semantics = 1"]),
    "semantics true": ("semantics = True", ["semantics is true", "a whole number"]),
    "metrics a text": ("metrics = 'loss'", ["metrics is 'loss'", 'metrics = ("loss", "accuracy")']),
    "metrics of numbers": ("metrics = ('loss', 3)", ["metrics is ('loss', 3)", "a tuple of names"]),
    "no loss": ("metrics = ('accuracy',)", ["without the loss"]),
    "twice": ("metrics = ('loss', 'loss')", ["names one twice"]),
    "no seed": ("def data(self): ...", ["data(self) cannot be called", "def data(self, seed: int) -> Data"]),
    "data of two": ("def data(self, seed, path): ...", ["data(self, seed, path)", "data(self, seed: int)"]),
    "model of one": ("def model(self, width): ...", ["model(self, width)", "def model(self) -> nn.Module"]),
    "measure of none": ("def measure(self, model): ...", ["measure(self, model)", "*batch: Tensor"]),
    "chance of none": ("def chance(self): ...", ["chance(self)", "def chance(self, data: Data)"]),
    "data a value": ("data = 3", ["data is 3", "it must be a method"]),
    "augment": ("def augment(self, batch): ...", ["augment(self, batch)", "generator: torch.Generator"]),
    "crop": ("def crop(self, batch): ...", ["crop(self, batch)", "length: int"]),
    "summarize": ("def summarize(self): ...", ["summarize(self)", "means: dict[str, float]"]),
    "identity": ("def identity(self, options): ...", ["identity is no class method", "@classmethod"]),
    "generator": ("def data(self, seed): yield 3", ["a coroutine or a generator"]),
    "static": ("@staticmethod\ndef data(): ...", ["data() cannot be called"]),
}


@pytest.mark.parametrize("case", WRONG_CLASSES)
def test_what_is_wrong_with_a_class_is_told(case, own, tmp_path):
    body, parts = WRONG_CLASSES[case]
    name = own(OWN + "\nclass Wrong(Density):\n" + textwrap.indent(body, "    "))
    with pytest.raises(InputError) as caught:
        resolve(f"{name}:Wrong", tmp_path)
    for part in [f"task '{name}:Wrong'", *parts]:
        assert part in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 400  # a longer one is cut in the study's message


@pytest.mark.parametrize(
    "body",
    [
        "def data(self, seed=0, more=None): ...",
        "def data(self, *anything): ...",
        "def measure(self, model, inputs, targets, mask): ...",
        "def measure(self, model, *batch, scale=1.0): ...",
        "@staticmethod\ndef data(seed): ...",
        "@classmethod\ndef identity(cls, options): return options",
        "@staticmethod\ndef identity(options): return options",
    ],
)
def test_what_can_be_called_as_it_will_be_is_not_refused(body, own, tmp_path):
    name = own(OWN + "\nclass Right(Density):\n" + textwrap.indent(body, "    "))
    assert resolve(f"{name}:Right", tmp_path).__name__ == "Right"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("class T(Density):\n    chance = None", ["chance is null", "it must be a method"]),
        ("class T:\n    data = model = measure = lambda self: 0\n    metrics = ('loss',)", ["lacks semantics, chance"]),
        ("from hpsearch.tasks import Classification\nclass T(Classification): ...", ["lacks data, model", "seed: int"]),
        (
            "from hpsearch.tasks import Classification\nclass T(Classification):\n    def dta(self, seed): ...\n"
            "    def model(self): ...",
            ["lacks data (it has 'dta')", "def data(self, seed: int) -> Data"],
        ),
        ("class T(torch.utils.data.Dataset): ...", ["lacks semantics, metrics", "give all of hpsearch.tasks.Task"]),
    ],
)
def test_what_a_class_lacks_is_told(text, parts, own, tmp_path):
    with pytest.raises(InputError) as caught:
        resolve(f"{own(OWN + text)}:T", tmp_path)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_signatures_that_are_told_are_the_protocols():
    import inspect

    for name in ("data", "model", "measure", "chance"):
        told = SIGNATURES[name].removeprefix(f"def {name}").replace("nn.Module", "nn.Module")
        assert str(inspect.signature(getattr(Task, name))).replace("'", "") == told
    assert class_problem(Digits) is None and class_problem(BreastCancer) is None


class Right(Classification):
    """What the cases below get wrong, one at a time."""

    def data(self, seed):
        draws = torch.Generator().manual_seed(seed)
        inputs, targets = torch.randn(30, 4, generator=draws), torch.arange(30) % 3
        return Data(*((inputs[rows], targets[rows]) for rows in (slice(12), slice(12, 21), slice(21, 30))))

    def model(self):
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))


class Free:
    """A task that is no Classification, so that measure and chance are its own."""

    semantics = 1
    metrics = ("loss", "error")

    def data(self, seed):
        rows = torch.linspace(-1, 1, 12)[:, None]
        return Data((rows[::2], rows[::2]), (rows[1::4], rows[1::4]), (rows[3::4], rows[3::4]))

    def model(self):
        return nn.Linear(1, 1)

    def measure(self, model, inputs, targets):
        loss = (model(inputs) - targets).square().mean()
        return {"loss": loss, "error": loss.sqrt()}

    def chance(self, data):
        return {name: 1.0 for name in ("train_loss", "val_loss", "val_error", "test_loss", "test_error")}


class Line(Regression):
    def data(self, seed):
        rows = torch.linspace(-1, 1, 12)[:, None]
        return Data((rows[::2], rows[::2, 0]), (rows[1::4], rows[1::4, 0]), (rows[3::4], rows[3::4, 0]))

    def model(self):
        return nn.Linear(1, 1)


@pytest.mark.parametrize("task", [Right(), Free(), Line(), Digits(), Digits(model="convnet"), BreastCancer()])
def test_a_right_task_passes_and_leaves_no_trace(task):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    try_task(task)
    assert torch.equal(torch.rand(2), expected)


def with_methods(base, **methods):
    return type("Mine", (base,), methods)()


def splits(train, val=None, test=None):
    val = train if val is None else val
    return lambda self, seed: Data(train, val, val if test is None else test)


def raises(self, *anything):
    raise OSError("no such file in\nmy folder")


X, Y = torch.randn(6, 4), torch.arange(6) % 3
BAD = torch.where(torch.arange(24).reshape(6, 4) == 9, torch.nan, X)
ONE = torch.tensor(1.0)
FULL = {"train_loss": 1.0} | {f"{split}_{name}": 1.0 for split in ("val", "test") for name in Line.metrics}


def free(measure):
    return with_methods(Free, measure=lambda self, model, x, y: measure(model, x, (model(x) - y).square().mean()))


WRONG_TASKS = {
    "data raises": (with_methods(Right, data=raises), ["Mine.data(0) failed in test_bring_your_own.py:", "OSError"]),
    "no Data": (with_methods(Right, data=lambda self, seed: (X, Y)), ["gave a tuple", "Data(train, val, test)"]),
    "none": (with_methods(Right, data=lambda self, seed: None), ["gave None"]),
    "a tensor": (
        with_methods(Right, data=splits(X)),
        ["the split train as a tensor of shape (6, 4)", "(inputs, targets)"],
    ),
    "arrays": (with_methods(Right, data=splits((X.numpy(), Y))), ["train as a ndarray, a tensor"]),
    "lengths": (with_methods(Right, data=splits((X, Y[:5]))), ["different lengths in train (shapes (6, 4), (5,))"]),
    "empty train": (with_methods(Right, data=splits((X[:0], Y[:0]), (X, Y))), ["train without samples"]),
    "empty val": (with_methods(Right, data=splits((X, Y), (X[:0], Y[:0]))), ["val without samples"]),
    "empty test": (with_methods(Right, data=splits((X, Y), (X, Y), (X[:0], Y[:0]))), ["test without samples"]),
    "scalar": (with_methods(Right, data=splits((X, ONE))), ["train without samples (shapes (6, 4), ())"]),
    "three": (with_methods(Right, data=splits((X, Y, Y), (X, Y))), ["different numbers of tensors"]),
    "nan": (with_methods(Right, data=splits((BAD, Y))), ["NaN or infinite numbers in train, tensor 0, sample 2"]),
    "float classes": (with_methods(Right, data=splits((X, Y.float()))), ["torch.float32 in train", "torch.int64"]),
    "one-hot": (with_methods(Right, data=splits((X, torch.eye(6).long()))), ["targets of shape (6, 6)", "(N,)"]),
    "classes from -1": (with_methods(Right, data=splits((X, Y - 1))), ["from -1 on in train", "class numbers from 0"]),
    "too few logits": (
        with_methods(Right, data=splits((X, Y), (X, Y), (X, Y + 1))),
        ["Mine.model() on inputs of shape (2, 4) gave shape (2, 3)", "logits (N, 4)"],
    ),
    "wrong width": (with_methods(Right, model=lambda self: nn.Linear(5, 3)), ["on (2, 4) failed in", "RuntimeError"]),
    "model raises": (with_methods(Right, model=raises), ["Mine.model() failed in test_bring_your_own.py"]),
    "no module": (
        with_methods(Right, model=lambda self: lambda x: x),
        ["Mine.model() gave a function", "torch.nn.Module"],
    ),
    "class for model": (with_methods(Right, model=lambda self: nn.Linear), ["gave a type"]),
    "nothing to train": (with_methods(Right, model=lambda self: nn.Flatten()), ["without a parameter to train"]),
    "frozen": (
        with_methods(Right, model=lambda self: nn.Linear(4, 3).requires_grad_(False)),
        ["without a parameter to train"],
    ),
    "lazy": (with_methods(Right, model=lambda self: nn.LazyLinear(3)), ["a lazy network", "sizes given"]),
    "measure raises": (with_methods(Free, measure=raises), ["in training mode failed", "no such file in my folder"]),
    "measure a tensor": (free(lambda model, x, loss: loss), ["gave a tensor of shape ()", "a dict"]),
    "no loss": (free(lambda model, x, loss: {"mse": loss}), ["no 'loss', but mse"]),
    "loss a number": (free(lambda model, x, loss: {"loss": loss.item(), "error": loss}), ["'loss' as a float"]),
    "loss not reduced": (
        free(lambda model, x, loss: {"loss": model(x)[:, 0]}),
        ["'loss' of shape (2,)", "loss.mean()"],
    ),
    "loss detached": (free(lambda model, x, loss: {"loss": loss.detach()}), ["a loss without a gradient"]),
    "loss of nothing": (
        free(lambda model, x, loss: {"loss": ONE.clone().requires_grad_()}),
        ["a loss that no parameter of the model leads to"],
    ),
    "loss NaN": (free(lambda model, x, loss: {"loss": loss * torch.nan}), ["a loss of nan"]),
    "other names": (
        free(lambda model, x, loss: {"loss": loss, "mistake": loss}),
        ["in evaluation mode, on val, gave the names loss, mistake", "loss, error"],
    ),
    "a name less": (free(lambda model, x, loss: {"loss": loss}), ["gave the names loss;"]),
    "fails on val": (
        with_methods(Free, data=splits((X[:, :1], X[:, :1]), (X, X))),
        ["in evaluation mode, on val, failed in test_bring_your_own.py"],
    ),
    "chance raises": (with_methods(Free, chance=raises), ["Mine.chance(data) failed"]),
    "chance a number": (with_methods(Free, chance=lambda self, data: 1.0), ["Mine.chance(data) gave a float"]),
    "chance lacks": (
        with_methods(Free, chance=lambda self, data: {"train_loss": 1.0, "val_loss": 1.0, "val_error": 1.0}),
        ["no 'test_loss'", "train_loss, val_loss, val_error, test_loss, test_error"],
    ),
    "chance NaN": (
        with_methods(Free, chance=lambda self, data: {**Free.chance(self, data), "val_error": float("nan")}),
        ["'val_error' as nan", "a finite number"],
    ),
    "summarize lacks": (
        with_methods(Line, summarize=lambda self, means: {"loss": 1.0}, chance=lambda self, data: FULL),
        ["Mine.summarize(means) gave the names loss; it must give those of", "loss, rmse, r2"],
    ),
    "augment gives one": (
        with_methods(Right, augment=lambda self, batch, draw: batch[0]),
        ["Mine.augment(batch, generator) gave a tensor of shape (2, 4)", "as many samples"],
    ),
    "augment drops": (
        with_methods(Right, augment=lambda self, batch, draw: tuple(part[:1] for part in batch)),
        ["Mine.augment(batch, generator) gave a tuple", "as many samples"],
    ),
    "lengths without crop": (
        with_methods(Right, data=lambda self, seed: Data((X, Y), (X, Y), (X, Y), {"train": torch.ones(6)})),
        ["lengths, but the class has no crop"],
    ),
    "lengths of others": (
        with_methods(Right, data=lambda self, seed: Data((X, Y), (X, Y), (X, Y), {"train": torch.ones(5)})),
        ["lengths['train'] of shape (5,)"],
    ),
}


@pytest.mark.parametrize("case", WRONG_TASKS)
def test_what_a_task_gives_wrongly_is_told_before_it_trains(case):
    task, parts = WRONG_TASKS[case]
    with pytest.raises(InputError) as caught:
        try_task(task)
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert message.startswith("Mine.") and "\n" not in message and len(message) < 400, message


def test_what_the_task_itself_says_about_its_data_passes_through():
    def says(self, seed):
        raise DataError("path", "no images", "download them")

    with pytest.raises(DataError, match="no images"):
        try_task(with_methods(Right, data=says))


def test_only_two_samples_are_measured():
    seen = []

    def measure(self, model, inputs, targets):
        seen.append(len(inputs))
        return Free.measure(self, model, inputs, targets)

    try_task(with_methods(Free, measure=measure))
    assert seen == [2, 2, 2]
