"""tabular: any CSV or parquet table, by the names of its columns: classification, or regression of one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from hpsearch.streams import generator
from hpsearch.tasks.noise import symmetric_noise
from hpsearch.tasks.protocol import Classification, Data, OptionError
from hpsearch.tasks.regression import Regression
from hpsearch.tasks.tables.columns import Use
from hpsearch.tasks.tables.encoding import Prepared, prepare
from hpsearch.tasks.tables.files import fingerprint, stamp
from hpsearch.tasks.tables.networks import mlp, resmlp
from hpsearch.tasks.tables.splits import Shares


class Tabular:
    """A table of your own (.csv, .tsv, .parquet, .gz): its `target` column from the others, with an MLP.

    path: a file, or a folder with train.csv, validation.csv and test.csv (or .parquet, …).
    target: the column to predict. kind: classification (metrics loss, accuracy) or regression (loss, rmse, r2); guessed
        where the values tell: texts, booleans and whole numbers of at most 20 values are classes, fractions are not.
    features: columns; all others unless given. drop: columns to leave out.
    categorical: columns of numbers (or of many texts) that are categories; texts and booleans always are.
    split: a column that says train, validation or test in each row.
    validation, test: shares of the rows, where files or `split` do not give that part; drawn once, the same for every
        seed, each class in its proportion. subset: train on so many of the training rows.
    missing: error, or impute: the training mean and an input that says so; of categories a level of its own.
    model: mlp, or resmlp: residual blocks with LayerNorm. hidden: widths, [128, 128] unless given. dropout: a share.
    label_noise: the share of wrong training classes, drawn for each seed; validation and test stay clean.

    Numbers are standardised by the training rows (a regression's target too: its loss is in squared standard
    deviations, its rmse in the target's unit). Categories are one-hot; a level that the training rows lack is 0 in all
    of them. Columns that are constant in the training rows, and columns without a name, are left out.
    """

    semantics: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "rmse", "r2")  # of both kinds; an object has its kind's

    def __init__(
        self,
        path: str,
        target: str,
        kind: Literal["classification", "regression"] | None = None,
        features: list[str] | None = None,
        categorical: list[str] | None = None,
        drop: list[str] | None = None,
        split: str | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        subset: int | None = None,
        missing: Literal["error", "impute"] = "error",
        model: Literal["mlp", "resmlp"] = "mlp",
        hidden: list[int] | None = None,
        dropout: float = 0.0,
        label_noise: float = 0.0,
    ) -> None:
        widths = (128, 128) if hidden is None else tuple(hidden)
        _check_network(model, widths, dropout, label_noise)
        use = Use(
            path=path,
            target=target,
            kind=kind,
            features=None if features is None else tuple(features),
            categorical=tuple(categorical or ()),
            drop=tuple(drop or ()),
            split=split,
            shares=Shares(validation, test, subset),
            impute=missing == "impute",
        )
        prepared = prepare(use, stamp(path))
        network = resmlp if model == "resmlp" else mlp
        inputs, classes = len(prepared.inputs), prepared.targets.classes

        def build() -> nn.Module:
            return network(inputs, widths, len(classes) or 1, dropout)

        if not classes and label_noise:
            raise OptionError("label_noise", label_noise, f"0: {target!r} is a number, and noise is of classes")
        self.of_kind: _Classes | _Amounts
        self.of_kind = _Classes(prepared, build, label_noise) if classes else _Amounts(prepared, build)
        self.metrics = self.of_kind.metrics  # type: ignore[misc]
        self.inputs = prepared.inputs  # what each input is: a column, or column=level

    def data(self, seed: int) -> Data:
        return self.of_kind.data(seed)

    def model(self) -> nn.Module:
        return self.of_kind.model()

    def measure(self, model: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        return self.of_kind.measure(model, *batch)

    def summarize(self, means: Mapping[str, float]) -> dict[str, float]:
        return self.of_kind.summarize(means) if isinstance(self.of_kind, _Amounts) else dict(means)

    def chance(self, data: Data) -> dict[str, float]:
        return self.of_kind.chance(data)

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The table enters a trial's id by its content: it may be moved and renamed."""
        return {**options, "path": fingerprint(options["path"])}


class _Classes(Classification):
    def __init__(self, prepared: Prepared, build: Any, label_noise: float) -> None:
        self.prepared, self.build, self.label_noise = prepared, build, label_noise

    def data(self, seed: int) -> Data:
        inputs, labels = self.prepared.train
        if self.label_noise > 0:
            classes = len(self.prepared.targets.classes)
            labels = symmetric_noise(labels, self.label_noise, classes, generator(seed, "label noise"))
        return Data((inputs, labels), self.prepared.val, self.prepared.test)

    def model(self) -> nn.Module:
        return self.build()  # type: ignore[no-any-return]


class _Amounts(Regression):
    def __init__(self, prepared: Prepared, build: Any) -> None:
        self.prepared, self.build, self.target_sd = prepared, build, prepared.targets.sd

    def data(self, seed: int) -> Data:
        return Data(self.prepared.train, self.prepared.val, self.prepared.test)

    def model(self) -> nn.Module:
        return self.build()  # type: ignore[no-any-return]


def _check_network(model: str, widths: tuple[int, ...], dropout: float, label_noise: float) -> None:
    if not widths or min(widths) < 1:
        raise OptionError("hidden", list(widths), "at least one width, each a whole number >= 1, e.g. [128, 128]")
    if model == "resmlp" and len(set(widths)) > 1:
        raise OptionError("hidden", list(widths), "equal widths for resmlp, one for each block, e.g. [128, 128]")
    for name, share in (("dropout", dropout), ("label_noise", label_noise)):
        if not 0 <= share < 1:
            raise OptionError(name, share, "a share in [0, 1)")
