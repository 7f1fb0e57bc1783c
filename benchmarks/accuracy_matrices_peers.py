"""The implementations that benchmarks/accuracy_matrices.py compares, behind one interface: isometry's and peers'.

Libraries that are not installed are left out, and so are operations that a library defines differently: the
log-Euclidean logarithm of spd-learn, which is a coordinate at the identity, and that of geoopt, which is another
metric's. geomstats is scaled where its metric is a multiple of ours.
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import geoopt
import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy_matrices_exact import SIZES, SPD_METRICS, N, manifold
from benchmarks.accuracy_peers import Geomstats, Pymanopt

Map = Callable[[Tensor, Tensor], Tensor]


class Functions:
    """A library that offers functions, not a class: all or some of these."""

    def __init__(self, dist: Map | None = None, logmap: Map | None = None, expmap: Map | None = None) -> None:
        self.dist, self.logmap, self.expmap = (f or _missing for f in (dist, logmap, expmap))


def _missing(x: Tensor, y: Tensor) -> Tensor:
    raise NotImplementedError


class Scaled(Geomstats):
    """A geomstats space whose distances are ours divided by `scale`."""

    def __init__(self, space: Any, scale: float) -> None:
        super().__init__(space)
        self._scale = scale

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return self._scale * super().dist(x, y)


class Projectors(Scaled):
    """Subspaces in geomstats: ``p = x x^T`` and ``u x^T + x u^T``."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return super().dist(x @ x.mT, y @ y.mT)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm."""
        return super().logmap(x @ x.mT, y @ y.mT) @ x

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential, as a frame of the projector's range."""
        projector = super().expmap(x @ x.mT, u @ x.mT + x @ u.mT)
        return torch.linalg.eigh(projector).eigenvectors[..., -x.shape[-1] :]


class Pairs(Geomstats):
    """Normal distributions in geomstats: (mean, standard deviation) without an axis for variables."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance."""
        return super().dist(x.squeeze(-1), y.squeeze(-1))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm."""
        return super().logmap(x.squeeze(-1), y.squeeze(-1)).unsqueeze(-1)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential."""
        return super().expmap(x.squeeze(-1), u.squeeze(-1)).unsqueeze(-1)


def _geomstats(space: str) -> Any:
    os.environ["GEOMSTATS_BACKEND"] = "pytorch"
    vars(np).setdefault("trapz", np.trapezoid)  # geomstats 2.8 imports the name that NumPy 2 dropped
    from geomstats.geometry import spd_matrices
    from geomstats.geometry.grassmannian import Grassmannian
    from geomstats.geometry.special_orthogonal import SpecialOrthogonal
    from geomstats.geometry.stiefel import Stiefel
    from geomstats.information_geometry.normal import UnivariateNormalDistributions

    metrics = {
        "SPDAffineInvariant": spd_matrices.SPDAffineMetric,
        "SPDLogEuclidean": spd_matrices.SPDLogEuclideanMetric,
        "SPDBuresWasserstein": spd_matrices.SPDBuresWassersteinMetric,
    }
    if space in metrics:
        matrices = spd_matrices.SPDMatrices(N, equip=False)
        matrices.equip_with_metric(metrics[space])
        return Geomstats(matrices)
    build: dict[str, Callable[..., Any]] = {
        "Grassmann": lambda n, k: Projectors(Grassmannian(n, k), 0.5**0.5),
        "StiefelCanonical": lambda n, k: Geomstats(Stiefel(n, k)),
        "SpecialOrthogonal": lambda n: Scaled(SpecialOrthogonal(n), 2**0.5),
        "DiagonalGaussian": lambda k: Pairs(UnivariateNormalDistributions()),
    }
    return build[space](*SIZES[space])


def _spd_learn(space: str) -> Functions:
    import spd_learn.functional.metrics as peer

    return {
        "SPDAffineInvariant": Functions(peer.airm_distance, peer.log_map_airm, peer.exp_map_airm),
        "SPDLogEuclidean": Functions(peer.log_euclidean_distance),
        "SPDLogCholesky": Functions(peer.log_cholesky_distance),
        "SPDBuresWasserstein": Functions(peer.bures_wasserstein_distance),
    }[space]


def _pyriemann(space: str) -> Functions:
    from pyriemann.geometry import distance, tangentspace

    name = {
        "SPDAffineInvariant": "riemann",
        "SPDLogEuclidean": "logeuclid",
        "SPDLogCholesky": "logchol",
        "SPDBuresWasserstein": "wasserstein",
    }[space]
    log = getattr(tangentspace, f"log_map_{name}")
    exp = getattr(tangentspace, f"exp_map_{name}")
    full = {"riemann": ({"C12": True}, {"Cm12": True})}.get(name, ({}, {}))  # not in whitened coordinates

    def rows(function: Map) -> Map:  # its reference point is one matrix
        return lambda x, y: torch.stack([function(*row) for row in zip(x, y, strict=True)])

    return Functions(
        rows(getattr(distance, f"distance_{name}")),
        rows(lambda x, y: log(y, x, **full[0])),
        rows(lambda x, u: exp(u, x, **full[1])),
    )


def _geoopt(space: str) -> Any:
    return {
        "SPDAffineInvariant": geoopt.SymmetricPositiveDefinite("AIM"),
        "SPDLogEuclidean": Functions(geoopt.SymmetricPositiveDefinite("LEM").dist),
        "StiefelEuclidean": Functions(expmap=geoopt.EuclideanStiefel().expmap),
    }.get(space)


def _pymanopt(space: str) -> Any:
    from pymanopt.manifolds import Grassmann, Stiefel

    return Pymanopt((Grassmann if space == "Grassmann" else Stiefel)(*SIZES[space]))


def implementations(space: str, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that implements the space in this dtype, by column title."""
    found = {"isometry": manifold(space)}
    if space in SPD_METRICS and dtype == torch.float32:
        found["isometry (upcast=False)"] = manifold(space, upcast=False)
    if peer := _geoopt(space):
        found["geoopt"] = peer
    if space in SPD_METRICS and find_spec("spd_learn"):
        found["spd-learn"] = _spd_learn(space)
    if space in SPD_METRICS and find_spec("pyriemann"):
        found["pyriemann"] = _pyriemann(space)
    if space not in ("SPDLogCholesky", "StiefelEuclidean") and find_spec("geomstats"):
        found["geomstats"] = _geomstats(space)
    if space in ("Grassmann", "StiefelEuclidean") and dtype == torch.float64 and find_spec("pymanopt"):
        found["pymanopt"] = _pymanopt(space)
    return found
