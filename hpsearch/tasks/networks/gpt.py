"""A small GPT over bytes: pre-norm, learned positions, the head tied to the embedding (Radford et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from hpsearch.tasks.networks.attention import TransformerBlock

BYTES = 256


class GPT(nn.Module):
    """Bytes (N, T) of any integer type, T <= context -> logits of each place's next byte (N, T, 256).

    Linear layers and norms have no biases. Weights are drawn as GPT-2's: standard deviation 0.02, and
    0.02 / sqrt(2 layers) where a block adds to the residual stream.
    """

    def __init__(self, *, layers: int, heads: int, dim: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        # Layers, not bare parameters: packs and ghost shards know those.
        self.positions = skip_init(nn.Embedding, context, dim)  # type: ignore[no-untyped-call]
        self.embedding = nn.Embedding(BYTES, dim)
        self.blocks = nn.Sequential(
            *(TransformerBlock(dim, heads, causal=True, bias=False, dropout=dropout) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(dim, bias=False)
        self.head = skip_init(nn.Linear, dim, BYTES, bias=False)  # type: ignore[no-untyped-call]
        self.head.weight = self.embedding.weight
        self._initialize(layers)

    def forward(self, text: Tensor) -> Tensor:
        if text.shape[1] > self.positions.num_embeddings:
            raise ValueError(f"a text of {text.shape[1]} bytes, but the context is {self.positions.num_embeddings}")
        places = torch.arange(text.shape[1], device=text.device).expand(text.shape)
        x = self.embedding(text.long()) + self.positions(places)  # (N, T, dim)
        x = self.blocks(nn.functional.dropout(x, self.dropout, self.training))
        return self.head(self.norm(x))  # type: ignore[no-any-return]

    def _initialize(self, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if "norm" not in name:
                adds = name.endswith(("from_heads.weight", "mlp_out.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if adds else 0.02)
