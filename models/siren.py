"""Networks of sines, from coordinates to values."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SIREN(nn.Module):
    r"""A function of coordinates whose nonlinearities are sines: ``h <- sin(omega (W h + b))``, at last a linear map.

    Weights are uniform, of the first layer in ``+-1/in_features`` and of the others such that what a sine gets has
    variance 1 after the factor omega.

    Args:
        in_features: Number of coordinates, each best in [-1, 1].
        out_features: Components of the value.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        omega: The factor, positive: the highest frequencies at the start.
        scale: Standard deviation of the values at the start; by default that of the source, ``1/omega``.

    Raises:
        ValueError: A size is less than 1, or ``omega`` or ``scale`` is not positive.

    Source: Sitzmann et al. 2020, Implicit neural representations with periodic activation functions.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int = 64,
        depth: int = 3,
        *,
        omega: float = 30.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if min(in_features, out_features, width, depth) < 1 or omega <= 0 or (scale is not None and scale <= 0):
            raise ValueError(
                f"SIREN: expected sizes of at least 1 and positive omega and scale, but got in_features={in_features}, "
                f"out_features={out_features}, width={width}, depth={depth}, omega={omega} and scale={scale}."
            )
        self.in_features, self.omega = in_features, omega
        self.hidden = nn.ModuleList(nn.Linear(width if k else in_features, width) for k in range(depth))
        self.head = nn.Linear(width, out_features)
        for k, layer in enumerate(self.hidden):
            bound = math.sqrt(6 / width) / omega if k else 1 / in_features
            nn.init.uniform_(layer.get_parameter("weight"), -bound, bound)
        bound = math.sqrt(6 / width) * (1 / omega if scale is None else scale)  # the variance of a sine is 1/2
        nn.init.uniform_(self.head.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Return the values at coordinates ``x``."""
        for layer in self.hidden:
            x = torch.sin(self.omega * layer(x))
        return self.head(x)

    def on_grid(self, axes: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "*n o"]:
        """Return the values ``[n_1, ..., n_d, o]`` at all points of a grid, one by one."""
        return self(torch.cartesian_prod(*axes).view(*(len(axis) for axis in axes), len(axes)))
