"""Differential operators of functions on vector spaces and on manifolds, exact and by sampling directions."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp, vmap

from isometry.manifolds.base import EmbeddedManifold, Manifold

Function = Callable[[Tensor], Tensor]

_CHUNK = 64  # directions of an exact Laplacian at a time


def directional_derivatives(f: Function, x: Tensor, v: Tensor, order: int) -> list[Tensor]:
    """Return ``d^k/dt^k f(x + t v)`` at ``t = 0`` for ``k = 0, ..., order``: ``k!`` times Taylor's coefficients.

    By ``torch.func.jvp`` inside itself: no Hessian, and memory as for f itself. The cost grows as ``2^order``.
    Not all functions can be differentiated twice this way. torch 2.13 drops a part of it without a word for
    ``torch.linalg.solve``, ``det`` and ``slogdet``, and for an ``autograd.Function`` with its own ``jvp``; the
    operations of this library's manifolds are right.

    Args:
        f: Any differentiable function of a tensor like x.
        x: Where.
        v: The direction, like x.
        order: The highest order, at least 0.

    Raises:
        ValueError: The order is negative.

    Source: Shi et al. 2024, Stochastic Taylor derivative estimator, section 3.
    """
    if order < 0:
        raise ValueError(f"directional_derivatives: expected an order of at least 0, but got {order}.")
    jets = _jets(lambda t: f(x + t * v), order)
    return list(jets(torch.zeros((), dtype=x.dtype, device=x.device)))


def _jets(curve: Function, order: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Return the function that gives a curve's value and derivatives up to the order."""
    if order == 0:
        return lambda t: (curve(t),)
    lower = _jets(curve, order - 1)

    def higher(t: Tensor) -> tuple[Tensor, ...]:
        result = jvp(lower, (t,), (torch.ones_like(t),))
        return (*result[0], result[1][-1])

    return higher


