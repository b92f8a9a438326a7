"""A pre-norm transformer block: what the Vision Transformer and the language model share."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class TransformerBlock(nn.Module):
    """(N, T, dim) -> (N, T, dim): x + attention(norm(x)), then x + mlp(norm(x)), the MLP with 4 dim hidden units.

    causal: a place attends to itself and those before it. bias: in linear layers and norms.
    """

    def __init__(self, dim: int, heads: int, *, causal: bool, bias: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.norm_attention = nn.LayerNorm(dim, bias=bias)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.from_heads = nn.Linear(dim, dim, bias=bias)
        self.norm_mlp = nn.LayerNorm(dim, bias=bias)
        self.mlp_in = nn.Linear(dim, 4 * dim, bias=bias)
        self.mlp_out = nn.Linear(4 * dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.from_heads(self._attend(self.norm_attention(x))))
        hidden = nn.functional.gelu(self.mlp_in(self.norm_mlp(x)))
        return x + self._drop(self.mlp_out(hidden))

    def _attend(self, x: Tensor) -> Tensor:
        samples, places, dim = x.shape
        qkv = self.to_qkv(x).view(samples, places, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, T, dim / heads)
        dropout = self.dropout if self.training else 0.0
        # On the CPU not the fused kernel: vmap has no rule for it and torch's FLOP counter does not see it.
        with sdpa_kernel(SDPBackend.MATH) if x.device.type == "cpu" else nullcontext():
            found = nn.functional.scaled_dot_product_attention(
                query, key, value, dropout_p=dropout, is_causal=self.causal
            )
        return found.transpose(1, 2).reshape(samples, places, dim)

    def _drop(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training)
