"""The exact geometries that judge the answers of benchmarks/accuracy_matrices.py.

Each hands the flat vectors of exact numbers, in which benchmarks/accuracy.py measures, to a reference of
tests/manifolds. Digits of a reference: 80 for positive definite matrices, 60 for subspaces, 40 for frames, 50 for
rotations, 120 for normal distributions.
"""

from functools import cache
from typing import Any

import numpy as np

import isometry.manifolds
from tests.manifolds import (
    reference_gaussian,
    reference_grassmann,
    reference_spd,
    reference_special_orthogonal,
    reference_stiefel,
)
from tests.manifolds.reference import MP, Real, Vector, vector

N = 4
SPD_METRICS: dict[str, reference_spd.Geometry] = {
    "SPDAffineInvariant": reference_spd.AffineInvariant(),
    "SPDLogEuclidean": reference_spd.LogEuclidean(),
    "SPDLogCholesky": reference_spd.LogCholesky(),
    "SPDBuresWasserstein": reference_spd.BuresWasserstein(),
}
SIZES = {
    "Grassmann": (6, 2),
    "StiefelCanonical": (4, 2),
    "StiefelEuclidean": (4, 2),
    "SpecialOrthogonal": (4,),
    "DiagonalGaussian": (1,),
}


def flat(x: Any) -> Vector:
    """The entries of a matrix, row by row."""
    return vector([value for row in x.tolist() for value in (row if isinstance(row, list) else [row])])


def manifold(space: str, upcast: bool = True) -> Any:
    """The implementation of isometry; `upcast` is an argument of positive definite matrices alone."""
    build = getattr(isometry.manifolds, space)
    return build(N, upcast=upcast) if space in SPD_METRICS else build(*SIZES[space])


class Geometry:
    """A geometry on flat vectors, in the methods that the measurement asks for."""

    context = MP

    def __init__(self, space: str) -> None:
        self.space = space
        self.manifold = manifold(space)
        self.shape = self.manifold.point_shape

    def rows(self, x: Any) -> Any:
        """The entries as an array of the point's shape, which the references read as they read floats."""
        return np.reshape(x, self.shape)

    def read(self, x: Any) -> Any:
        """The matrix with these entries."""
        return self.context.matrix(self.rows(x).tolist())

    def point(self, x: Vector) -> Vector:
        """The point nearest to the floats."""
        return x

    def tangent(self, x: Vector, u: Vector) -> Vector:
        """The tangent vector nearest to the floats."""
        return u

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """The Riemannian gradient."""
        return self.tangent(x, g)

    def norm(self, x: Vector, u: Vector) -> Real:
        """The norm at x."""
        return MP.sqrt(u @ u)

    def dist_rgrad(self, x: Vector, y: Vector) -> Vector:
        """The Riemannian gradient of `dist(., y)`, from the first variation of length."""
        return self.logmap(x, y) / -self.dist(x, y)

    def dist(self, x: Vector, y: Vector) -> Real:
        """Length of the shortest geodesic."""
        return self.norm(x, self.logmap(x, y))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """Its initial velocity."""
        raise NotImplementedError

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """End of the geodesic with initial velocity u."""
        raise NotImplementedError


class SPD(Geometry):
    """Positive definite matrices with one of the metrics."""

    context = reference_spd.MP

    def __init__(self, space: str) -> None:
        super().__init__(space)
        self.reference = SPD_METRICS[space]
        self.basis = []  # orthonormal in the Frobenius product
        for i in range(N):
            for j in range(i + 1):
                e = self.context.zeros(N)
                e[i, j] = e[j, i] = self.context.mpf(1) if i == j else 1 / self.context.sqrt(2)
                self.basis.append(e)
        self.frame = np.stack([flat(e) for e in self.basis])
        self.gram = cache(self._gram)

    def read(self, x: Any) -> Any:
        """The symmetric part."""
        return reference_spd.matrix(self.rows(x))

    def _gram(self, entries: tuple[Real, ...]) -> Any:
        """The metric at a point, by its definition, in the basis."""
        x, gram = self.read(entries), self.context.zeros(len(self.basis))
        for i, u in enumerate(self.basis):
            for j, v in enumerate(self.basis[: i + 1]):
                gram[i, j] = gram[j, i] = self.reference.inner(x, u, v)
        return gram

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """The vector whose inner products are the derivatives."""
        slopes = self.context.matrix(list(self.frame @ g))
        return vector(list(self.context.lu_solve(self.gram(tuple(x)), slopes))) @ self.frame

    def norm(self, x: Vector, u: Vector) -> Real:
        """The norm at x."""
        coordinates = self.context.matrix(list(self.frame @ u))
        return self.context.sqrt((coordinates.T * self.gram(tuple(x)) * coordinates)[0])

    def dist(self, x: Vector, y: Vector) -> Real:
        """The reference's; infinite for an answer x that is not positive definite."""
        at = self.read(x)
        inside = min(self.context.eigsy(at, eigvals_only=True)) > 0
        return self.reference.dist(at, self.read(y)) if inside else self.context.inf

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """The reference's."""
        return flat(self.reference.logmap(self.read(x), self.read(y)))

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """The reference's."""
        return flat(self.reference.expmap(self.read(x), self.read(u)))


