"""The task: options and their checks, loss, scores and what a constant predictor reaches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpsearch.errors import nearest, show
from hpsearch.tasks import scores
from hpsearch.tasks.glue.checkpoint import Checkpoint, checkpoint_files, find_checkpoint, load_config, locate
from hpsearch.tasks.glue.files import fingerprint
from hpsearch.tasks.glue.network import dropouts, network
from hpsearch.tasks.glue.samples import find, read, source
from hpsearch.tasks.glue.sets import SETS, Name
from hpsearch.tasks.glue.tokens import crop, split_sizes, tokenised
from hpsearch.tasks.protocol import Batch, Data, DataError, OptionError

DEFAULT: Name = "sst2"
EVALUATED = 256  # samples in a forward pass of evaluation: activations of thousands do not fit
SCORES = {"f1": scores.f1, "matthews": scores.matthews, "pearson": scores.pearson}


class Glue:
    """Fine-tunes a checkpoint, body and head, on a GLUE set.

    GLUE hides its test labels: `test` is the hub's validation split (of MNLI the matched one), and `val` is held out
    of the training split, the same samples for every seed. loss: cross-entropy, or the squared error for STS-B.

    dataset: which set. path: a folder with its parquet files in the hub's schema (<dataset>/train-*.parquet and
    validation-*.parquet); by default the hub's nyu-mll/glue. checkpoint, revision: a name on the hub and its commit
    (a branch may move: pin the commit in a study that is to be repeated), or a folder. The default is DistilBERT, which
    has half of BERT's layers: a study trains hundreds.
    max_length: tokens, the rest is cut off. validation: samples held out; by default a tenth, at most 2000. subset:
    training samples, a fixed draw. dropout: in place of all of the checkpoint's own probabilities.
    """

    semantics: ClassVar[int] = 1
    metrics: tuple[str, ...] = ("loss", "accuracy", "f1", "matthews", "pearson")  # an instance has its set's alone

    def __init__(
        self,
        dataset: Name = DEFAULT,
        checkpoint: str = "distilbert/distilbert-base-uncased",
        revision: str | None = None,
        path: str | None = None,
        max_length: int = 128,
        subset: int | None = None,
        validation: int | None = None,
        dropout: float | None = None,
    ) -> None:
        if dataset not in SETS:
            near = nearest(dataset, SETS)
            raise OptionError("dataset", dataset, ", ".join(SETS) + (f"; did you mean {near!r}?" if near else ""))
        for name, value, low in (("max_length", max_length, 8), ("subset", subset, 1), ("validation", validation, 1)):
            if value is not None and value < low:
                raise OptionError(name, value, f"a whole number >= {low}")
        if dropout is not None and not 0 <= dropout < 1:
            raise OptionError("dropout", dropout, "a probability in [0, 1), or null for the checkpoint's own")
        if revision is not None and Path(checkpoint).expanduser().is_dir():
            raise OptionError("revision", revision, "null where checkpoint is a folder")
        self.dataset, self.max_length, self.dropout = SETS[dataset], max_length, dropout
        self.metrics = self.dataset.metrics
        self.origin = source(dataset, path)
        self.checkpoint = find_checkpoint(checkpoint, revision)
        self._check_against(self.checkpoint, checkpoint)
        rows = len(read(self.origin)[0].labels)
        if rows < 2:
            raise DataError("path", f"{dataset} has {rows} training row", "give at least 2: one is held out")
        self.sizes = split_sizes(rows, validation, subset)
        if self.sizes[1] >= rows:
            raise OptionError("validation", validation, f"at most {rows - 1} of the {rows} training rows of {dataset}")
        if sum(self.sizes) > rows:
            left = rows - self.sizes[1]
            raise OptionError("subset", subset, f"at most {left}, what validation leaves of {rows} training rows")

    def _check_against(self, checkpoint: Checkpoint, name: str) -> None:
        if self.max_length > checkpoint.longest:
            raise OptionError("max_length", self.max_length, f"at most {checkpoint.longest}, as {show(name)} reads")
        if self.dropout is not None and not dropouts(load_config(checkpoint.folder, name)):
            raise OptionError("dropout", self.dropout, f"null: {show(name)} has no dropout")

    def data(self, seed: int) -> Data:
        """Batches of (ids (N, T) int32, segments (N, T) int8, labels (N,)); the seed changes nothing."""
        return tokenised(self.origin, self.checkpoint, self.max_length, self.sizes)

    def crop(self, batch: Batch, length: int) -> Batch:
        return crop(batch, length)

    def model(self) -> nn.Module:
        return network(self.checkpoint, self.dataset.classes, self.dropout)

    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        ids, segments, labels = batch
        if model.training:
            return {"loss": self._loss(model(ids, segments), labels)}
        firsts = range(0, len(labels), EVALUATED)
        parts = (tuple(tensor[first : first + EVALUATED] for tensor in batch) for first in firsts)
        # Sorted by length, each part is narrower than the whole.
        narrow = (crop(part, int((part[1] > 0).sum(1).max())) for part in parts)
        logits = torch.cat([model(part[0], part[1]) for part in narrow])  # (B, classes)
        measured = {"loss": self._loss(logits, labels)}
        if self.dataset.classes == 1:
            return {**measured, **scores.moments(logits.squeeze(1), labels)}
        predicted = logits.argmax(1)
        measured["accuracy"] = (predicted == labels).double().mean()
        counted = "f1" in self.metrics or "matthews" in self.metrics
        return {**measured, **(scores.confusion(predicted, labels) if counted else {})}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.dataset.classes == 1:
            return nn.functional.mse_loss(logits.squeeze(1), labels)
        return nn.functional.cross_entropy(logits, labels)

    def summarize(self, means: Mapping[str, float]) -> dict[str, float]:
        """The set's scores from the means over a split. STS-B's Spearman correlation is not to be had from means."""
        return {name: SCORES[name](means) if name in SCORES else means[name] for name in self.metrics}

    def chance(self, data: Data) -> dict[str, float]:
        """Training's class shares, its mean label for STS-B; for F1 the better constant, which is all positive."""
        splits = {"train": data.train[2], "val": data.val[2], "test": data.test[2]}
        found = {"train_loss": self._constant(splits["train"], splits["train"])["loss"]}
        for split in ("val", "test"):
            reached = self._constant(splits["train"], splits[split])
            found |= {f"{split}_{name}": value for name, value in reached.items()}
        return found

    def _constant(self, train: Tensor, labels: Tensor) -> dict[str, float]:
        if self.dataset.classes == 1:
            return {"loss": float((labels.double() - train.double().mean()).square().mean()), "pearson": 0.0}
        shares = torch.bincount(train, minlength=self.dataset.classes).double() / len(train)
        right = float((labels == shares.argmax()).double().mean())
        found = {"loss": float(-shares.clamp_min(1e-12).log()[labels].mean()), "accuracy": right, "matthews": 0.0}
        positive = {name: float(value) for name, value in scores.confusion(torch.ones_like(labels), labels).items()}
        found["f1"] = scores.f1(positive)
        return {name: found[name] for name in self.metrics}

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Folders by the content of their files, wherever they lie; names on the hub as they are."""
        known = dict(options)
        try:
            if known.get("path") is not None:
                train, heldout = find(known.get("dataset", DEFAULT), known["path"])
                known["path"] = fingerprint(train) + fingerprint(heldout)
            if "checkpoint" in known and Path(known["checkpoint"]).expanduser().is_dir():
                known["checkpoint"] = fingerprint(checkpoint_files(locate(known["checkpoint"], None)))
        except OSError as error:
            raise DataError("path", f"{error.filename} cannot be read", "give yourself permission to read it") from None
        return known
