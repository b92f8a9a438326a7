"""resolve(): shipped names, users' classes and functions, and a message for everything else."""

import itertools
import textwrap

import pytest

from hpsearch.errors import InputError
from hpsearch.hyperparameters import Settings
from hpsearch.tasks import identity, is_task_class, resolve
from hpsearch.tasks.digits import Digits
from hpsearch.training.loop import train

MODULES = (f"user_module_{number}" for number in itertools.count())  # Python keeps a module by its name

BLOBS = """
import torch
from torch import nn
from hpsearch.tasks import Classification, Data

class Blobs(Classification):
    def __init__(self, distance: float = 3.0):
        self.distance = distance

    def data(self, seed):
        draws = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, 2, (300,), generator=draws)
        points = torch.randn(300, 2, generator=draws) + self.distance * labels[:, None]
        return Data((points[:100], labels[:100]), (points[100:200], labels[100:200]), (points[200:], labels[200:]))

    def model(self):
        return nn.Linear(2, 2)

class Unfinished(Classification):
    def model(self):
        return nn.Linear(2, 2)

class Bare:
    metrics = ("loss",)

def train(params, seed, report):
    report(loss=params["x"] ** 2)

def wrong(params):
    pass

flexible = lambda *args, **more: None
number = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a user's module; gives its name. What resolve() does to sys.path is undone."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        name = next(MODULES)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    return write


def test_shipped_names():
    assert resolve("digits") is Digits and is_task_class(resolve("digits"))


def test_a_users_twenty_lines_train(module, tmp_path):
    found = resolve(f"{module(BLOBS)}:Blobs", tmp_path)
    assert is_task_class(found)
    outcome = train(found(distance=4.0), Settings.merge({"epochs": 5, "batch_size": 10, "rho": 0.05}), seed=0)
    assert outcome.status == "complete" and outcome.metrics["test_accuracy"] > 0.95
    assert outcome.cost.backward_samples == 5 * 2 * 100
    assert train(found(distance=0.0), Settings.merge({"epochs": 5}), seed=0).metrics["test_accuracy"] < 0.65


def test_a_plain_function_is_a_task(module, tmp_path):
    found = resolve(f"{module(BLOBS)}:train", tmp_path)
    assert not is_task_class(found)
    assert identity("mine:train", found, {}) == {"name": "mine:train", "semantics": 1, "options": {}}


def test_a_packages_module_is_found(tmp_path, module):
    module("")
    package = tmp_path / next(MODULES)
    package.mkdir()
    (package / "part.py").write_text(BLOBS)
    assert resolve(f"{package.name}.part:train", tmp_path).__name__ == "train"


def test_identity_holds_changed_options_only():
    assert identity("digits", Digits, {"model": "mlp", "label_noise": 0.3})["options"] == {"label_noise": 0.3}
    assert identity("digits", Digits, {})["options"] == {}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digit", ["no task named 'digit'", "digits, breast_cancer", "did you mean 'digits'?"]),
        ("zzz", ["no task named 'zzz'", "package.module:ClassName"]),
        ("a b:c", ["must look like package.module:ClassName"]),
        ("mod:", ["must look like"]),
        (":Class", ["must look like"]),
        ("mod:Class:more", ["must look like"]),
        ("no_such_module_here:Task", ["there is no module 'no_such_module_here'", "looked in"]),
        ("no_such_package.part:Task", ["there is no module 'no_such_package'"]),
        ("USER:Blob", ["has no 'Blob'", "did you mean 'Blobs'?", "user_module_"]),
        ("USER:zzz", ["has no 'zzz'"]),
        ("USER:Unfinished", ["the class lacks data", "hpsearch.tasks.Classification"]),
        ("USER:Bare", ["the class lacks semantics, data, model, measure, chance"]),
        ("USER:wrong", ["must take (params, seed, report), but takes (params)"]),
        ("USER:number", ["is a int", "a function train(params, seed, report)"]),
    ],
)
def test_what_is_wrong_is_said(name, parts, module, tmp_path):
    user = module(BLOBS)
    with pytest.raises(InputError) as caught:
        resolve(name.replace("USER", user), tmp_path)
    for part in parts:
        assert part in str(caught.value)
    assert ("did you mean" in str(caught.value)) == any("did you mean" in part for part in parts)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 / 0", "importing USER failed: ZeroDivisionError: division by zero"),
        ("def broken(:", "importing USER failed: SyntaxError"),
        ("import no_such_library_here", "no module 'no_such_library_here'; install it"),
    ],
)
def test_an_import_that_raises_is_told(text, part, module, tmp_path):
    name = module(text)
    with pytest.raises(InputError, match=part.replace("USER", name)):
        resolve(f"{name}:Task", tmp_path)


def test_any_signature_that_takes_the_three_will_do(module, tmp_path):
    assert callable(resolve(f"{module(BLOBS)}:flexible", tmp_path))
