"""The geometries of positive definite matrices in 80-digit arithmetic, by their definitions.

80 digits make every cancellation harmless, so that nothing here is rearranged: square roots and logarithms of
matrices stand as in the papers, and the differentials of the flat charts are difference quotients.

Source: Pennec, Fillard & Ayache 2006; Arsigny et al. 2007; Lin 2019; Bhatia, Jain & Lim 2019.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from mpmath import MPContext

MP = MPContext()  # a context of our own: the precision of other users of mpmath stays as it is
MP.dps = 80

Real: TypeAlias = Any  # mpmath has no type stubs
Matrix: TypeAlias = Any


def matrix(x: torch.Tensor) -> Matrix:
    """The symmetric part of the given floats, exactly."""
    exact = MP.matrix(x.tolist())
    return (exact + exact.T) / 2


def floats(x: Matrix) -> torch.Tensor:
    """The nearest floats."""
    return torch.tensor([[float(value) for value in row] for row in x.tolist()], dtype=torch.float64)


def product(x: Matrix, y: Matrix) -> Real:
    """``tr(x^T y)``."""
    return sum((a * b for a, b in zip(x, y, strict=True)), MP.mpf(0))


def size(x: Matrix) -> Real:
    """The Frobenius norm."""
    return MP.sqrt(product(x, x))


def function(x: Matrix, f: Callable[[Real], Real]) -> Matrix:
    """``U f(l) U^T`` for symmetric ``x = U l U^T``."""
    values, vectors = MP.eigsy((x + x.T) / 2)
    return vectors * MP.diag([f(v) for v in values]) * vectors.T


def sqrt(x: Matrix) -> Matrix:
    """The positive definite square root."""
    return function(x, MP.sqrt)


def derivative(f: Callable[[Matrix], Matrix], x: Matrix, u: Matrix) -> Matrix:
    """The central difference quotient of f at x along u, right to 40 digits."""
    h = MP.mpf(10) ** -22
    return (f(x + h * u) - f(x - h * u)) / (2 * h)


class Geometry:
    """What follows from the metric, exp and log."""

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        """Riemannian inner product at x."""
        raise NotImplementedError

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        """Initial velocity of the geodesic from x to y."""
        raise NotImplementedError

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        """End of the geodesic with initial velocity u."""
        raise NotImplementedError

    def dist(self, x: Matrix, y: Matrix) -> Real:
        """Length of the geodesic from x to y."""
        raise NotImplementedError

    def norm(self, x: Matrix, u: Matrix) -> Real:
        """Riemannian norm at x."""
        return MP.sqrt(self.inner(x, u, u))

    def dist_egrad(self, x: Matrix, y: Matrix) -> Matrix:
        """Euclidean gradient of ``dist(., y)`` at x, by difference quotients along a basis."""
        n = x.rows
        gradient = MP.zeros(n)
        for i in range(n):
            for j in range(i + 1):
                direction = MP.zeros(n)
                direction[i, j] = direction[j, i] = MP.mpf(1) if i == j else MP.mpf(1) / 2
                slope = derivative(lambda p: MP.matrix([[self.dist(p, y)]]), x, direction)[0]
                gradient[i, j] = gradient[j, i] = slope
        return gradient


class AffineInvariant(Geometry):
    """``tr(x^-1 u x^-1 v)``."""

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        inverse = x**-1
        return product((inverse * u).T, inverse * v)

    def _white(self, x: Matrix, y: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """``x^1/2``, its inverse, and ``x^-1/2 y x^-1/2``."""
        root = sqrt(x)
        inverse = root**-1
        return root, inverse, inverse * y * inverse

    def dist(self, x: Matrix, y: Matrix) -> Real:
        """``|log x^-1/2 y x^-1/2|``."""
        return size(function(self._white(x, y)[2], MP.log))

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        """``x^1/2 log(x^-1/2 y x^-1/2) x^1/2``."""
        root, _, white = self._white(x, y)
        return root * function(white, MP.log) * root

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        """``x^1/2 exp(x^-1/2 u x^-1/2) x^1/2``."""
        root, _, white = self._white(x, u)
        return root * function(white, MP.exp) * root

    def transp(self, x: Matrix, y: Matrix, v: Matrix) -> Matrix:
        """``E v E^T`` with ``E = x^1/2 (x^-1/2 y x^-1/2)^1/2 x^-1/2``."""
        root, inverse, white = self._white(x, y)
        e = root * sqrt(white) * inverse
        return e * v * e.T


class Flat(Geometry):
    """The metric that makes ``chart``, with inverse ``point``, an isometry onto a space of matrices."""

    def chart(self, x: Matrix) -> Matrix:
        """Coordinates of x."""
        raise NotImplementedError

    def point(self, z: Matrix) -> Matrix:
        """Point with coordinates z."""
        raise NotImplementedError

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        return product(derivative(self.chart, x, u), derivative(self.chart, x, v))

    def dist(self, x: Matrix, y: Matrix) -> Real:
        return size(self.chart(y) - self.chart(x))

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        return derivative(self.point, self.chart(x), self.chart(y) - self.chart(x))

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        return self.point(self.chart(x) + derivative(self.chart, x, u))

    def transp(self, x: Matrix, y: Matrix, v: Matrix) -> Matrix:
        return derivative(self.point, self.chart(y), derivative(self.chart, x, v))


class LogEuclidean(Flat):
    """Flat in ``log x``."""

    def chart(self, x: Matrix) -> Matrix:
        return function(x, MP.log)

    def point(self, z: Matrix) -> Matrix:
        return function(z, MP.exp)


class LogCholesky(Flat):
    """Flat in the Cholesky factor with the logarithm of its diagonal."""

    def chart(self, x: Matrix) -> Matrix:
        return self._diagonal(MP.cholesky(x), MP.log)

    def point(self, z: Matrix) -> Matrix:
        lower = self._diagonal(z, MP.exp)
        return lower * lower.T

    def _diagonal(self, lower: Matrix, f: Callable[[Real], Real]) -> Matrix:
        lower = lower.copy()
        for i in range(lower.rows):
            lower[i, i] = f(lower[i, i])
        return lower


class BuresWasserstein(Geometry):
    """``tr(L v)/2`` with ``x L + L x = u``; ``d`` is the 2-Wasserstein distance of centred normal distributions."""

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        return product(self.lyapunov(x, u), v) / 2

    def lyapunov(self, x: Matrix, u: Matrix) -> Matrix:
        """The symmetric L with ``x L + L x = u``, from the linear system for its entries."""
        n = x.rows
        system, right = MP.zeros(n * n), MP.zeros(n * n, 1)
        for i in range(n):
            for j in range(n):
                right[i * n + j] = u[i, j]
                for k in range(n):
                    system[i * n + j, k * n + j] += x[i, k]
                    system[i * n + j, i * n + k] += x[k, j]
        solution = MP.lu_solve(system, right)
        return MP.matrix([[solution[i * n + j] for j in range(n)] for i in range(n)])

    def dist(self, x: Matrix, y: Matrix) -> Real:
        """``(tr x + tr y - 2 tr (x^1/2 y x^1/2)^1/2)^1/2``."""
        root = sqrt(x)
        cross = sqrt(root * y * root)
        return MP.sqrt(sum(x[i, i] + y[i, i] - 2 * cross[i, i] for i in range(x.rows)))

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        """``(x y)^1/2 + (y x)^1/2 - 2 x`` with ``(x y)^1/2 = x^1/2 (x^1/2 y x^1/2)^1/2 x^-1/2``."""
        root = sqrt(x)
        half = root * sqrt(root * y * root) * root**-1
        return half + half.T - 2 * x

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        """``(I + L) x (I + L)`` with ``x L + L x = u``."""
        factor = MP.eye(x.rows) + self.lyapunov(x, u)
        return factor * x * factor


class CorrelationOffLog(Flat):
    """Flat in the logarithm without its diagonal, on matrices of unit diagonal."""

    def chart(self, x: Matrix) -> Matrix:
        log = function(x, MP.log)
        return log - MP.diag([log[i, i] for i in range(log.rows)])

    def point(self, z: Matrix) -> Matrix:
        """``exp(z + d)`` by Archakov and Hansen's iteration alone, which converges from everywhere."""
        d = [MP.mpf(0)] * z.rows
        while True:
            x = function(z + MP.diag(d), MP.exp)
            logs = [MP.log(x[i, i]) for i in range(z.rows)]
            if max(abs(v) for v in logs) < MP.mpf(10) ** -70:
                return x
            d = [a - b for a, b in zip(d, logs, strict=True)]
