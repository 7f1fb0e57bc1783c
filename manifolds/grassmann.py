"""The Grassmann manifold of linear subspaces."""

import math
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import solve
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._polar import polar_factor, polar_rotation, tightened
from isometry.manifolds._precision import full_precision
from isometry.manifolds._scalar_functions import ScalarFunction
from isometry.manifolds._smooth import with_value
from isometry.manifolds.base import HomogeneousManifold
from isometry.manifolds.spectral import Spectrum, sym_function, sym_inv_sqrt

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class _AngleOverSine(ScalarFunction):
    r"""``theta / sin(theta)`` as a function of ``c = cos(theta)``: ``int_0^1 2 dt / (1 + t^2 + 2 t c)``.

    Gauss's rule with 16 nodes is exact to rounding for ``c >= 0``, and so are the divided differences, whose terms all
    have one sign: nothing cancels, at c = 1 or where arguments coincide.
    """

    def divided(self, points: list[Tensor]) -> Tensor:
        """Return the divided difference on any number of points."""
        nodes, weights = (
            torch.as_tensor(z, dtype=points[0].dtype, device=points[0].device) for z in (_NODES, _WEIGHTS)
        )
        t = (1 + nodes) / 2
        terms = weights * (-2 * t) ** (len(points) - 1)
        for c in points:
            terms = terms / (1 + t * t + 2 * t * c.unsqueeze(-1))
        return terms.sum(-1)

    def value(self, a: Tensor) -> Tensor:
        """Return ``f(a)``."""
        return self.divided([a])

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``f[a, b]``."""
        return self.divided([a, b])

    def higher(self, points: list[Tensor]) -> Tensor:
        """Return ``f[a, b, c, ...]``."""
        return self.divided(points)


def horizontal(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return ``u - x x^T u``, the part of ``u`` across the subspace."""
    return u - x @ (x.mT @ u)


def aligned(x: Float[Tensor, "*#b n k"], y: Float[Tensor, "*#b n k"]) -> tuple[Tensor, Tensor, Spectrum]:
    """Return the rotation P, the frame ``z = y P`` of the subspace of ``y`` that is nearest to ``x``, and a spectrum.

    It is that of ``x^T z = cos(Theta)``, with the symmetric positive semidefinite matrix Theta of the angles.
    """
    rotation, cosines = polar_rotation(y.mT @ x)
    return rotation, y @ rotation, cosines


