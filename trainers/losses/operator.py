"""Relative errors of functions."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


def relative_errors(
    prediction: Float[Tensor, "b c *n"], target: Float[Tensor, "b c *n"], norm: Literal["l2", "h1"] = "l2"
) -> Float[Tensor, " b"]:
    r"""Return ``|u - v| / |v|`` of each sample, functions given on a regular grid of [0, 1]^d.

    ``l2``: ``|v|^2`` is the mean square; ``h1``: with the mean squares of the partial derivatives added, by differences
    of second order with the spacing ``1/n`` (central ones, one-sided at the boundary), which need three points.

    Args:
        prediction: u, by its values at the points ``j / n``.
        target: v, not 0.
        norm: "l2" or "h1".
    """
    axes = tuple(range(2, target.ndim))
    error, size = prediction - target, target
    squares = [t.square() for t in (error, size)]
    if norm == "h1":
        spacing = [1 / n for n in target.shape[2:]]
        for k, t in enumerate((error, size)):
            slopes = torch.gradient(t, spacing=spacing, dim=axes, edge_order=2)
            squares[k] = squares[k] + torch.stack([slope.square() for slope in slopes]).sum(0)
    above, below = (s.flatten(1).sum(1) for s in squares)
    return (above / below).sqrt()


class RelativeError(nn.Module):
    """The mean of the relative errors of functions; see ``relative_errors``.

    Args:
        norm: "l2" or "h1".
    """

    def __init__(self, norm: Literal["l2", "h1"] = "l2") -> None:
        super().__init__()
        if norm not in ("l2", "h1"):
            raise ValueError(f"RelativeError: expected the norm 'l2' or 'h1', but got {norm!r}.")
        self.norm = norm

    def forward(self, prediction: Float[Tensor, "b c *n"], target: Float[Tensor, "b c *n"]) -> Float[Tensor, ""]:
        """Return the mean over samples."""
        return relative_errors(prediction, target, self.norm).mean()

    def extra_repr(self) -> str:
        """Return the norm."""
        return f"norm={self.norm!r}"