def laplacian(
    f: Function,
    x: Float[Tensor, "*b n"],
    *,
    method: str = "exact",
    samples: int | None = None,
    power: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return ``Delta f = sum_i d^2 f/dx_i^2``, or a power of the Laplacian, of ``f: [*b, n] -> [*b]`` or ``[*b, m]``.

    Each sample is a directional derivative of its own, and the estimates are unbiased::

        exact        sum_i D^2 f[e_i, e_i]
        sparse       n/samples sum_(i in I) D^2 f[e_i, e_i], I a random set of coordinates for each point
        hutchinson   mean over v of D^(2p) f[v, ..., v] / (2p - 1)!!, p the power; v random signs for p = 1, else normal

    With H the Hessian, the variance of a sample is twice the sum of squares of H off the diagonal for hutchinson, and
    ``n sum_i H_ii^2 - (sum_i H_ii)^2`` for sparse. The parameters of f are differentiated through all three.

    Args:
        f: Acts on each row by itself.
        x: Points.
        method: One of the above.
        samples: Directions per point; at most n for ``sparse``.
        power: ``Delta^p f``; 2 gives the biharmonic operator. Exact ones nest Laplacians, in ``n^p`` directions.
        generator: Of the directions.

    Raises:
        ValueError: An argument is out of range.

    Source: Shi et al. 2024, Stochastic Taylor derivative estimator; Hu, Shi, Karniadakis & Kawaguchi 2024, Hutchinson
        trace estimation for high-dimensional and high-order physics-informed neural networks.
    """
    n = x.shape[-1]
    _check_laplacian(n, method, samples, power)
    if method == "hutchinson":
        signs_or_normal = torch.randn(samples or 0, *x.shape, generator=generator, dtype=x.dtype, device=x.device)
        v = signs_or_normal.sign() if power == 1 else signs_or_normal
        moment = math.prod(range(1, 2 * power, 2))
        return vmap(lambda v: directional_derivatives(f, x, v, 2 * power)[-1])(v).mean(0) / moment
    if power > 1:
        return laplacian(lambda y: laplacian(f, y, power=power - 1), x)

    def along(i: Tensor) -> Tensor:
        e = torch.zeros_like(x).scatter(-1, i.expand(x.shape[:-1]).unsqueeze(-1), 1.0)
        return directional_derivatives(f, x, e, 2)[-1]

    if method == "exact":
        chunks = torch.arange(n, device=x.device).split(_CHUNK)
        return torch.stack([vmap(along)(i).sum(0) for i in chunks]).sum(0)
    keys = torch.rand(x.shape, generator=generator, device=x.device)
    return vmap(along)(keys.topk(samples or 0).indices.movedim(-1, 0)).mean(0) * n


def _check_laplacian(n: int, method: str, samples: int | None, power: int) -> None:
    most = {"exact": None, "sparse": n, "hutchinson": math.inf}
    if method not in most:
        raise ValueError(f"laplacian: expected 'exact', 'hutchinson' or 'sparse', but got method={method!r}.")
    if power < 1 or (power > 1 and method == "sparse"):
        raise ValueError(f"laplacian: expected power >= 1, and 1 with 'sparse', but got {power} with {method!r}.")
    limit = most[method]
    if (limit is None) != (samples is None):
        raise ValueError(f"laplacian: expected samples with an estimate and none with 'exact', but got {samples}.")
    if limit is not None and samples is not None and not 1 <= samples <= limit:
        raise ValueError(f"laplacian: expected between 1 and {limit} samples with {method!r}, but got {samples}.")


def orthonormal_frame(manifold: Manifold, x: Tensor) -> Tensor:
    r"""Return vectors ``e_1, ..., e_dim``, orthonormal in the tangent space at each point, ``[dim, *b, *point_shape]``.

    Of the N coordinates around the manifold, the Riemannian gradients of all are ``B = sum_a e_a e_a^T``; the root of B
    by its eigenvectors, made exact by a Cholesky decomposition, is a frame. It is continuous near ``x`` and can be
    differentiated there, but is not a smooth choice over the whole manifold, where there may be none.

    Args:
        manifold: The manifold.
        x: Points ``[*b, *point_shape]``.
    """
    size, batch = math.prod(manifold.point_shape), x.shape[: x.ndim - manifold.ndim]

    def gradients(y: Tensor, rows: Tensor) -> Tensor:
        """Return the Riemannian gradients ``[*b, N, k]`` of the linear functions ``rows [*b, N, k]``."""
        covectors = rows.movedim(-1, 0).reshape(-1, *x.shape)
        vectors = manifold.egrad2rgrad(y.expand_as(covectors), covectors)
        return vectors.reshape(-1, *batch, size).movedim(0, -1)

    with torch.no_grad():
        eye = torch.eye(size, dtype=x.dtype, device=x.device).expand(*batch, size, size)
        B = gradients(x.detach(), eye)
        values, Q = torch.linalg.eigh((B + B.mT) / 2)
        coframe = Q[..., -manifold.dim :] * values[..., None, -manifold.dim :].rsqrt()
    vectors = gradients(x, coframe)
    lower = torch.linalg.cholesky(coframe.mT @ vectors)
    frame = torch.linalg.solve_triangular(lower, vectors.mT, upper=False)
    return frame.movedim(-2, 0).reshape(manifold.dim, *x.shape)


def laplace_beltrami(
    f: Function,
    manifold: Manifold,
    x: Tensor,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return ``Delta f``, the divergence of the gradient, of a function on a manifold.

    ``Delta f(x) = sum_a d^2/dt^2 f(R_x(t e_a))`` over an orthonormal frame, or the mean over random tangent vectors of
    covariance 1 instead of the sum. R is the manifold's retraction: of second order, it agrees with the geodesic as far
    as second derivatives see, so that no Christoffel symbol and no chart appears.

    Derivatives are forward over reverse mode, which holds for every function of the library.

    Args:
        f: Maps points ``[*b, *point_shape]`` to ``[*b]`` or ``[*b, m]``, each point by itself.
        manifold: The manifold.
        x: Points ``[*b, *point_shape]``.
        samples: Number of random directions per point; by default the exact sum over ``manifold.dim`` of them.
        generator: Of the directions.

    Raises:
        ShapeError: x are no points of the manifold, by their shape.
        ValueError: ``samples`` is less than 1, or f does not keep the batch.

    Source: Absil, Mahony & Sepulchre 2008, proposition 5.5.5, for the retraction.
    """
    manifold.check_shape(x)
    if samples is not None and samples < 1:
        raise ValueError(f"laplace_beltrami: expected at least 1 sample, but got {samples}.")
    if samples is None:
        return _second_derivatives(f, manifold, x, orthonormal_frame(manifold, x)).sum(0)
    return _second_derivatives(f, manifold, x, _random_tangents(manifold, x, samples, generator)).mean(0)


def _random_tangents(manifold: Manifold, x: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Return normal tangent vectors of covariance 1; in an embedded manifold without a frame, by projection."""
    if isinstance(manifold, EmbeddedManifold):
        z = torch.randn(count, *x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return manifold.proju(x.expand_as(z), z)
    batch = x.shape[: x.ndim - manifold.ndim]
    z = torch.randn(count, manifold.dim, *batch, generator=generator, dtype=x.dtype, device=x.device)
    frame = orthonormal_frame(manifold, x)
    return torch.stack([(c.reshape(c.shape + (1,) * manifold.ndim) * frame).sum(0) for c in z])


def _second_derivatives(f: Function, manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    """Return ``d^2/dt^2 f(R_x(t v))`` at 0 for each of the directions ``v [k, *b, *point_shape]``, ``[k, *b(, m)]``."""
    batch = x.shape[: x.ndim - manifold.ndim]
    with torch.no_grad():
        start = f(x)
    if start.shape[: len(batch)] != batch:
        raise ValueError(
            f"laplace_beltrami: expected f to map points {list(x.shape)} to values of batch {list(batch)}, but got "
            f"{list(start.shape)}."
        )
    points = x.expand_as(v)
    t, weights = v.new_zeros(len(v), *batch), torch.ones_like(start).expand(len(v), *start.shape)

    def weighted(c: Tensor, t: Tensor) -> Tensor:
        return (c * f(manifold.retr(points, t.reshape(t.shape + (1,) * manifold.ndim) * v))).sum()

    def slope(t: Tensor) -> Tensor:
        """Return df/dt of every value: the derivative by the weights, in which it is linear."""
        return grad(lambda c: grad(weighted, 1)(c, t).sum())(weights)

    return jvp(slope, (t,), (torch.ones_like(t),))[1]
