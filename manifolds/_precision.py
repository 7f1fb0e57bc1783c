"""The number formats in which geometry is computed."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._smooth import with_value

F = TypeVar("F", bound=Callable[..., Any])


def full_precision(method: F) -> F:
    """Make a manifold's method a full-precision island.

    Tensor arguments are promoted to one dtype and then to the manifold's ``compute_dtype`` of it (float32 for the
    half formats; float64 for float32 where the class says so), autocast is off inside, and the result returns
    in the promoted dtype of the inputs.
    """

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        tensors = [a for a in args if isinstance(a, Tensor)]
        dtype = functools.reduce(torch.promote_types, (a.dtype for a in tensors))
        compute = self.compute_dtype(dtype)
        cast = [a.to(compute) if isinstance(a, Tensor) else a for a in args]
        device = tensors[0].device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return method(self, *cast, **kwargs).to(dtype)
        return method(self, *cast, **kwargs).to(dtype)

    return wrapped  # type: ignore[return-value]


def _round_to(x: Tensor, bits: int) -> Tensor:
    return (x * 2.0**bits).round() * 2.0**-bits


def _split(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return the high and low halves of the significand (Veltkamp's splitting)."""
    t = a * (2.0**27 + 1 if a.dtype == torch.float64 else 2.0**12 + 1)
    high = t - (t - a)
    return high, a - high


def two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``p = fl(a b)`` and its rounding error ``e``: ``a b = p + e`` exactly (Dekker 1971)."""
    p = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def one_minus_square(x: Float[Tensor, "*b n"], c: float | Tensor) -> Float[Tensor, "*b 1"]:
    r"""Return ``1 - c |x|^2`` for ``c |x|^2 <= 1``, to full relative accuracy up to the last float below the boundary.

    Each coordinate, scaled by a power of two into [-1, 1], is cut at fixed binary places, ``x = x1 + x2 + x3``. All
    partial sums of ``x1^2`` and ``x1 x2`` then lie on a grid that the format holds exactly, in any order of
    summation, and the remaining terms are too small for their rounding to matter. Derivatives are those of the
    plain formula, which needs no such care.
    """
    plain = 1 - c * (x * x).sum(-1, keepdim=True)
    with torch.no_grad():
        c = torch.as_tensor(c, dtype=x.dtype, device=x.device)
        scale = torch.exp2(torch.ceil(-0.5 * torch.log2(c)))
        half = 26 if x.dtype == torch.float64 else 12
        bits = half if x.shape[-1] <= 16 else half - 2
        z = x / scale
        x1 = _round_to(z, bits)
        x2 = _round_to(z - x1, 2 * bits)
        x3 = (z - x1) - x2
        first = (x1 * x1).sum(-1, keepdim=True)
        second = 2 * (x1 * x2).sum(-1, keepdim=True)
        third = (x2 * x2 + 2 * (x1 + x2) * x3).sum(-1, keepdim=True)
        k = c * scale.square()
        a, a_error = two_product(k, first)
        b, b_error = two_product(k, second)
        value = ((1 - a) - b) - (a_error + b_error + k * third)
    return with_value(value, plain)
