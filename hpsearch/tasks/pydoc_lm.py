"""pydoc_lm: a byte-level language model of the Python language reference, which ships inside CPython."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpsearch.streams import generator
from hpsearch.tasks.networks.gpt import BYTES, GPT
from hpsearch.tasks.protocol import Data, DataError, OptionError

SHARE = 0.1  # of the text for validation, and as much for the test
Splits = tuple[bytes, bytes, bytes]  # train, val, test


class PydocLM:
    """A small GPT learns the next byte of the reference's text (pydoc_data.topics, about 0.4 MB).

    context: bytes that the model sees. layers, heads, dim: of the GPT. dropout: a share in [0, 1).
    train_fraction: the share of the training windows that is used; a smaller share is part of a larger one.

    Splits are by topic and the same for every seed. The reference prints many passages in several topics; each is kept
    once, so that no text of val or test was trained on. Samples are windows of context + 1 bytes that do not overlap,
    uint8 (N, context + 1); every byte of one but the first is predicted from those before it.

    Metrics: loss, nats a byte; in evaluation also accuracy of the next byte and bits_per_byte.

    With the defaults, AdamW at lr 0.005, batch_size 16 and 3 epochs reach a test loss of 2.16 (one seed, CPython 3.11),
    the constant predictor 3.27, in 21 s of one CPU core; SAM 35 s.

    CPython's releases differ in this text, so a hash of it is part of every trial's id: trials of another release are
    other trials, even with the same options.
    """

    semantics: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "bits_per_byte")

    def __init__(
        self,
        context: int = 64,
        layers: int = 2,
        heads: int = 2,
        dim: int = 32,
        dropout: float = 0.0,
        train_fraction: float = 1.0,
    ) -> None:
        _check_whole("context", context, 1, 1024)
        _check_whole("layers", layers, 1, 48)
        _check_whole("dim", dim, 1, 4096)
        _check_whole("heads", heads, 1, dim)
        if dim % heads:
            divisors = ", ".join(str(number) for number in range(1, dim + 1) if dim % number == 0)
            raise OptionError("heads", heads, f"a divisor of dim, which is {dim}: {divisors}")
        if not 0 <= dropout < 1:
            raise OptionError("dropout", dropout, "a share in [0, 1)")
        if not 0 < train_fraction <= 1:
            raise OptionError("train_fraction", train_fraction, "a share in (0, 1]")
        self.context, self.train_fraction = context, train_fraction
        self.sizes = {"layers": layers, "heads": heads, "dim": dim}
        self.dropout = dropout
        train = len(_splits()[0]) // (context + 1)
        if round(train_fraction * train) < 1:
            raise OptionError("train_fraction", train_fraction, f"a share in [{1 / train:.2g}, 1], one window or more")

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options and a hash of the text: what ships with Python is not the same everywhere."""
        return {**options, "text": text_hash()}

    def data(self, seed: int) -> Data:
        train, val, test = (windows(text, self.context + 1) for text in _splits())
        kept = round(self.train_fraction * len(train))
        order = torch.randperm(len(train), generator=generator(0, "pydoc_lm training windows"))
        return Data((train[order[:kept].sort().values],), (val,), (test,))

    def model(self) -> nn.Module:
        return GPT(**self.sizes, context=self.context, dropout=self.dropout)

    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        (text,) = batch  # (B, context + 1)
        targets = text[:, 1:].long()
        logits = model(text[:, :-1])  # (B, context, 256)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        if model.training:
            return {"loss": loss}
        accuracy = (logits.argmax(2) == targets).float().mean()
        return {"loss": loss, "accuracy": accuracy, "bits_per_byte": loss / math.log(2)}

    def chance(self, data: Data) -> dict[str, float]:
        """The predictor that always gives the training bytes' shares; bytes that training lacks count as seen once."""
        counts = torch.bincount(data.train[0][:, 1:].flatten(), minlength=BYTES)
        seen = counts.clamp_min(1).double()
        log_shares = (seen / seen.sum()).log()
        chance: dict[str, float] = {}
        for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
            targets = split[0][:, 1:].flatten().long()
            loss = float(-log_shares[targets].mean())
            chance[f"{name}_loss"] = loss
            if name != "train":
                chance[f"{name}_accuracy"] = float((targets == counts.argmax()).double().mean())
                chance[f"{name}_bits_per_byte"] = loss / math.log(2)
        return chance


def text_hash() -> str:
    """16 hex digits of the three splits' text."""
    return _hash(_splits())


def split(topics: Mapping[str, str]) -> Splits:
    """Whole topics into train, val and test, in the order of their names' hashes: where one fits into what is left of
    val or test, it goes there. It depends on names and text alone, not on the mapping's order.

    A passage (what stands between blank lines) that several topics print is kept in the smallest of them only.
    """
    kept = _without_repeats(topics)
    size = sum(map(len, kept.values()))
    left = {"val": SHARE * size, "test": SHARE * size}
    found: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in sorted(kept, key=lambda name: (hashlib.sha256(name.encode()).digest(), name)):
        to = next((to for to in left if len(kept[name]) <= left[to]), "train")
        found[to].append(name)
        if to in left:
            left[to] -= len(kept[name])
    train, val, test = (b"\n\n".join(kept[name] for name in sorted(found[to])) for to in ("train", "val", "test"))
    return train, val, test


def windows(text: bytes, length: int) -> Tensor:
    """(N, length) uint8, one after another; what is left at the end is dropped."""
    whole = len(text) // length
    return torch.frombuffer(bytearray(text[: whole * length]), dtype=torch.uint8).view(whole, length)


def _without_repeats(topics: Mapping[str, str]) -> dict[str, bytes]:
    seen: set[str] = set()
    kept: dict[str, bytes] = {}
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        passages: list[str] = []
        for passage in topics[name].split("\n\n"):
            words = " ".join(passage.split())  # a passage may be indented in one topic and not in another
            if words not in seen:
                seen.add(words)
                passages.append(passage)
        if passages:
            kept[name] = "\n\n".join(passages).encode()
    return kept


@cache
def _splits() -> Splits:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        problem = "this Python comes without pydoc_data.topics, the text that pydoc_lm learns"
        raise DataError("name", problem, "use a complete CPython, or another task") from None
    return split(topics)


def _hash(splits: Splits) -> str:
    digest = hashlib.sha256()
    for text in splits:
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()[:16]


def _check_whole(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OptionError(option, value, f"a whole number from {low} to {high}")
