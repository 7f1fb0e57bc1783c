"""Which geometry of a step belongs to which manifold."""

import operator
from typing import Any

import geoopt
from geoopt.manifolds import Manifold as AnyManifold
from torch import Tensor

from isometry.manifolds import (
    Euclidean,
    Grassmann,
    Lorentz,
    PoincareBall,
    Product,
    Sphere,
    StiefelCanonical,
    StiefelEuclidean,
)
from isometry.trainers.optim._local import LocalFlat, LocalGeometry, LocalSphere, Rate
from isometry.trainers.optim._local_grassmann import LocalGrassmann
from isometry.trainers.optim._local_hyperbolic import LocalBall, LocalLorentz
from isometry.trainers.optim._local_stiefel import LocalStiefel


class LocalProduct(LocalGeometry):
    """A product, factor by factor."""

    def __init__(self, manifold: Product, x: Tensor) -> None:
        super().__init__(manifold, x)
        self.product = manifold
        self.factors = [local_geometry(m, part) for m, part in zip(manifold.manifolds, manifold.split(x), strict=True)]

    def _split(self, value: Rate) -> list[Any]:
        """Return the factors' shares of a tensor over points; all of a number, which each factor shares."""
        if isinstance(value, Tensor) and value.ndim and value.shape[-1] == self.x.shape[-1]:
            return self.product.split(value)
        return [value] * len(self.factors)

    def _each(self, method: str, *values: Rate) -> list[Any]:
        parts = zip(self.factors, *map(self._split, values), strict=True)
        return [operator.methodcaller(method, *own)(factor) for factor, *own in parts]

    def gradient(self, g: Tensor) -> Tensor:
        """Return the factors' gradients."""
        return self.product.join(self._each("gradient", g))

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return the factors' squares, each in the coordinates of its factor."""
        parts = zip(self._each("square", g, r), self.factors, strict=True)
        return self.product.join([value.expand_as(factor.x) for value, factor in parts])

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return the factors' points."""
        return self.product.join(self._each("move", v, rate))

    def _both(self, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        y, moved = (self.product.join(part) for part in zip(*pairs, strict=True))
        return y, moved

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors' points and vectors."""
        return self._both(self._each("move_with", u, v))

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return the factors' points and vectors."""
        return self._both(self._each("move_along", v, rate))


_LOCAL: dict[type, Any] = {
    Euclidean: LocalFlat,
    Grassmann: LocalGrassmann,
    Lorentz: LocalLorentz,
    PoincareBall: LocalBall,
    Product: LocalProduct,
    Sphere: LocalSphere,
    StiefelCanonical: LocalStiefel,
    StiefelEuclidean: LocalStiefel,
}


def local_geometry(manifold: AnyManifold | None, x: Tensor) -> LocalGeometry:
    """Return the geometry of ``manifold`` (``None``: flat) at ``x``, in its own formulas where they are known here."""
    if manifold is None:
        return LocalFlat(geoopt.Euclidean(), x)
    return _LOCAL.get(type(manifold), LocalGeometry)(manifold, x)
