"""The cross-entropy that bundles take is torch's, whatever is asked of it."""

import pytest
import torch
from torch import nn
from torch.func import grad_and_value, vmap

from hpsearch.training.losses import FEW, FewClasses

OPTIONS = [
    {},
    {"ignore_index": 1},
    {"ignore_index": 0, "reduction": "sum"},
    {"reduction": "sum"},
    {"label_smoothing": 0.1},
    {"weight": torch.tensor([1.0, 2.0, 0.5])},
    {"weight": torch.tensor([1.0, 2.0, 0.5]), "label_smoothing": 0.2},
]
USED = {0: True, 1: True}  # of the options: those that are computed otherwise


def both(loss, logits, targets):
    """(values, gradients) of trials together: torch's own, and within the mode; and the operations of the latter."""
    usual = vmap(grad_and_value(loss))(logits, targets)
    with FewClasses(), torch.profiler.profile() as profile:
        found = vmap(grad_and_value(loss))(logits, targets)
    return usual[::-1], found[::-1], {event.key for event in profile.key_averages()}


def given(classes=3, kind=torch.float32):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 20, classes, generator=draw, dtype=torch.float64).to(kind)
    return logits, torch.randint(classes, (4, 20), generator=draw)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_it_is_torchs(number, kind):
    options = OPTIONS[number]
    if "weight" in options:
        options = {**options, "weight": options["weight"].to(kind)}
    for loss in (lambda x, y: nn.functional.cross_entropy(x, y, **options), nn.CrossEntropyLoss(**options)):
        usual, found, operations = both(loss, *given(kind=kind))
        torch.testing.assert_close(found, usual)
        assert ("aten::nll_loss_forward" not in operations) == USED.get(number, False)


def test_samples_that_do_not_count():
    logits, targets = given()
    targets[0], targets[1, :19] = -100, -100
    usual, found, _ = both(nn.functional.cross_entropy, logits, targets)
    torch.testing.assert_close(found, usual, equal_nan=True)  # of none at all the mean is not a number
    assert found[0][0].isnan() and not found[0][1:].isnan().any()


@pytest.mark.parametrize("classes, few", [(2, True), (FEW, True), (FEW + 1, False)])
def test_of_many_classes_it_is_torchs_own(classes, few):
    usual, found, operations = both(nn.functional.cross_entropy, *given(classes))
    torch.testing.assert_close(found, usual)
    assert ("aten::nll_loss_forward" not in operations) == few


@pytest.mark.parametrize("case", ["shares", "pixels", "half", "one sample"])
def test_what_it_is_not_made_for_is_torchs_own(case):
    logits, targets = given()
    if case == "shares":
        targets = logits.softmax(2)
    if case == "pixels":
        logits, targets = logits.reshape(4, 5, 3, 4), torch.ones(4, 5, 4, dtype=torch.long)
    if case == "half":
        logits = logits.bfloat16()
    if case == "one sample":
        logits, targets = logits[:, 0], targets[:, 0]
    usual, found, _ = both(nn.functional.cross_entropy, logits, targets)
    assert torch.equal(found[0], usual[0]) and torch.equal(found[1], usual[1])


def test_a_target_that_is_no_class_raises_as_it_does_alone():
    logits, targets = given()
    targets[2, 3] = 7
    with pytest.raises((IndexError, RuntimeError)), FewClasses():
        vmap(nn.functional.cross_entropy)(logits, targets)
