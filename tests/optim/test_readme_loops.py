"""The README's loops for Hugging Face and Lightning train, and take the steps that a plain loop takes."""

import logging
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hpsearch.optim import SharpnessAware

README = (Path(__file__).parents[2] / "README.md").read_text()


def example(name):
    code = re.search(rf"```python\n(# {name}\n.*?)```", README, re.DOTALL)[1]
    found = {}
    exec(code, found)
    return found


def test_the_hugging_face_loop():
    transformers = pytest.importorskip("transformers")
    fine_tune = example("hugging_face.py")["fine_tune"]
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = transformers.BertForSequenceClassification(config)
    ids = torch.randint(0, 40, (30, 8))
    data = transformers.BatchEncoding(
        {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": (ids[:, 0] > 20).long()}
    )
    rows = [slice(0, 10), slice(10, 20), slice(20, 30)]  # of 10, which 4 shards do not divide
    loader = [transformers.BatchEncoding({key: value[r] for key, value in data.items()}) for r in rows]
    losses = fine_tune(model, loader, epochs=20, lr=3e-3)
    assert len(losses) == 60 and sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_the_lightning_module(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        lightning = pytest.importorskip("lightning")
    classifier = example("with_lightning.py")["Classifier"]
    torch.manual_seed(0)
    inputs = torch.randn(48, 4)
    batches = DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), batch_size=12)
    network, twin = nn.Linear(4, 2), nn.Linear(4, 2)
    twin.load_state_dict(network.state_dict())
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice on loaders
        trainer = lightning.Trainer(
            max_steps=12,  # three epochs: Lightning counts the steps
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(classifier(network), batches)

    assert trainer.global_step == 12
    optimizer = SharpnessAware(torch.optim.SGD(twin.parameters(), lr=0.1), twin, rho=0.05, num_shards=4)

    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(twin(inputs), targets)
        loss.backward()
        return loss

    for _ in range(3):
        for batch in batches:
            optimizer.step(closure, *batch)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)