class Grassmann(Geometry):
    """Subspaces; vectors belong to the frame."""

    context = reference_grassmann.MP

    def point(self, x: Vector) -> Vector:
        """The nearest frame."""
        return flat(reference_grassmann.frame(self.rows(x)))

    def tangent(self, x: Vector, u: Vector) -> Vector:
        """The nearest horizontal vector."""
        return flat(reference_grassmann.tangent(self.read(x), self.rows(u)))

    def dist(self, x: Vector, y: Vector) -> Real:
        """The reference's."""
        return reference_grassmann.dist(self.read(x), self.read(y))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """The reference's."""
        return flat(reference_grassmann.logmap(self.read(x), self.read(y)))

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """The reference's."""
        return flat(reference_grassmann.expmap(self.read(x), self.read(u)))


class Stiefel(Geometry):
    """Frames with the canonical or the Euclidean metric."""

    def __init__(self, space: str) -> None:
        super().__init__(space)
        self.beta = self.manifold.beta
        self.velocity = cache(self._velocity)

    def read(self, x: Any) -> Any:
        """The reference's matrices are arrays."""
        return reference_stiefel.matrix(self.rows(x))

    def point(self, x: Vector) -> Vector:
        """The nearest frame."""
        return flat(reference_stiefel.frame(self.rows(x)))

    def tangent(self, x: Vector, u: Vector) -> Vector:
        """The nearest tangent vector."""
        return flat(reference_stiefel.tangent(self.read(x), self.rows(u)))

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """``g - x g^T x`` in the canonical metric (Edelman, Arias & Smith 1998, equation 2.53)."""
        at, slope = self.read(x), self.read(g)
        return self.tangent(x, g) if self.beta == 1 else flat(slope - at @ slope.T @ at)

    def norm(self, x: Vector, u: Vector) -> Real:
        """The norm at x."""
        at, velocity = self.read(x), self.read(u)
        return MP.sqrt(reference_stiefel.inner(at, velocity, velocity, self.beta))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """The reference's, by Newton's method from isometry's."""
        return self.velocity(tuple(x), tuple(y))

    def _velocity(self, x: tuple[Real, ...], y: tuple[Real, ...]) -> Vector:
        a, b = self.read(x), self.read(y)
        guess = self.manifold.logmap(reference_stiefel.floats(a), reference_stiefel.floats(b))
        return flat(reference_stiefel.logmap(a, b, guess, self.beta))

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """The reference's."""
        return flat(reference_stiefel.exp_by_lift(self.read(x), self.read(u), self.beta))


class Rotations(Geometry):
    """Rotations with the Frobenius metric."""

    context = reference_special_orthogonal.MP

    def point(self, x: Vector) -> Vector:
        """The nearest rotation."""
        return flat(reference_special_orthogonal.element(self.rows(x)))

    def tangent(self, x: Vector, u: Vector) -> Vector:
        """The nearest tangent vector."""
        at = self.read(x)
        return flat(at * reference_special_orthogonal.algebra(at, self.rows(u)))

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """The reference's."""
        at = self.read(x)
        return flat((at * reference_special_orthogonal.log(at.T * self.read(y))).apply(self.context.re))

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """The reference's."""
        at = self.read(x)
        return flat(at * reference_special_orthogonal.exp(at.T * self.read(u)))


class Gaussian(Geometry):
    """One normal variable with the Fisher-Rao metric."""

    def egrad2rgrad(self, x: Vector, g: Vector) -> Vector:
        """``(sigma^2 g_mu, sigma^2/2 g_sigma)``."""
        return g * vector([x[1] ** 2, x[1] ** 2 / 2])

    def norm(self, x: Vector, u: Vector) -> Real:
        """The norm at x."""
        return MP.sqrt(reference_gaussian.inner(x, u, u))

    def dist(self, x: Vector, y: Vector) -> Real:
        """The reference's; infinite for an answer x that is no point."""
        return reference_gaussian.dist(x, y) if x[1] > 0 else MP.inf

    def logmap(self, x: Vector, y: Vector) -> Vector:
        """The reference's."""
        return reference_gaussian.logmap(x, y)

    def expmap(self, x: Vector, u: Vector) -> Vector:
        """The reference's."""
        return reference_gaussian.expmap(x, u)


GEOMETRIES: dict[str, type[Geometry]] = {
    **dict.fromkeys(SPD_METRICS, SPD),
    "Grassmann": Grassmann,
    "StiefelCanonical": Stiefel,
    "StiefelEuclidean": Stiefel,
    "SpecialOrthogonal": Rotations,
    "DiagonalGaussian": Gaussian,
}
