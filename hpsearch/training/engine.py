"""How a device computes a trial: precision, memory format, TF32, compilation. All but precision is left out of ids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hpsearch.tasks.data.cache import cache_folder

SWITCHES = ("channels_last", "tf32", "compile")
PLACE = "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True)
class Engine:
    """channels_last: for convolutions. tf32: fp32 products in TF32, on a GPU. compile: torch.compile, whose start pays
    for long trials, and for bundles of which there are many. What is on is recorded with the result; the precision is a
    setting of the trial.
    """

    device: torch.device
    precision: str = "fp32"
    channels_last: bool = False
    tf32: bool = False
    compile: bool = False

    @classmethod
    def choose(cls, device: str, precision: str = "fp32", switches: Mapping[str, Any] | None = None) -> Engine:
        """switches: of SWITCHES to true, false or "auto": channels_last is on, TF32 on a GPU, and compile off.

        On a CPU channels_last was measured too: thin ResNets take 0.7 to 0.8 of the time. TF32 rounds the factors of
        products to 10 bits, less than batches' noise; false gives the CPU's arithmetic.
        """
        where = torch.device(device)
        on_gpu = where.type == "cuda"
        default = {"channels_last": True, "tf32": on_gpu, "compile": False}
        given = {name: value for name, value in (switches or {}).items() if value != "auto"}
        return cls(where, precision, **{**default, **given, "tf32": on_gpu and given.get("tf32", True)})

    def prepare(self) -> None:
        """Process-wide switches: set for every trial, as another one may have left them otherwise."""
        if self.device.type == "cuda":
            precision = "tf32" if self.tf32 else "ieee"
            torch.backends.cuda.matmul.fp32_precision = precision
            torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
            torch.backends.cudnn.rnn.fp32_precision = precision  # type: ignore[attr-defined]
        if self.compile:
            keep_compiled()

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory format that its convolutions run fastest in."""
        model = model.to(self.device)
        for module in model.modules() if self.channels_last else ():
            if isinstance(module, nn.Conv2d):  # not the model: other layers may have weights of other ranks
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def callable(self, model: nn.Module) -> nn.Module:
        """What is called in the model's stead; its parameters are the model's own."""
        if not self.compile:
            return model
        torch.compiler.reset()  # another trial's shapes would make this one's kernels dynamic
        return torch.compile(model)  # type: ignore[return-value]

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def generators(self) -> list[torch.Tensor]:
        """The states of torch's own."""
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else states

    def recorded(self) -> dict[str, bool]:
        return {name: getattr(self, name) for name in SWITCHES}


def keep_compiled() -> None:
    """What the compiler makes is kept beside the data, so that other processes and later runs do not pay again."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    folder, theirs = cache_folder() / "compiled", default_cache_dir()
    if os.environ.get(PLACE, theirs) != theirs:  # torch enters its own there, once it has looked
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[PLACE] = str(folder)
