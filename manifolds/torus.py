"""The flat torus and the circle."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._flat import FlatManifold
from isometry.manifolds._precision import full_precision

# 2 pi rounded to each format, and what the rounding left.
_TWO_PI = {
    torch.float32: (6.2831854820251465, -1.7484555314695172e-07),
    torch.float64: (6.283185307179586, 2.4492935982947064e-16),
}
# At t = 2 pi the two series of the heat kernel converge alike. There the first terms left out are exp(-12 pi) of the
# sum over windings (met at the antipode) and exp(-16 pi) of the sum over frequencies.
_WINDINGS, _FREQUENCIES, _SWITCH = 3, 3, 2 * math.pi


def wrapped_sum(a: Float[Tensor, "*#b n"], b: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return ``a + b`` modulo 2 pi in [-pi, pi], to the last place also where the sum or the reduction cancels.

    The rounding error of the sum (Knuth's two-sum) and of 2 pi (Cody & Waite's reduction) are added back.
    """
    high, low = _TWO_PI[a.dtype]
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    turns = (total / high).round()
    return (total - turns * high) + (error - turns * low)


def wrapped_normal_log_prob(h: Float[Tensor, "*#b n"], t: Float[Tensor, "*#b #n"]) -> Float[Tensor, "*b n"]:
    r"""Return the log-density on the circle at ``h`` of a normal angle of mean 0 and variance ``t > 0``, wrapped.

    For small t the sum over windings ``(2 pi t)^(-1/2) sum_k exp(-(h + 2 pi k)^2/(2t))``; for large t its dual, the sum
    over frequencies ``1/(2 pi) (1 + 2 sum_m exp(-m^2 t/2) cos(m h))``. Both are Jacobi's theta function ``theta_3``.

    Args:
        h: Angles in [-pi, pi].
        t: Variances.

    Source: Jacobi's imaginary transformation; DLMF 20.2.3 and 20.7.32.
    """
    small = t < _SWITCH
    narrow = torch.where(small, t, _SWITCH).unsqueeze(-1)
    k = torch.arange(-_WINDINGS, _WINDINGS + 1, dtype=h.dtype, device=h.device)
    exponents = -(h.unsqueeze(-1) + 2 * math.pi * k).square() / (2 * narrow)
    windings = exponents.logsumexp(-1) - (2 * math.pi * narrow.squeeze(-1)).log() / 2
    wide = torch.where(small, _SWITCH, t).unsqueeze(-1)
    m = torch.arange(1, _FREQUENCIES + 1, dtype=h.dtype, device=h.device)
    waves = ((-m.square() * wide / 2).exp() * (m * h.unsqueeze(-1)).cos()).sum(-1)
    return torch.where(small, windings, (2 * waves).log1p() - math.log(2 * math.pi))


class Torus(FlatManifold):
    r"""The flat torus ``R^n / (2 pi Z)^n``: angles in [-pi, pi], whose two ends are one point.

    Distances and logs are right to the last place for the given angles, also across the ends. Each circle has radius 1
    (``Scaled`` gives another). At the cut locus (an angle difference of pi) the log is one of the minimizing vectors.

    Args:
        dim: Intrinsic dimension, at least 1; points have ``dim`` angles.
    """

    def injectivity_radius(self) -> float:
        """Return pi."""
        return math.pi

    def point_residual(self, x: Tensor) -> Tensor:
        """Return how far an angle lies outside [-pi, pi]."""
        return (x.abs() - math.pi).clamp_min(0).amax(-1)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the angles modulo 2 pi, in [-pi, pi]."""
        return wrapped_sum(x, torch.zeros_like(x))

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u`` modulo 2 pi."""
        return wrapped_sum(x, u)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x`` modulo 2 pi, in [-pi, pi]."""
        return wrapped_sum(y, -x)

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return uniformly distributed points."""
        return math.pi * (2 * torch.rand(self._size(size), generator=generator, dtype=dtype, device=device) - 1)

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return a signed permutation of the angles (as a matrix) and the translation that follows."""
        permutation = torch.eye(self.dim, dtype=dtype)[torch.randperm(self.dim, generator=generator)]
        signs = 2 * torch.randint(2, (self.dim,), generator=generator).to(permutation.dtype) - 1
        return signs * permutation, self.random(self.dim, generator=generator, dtype=dtype)

    @full_precision
    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the wrapped normal's log-density over the angles, exact for every ``t > 0``."""
        return wrapped_normal_log_prob(self.logmap(x, y), t.unsqueeze(-1)).sum(-1)

    def volume(self) -> float:
        """Return ``(2 pi)^n``."""
        return (2 * math.pi) ** self.dim


def Circle() -> Torus:  # noqa: N802, named as the manifold it returns
    """Return the circle ``R / 2 pi Z``, which is ``Torus(1)``: points are one angle in [-pi, pi]."""
    return Torus(1)
