"""The sets that everybody trains on: cifar10, cifar100, fashion_mnist."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from hpsearch.tasks.data import Recipe
from hpsearch.tasks.images.options import Augment, Noise, Options
from hpsearch.tasks.images.task import ImageClassification
from hpsearch.tasks.noise import CIFAR10_SWAPS
from hpsearch.tasks.protocol import DataError


@dataclass(frozen=True)
class Known:
    """mean, std: of the training images' pixels in [0, 1], as published. swaps: classes of asymmetric label noise."""

    dataset: str  # on the hub
    columns: tuple[str, str]  # of the images and of the labels
    classes: tuple[str, ...]
    channels: int
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    swaps: Mapping[int, int] | None = None


class KnownImages(ImageClassification):
    """A set with published splits and statistics. Options as in ImageClassification, and

    path: a folder with train and test parquet files, or with train/<class>/*.png and test/<class>/*.png; without it
        the set comes from the hub, once.
    image_column, label_column: of the parquet files, where they are not the hub's.
    """

    @staticmethod
    @abstractmethod
    def known(label_column: str | None) -> Known:
        """The set, with the classes of that column."""

    @final
    def __init__(
        self,
        path: str | None = None,
        model: str = "resnet18",
        norm: str = "group",
        width: float = 1.0,
        ghost: int = 32,
        augment: Augment = "crop-flip",
        cutout: int = 0,
        label_noise: float = 0.0,
        noise: Noise = "symmetric",
        validation: int | float | None = None,
        subset: int | None = None,
        train_fraction: float | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        known = self.known(label_column)
        options = Options(
            model, norm, width, ghost, augment, cutout, label_noise, noise, validation, subset, train_fraction
        )
        recipe = Recipe(
            path,
            dataset=None if path is not None else known.dataset,
            image_column=image_column,
            label_column=label_column,
            usual=known.columns,
            classes=known.classes,
            channels=known.channels,
            side=known.side,
        )
        self.set_up(recipe, options, known.swaps, (known.mean, known.std))
        if "test" not in self.images.splits:
            remedy = "give a folder with train and test files; task images holds a test set out"
            raise DataError("path", f"{path} has no test set", remedy)


class Cifar10(KnownImages):
    """50,000 and 10,000 coloured images of 32x32 pixels in ten classes. Options as in KnownImages."""

    @staticmethod
    def known(label_column: str | None) -> Known:
        return Known(
            "uoft-cs/cifar10",
            ("img", "label"),
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            channels=3,
            side=32,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            swaps=CIFAR10_SWAPS,
        )


class Cifar100(KnownImages):
    """As cifar10 in a hundred classes; `label_column: coarse_label` takes the twenty groups of five instead.

    Options as in KnownImages.
    """

    @staticmethod
    def known(label_column: str | None) -> Known:
        classes = 20 if label_column == "coarse_label" else 100
        return Known(
            "uoft-cs/cifar100",
            ("img", "fine_label"),
            tuple(map(str, range(classes))),
            channels=3,
            side=32,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
        )


class FashionMnist(KnownImages):
    """60,000 and 10,000 grey images of 28x28 pixels, ten kinds of clothing. Options as in KnownImages."""

    @staticmethod
    def known(label_column: str | None) -> Known:
        return Known(
            "zalando-datasets/fashion_mnist",
            ("image", "label"),
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
            channels=1,
            side=28,
            mean=(0.2860,),
            std=(0.3530,),
        )
