"""pydoc_lm: what each split holds, the model's causality, its metrics, the trial's identity."""

import math
import os
import random
import re
import subprocess
import sys
from pydoc_data.topics import topics

import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.streams import generator
from hpsearch.tasks import Data, identity, resolve
from hpsearch.tasks import pydoc_lm as module
from hpsearch.tasks.networks.gpt import GPT
from hpsearch.tasks.protocol import DataError, OptionError, Task
from hpsearch.tasks.pydoc_lm import PydocLM, split, text_hash, windows
from hpsearch.training.cost import flops_per_sample
from hpsearch.training.loop import train

SMALL = {"context": 16, "layers": 1, "heads": 2, "dim": 16}


def words(text):
    return " ".join(text.split())


def homes_of_passages():
    """The topics that print each passage, its indentation aside."""
    homes = {}
    for name, text in topics.items():
        for passage in text.split("\n\n"):
            homes.setdefault(words(passage), set()).add(name)
    return homes


def parts_of(data):
    return data.train, data.val, data.test


# Splits -------------------------------------------------------------------------------------------------------------


def test_samples_are_consecutive_windows_of_whole_topics():
    train_text, val_text, test_text = split(topics)
    data = PydocLM(context=40).data(0)
    for part, text in zip(parts_of(data), (train_text, val_text, test_text), strict=True):
        (samples,) = part
        assert samples.dtype == torch.uint8 and samples.shape == (len(text) // 41, 41)
        assert samples.numpy().tobytes() == text[: samples.numel()]
    sizes = [len(text) for text in (train_text, val_text, test_text)]
    for size in sizes[1:]:
        assert 0.09 < size / sum(sizes) <= 0.1
    flat = [words(text.decode()) for text in (train_text, val_text, test_text)]
    homes = homes_of_passages()
    for name, text in topics.items():
        own = [passage for passage in map(words, text.split("\n\n")) if homes[passage] == {name} and len(passage) > 60]
        assert len({home for home in range(3) for passage in own if passage in flat[home]}) <= 1, name


def test_nothing_that_is_tested_was_trained_on():
    """Passages of val and test, however they are indented, are nowhere in train, nor in each other."""
    texts = [text.decode() for text in split(topics)]
    flat = [words(text) for text in texts]
    for home in (1, 2):
        passages = [words(passage) for passage in texts[home].split("\n\n")]
        long = [passage for passage in passages if len(passage) > 100]
        assert len(long) > 30
        for other in {0, 1, 2} - {home}:
            assert not [passage for passage in long if passage in flat[other]]


def test_repeats_are_why_passages_are_kept_once():
    """The reference does print the same passages in several topics: split as they come, they would leak."""
    shared = [passage for passage, names in homes_of_passages().items() if len(names) > 1 and len(passage) > 100]
    assert len(shared) > 50


def test_no_passage_is_lost():
    whole = words(" ".join(text.decode() for text in split(topics)))
    missing = [p for text in topics.values() for p in map(words, text.split("\n\n")) if p not in whole]
    assert not missing


def test_a_split_depends_on_names_and_text_alone():
    shuffled = list(topics.items())
    random.Random(1).shuffle(shuffled)
    assert split(dict(shuffled)) == split(topics)
    expected = parts_of(PydocLM().data(0))
    torch.manual_seed(5)
    for part, other in zip(expected, parts_of(PydocLM().data(7)), strict=True):
        assert torch.equal(part[0], other[0])


def test_a_passage_stays_in_the_smallest_topic():
    made = {"long": "alpha beta\n\nonly here\n\ngamma delta", "short": "  alpha\n  beta"}
    parts = b"\n\n".join(part for part in split(made) if part)
    assert parts.count(b"beta") == 1 and b"  alpha\n  beta" in parts
    assert b"only here\n\ngamma delta" in parts


def test_smaller_training_shares_are_part_of_larger_ones():
    def rows(share):
        return [bytes(row.tolist()) for row in PydocLM(context=63, train_fraction=share).data(3).train[0]]

    small, large, whole = rows(0.1), rows(0.5), rows(1.0)
    assert len(small) == round(0.1 * len(whole)) and len(large) == round(0.5 * len(whole))
    assert set(small) < set(large) < set(whole)
    assert large != whole[: len(large)]  # spread over the text, in its order
    rest = iter(whole)
    assert all(row in rest for row in large)
    full, part = PydocLM(context=63).data(0), PydocLM(context=63, train_fraction=0.1).data(0)
    assert torch.equal(full.val[0], part.val[0]) and torch.equal(full.test[0], part.test[0])


def test_windows_do_not_overlap():
    assert windows(b"abcdefgh", 3).tolist() == [[97, 98, 99], [100, 101, 102]]


# Model and metrics --------------------------------------------------------------------------------------------------


def test_a_byte_is_predicted_from_those_before_it_alone():
    torch.manual_seed(0)
    model = GPT(layers=2, heads=2, dim=16, context=12).double()
    text = torch.randint(0, 256, (3, 12), generator=generator(0, "text"), dtype=torch.uint8)
    logits = model(text)
    assert logits.shape == (3, 12, 256)
    changed = text.clone()
    changed[:, 7] += 1
    after = model(changed)
    torch.testing.assert_close(after[:, :7], logits[:, :7], rtol=0, atol=1e-12)
    assert all((after[:, place] - logits[:, place]).abs().max() > 1e-6 for place in range(7, 12))
    torch.testing.assert_close(model(text[:2, :5]), logits[:2, :5], rtol=0, atol=1e-12)  # other samples, shorter


def test_every_parameter_gets_a_gradient_and_the_head_is_the_embedding():
    torch.manual_seed(0)
    task = PydocLM(**SMALL)
    model = task.model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 256 * 16 + 16 * 16 + 12 * 16**2 + 3 * 16
    batch = task.data(0).train[0][:8]
    loss = task.measure(model, batch)["loss"]
    assert abs(float(loss.detach()) - math.log(256)) < 0.05  # small initial weights: nearly even shares
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_measures_by_hand():
    torch.manual_seed(0)
    task = PydocLM(**SMALL)
    assert isinstance(task, Task)
    model, text = task.model(), task.data(0).val[0][:20]
    assert set(task.measure(model, text)) == {"loss"}
    model.eval()
    measured = task.measure(model, text)
    assert set(measured) == set(task.metrics)
    shares = model(text[:, :-1]).softmax(2)  # (20, 16, 256)
    of_next = [
        (shares[row, place, int(text[row, place + 1])], int(shares[row, place].argmax()) == int(text[row, place + 1]))
        for row in range(20)
        for place in range(16)
    ]
    nats = -torch.stack([share for share, _ in of_next]).log().mean()
    torch.testing.assert_close(measured["loss"], nats)
    torch.testing.assert_close(measured["bits_per_byte"], nats / math.log(2))
    assert float(measured["accuracy"]) == pytest.approx(sum(right for _, right in of_next) / len(of_next))


def test_chance_is_the_bytes_shares_of_train():
    task = PydocLM()
    chance = task.chance(task.data(0))
    assert set(chance) == {"train_loss", *(f"{s}_{m}" for s in ("val", "test") for m in task.metrics)}
    targets = [part[0][:, 1:].flatten().tolist() for part in parts_of(task.data(0))]
    shares = {byte: targets[0].count(byte) / len(targets[0]) for byte in set(targets[0])}
    entropy = -sum(share * math.log(share) for share in shares.values())
    assert chance["train_loss"] == pytest.approx(entropy, abs=0.01)
    assert chance["val_accuracy"] == pytest.approx(targets[1].count(ord(" ")) / len(targets[1]))
    assert chance["val_bits_per_byte"] == pytest.approx(chance["val_loss"] / math.log(2))


def test_chance_of_bytes_that_training_lacks_is_finite():
    def samples(*rows):
        return (torch.tensor(rows, dtype=torch.uint8),)

    chance = PydocLM().chance(Data(samples([1, 2, 2, 3]), samples([1, 2, 9, 9]), samples([1, 255, 255, 255])))
    # Shares 2/3 and 1/3, and 1 of 256 for each of the others, over a total of 3 + 254.
    assert chance["train_loss"] == pytest.approx(-(2 * math.log(2 / 257) + math.log(1 / 257)) / 3)
    assert chance["test_loss"] == pytest.approx(math.log(257))
    assert chance["val_accuracy"] == pytest.approx(1 / 3) and chance["test_accuracy"] == 0


def test_dropout_is_at_work_in_training_only():
    torch.manual_seed(0)
    task = PydocLM(**SMALL, dropout=0.5)
    model, text = task.model(), task.data(0).val[0][:4, :-1]
    assert not torch.equal(model(text), model(text))
    model.eval()
    assert torch.equal(model(text), model(text))


def test_attention_is_counted():
    """A context twice as long costs more than twice as much: the products between places are seen."""
    costs = []
    for context in (32, 64):
        task = PydocLM(**{**SMALL, "context": context})
        costs.append(flops_per_sample(task, (task.data(0).train[0][:4],)))
    assert costs[1] > 2 * costs[0]


# Identity and mistakes ----------------------------------------------------------------------------------------------


def test_the_text_is_part_of_the_identity_whatever_the_options():
    found = resolve("pydoc_lm")
    for options in ({}, {"context": 64}, {"dim": 48}):
        options_of_id = identity("pydoc_lm", found, options)["options"]
        assert options_of_id == {**({"dim": 48} if "dim" in options else {}), "text": text_hash()}
    assert re.fullmatch("[0-9a-f]{16}", text_hash())


def test_another_text_is_another_identity(monkeypatch):
    before = text_hash()
    monkeypatch.setattr(module, "_splits", lambda: split({**topics, "new": "a passage that was not there"}))
    assert text_hash() != before and PydocLM.identity({}) == {"text": text_hash()}


def test_the_hash_is_the_same_in_another_process():
    code = "from hpsearch.tasks.pydoc_lm import text_hash; print(text_hash())"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == text_hash()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"context": 0}, "context"),
        ({"context": 5000}, "context"),
        ({"layers": 0}, "layers"),
        ({"dim": 0}, "dim"),
        ({"heads": 0}, "heads"),
        ({"heads": 5}, "heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": math.nan}, "dropout"),
        ({"train_fraction": 0.0}, "train_fraction"),
        ({"train_fraction": 1.1}, "train_fraction"),
        ({"train_fraction": 1e-5}, "train_fraction"),
    ],
)
def test_wrong_options_are_refused_by_name(options, option):
    with pytest.raises(OptionError) as caught:
        PydocLM(**options)
    assert caught.value.option == option


def test_heads_that_do_not_divide_are_told_which_do():
    with pytest.raises(OptionError, match="1, 2, 3, 4, 6, 12"):
        PydocLM(dim=12, heads=5)


def test_a_python_without_the_text_is_told_so(monkeypatch):
    module._splits.cache_clear()
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"without pydoc_data\.topics.*; use a complete CPython") as caught:
        PydocLM()
    assert caught.value.option == "name"


# Trials -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [{"rho": 0.05}, {"rho": 0.05, "num_shards": 4}], ids=["sam", "msam"])
def test_a_trial_learns_more_than_the_bytes_shares(method):
    task = PydocLM(context=16, layers=1, heads=1, dim=16, train_fraction=0.1)
    settings = Settings.merge({"base": "adamw", "lr": 0.02, "epochs": 2, "batch_size": 32, **method})
    outcome = train(task, settings, 0)
    chance = task.chance(task.data(0))
    assert outcome.status == "complete"
    assert outcome.metrics["test_loss"] < chance["test_loss"] - 0.2
    assert outcome.metrics["test_bits_per_byte"] == pytest.approx(outcome.metrics["test_loss"] / math.log(2))
