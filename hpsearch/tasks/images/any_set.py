"""images: any image classification set, by its name on the hub or its place on the disk."""

from __future__ import annotations

from hpsearch.tasks.data import Recipe
from hpsearch.tasks.images.options import Augment, Noise, Options
from hpsearch.tasks.images.task import ImageClassification
from hpsearch.tasks.protocol import OptionError


class Images(ImageClassification):
    """Any set of labelled images: files in `path`, or `dataset` on the hub, with its `config` and `revision`.

    Options as in ImageClassification, and

    path: one parquet file; a folder with parquet files named train, test and, if there is one, validation; or a
        folder of images, train/<class>/*.png and so on, or just <class>/*.png.
    image_column, label_column: guessed where only one column can be meant.
    size: the side in pixels to which images are brought, the short side first, then the centre cut out; needed where
        they differ or are no squares.
    test: images held out as test set where the set has neither a test nor a validation split: a number or a share (a
        fifth). A validation split alone is the test set.

    Images stay grey, in one channel, if all of them are; else all are RGB. Transparency is dropped. mean and std are
    those of the training images. Without `revision` a set of the hub stays as it was first fetched.
    """

    def __init__(
        self,
        path: str | None = None,
        dataset: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        size: int | None = None,
        test: int | float | None = None,
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
    ) -> None:
        if (path is None) == (dataset is None):
            raise OptionError("path", path, "path: files here, or dataset: a set's name on the hub; one of the two")
        if dataset is None and (config is not None or revision is not None):
            option, value = ("config", config) if config is not None else ("revision", revision)
            raise OptionError(option, value, f"leave it out: {option} goes with dataset, not with path")
        if size is not None and not 1 <= size <= 1024:
            raise OptionError("size", size, "a whole number of pixels from 1 to 1024")
        recipe = Recipe(
            path,
            dataset,
            config,
            revision,
            image_column,
            label_column,
            size=size or 0,
            option="path" if dataset is None else "dataset",
        )
        options = Options(
            model, norm, width, ghost, augment, cutout, label_noise, noise, validation, subset, train_fraction, test
        )
        self.set_up(recipe, options)
