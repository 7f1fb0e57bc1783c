"""Attention on images to their rows and columns."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KroneckerAttention2d(nn.Module):
    r"""Attention of the places of a matrix to the means of its H rows and W columns instead of all H W places.

    Under a matrix-normal model, whose covariance is the Kronecker product of one of rows and one of columns, these
    means summarise the image. With ``C = [means of rows; means of columns]``, ``H + W`` tokens::

        kv      Y = softmax(Q(X) K(C)^T / sqrt(d)) V(C)                     H W (H + W) scores
        qkv     Z = softmax(Q(C) K(C)^T / sqrt(d)) V(C), Y_ij = Z_i + Z_(H + j)    (H + W)^2 scores

    followed by a linear map. Full attention has ``(H W)^2`` scores.

    Args:
        channels: Channels of the image.
        heads: Number of heads, which divides ``channels``.
        mode: "kv" or "qkv".
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the mode is another one, or ``heads`` does not divide ``channels``.

    Source: Gao, Wang & Ji 2020, Kronecker attention networks.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        mode: str = "kv",
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("kv", "qkv"):
            raise ValueError(f"KroneckerAttention2d: expected the mode 'kv' or 'qkv', but got {mode!r}.")
        if heads < 1 or channels % heads:
            raise ValueError(
                f"KroneckerAttention2d: expected heads that divide channels={channels}, but got heads={heads}."
            )
        self.heads, self.mode = heads, mode
        self.query, self.value, self.out = (nn.Linear(channels, channels, dtype=dtype, device=device) for _ in range(3))
        # A bias would add the same to all scores of a query.
        self.key = nn.Linear(channels, channels, bias=False, dtype=dtype, device=device)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return an image of the same shape."""
        h, w = x.shape[-2:]
        context = torch.cat([x.mean(-1), x.mean(-2)], -1).mT
        tokens = x.flatten(2).mT if self.mode == "kv" else context
        q, k, v = (
            layer(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, t in ((self.query, tokens), (self.key, context), (self.value, context))
        )
        y = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        y = y.transpose(1, 2).flatten(2)
        if self.mode == "qkv":
            rows, columns = y.split([h, w], 1)
            y = (rows.unsqueeze(2) + columns.unsqueeze(1)).flatten(1, 2)
        return self.out(y).mT.unflatten(-1, (h, w))

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"heads={self.heads}, mode={self.mode!r}"
