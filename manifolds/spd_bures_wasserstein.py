"""Symmetric positive definite matrices with the Bures-Wasserstein metric."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._bures_mean import barycentre
from isometry.manifolds._bures_transport import transported_lift
from isometry.manifolds._lyapunov import generator
from isometry.manifolds._lyapunov_root import lyapunov_root
from isometry.manifolds._optimal_map import coupling, displacement, squared_distance, squared_distance_alone
from isometry.manifolds._precision import full_precision
from isometry.manifolds._spd import congruence, differentiated, symmetric_part
from isometry.manifolds._spd_pullback import RefinedSPD


def identity_like(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "n n"]:
    """Return the identity matrix."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def inside(m: Float[Tensor, "*b n n"]) -> Tensor:
    """Return whether the symmetric ``m`` is positive definite, as ``[*b, 1, 1]``."""
    return torch.linalg.cholesky_ex(m.detach()).info[..., None, None] == 0


def geodesic_end(x: Float[Tensor, "*#b n n"], lift: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b n n"]:
    """Return ``(1 + L) x (1 + L)``, and NaN where ``1 + L`` is not positive definite."""
    m = identity_like(x) + lift
    return torch.where(inside(m), congruence(m, x), math.nan)


def logmap(x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"], gap: Tensor | None = None) -> Tensor:
    """Return ``(T - 1) x + x (T - 1)``."""
    x, y = torch.broadcast_tensors(x, y)
    half = displacement(x, y, coupling(x, y, gap)) @ x
    return half + half.mT


def dist2(
    x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"], gap: Tensor | None = None, half: bool = False
) -> Float[Tensor, "*b"]:
    """Return ``tr((T - 1) x (T - 1))``, from one eigendecomposition."""
    x, y = torch.broadcast_tensors(x, y)
    if not differentiated(x, y):
        return squared_distance_alone(x, y, gap, half)
    return squared_distance(x, y, coupling(x, y, gap))


class SPDBuresWasserstein(RefinedSPD):
    r"""Positive definite ``n x n`` matrices with ``<u, v>_x = tr(L_x[u] v) / 2`` where ``x L + L x = u``.

    The metric of optimal transport between centred normals,
    ``d(x, y)^2 = tr x + tr y - 2 tr (x^(1/2) y x^(1/2))^(1/2)``. It is positively curved, and incomplete: a geodesic
    ``(1 + t L) x (1 + t L)`` ends where ``1 + t L`` becomes singular. Beyond, the exponential map has no value:
    ``expmap`` gives NaN there, and ``Checked`` raises. ``domain_margin`` tells how far a step is from that. ``retr``,
    which optimizers use, is inside for every step. Between any two points runs one geodesic, and the logarithm
    inverts the exponential map wherever that exists.

    Accuracy (float64): distances are right to 1e-12, of pairs 1e-9 apart as of far ones, up to condition 1e8; their
    gradients to about eps times the condition number. NaN where an argument is not positive definite.

    Source: Bhatia, Jain & Lim 2019, On the Bures-Wasserstein distance between positive definite matrices; Malago,
    Montrucchio & Pistone 2018, Wasserstein Riemannian geometry of Gaussian densities.
    """

    def injectivity_radius(self) -> float:
        """Return infinity: there is no cut locus. Where geodesics end ``domain_margin`` tells."""
        return math.inf

    @full_precision
    def domain_margin(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the least eigenvalue of ``1 + L_x[u]``, shape = batch: ``exp_x(u)`` exists where it is positive.

        At ``t u`` it is ``1 - t (1 - margin)``.
        """
        x = symmetric_part(x)
        return torch.linalg.eigvalsh(identity_like(x) + generator(x, symmetric_part(u)))[..., 0]

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``2 (x g + g x)`` with ``g = sym(u)``."""
        half = 2 * symmetric_part(x) @ symmetric_part(u)
        return half + half.mT

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``tr(L_x[u] v) / 2``."""
        lift = generator(symmetric_part(x), symmetric_part(u))
        return (lift * (u if v is None else v)).sum((-2, -1), keepdim=keepdim) / 2

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``tr x + tr y - 2 tr (x^(1/2) y x^(1/2))^(1/2)``, free of cancellation and smooth at ``x = y``."""
        return self._dist2(x, y, keepdim, torch.promote_types(x.dtype, y.dtype) != self.compute_dtype(x.dtype))

    @full_precision
    def _dist2(self, x: Tensor, y: Tensor, keepdim: bool, half: bool) -> Tensor:
        value = dist2(x, y, half=half)
        return value[..., None, None] if keepdim else value

    @full_precision
    def dist2_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return the squared distance of ``x`` and ``y = x + gap``, shape = batch."""
        return dist2(x, y, gap)

    @full_precision
    def logmap_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return ``log_x(y)`` with ``y = x + gap``."""
        return logmap(symmetric_part(x), symmetric_part(y), gap)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(1 + L) x (1 + L)`` with ``L = L_x[u]``, and NaN where ``1 + L`` is not positive definite."""
        x = symmetric_part(x)
        return geodesic_end(x, generator(x, symmetric_part(u)))

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(1 + L) x (1 + L) + L^2 x L^2 / 4``: the exponential map to third order, inside for every ``u``.

        Both terms are positive semidefinite and no vector is annihilated by both.
        """
        x = symmetric_part(x)
        lift = generator(x, symmetric_part(u))
        return congruence(identity_like(x) + lift, x) + congruence(lift @ lift / 2, x)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``(x y)^(1/2) + (y x)^(1/2) - 2 x = (T - 1) x + x (T - 1)``."""
        return logmap(symmetric_part(x), symmetric_part(y))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport along the geodesic, by a spectral method (see ``_bures_transport``).

        It is exact up to rounding while the eigenvalues of T lie within a ratio of 100, and to 1e-8 within 10000; it
        costs 24 eigendecompositions for each geodesic and up to 64 sweeps over the vectors. To and from the identity
        there are closed forms: ``transp_to_origin``, ``transp_from_origin``.
        """
        x, y = torch.broadcast_tensors(symmetric_part(x), symmetric_part(y))
        there = displacement(x, y, coupling(x, y))
        half = transported_lift(x, there, generator(x, symmetric_part(v))) @ y
        return half + half.mT

    @full_precision
    def transp_to_origin(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from ``x`` to the identity, ``v_ij sqrt(2/(x_i + x_j))`` in the eigenbasis of x."""
        x = symmetric_part(x)
        return 2**0.5 * symmetric_part(lyapunov_root(x, generator(x, symmetric_part(v))))

    @full_precision
    def transp_from_origin(self, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from the identity to ``y``, ``v_ij sqrt((y_i + y_j)/2)`` in the eigenbasis of y."""
        return symmetric_part(lyapunov_root(symmetric_part(y), symmetric_part(v))) / 2**0.5

    def geodesic(self, t: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
        """Return ``(1 + t (T - 1)) x (1 + t (T - 1))``, and NaN where the extended geodesic has ended."""
        return self._geodesic(torch.as_tensor(t, dtype=x.dtype, device=x.device), x, y)

    @full_precision
    def _geodesic(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(symmetric_part(x), symmetric_part(y))
        return geodesic_end(x, t[..., None, None] * displacement(x, y, coupling(x, y)))

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the minimizer of ``sum_i w_i d(mu, x_i)^2`` over the last batch dimension (see ``_bures_mean``)."""
        self.check_shape(x)
        if x.ndim < 3 or x.shape[-3] == 0:
            raise ValueError(
                f"{self!r}.frechet_mean: expected points [*batch, k >= 1, {self.n}, {self.n}], got {tuple(x.shape)}."
            )
        return self._mean(x, x.new_ones(x.shape[:-2]) if weights is None else weights)

    @full_precision
    def _mean(self, x: Tensor, weights: Tensor) -> Tensor:
        return barycentre(symmetric_part(x), (weights / weights.sum(-1, keepdim=True)).expand(x.shape[:-2]))
