"""Networks for tables: an MLP, and residual blocks."""

from __future__ import annotations

from torch import Tensor, nn


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int, dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout in turn: (N, inputs) -> (N, outputs)."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip((inputs, *hidden), hidden, strict=False):
        layers += [nn.Linear(width_in, width_out), nn.ReLU(), *_dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))


def resmlp(inputs: int, hidden: tuple[int, ...], outputs: int, dropout: float) -> nn.Sequential:
    """A residual block for each of the equal widths of `hidden`: (N, inputs) -> (N, outputs).

    ResNet of Gorishniy et al., arXiv 2106.11959, with LayerNorm for BatchNorm: a shard of a batch would normalise with
    fewer samples, which confounds num_shards.
    """
    width = hidden[0]
    blocks = [_Block(width, dropout) for _ in hidden]
    head = [nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs)]
    return nn.Sequential(nn.Linear(inputs, width), *blocks, *head)


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        inner = [nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), *_dropout(dropout)]
        self.branch = nn.Sequential(*inner, nn.Linear(width, width), *_dropout(dropout))

    def forward(self, inputs: Tensor) -> Tensor:
        change: Tensor = self.branch(inputs)
        return inputs + change


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share > 0 else []