def across(x: Float[Tensor, "*#b n k"], z: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return ``(1 - x x^T)(z - x)``, the sine of the angles: the difference first, so that nothing cancels.

    Two frames of one subspace differ by the rounding of their entries: what lies within ``4 sqrt(k) eps`` is returned
    as 0, with the derivatives that it has.
    """
    h = horizontal(x, z - x)
    noise = 4 * x.shape[-1] ** 0.5 * torch.finfo(h.dtype).eps
    return with_value(torch.where(torch.linalg.matrix_norm(h.detach(), keepdim=True) <= noise, 0, h), h)


def angle_over_sine(x: Float[Tensor, "*#b n k"], z: Float[Tensor, "*#b n k"], cosines: Spectrum) -> Tensor:
    """Return ``Theta/sin(Theta)`` of aligned frames, ``[*b, k, k]``."""
    return sym_function(x.mT @ z, _AngleOverSine(), cosines)


def logmap(x: Float[Tensor, "*#b n k"], y: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return ``(1 - x x^T)(z - x) Theta/sin(Theta)`` with the frame ``z`` of the subspace of ``y`` nearest to ``x``."""
    _, z, cosines = aligned(x, y)
    return across(x, z) @ angle_over_sine(x, z, cosines)


def dist2(x: Float[Tensor, "*#b n k"], y: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b 1 1"]:
    """Return ``|log_x(y)|^2``, with the gradients ``-2 log_x(y)`` and ``-2 log_y(x)``.

    Taken from those, the gradient is exact where two angles are pi/2 and the logarithm itself has no derivative. The
    derivatives are those of ``f(x_0) + <grad f(x) + grad f(x_0), x - x_0>/2``, which agree to the second order.
    """
    rotation, z, cosines = aligned(x, y)
    ratio = angle_over_sine(x, z, cosines)
    u, v = across(x, z) @ ratio, across(z, x) @ ratio @ rotation.mT
    path = (u + u.detach()) * (x - x.detach()) + (v + v.detach()) * (y - y.detach())
    return u.detach().square().sum((-2, -1), keepdim=True) - path.sum((-2, -1), keepdim=True)


def expmap(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return ``x cos(Theta) + u sin(Theta)/Theta`` with ``Theta^2 = u^T u``."""
    cos, sinc = cos_sinc(u.mT @ u)
    return x @ cos + u @ sinc


def cos_sinc(s: Float[Tensor, "*b k k"]) -> tuple[Tensor, Tensor]:
    """Return ``cos(Theta)`` and ``sin(Theta)/Theta`` with ``Theta^2 = s``: the left half of ``exp [[0, -s], [1, 0]]``.

    Both are entire functions of s, so this exponential has all their derivatives, whatever the eigenvalues of s. (The
    block's norm is at least 1: clear of the fault of torch's exponential that ``matrix_exp`` works around.)
    """
    eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device).expand_as(s)
    zero = torch.zeros_like(s)
    block = torch.linalg.matrix_exp(torch.cat([torch.cat([zero, -s], -1), torch.cat([eye, zero], -1)], -2))
    cos, sinc = block[..., : s.shape[-1]].chunk(2, -2)
    return cos, sinc


def transported(
    x: Float[Tensor, "*#b n k"], z: Float[Tensor, "*#b n k"], v: Float[Tensor, "*#b n k"]
) -> Float[Tensor, "*b n k"]:
    """Return ``v - (x + z)(1 + x^T z)^(-1) z^T v``, horizontal at ``z``, a frame aligned with ``x``.

    This is the transport of Edelman, Arias & Smith, written as that of the sphere (k = 1).
    """
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return v - (x + z) @ solve(eye + x.mT @ z, z.mT @ v)


def principal_angles(x: Float[Tensor, "*#b n k"], y: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b k"]:
    """Return the angles between two subspaces, ascending: from their sines and cosines, each where it is exact.

    Source: Bjoerck & Golub 1973.
    """
    _, z, cosines = aligned(x, y)
    sines = torch.linalg.svdvals(horizontal(x, z - x)).flip(-1)
    return torch.atan2(sines, with_value(cosines.values.flip(-1), torch.linalg.svdvals(x.mT @ y)))


def log_det_exp(u: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b"]:
    """Return ``log |prod_(i<j) sinc(a_i - a_j) sinc(a_i + a_j) prod_i sinc(a_i)^(n - 2k)|``, a the singular values.

    ``sinc(a - b) sinc(a + b)`` is the divided difference of ``h(s) = sin^2(sqrt s)`` at ``a^2, b^2``. So the first
    product is the determinant, on skew matrices, of the derivative of h at ``u^T u``: a block of h of a block matrix.
    """
    n, k = u.shape[-2:]
    s = u.mT @ u
    i, j = torch.triu_indices(k, k, 1, device=u.device)
    skew = torch.zeros(len(i), k, k, dtype=u.dtype, device=u.device)
    pair = torch.arange(len(i), device=u.device)
    skew[pair, i, j], skew[pair, j, i] = 1, -1
    s_pairs = s.unsqueeze(-3).expand(*s.shape[:-2], len(i), k, k)
    skew = skew.expand_as(s_pairs)
    block = torch.cat([torch.cat([s_pairs, skew], -1), torch.cat([torch.zeros_like(skew), s_pairs], -1)], -2)
    sinc = cos_sinc(block)[1]
    slope = (block @ sinc @ sinc)[..., :k, k:]
    pairs = torch.linalg.slogdet(slope[..., i, j]).logabsdet
    return pairs + (n - 2 * k) * torch.linalg.slogdet(cos_sinc(s)[1]).logabsdet


class Grassmann(HomogeneousManifold):
    r"""The k-dimensional subspaces of ``R^n``, each given by one of its frames: ``x [n, k]`` with ``x^T x = 1``.

    ``x`` and ``x q``, q orthogonal, are one point. A tangent vector is horizontal, ``x^T u = 0``, with the metric
    ``<u, v> = tr(u^T v)``, and belongs to the frame: at ``x q`` it is ``u q``. Results are in the frame of their
    argument (``transp`` in that of y), and no result depends on the frames otherwise. ``d^2 = sum_i theta_i^2``,
    theta the principal angles.

    Accuracy: distance, log and gradient within a few units in the last place up to the cut locus, where the
    largest angle is pi/2; relative to short distances only to ``eps/d``, the rounding of the frames, and 0 within
    ``4 sqrt(k) eps``. Derivatives are exact up to the second order, also where angles are equal or 0.

    Args:
        n: Dimension of the space, at least 2.
        k: Dimension of the subspaces, ``1 <= k < n``.

    Source: Edelman, Arias & Smith 1998; logarithm: Bendokat, Zimmermann & Absil 2024, algorithm 5.3.
    """

    def __init__(self, n: int, k: int) -> None:
        super().__init__()
        if not 1 <= k < n:
            raise ValueError(f"Grassmann: expected subspaces of dimension 1 <= k < n, but got n={n}, k={k}.")
        self.n, self.k = n, k

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``k (n - k)``."""
        return self.k * (self.n - self.k)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are frames of k columns in ``R^n``."""
        return (self.n, self.k)

    def with_dim(self, dim: int) -> NoReturn:
        """Raise: a dimension does not say which n and k are meant."""
        raise ValueError(f"{self!r}: dim={dim} does not determine a Grassmann manifold; build Grassmann(n, k).")

    def injectivity_radius(self) -> float:
        """Return pi/2."""
        return math.pi / 2

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x^T x - 1|``."""
        return torch.linalg.matrix_norm(x.mT @ x - torch.eye(self.k, dtype=x.dtype, device=x.device))

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|x^T u| / |u|``."""
        length = torch.linalg.matrix_norm(u)
        return torch.linalg.matrix_norm(x.mT @ u) / torch.where(length == 0, 1, length)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the nearest frame, ``x (x^T x)^(-1/2)``."""
        return polar_factor(x)

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u - x x^T u``; a second pass removes what rounding leaves of a ``u`` that is long along ``x``."""
        return horizontal(x, horizontal(x, u))

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u - x x^T u``, in one pass: an optimizer's step needs no more."""
        return horizontal(x, u)

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``tr(u^T v)``."""
        value = (u * (u if v is None else v)).sum((-2, -1), keepdim=True)
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-2], 1, 1)))
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def principal_angles(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the k angles between the subspaces, ascending, in ``[0, pi/2]``."""
        return principal_angles(x, y)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x cos(Theta) + u sin(Theta)/Theta`` with ``Theta^2 = u^T u``, made orthonormal against drift."""
        return tightened(expmap(x, u))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity of the shortest geodesic (one of them at the cut locus) from ``x`` to ``y``."""
        return logmap(x, y)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the sum of the squared principal angles."""
        value = dist2(x, y)
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport along the shortest geodesic, as a vector at the frame ``y``."""
        rotation, z, _ = aligned(x, y)
        return transported(x, z, v) @ rotation.mT

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the polar factor of ``x + u``: of the frames of that subspace the one aligned with ``x``."""
        y = x + u
        return y @ sym_inv_sqrt(y.mT @ y)

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = retr_x(u)`` and the parallel transport of ``v``, which needs no new decomposition."""
        y = self.retr(x, u)
        return y, self._transp_aligned(x, y, v)

    @full_precision
    def _transp_aligned(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return transported(x, y, v)

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the first k columns of the identity matrix."""
        return torch.eye(self.n, self.k, dtype=dtype, device=device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return uniformly distributed subspaces (and frames)."""
        return self.projx(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``[0; z]``, the coordinates row by row below the first k rows."""
        u = z.unflatten(-1, (self.n - self.k, self.k))
        return torch.cat([u.new_zeros(*u.shape[:-2], self.k, self.k), u], -2)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the entries of ``u`` below the first k rows."""
        return u[..., self.k :, :].flatten(-2)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the logarithm of the product of ``sinc(a)`` over the roots a at ``u``."""
        return log_det_exp(u)

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> Tensor:
        """Return an orthogonal n x n matrix from the Haar measure."""
        return random_orthogonal(self.n, generator, dtype)

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return ``g x``."""
        return g @ x
