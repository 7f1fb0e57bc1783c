"""The wrapped normal distribution: a normal tangent vector, carried along the manifold by the exponential map."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from isometry.manifolds._smooth import norm
from isometry.manifolds.base import HomogeneousManifold, Manifold
from isometry.manifolds.checked import Checked
from isometry.manifolds.errors import ShapeError
from isometry.manifolds.product import Product
from isometry.manifolds.scaled import Scaled
from isometry.manifolds.sphere import Sphere
from isometry.manifolds.torus import Torus, wrapped_normal_log_prob

# Turns around the sphere that the density counts each way. At scale 7 the first one left out weighs exp(-46).
_TURNS = 10


class WrappedNormal(Distribution):
    r"""The law of ``exp_loc(u)``, ``u`` normal with standard deviations ``scale`` in an orthonormal frame.

    The frame is that of ``origin_vector``, transported from the origin to ``loc``. The density, with respect to the
    Riemannian volume, is ``sum_u N(u) / |det d(exp_loc)_u|`` over every ``u`` with ``exp_loc(u) = x``: one where the
    exponential map is injective, all windings on the torus, 10 turns each way on the sphere (exact to rounding for
    scales up to 7). On a sphere of dimension 2 or more the density is infinite opposite to ``loc``, where a whole
    sphere of vectors u meets.

    Args:
        manifold: A homogeneous manifold: a space form, a torus, or a product, scaling or check of such.
        loc: Points ``[*b, *point_shape]``.
        scale: Positive standard deviations that broadcast with ``[*b, dim]``.
        validate_args: Whether to check that the scale is positive (torch's default if omitted).

    Source: Nagano, Yamaguchi, Fujita & Koyama 2019, section 3; the sum over u: Mardia & Jupp 2000, 3.5.7.
    """

    has_rsample = True
    arg_constraints = {"scale": constraints.positive}  # noqa: RUF012, torch declares it so

    def __init__(
        self, manifold: Manifold, loc: Tensor, scale: Tensor | float, validate_args: bool | None = None
    ) -> None:
        if not manifold.supports(HomogeneousManifold):
            raise TypeError(
                f"WrappedNormal: expected a homogeneous manifold, but {manifold!r} has no frame at an origin."
            )
        manifold.check_shape(loc)
        scale = torch.as_tensor(scale, dtype=loc.dtype, device=loc.device)
        batch = loc.shape[: loc.ndim - manifold.ndim]
        try:
            shape = torch.broadcast_shapes((*batch, manifold.dim), scale.shape)
        except RuntimeError:
            shape = Size()
        if shape[-1:] != (manifold.dim,):
            raise ShapeError(
                f"WrappedNormal: expected scales that broadcast with {(*batch, manifold.dim)} (the batch of loc and "
                f"the dimension of {manifold!r}), but got shape {tuple(scale.shape)}."
            )
        self.manifold: Any = manifold
        self.loc = loc.expand(*shape[:-1], *manifold.point_shape)
        self.scale = scale.expand(shape)
        super().__init__(shape[:-1], Size(manifold.point_shape), validate_args)

    def rsample(self, sample_shape: torch.types._size = Size(), generator: torch.Generator | None = None) -> Tensor:  # noqa: B008
        """Return points ``[*sample_shape, *b, *point_shape]``, differentiable in ``loc`` and ``scale``."""
        m, shape = self.manifold, (*sample_shape, *self.scale.shape)
        z = torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        origin = m.origin(*self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        return m.expmap(self.loc, m.transp(origin, self.loc, m.origin_vector(self.scale * z)))

    def sample(self, sample_shape: torch.types._size = Size(), generator: torch.Generator | None = None) -> Tensor:  # noqa: B008
        """Return points ``[*sample_shape, *b, *point_shape]``."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at the points ``value``, with respect to the Riemannian volume."""
        self.manifold.check_shape(value)
        dtype = torch.promote_types(self.loc.dtype, value.dtype)
        wide = self.manifold.compute_dtype(dtype)
        return log_density(self.manifold, self.loc.to(wide), value.to(wide), self.scale.to(wide)).to(dtype)


def coordinates(manifold: HomogeneousManifold, x: Tensor, u: Tensor) -> Tensor:
    """Return the coordinates of ``u`` at ``x`` in the frame transported from the origin."""
    origin = manifold.origin(*x.shape, dtype=x.dtype, device=x.device)
    return manifold.origin_coordinates(manifold.transp(x, origin, u))


def normal_log_prob(z: Tensor, scale: Tensor) -> Tensor:
    """Return the log-density at ``z`` of independent normals of mean 0."""
    return -((z / scale).square() / 2 + scale.log() + math.log(2 * math.pi) / 2).sum(-1)


def log_density(manifold: HomogeneousManifold, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Return the log-density at ``y`` of the wrapped normal at ``x``: the class's entry of ``LOG_DENSITIES``."""
    kernel = next(LOG_DENSITIES[cls] for cls in type(manifold).__mro__ if cls in LOG_DENSITIES)
    return kernel(manifold, x, y, scale)


def _injective(manifold: HomogeneousManifold, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    if math.isfinite(manifold.injectivity_radius()):
        raise TypeError(
            f"WrappedNormal: the exponential map of {manifold!r} is not injective; add the sum over its preimages to "
            "`isometry.manifolds.wrapped_normal.LOG_DENSITIES`."
        )
    u = manifold.logmap(x, y)
    return normal_log_prob(coordinates(manifold, x, u), scale) - manifold.log_det_exp(x, u)


def _sphere(manifold: Sphere, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    # The vectors that lead to y are u (theta + 2 pi k)/theta, and |det d exp| = |sin(theta)/(theta + 2 pi k)|^(n - 1).
    u = manifold.logmap(x, y)
    z = coordinates(manifold, x, u)
    theta = norm(u, keepdim=True)
    turns = torch.arange(-_TURNS, _TURNS + 1, dtype=u.dtype, device=u.device)
    ratio = 1 + 2 * math.pi * turns / torch.where(theta > 0, theta, 1)
    square = (z / scale).square().sum(-1, keepdim=True)
    gain = (manifold.dim - 1) * ratio.abs().log() - square * (ratio.square() - 1) / 2
    # At y = x, where no direction leads around, the shortest vector stands alone.
    total = torch.where((theta > 0) | (turns == 0), gain, -math.inf).logsumexp(-1)
    return normal_log_prob(z, scale) - manifold.log_det_exp(x, u) + total


def _torus(manifold: Torus, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    return wrapped_normal_log_prob(manifold.logmap(x, y), scale.square()).sum(-1)


def _product(manifold: Product, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    factors = (manifold.manifolds, manifold.split(x), manifold.split(y), manifold.split_coordinates(scale))
    return functools.reduce(operator.add, [log_density(*factor) for factor in zip(*factors, strict=True)])


def _scaled(manifold: Scaled, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    inside: Any = manifold.manifold
    return log_density(inside, x, y, scale / manifold.scale) - manifold.dim * math.log(manifold.scale)


def _checked(manifold: Checked, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    inside: Any = manifold.manifold
    return log_density(inside, x, y, scale)


LOG_DENSITIES: dict[type, Callable[..., Tensor]] = {
    Checked: _checked,
    HomogeneousManifold: _injective,
    Product: _product,
    Scaled: _scaled,
    Sphere: _sphere,
    Torus: _torus,
}
"""The sum over preimages for each class and its subclasses; one that is not named has an injective exponential map."""
