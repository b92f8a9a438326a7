"""What all image tasks have in common: data, label noise, augmentation, the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import nn

from hpsearch.streams import generator
from hpsearch.tasks.augmentation import Augmentation, padding_for
from hpsearch.tasks.data import Recipe, load
from hpsearch.tasks.images.normalize import Normalize
from hpsearch.tasks.images.options import Options
from hpsearch.tasks.images.splits import split
from hpsearch.tasks.networks import build
from hpsearch.tasks.noise import asymmetric_noise, symmetric_noise
from hpsearch.tasks.protocol import Batch, Classification, Data, OptionError

WHENCE = ("path", "dataset", "config", "revision", "image_column", "label_column")  # ids have the content instead


class ImageClassification(Classification):
    """Images in classes. A subclass's constructor gives set_up() a recipe and the options that all have:

    model: resnet18, wrn28-10, wrn16-8, vgg16-bn, resnet-fast or vit-tiny. norm: batch, group, or ghost (batch
        normalisation over parts of about `ghost` samples). width: a factor for all channel counts, 0.125 to 4.
    augment: crop-flip, crop, flip or none: crops of the image padded by 4 pixels (at 32x32), horizontal flips.
    cutout: side in pixels, 0 for none.
    label_noise: the share of wrong training labels, drawn for each seed; val and test are clean. noise: symmetric,
        or asymmetric (cifar10), where the share is of the five classes that have a lookalike.
    validation: training images held out for the sampler to see, the same for every seed: a number, or a share.
        Without it the set's own validation split, else a tenth.
    subset: how many training images are used, as many of each class as far as possible. train_fraction: a share of
        them instead, each class in proportion. Both are drawn once, the same for every seed.
    """

    @final
    def set_up(
        self,
        recipe: Recipe,
        options: Options,
        swaps: Mapping[int, int] | None = None,
        statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    ) -> None:
        """Opens the data, decoding them if that was never done, and checks every option against them.

        swaps: the classes of asymmetric noise. statistics: published mean and std; without, the training images'.
        Raises OptionError or DataError for what cannot be trained on.
        """
        options.check(swaps)
        self.options, self.images = options, load(recipe)
        options.check_cutout(self.images.side)
        self.splits = split(self.images, options)
        self.mean, self.std = statistics or (self.splits.mean, self.splits.std)
        self.swaps = swaps if options.noise == "asymmetric" else None
        if self.swaps is not None and self.images.classes != recipe.classes:
            named = f"the classes {', '.join(recipe.classes)}; here they are {', '.join(self.images.classes)}"
            raise OptionError("noise", options.noise, f"symmetric; asymmetric noise is defined for {named}")
        padding = padding_for(self.images.side) if "crop" in options.augment else 0
        fill = tuple(round(255 * mean) for mean in self.mean)
        self.augmentation = Augmentation(padding, "flip" in options.augment, options.cutout, fill)

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options, with a hash of labels and encoded images in place of where they were found."""
        images = cls(**options).images
        kept = {key: value for key, value in options.items() if key not in WHENCE}
        return {**kept, "content": images.content, "classes": len(images.classes)}

    def data(self, seed: int) -> Data:
        """Images uint8 (N, C, H, W) and labels (N,); the images are the cache's own memory, whatever the seed."""
        images, labels = self.splits.train
        if self.options.label_noise > 0:
            draws = generator(seed, "label noise")
            if self.swaps is not None:
                labels = asymmetric_noise(labels, self.options.label_noise, self.swaps, draws)
            else:
                labels = symmetric_noise(labels, self.options.label_noise, len(self.images.classes), draws)
        return Data((images, labels), self.splits.val, self.splits.test)

    def model(self) -> nn.Module:
        network = build(
            self.options.model,
            channels=self.images.channels,
            side=self.images.side,
            classes=len(self.images.classes),
            norm=self.options.norm,
            width=self.options.width,
            ghost=self.options.ghost,
        )
        return nn.Sequential(Normalize(self.mean, self.std), network)

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        images, labels = batch
        return self.augmentation(images, generator), labels
