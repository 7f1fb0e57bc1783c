"""Textbook geometry in 120-digit arithmetic, the oracle of every accuracy test.

The formulas are the definitions (arcosh, artanh, Mobius addition, gyration, arccos), not the rearranged
forms of the library: 120 digits make their cancellation harmless up to hyperbolic radius 50 and down to
separations of 1e-15, so the two sides share no algebra. Inputs are taken exactly as the floats they are.

A vector is a numpy array of mpmath numbers. Every class offers `origin, point, tangent, inner, norm, dist,
logmap, expmap, transp, dist_egrad, egrad2rgrad`, with the library's meaning. `point` and `tangent` turn
floats, which satisfy a constraint only up to rounding, into an exact point and an exact tangent vector.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from mpmath import MPContext

MP = MPContext()  # a context of our own: the precision of other users of mpmath stays as it is
MP.dps = 120

Real: TypeAlias = Any  # mpmath has no type stubs
Vector: TypeAlias = npt.NDArray[np.object_]


def vector(values: Iterable[Any] | torch.Tensor) -> Vector:
    """The given floats, exactly."""
    items = values.tolist() if isinstance(values, torch.Tensor) else values
    return np.array([MP.convert(item) for item in items], dtype=object)


def _same(x: Vector, y: Vector) -> bool:
    """Whether two points are one. Formulas that cancel there would return 1e-120 or a complex number."""
    return bool((x == y).all())


def _times_unit(v: Vector, length: Real, factor: Real) -> Vector:
    """`factor * v / length`, and 0 for v = 0, where the factors used here vanish."""
    return v * (factor / length) if length != 0 else v


class PoincareBall:
    """The ball `c |x|^2 < 1` with metric `lambda_x^2 <u, v>`, `lambda_x = 2 / (1 - c |x|^2)`; curvature -c.

    Source: Ungar, A Gyrovector Space Approach to Hyperbolic Geometry (2008); Ganea, Becigneul & Hofmann,
    Hyperbolic Neural Networks (2018), section 2; gradient of the distance: Nickel & Kiela, Poincare
    Embeddings (2017), equation 4.
    """

    def __init__(self, c: float = 1.0) -> None:
        self.c = MP.convert(c)
        self.sqrt_c = MP.sqrt(self.c)

    def origin(self, n: int) -> Vector:
        """The centre of the ball in R^n."""
        return vector([0] * n)

    def point(self, x: Iterable[Any] | torch.Tensor) -> Vector:
        """The floats themselves; ValueError when they are not inside the ball."""
        exact = vector(x)
        if not self.c * (exact @ exact) < 1:  # also refuses NaN
            raise ValueError(f"expected c |x|^2 < 1, got x = {exact}")
        return exact

    def tangent(self, x: Vector, u: Iterable[Any] | torch.Tensor) -> Vector:
        """The floats themselves: every vector is tangent."""
        return vector(u)

    def conformal_factor(self, x: Vector) -> Real:
        """`lambda_x`."""
        return 2 / (1 - self.c * (x @ x))

    def inner(self, x: Vector, u: Vector, v: Vector) -> Real:
        """Riemannian inner product at x."""
        return self.conformal_factor(x) ** 2 * (u @ v)

    def norm(self, x: Vector, u: Vector) -> Real:
        """Riemannian norm at x."""
        return MP.sqrt(self.inner(x, u, u))

    def mobius_add(self, x: Vector, y: Vector) -> Vector:
        """Mobius addition."""
        c, xy, xx, yy = self.c, x @ y, x @ x, y @ y
        numerator = x * (1 + 2 * c * xy + c * yy) + y * (1 - c * xx)
        return numerator / (1 + 2 * c * xy + c**2 * xx * yy)

    def dist(self, x: Vector, y: Vector) -> Real:
        """`arcosh(1 + 2 c |x - y|^2 / ((1 - c |x|^2) (1 - c |y|^2))) / sqrt(c)`."""
        return MP.acosh(self._cosh_dist(x, y)) / self.sqrt_c

    def _cosh_dist(self, x: Vector, y: Vector) -> Real:
        d = x - y  # exactly 0 at y = x
        return 1 + 2 * self.c * (d @ d) / ((1 - self.c * (x @ x)) * (1 - self.c * (y @ y)))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """`2 / (sqrt(c) lambda_x) artanh(sqrt(c) |w|) w / |w|` with `w = (-x) + y` in the Mobius sense."""
        if _same(x, y):
            return x * 0
        w = self.mobius_add(-x, y)
        length = self.sqrt_c * MP.sqrt(w @ w)
        return _times_unit(w, length, 2 / self.conformal_factor(x) * MP.atanh(length))

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """`x + tanh(sqrt(c) lambda_x |u| / 2) u / (sqrt(c) |u|)` in the Mobius sense."""
        length = self.sqrt_c * MP.sqrt(u @ u)
        return self.mobius_add(x, _times_unit(u, length, MP.tanh(self.conformal_factor(x) * length / 2)))

    def transp(self, x: Vector, y: Vector, v: Vector) -> Vector:
        """`lambda_x / lambda_y gyr[y, -x] v`, the gyration by its definition on a short multiple of v."""
        if _same(x, y):
            return v
        scale = 4 * self.sqrt_c * MP.sqrt(v @ v) + 1
        total = self.mobius_add(y, -x)
        gyration = self.mobius_add(-total, self.mobius_add(y, self.mobius_add(-x, v / scale)))
        return gyration * (scale * self.conformal_factor(x) / self.conformal_factor(y))

    def dist_egrad(self, x: Vector, y: Vector) -> Vector:
        """Euclidean gradient of `dist(., y)` at x; zero at y = x, where there is none."""
        if _same(x, y):
            return x * 0
        c, xx, yy, xy = self.c, x @ x, y @ y, x @ y
        alpha, beta, gamma = 1 - c * xx, 1 - c * yy, self._cosh_dist(x, y)
        direction = x * ((c * yy - 2 * c * xy + 1) / alpha**2) - y / alpha
        return direction * (4 * self.sqrt_c / (beta * MP.sqrt(gamma**2 - 1)))

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """Euclidean to Riemannian gradient."""
        return g / self.conformal_factor(x) ** 2


class _Embedded:
    """What the quadrics `<x, x> = 1 / kappa` of R^(n+1) share, `<,>` a diagonal form, kappa the curvature.

    Source: Nickel & Kiela, Learning Continuous Hierarchies in the Lorentz Model (2018); transport and sphere:
    Absil, Mahony & Sepulchre, Optimization Algorithms on Matrix Manifolds (2008), chapters 5 and 8.
    """

    kappa: Real

    def form(self, u: Vector, v: Vector) -> Real:
        """The ambient bilinear form."""
        raise NotImplementedError

    def dist(self, x: Vector, y: Vector) -> Real:
        """Length of the shortest geodesic."""
        raise NotImplementedError

    def inner(self, x: Vector, u: Vector, v: Vector) -> Real:
        """Riemannian inner product, the same at every x."""
        return self.form(u, v)

    def norm(self, x: Vector, u: Vector) -> Real:
        """Riemannian norm."""
        return MP.sqrt(self.form(u, u))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """Initial velocity of the geodesic from x to y: the tangent part of y, with length `dist`."""
        if _same(x, y):
            return x * 0
        u = y - x * (self.kappa * self.form(x, y))
        return _times_unit(u, self.norm(x, u), self.dist(x, y))

    def transp(self, x: Vector, y: Vector, v: Vector) -> Vector:
        """`v - <log_x y, v> / dist^2 (log_x y + log_y x)`."""
        if _same(x, y):
            return v
        u = self.logmap(x, y)
        return v - (u + self.logmap(y, x)) * (self.form(u, v) / self.form(u, u))


class Lorentz(_Embedded):
    """The hyperboloid `-t^2 + |s|^2 = -1/c`, t > 0, points (t, s); curvature -c.

    Floats are read through their spatial part: the time component of a point follows from the constraint,
    that of a tangent vector from tangency.
    """

    def __init__(self, c: float = 1.0) -> None:
        self.c = MP.convert(c)
        self.sqrt_c = MP.sqrt(self.c)
        self.kappa = -self.c

    def origin(self, n: int) -> Vector:
        """The point `(1 / sqrt(c), 0, ..., 0)` of R^(n+1)."""
        return vector([1 / self.sqrt_c] + [0] * n)

    def point(self, x: Iterable[Any] | torch.Tensor) -> Vector:
        """The point with the spatial part of x."""
        space = vector(x)[1:]
        return np.concatenate([vector([MP.sqrt(1 / self.c + space @ space)]), space])

    def tangent(self, x: Vector, u: Iterable[Any] | torch.Tensor) -> Vector:
        """The tangent vector at x with the spatial part of u."""
        space = vector(u)[1:]
        return np.concatenate([vector([x[1:] @ space / x[0]]), space])

    def form(self, u: Vector, v: Vector) -> Real:
        """The Minkowski form."""
        return u[1:] @ v[1:] - u[0] * v[0]

    def dist(self, x: Vector, y: Vector) -> Real:
        """`arcosh(-c <x, y>) / sqrt(c)`."""
        return MP.mpf(0) if _same(x, y) else MP.acosh(-self.c * self.form(x, y)) / self.sqrt_c

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """`cosh(sqrt(c) |u|) x + sinh(sqrt(c) |u|) u / (sqrt(c) |u|)`."""
        length = self.sqrt_c * self.norm(x, u)
        return x * MP.cosh(length) + _times_unit(u, length, MP.sinh(length))

    def dist_egrad(self, x: Vector, y: Vector) -> Vector:
        """Gradient in R^(n+1) of the formula of `dist` at x; zero at y = x, where there is none."""
        if _same(x, y):
            return x * 0
        lowered = np.concatenate([-y[:1], y[1:]])
        return lowered * (-self.sqrt_c / MP.sqrt((self.c * self.form(x, y)) ** 2 - 1))

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """Euclidean to Riemannian gradient: raise the index, then project."""
        raised = np.concatenate([-g[:1], g[1:]])
        return raised + x * (self.c * self.form(x, raised))


class Sphere(_Embedded):
    """The unit sphere of R^(n+1). Floats are read through normalisation and orthogonal projection."""

    kappa = MP.mpf(1)

    def origin(self, n: int) -> Vector:
        """The first basis vector of R^(n+1)."""
        return vector([1] + [0] * n)

    def point(self, x: Iterable[Any] | torch.Tensor) -> Vector:
        """The point nearest to x."""
        exact = vector(x)
        return exact / MP.sqrt(exact @ exact)

    def tangent(self, x: Vector, u: Iterable[Any] | torch.Tensor) -> Vector:
        """The tangent vector at x nearest to u."""
        exact = vector(u)
        return exact - x * (x @ exact)

    def form(self, u: Vector, v: Vector) -> Real:
        """The Euclidean inner product."""
        return u @ v

    def dist(self, x: Vector, y: Vector) -> Real:
        """`arccos <x, y>`."""
        if _same(x, -y):
            return +MP.pi
        return MP.mpf(0) if _same(x, y) else MP.acos(x @ y)

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """As on every quadric; ValueError for antipodal points, between which no geodesic is the shortest."""
        if _same(x, -y):
            raise ValueError(f"expected points that are not antipodal, got {x} and {y}")
        return super().logmap(x, y)

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """`cos |u| x + sin |u| u / |u|`."""
        length = self.norm(x, u)
        return x * MP.cos(length) + _times_unit(u, length, MP.sin(length))

    def dist_egrad(self, x: Vector, y: Vector) -> Vector:
        """Gradient in R^(n+1) of the formula of `dist` at x; zero at y = x, where there is none."""
        return x * 0 if _same(x, y) else -y / MP.sqrt(1 - (x @ y) ** 2)

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """Euclidean to Riemannian gradient: project."""
        return self.tangent(x, g)


def ball_to_lorentz(x: Vector, c: Real) -> Vector:
    """The isometry `x -> ((1 + c |x|^2) / sqrt(c), 2 x) / (1 - c |x|^2)` (inverse stereographic)."""
    c = MP.convert(c)
    xx = c * (x @ x)
    return np.concatenate([vector([(1 + xx) / MP.sqrt(c)]), x * 2]) / (1 - xx)


def ball_to_lorentz_tangent(x: Vector, u: Vector, c: Real) -> Vector:
    """The differential of `ball_to_lorentz` at x, applied to u."""
    c = MP.convert(c)
    factor = 2 / (1 - c * (x @ x))
    space = u * factor + x * (c * factor**2 * (x @ u))
    return np.concatenate([vector([MP.sqrt(c) * factor**2 * (x @ u)]), space])
