"""The implementations that benchmarks/accuracy.py compares, behind one interface: isometry's and geoopt's.

Adapters take and return torch tensors. Curvature -c is given to those that have it; the others join at c = 1.
Libraries that are not installed are left out.
"""

import os
from importlib.util import find_spec
from typing import Any

import geoopt
import numpy as np
import torch
from torch import Tensor

import isometry.manifolds


class HypllBall:
    """hypll.manifolds.poincare_ball, through the functions under its tensor class."""

    def __init__(self, c: float, dtype: torch.dtype) -> None:
        from hypll.manifolds.poincare_ball.math import diffgeom

        self._functions = diffgeom
        self._c = torch.tensor(c, dtype=dtype)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return self._functions.dist(x, y, self._c)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm."""
        return self._functions.logmap(x, y, self._c)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential."""
        return self._functions.expmap(x, u, self._c)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport."""
        return self._functions.transp(x, y, v, self._c)

    def dist2(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared distance."""
        return self.dist(x, y).square()


class Geomstats:
    """A geomstats space with its PyTorch backend."""

    def __init__(self, space: Any) -> None:
        self._metric = space.metric

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return self._metric.dist(x, y)

    def dist2(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared distance."""
        return self._metric.squared_dist(x, y)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm."""
        return self._metric.log(y, x)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential."""
        return self._metric.exp(u, x)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport; the ball has none."""
        return self._metric.parallel_transport(v, x, end_point=y)


class Pymanopt:
    """A pymanopt manifold: NumPy, one point at a time, no derivatives of the distance."""

    def __init__(self, manifold: Any) -> None:
        self._manifold = manifold

    def _map(self, name: str, *arguments: Tensor) -> Tensor:
        if any(a.requires_grad for a in arguments):
            raise NotImplementedError("pymanopt's distance has no derivative")
        function = getattr(self._manifold, name)
        with np.errstate(all="ignore"):
            rows = [function(*(a.detach().numpy() for a in row)) for row in zip(*arguments, strict=True)]
        return torch.from_numpy(np.array(rows))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return self._map("dist", x, y)

    def dist2(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared distance."""
        return self.dist(x, y).square()

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm."""
        return self._map("log", x, y)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential."""
        return self._map("exp", x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Transport; the ball has none, the sphere's is a projection."""
        return self._map("transport", x, y, v)


def _isometry(space: str, n: int, c: float, dtype: torch.dtype) -> dict[str, Any]:
    if space == "Sphere":
        return {"isometry": isometry.manifolds.Sphere(n)}
    build = getattr(isometry.manifolds, space)
    if dtype == torch.float64:
        return {"isometry": build(n, c=c)}
    return {"isometry": build(n, c=c), "isometry (upcast=False)": build(n, c=c, upcast=False)}


def _geoopt(space: str, c: float, dtype: torch.dtype) -> Any:
    curvature = torch.tensor(c, dtype=dtype)
    if space == "PoincareBall":
        return geoopt.PoincareBall(curvature)
    return geoopt.Lorentz(1 / curvature) if space == "Lorentz" else geoopt.Sphere()


def _geomstats(space: str, n: int) -> Any:
    os.environ["GEOMSTATS_BACKEND"] = "pytorch"
    vars(np).setdefault("trapz", np.trapezoid)  # geomstats 2.8 imports the name that NumPy 2 dropped
    from geomstats.geometry.hyperboloid import Hyperboloid
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.geometry.poincare_ball import PoincareBall

    return Geomstats({"PoincareBall": PoincareBall, "Lorentz": Hyperboloid, "Sphere": Hypersphere}[space](n))


def _pymanopt(space: str, n: int) -> Any:
    from pymanopt.manifolds import PoincareBall, Sphere

    return Pymanopt(PoincareBall(n) if space == "PoincareBall" else Sphere(n + 1))


def implementations(space: str, n: int, c: float, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that implements the space in this curvature and dtype, by column title."""
    found = _isometry(space, n, c, dtype) | {"geoopt": _geoopt(space, c, dtype)}
    if space == "PoincareBall" and find_spec("hypll"):
        found["hypll"] = HypllBall(c, dtype)
    if c == 1 and find_spec("geomstats"):
        found["geomstats"] = _geomstats(space, n)
    if c == 1 and space != "Lorentz" and dtype == torch.float64 and find_spec("pymanopt"):
        found["pymanopt"] = _pymanopt(space, n)
    return found
