"""The number formats in which geometry is computed."""

import functools
import math
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
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        dtype = functools.reduce(torch.promote_types, (a.dtype for a in tensors))
        compute = self.compute_dtype(dtype)
        args = tuple(a.to(compute) if isinstance(a, Tensor) else a for a in args)
        kwargs = {k: a.to(compute) if isinstance(a, Tensor) else a for k, a in kwargs.items()}
        device = tensors[0].device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                result = method(self, *args, **kwargs)
        else:
            result = method(self, *args, **kwargs)
        # Of complex points, inner products and distances are real.
        return result if dtype.is_complex and not result.is_complex() else result.to(dtype)

    # torch.compile counts recompilations per code object: each method has one of its own.
    wrapped.__code__ = wrapped.__code__.replace()  # type: ignore[attr-defined]
    return wrapped  # type: ignore[return-value]


def captured() -> bool:
    """Return whether a graph is being captured (compile, vmap, torch.func): there are no values to look at then."""
    return torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None


def _cut(x: Tensor, bits: int) -> Tensor:
    """Round ``|x| <= 2`` in float64 to a multiple of ``2^-bits``: the sum with this number has no room for more."""
    magic = 1.5 * 2.0 ** (52 - bits)
    return (x + magic) - magic


def _split(a: float | Tensor) -> tuple[float | Tensor, float | Tensor]:
    """Return the high and low halves of the significand (Veltkamp's splitting)."""
    narrow = isinstance(a, Tensor) and a.dtype == torch.float32
    t = a * (2.0**12 + 1 if narrow else 2.0**27 + 1)
    high = t - (t - a)
    return high, a - high


def two_product(a: float | Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``p = fl(a b)`` and its rounding error ``e``: ``a b = p + e`` exactly (Dekker 1971)."""
    p = a * b
    if isinstance(a, float) and a == 1.0:
        return p, torch.zeros_like(p)
    (ah, al), (bh, bl) = _split(a), _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def one_minus_square(x: Float[Tensor, "*b n"], c: float | Tensor) -> Float[Tensor, "*b 1"]:
    r"""Return ``1 - c |x|^2``, in float64 to full relative accuracy up to the last float below the boundary.

    float64: each coordinate, scaled by a power of two into [-1, 1], is cut at fixed binary places into ``x1 + x2 + x3``
    and a rest. All partial sums of ``x1^2``, ``x1 x2`` and ``x2^2 + 2 x1 x3`` then lie on grids that the format holds
    exactly, in any order of summation, for up to 64 coordinates, and the remaining terms are too small for their
    rounding to matter. Beyond, the error at the last floats grows to 1e-12 (600 coordinates). Derivatives are those of
    the plain formula, which needs no such care.

    float32 (chosen with ``upcast=False``): the plain formula, at least eps/2, so that it is positive for every point
    whose norm rounds below the boundary.
    """
    plain = 1 - c * (x * x).sum(-1, keepdim=True)
    if x.dtype != torch.float64:
        return plain.clamp_min(torch.finfo(x.dtype).eps / 2)
    with torch.no_grad():
        scale, k = _normalised(c)
        z = x.detach() if isinstance(scale, float) and scale == 1 else x / scale
        x1 = _cut(z, 24)
        rest = z - x1
        x2 = _cut(rest, 48)
        rest = rest - x2
        x3 = _cut(rest, 72)
        first = (x1 * x1).sum(-1, keepdim=True)
        second = 2 * (x1 * x2).sum(-1, keepdim=True)
        third = torch.addcmul(x2 * x2, x1, x3, value=2).sum(-1, keepdim=True)
        fourth = torch.addcmul((2 * x2 + x3) * x3, x1, rest - x3, value=2).sum(-1, keepdim=True)
        products = [two_product(k, total) for total in (first, second, third)]
        (a, a_error), (b, b_error), (d, d_error) = products
        # Largest first: each difference is exact where it cancels.
        value = (((1 - a) - b) - d) - (a_error + (b_error + d_error + k * fourth))
    return with_value(value, plain)


def _normalised(c: float | Tensor) -> tuple[float | Tensor, float | Tensor]:
    """Return the power of two ``scale >= 1/sqrt(c)`` nearest to it and ``k = c scale^2`` in [1, 4)."""
    if isinstance(c, float):
        scale: float | Tensor = 2.0 ** math.ceil(-0.5 * math.log2(c))
    else:
        scale = torch.exp2(torch.ceil(-0.5 * torch.log2(c.double())))
    return scale, c * scale * scale
