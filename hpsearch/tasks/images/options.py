"""The options that all image tasks share, and what they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from hpsearch.errors import nearest
from hpsearch.tasks.networks import check
from hpsearch.tasks.protocol import OptionError

Augment = Literal["crop-flip", "crop", "flip", "none"]
Noise = Literal["symmetric", "asymmetric"]


@dataclass(frozen=True)
class Options:
    """See ImageClassification for what they mean."""

    model: str
    norm: str
    width: float
    ghost: int
    augment: str
    cutout: int
    label_noise: float
    noise: str
    validation: int | float | None
    subset: int | None
    train_fraction: float | None
    test: int | float | None = None

    def check(self, swaps: Mapping[int, int] | None) -> None:
        """What can be told before the data are seen. Raises OptionError."""
        check(self.model, norm=self.norm, width=self.width, ghost=self.ghost)
        if not 0 <= self.label_noise < 1:
            raise OptionError("label_noise", self.label_noise, "a share in [0, 1)")
        _among("noise", self.noise, get_args(Noise))
        if self.noise == "asymmetric" and swaps is None:
            raise OptionError("noise", self.noise, "symmetric; asymmetric is defined for the classes of cifar10 alone")
        _among("augment", self.augment, get_args(Augment))
        if self.subset is not None and self.train_fraction is not None:
            raise OptionError("train_fraction", self.train_fraction, "subset or train_fraction, not both")

    def check_cutout(self, side: int) -> None:
        if not 0 <= self.cutout <= side:
            raise OptionError("cutout", self.cutout, f"a whole number of pixels from 0 (none) to {side}")


def _among(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        near = nearest(value, allowed)
        hint = f"; did you mean {near!r}?" if near else ""
        raise OptionError(option, value, ", ".join(allowed) + hint)
