"""Several processes under DistributedDataParallel: whose gradient a perturbation is made of.

| ranks    | the perturbation is made of                          | which is                              |
|----------|------------------------------------------------------|---------------------------------------|
| "global" | the mean gradient of all ranks, the same on each      | the single-process method on the whole batch |
| "each"   | each rank's own gradient                              | mSAM with one shard a rank (num_shards on each) |

"each" saves the clean pass's all-reduce; a method that needs the clean gradient afterwards (F-SAM, GSAM) pays for one.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hpsearch.optim.functional import Tensors, by_kind
from hpsearch.optim.passes import Gradients

CHOICES = ("global", "each")


class Ranks:
    """What a step does about the other processes."""

    def __init__(self, model: nn.Module | None, choice: str | None) -> None:
        self.ddp = model if isinstance(model, DistributedDataParallel) else None
        self.each = choice == "each"
        if choice is not None and choice not in CHOICES:
            raise ValueError(f"ranks must be one of {', '.join(CHOICES)}, but got {choice!r}")
        if self.ddp is None and choice is not None:
            raise ValueError(f"ranks={choice!r} needs model=…, a DistributedDataParallel module")
        if self.ddp is not None and choice is None:
            raise ValueError("a DistributedDataParallel model needs ranks='global' or ranks='each'")
        if self.each:
            self._refuse_unused()

    def _refuse_unused(self) -> None:
        """A parameter that only some ranks use would be averaged with another one of theirs."""
        if self.ddp is not None and self.ddp.find_unused_parameters:
            raise ValueError(
                "find_unused_parameters=True works with ranks='global' only, and not with parts of a batch"
            )

    def kept(self, found: Gradients) -> Gradients:
        """Gradients that outlive the next backward pass, which writes into DDP's buckets."""
        if self.ddp is None or not self.ddp.gradient_as_bucket_view:
            return found
        return [None if gradient is None else gradient.clone() for gradient in found]

    def mean_(self, tensors: Tensors) -> None:
        """The mean over ranks, in place, in one all-reduce a dtype; bit-identical on all ranks."""
        if self.ddp is None:
            return
        self._refuse_unused()
        for same in by_kind(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            flat /= dist.get_world_size(self.ddp.process_group)
            dist.all_reduce(flat, group=self.ddp.process_group)
            parts = torch.split(flat, [tensor.numel() for tensor in same])
            torch._foreach_copy_(same, [part.view_as(tensor) for part, tensor in zip(parts, same, strict=True)])
