"""Even functions of a norm, written as functions of its square.

exp, log and the squared distance of a space form are analytic in the *squared* norm ``s`` of their argument, while
a formula in the norm itself has no derivative at 0. Each function here is exact, with its first two
derivatives, for every ``s`` in its domain, 0 included: a power series below 1 and the closed form above.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_TERMS = 12


def _series(s: Tensor, coefficients: list[float]) -> Tensor:
    """Return ``sum_k coefficients[k] s^k`` by Horner's rule."""
    total = torch.full_like(s, coefficients[-1])
    for a in reversed(coefficients[:-1]):
        total = total * s + a
    return total


def _series_below_one(s: Tensor, coefficients: list[float], closed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the series for ``s < 1`` and ``closed(sqrt(s))`` above; no branch sees the other's domain."""
    small = s < 1
    root = torch.where(small, 1, s).sqrt()
    return torch.where(small, _series(torch.where(small, s, 0), coefficients), closed(root))


def with_value(value: Tensor, path: Tensor) -> Tensor:
    """Return ``value`` bit for bit, differentiated as ``path``, another formula for the same quantity."""
    return value.detach() + (path - path.detach())


def safe_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``sqrt(s)`` with derivative 0, the symmetric subgradient of a norm, where ``s <= 0``."""
    positive = ~(s <= 0)  # NaN stays NaN
    return torch.where(positive, torch.where(positive, s, 1).sqrt(), 0)


def norm(u: Float[Tensor, "*b n"], *, keepdim: bool = False) -> Tensor:
    """Return the Euclidean norm over the last dimension, with gradient 0 at ``u = 0``."""
    return safe_sqrt(dot(u, u, keepdim=keepdim))


def dot(u: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], *, keepdim: bool = True) -> Tensor:
    """Return the Euclidean inner product over the last dimension."""
    return (u * v).sum(-1, keepdim=keepdim)


_COSH = [1 / math.factorial(2 * k) for k in range(_TERMS)]
_SINHC = [1 / math.factorial(2 * k + 1) for k in range(_TERMS)]


def _alternate(coefficients: list[float]) -> list[float]:
    return [a * (-1) ** k for k, a in enumerate(coefficients)]


def cosh_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``cosh(sqrt(s))`` for ``s >= 0``."""
    return _series_below_one(s, _COSH, torch.cosh)


def sinhc_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``sinh(sqrt(s)) / sqrt(s)`` for ``s >= 0``."""
    return _series_below_one(s, _SINHC, lambda r: r.sinh() / r)


def cos_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``cos(sqrt(s))`` for ``s >= 0``."""
    return _series_below_one(s, _alternate(_COSH), torch.cos)


def sinc_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``sin(sqrt(s)) / sqrt(s)`` for ``s >= 0``."""
    return _series_below_one(s, _alternate(_SINHC), lambda r: r.sin() / r)


def _asinhc_coefficients() -> list[float]:
    # asinh(x)/x = sum_k (-1)^k (2k)! / (4^k (k!)^2 (2k+1)) x^(2k)
    return [(-1) ** k * math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(14)]


_ASINHC = _asinhc_coefficients()


def asinhc_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``asinh(sqrt(s)) / sqrt(s)`` for ``s >= 0``, continued as ``asin(sqrt(-s)) / sqrt(-s)`` to ``s > -1``.

    Below 1 the argument is halved twice, asinh(sinh t) = 2 asinh(sinh(t/2)), so that the series is short:
    with ``w = sqrt(1 + s)`` and ``s' = s / (2 (1 + w))``, ``f(s) = f(s') sqrt(2 / (1 + w))``.
    """
    small = s < 1
    root = torch.where(small, 1, s).sqrt()
    t = torch.where(small, s, 0)
    factor = torch.ones_like(t)
    for _ in range(2):
        w = 1 + (1 + t).sqrt()
        factor = factor * (2 / w).sqrt()
        t = t / (2 * w)
    return torch.where(small, factor * _series(t, _ASINHC), root.asinh() / root)


def tanhc_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``tanh(sqrt(s)) / sqrt(s)`` for ``s >= 0``."""
    small = s < 1
    t = torch.where(small, s, 0)
    below = _series(t, _SINHC) / _series(t, _COSH)
    root = torch.where(small, 1, s).sqrt()
    return torch.where(small, below, root.tanh() / root)


def sech2_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``1 / cosh(sqrt(s))^2`` for ``s >= 0``, to full relative accuracy until it underflows."""
    small = s < 1
    below = _series(torch.where(small, s, 0), _COSH).square().reciprocal()
    decay = (-2 * torch.where(small, 1, s).sqrt()).exp()
    return torch.where(small, below, 4 * decay / (1 + decay).square())


def log_sinhc_sqrt(s: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``log(sinh(sqrt(s)) / sqrt(s))`` for ``s >= 0``, without overflow."""
    small = s < 1
    root = torch.where(small, 1, s).sqrt()
    above = root + torch.log1p(-(-2 * root).exp()) - (2 * root).log()
    t = torch.where(small, s, 0)
    return torch.where(small, (t * _series(t, _SINHC[1:])).log1p(), above)
