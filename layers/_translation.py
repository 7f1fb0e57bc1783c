"""What layers of any manifold compute with: how points are seen from the tangent space at the origin E.

``centred(x, y) = T_(x->E) log_x(y)`` and ``departed(x, u) = exp_x(T_(E->x) u)`` with the transport T are inverse to
each other. On a group or gyrogroup they are ``log_E(-x + y)`` and ``x + exp_E(u)``, cheaper where these have closed
forms: such maps are registered for a class of manifolds, and a layer looks them up when it is constructed. On the
pull-back of another geometry a layer computes in that geometry, where derivatives of the diffeomorphism do not enter.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from isometry.manifolds import Euclidean, Manifold, SPDAffineInvariant, SPDLogCholesky, SPDLogEuclidean
from isometry.manifolds._spd_pullback import PullBack
from isometry.manifolds.spd_affine_invariant import origin_log
from isometry.manifolds.spectral import Spectrum, sym_exp, sym_inv_sqrt, sym_sqrt

Function = Callable[[Manifold, Tensor, Tensor], Tensor]
Departure = Callable[[Tensor, Tensor], Tensor]


class Translation(NamedTuple):
    """The maps of a class of manifolds, as functions of the manifold and their arguments.

    Attributes:
        log: ``(manifold, y) -> log_E(y)``.
        centred: ``(manifold, x, y) -> T_(x->E) log_x(y)``.
        seen: ``(manifold, x, y) -> u, departed``: the same ``u``, and ``departed(g, rate) = exp_g(T_(E->g) rate u)``
            for a rate ``[*b]``.
        flat: Whether the manifold is a Euclidean space in other coordinates.
    """

    log: Callable[[Manifold, Tensor], Tensor]
    centred: Function
    seen: Callable[[Manifold, Tensor, Tensor], tuple[Tensor, Departure]]
    flat: bool = False


def origin_like(manifold: Manifold, x: Tensor) -> Tensor:
    """Return one origin, in the format of ``x``."""
    return manifold.origin(*manifold.point_shape, dtype=x.dtype, device=x.device)


def _log(manifold: Manifold, y: Tensor) -> Tensor:
    return manifold.logmap(origin_like(manifold, y), y)


def _seen(centred: Function, departed: Function, manifold: Manifold, x: Tensor, y: Tensor) -> tuple[Tensor, Departure]:
    """Return ``seen`` of a class of manifolds where nothing that ``centred`` computes serves ``departed``."""
    u = centred(manifold, x, y)
    return u, lambda g, rate: departed(manifold, g, rate.reshape(rate.shape + (1,) * manifold.ndim) * u)


def _centred(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return manifold.transp_to_origin(x, manifold.logmap(x, y))


def _departed(manifold: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return manifold.expmap(x, manifold.transp_from_origin(x, u))


def _flat_centred(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """Return ``log_E(y) - log_E(x)``: on a flat space ``log_E`` is an isometry."""
    return _log(manifold, y) - _log(manifold, x)


def _flat_departed(manifold: Manifold, x: Tensor, u: Tensor) -> Tensor:
    """Return ``exp_E(log_E(x) + u)``."""
    return manifold.expmap(origin_like(manifold, x), _log(manifold, x) + u)


def _affine_log(manifold: SPDAffineInvariant, y: Tensor) -> Tensor:
    return origin_log(y)[0]


def _affine_centred(manifold: SPDAffineInvariant, x: Tensor, y: Tensor) -> Tensor:
    """Return ``log(x^(-1/2) y x^(-1/2))``."""
    return origin_log(manifold.act(sym_inv_sqrt(x), y))[0]


def _affine_seen(manifold: SPDAffineInvariant, x: Tensor, y: Tensor) -> tuple[Tensor, Departure]:
    """Return ``u = log(x^(-1/2) y x^(-1/2))`` and ``g^(1/2) exp(rate u) g^(1/2)``, from one decomposition."""
    u, logs = origin_log(manifold.act(sym_inv_sqrt(x), y))

    def departed(g: Tensor, rate: Tensor) -> Tensor:
        power = sym_exp(rate[..., None, None] * u, Spectrum(rate.unsqueeze(-1) * logs.values, logs.vectors))
        return manifold.act(sym_sqrt(g), power)

    return u, departed


_TRANSPORT = Translation(_log, _centred, partial(_seen, _centred, _departed))
_FLAT = Translation(_log, _flat_centred, partial(_seen, _flat_centred, _flat_departed), flat=True)
_REGISTERED: dict[type[Manifold], Translation] = {
    Euclidean: _FLAT,
    SPDLogEuclidean: _FLAT,
    SPDLogCholesky: _FLAT,
    SPDAffineInvariant: Translation(_affine_log, _affine_centred, _affine_seen),
}


class View(NamedTuple):
    """The geometry in which a layer computes: a manifold, or the one whose pull-back it is by a diffeomorphism phi.

    Attributes:
        manifold: The geometry.
        translation: Its maps.
        pull_backs: What lies between, outermost first.
        scale: By how much distances are larger than those of the images.
    """

    manifold: Manifold
    translation: Translation
    pull_backs: tuple[PullBack, ...]
    scale: float

    def points(self, x: Tensor) -> Tensor:
        """Return ``phi(x)``."""
        for p in self.pull_backs:
            x = p.chart_at(x).coordinates()
        return x

    def back(self, y: Tensor) -> Tensor:
        """Return ``phi^-1(y)``."""
        for p in reversed(self.pull_backs):
            y = p.from_image(y)
        return y

    def vectors(self, u: Tensor) -> Tensor:
        """Return ``D phi(E)[u]`` of tangent vectors at the origin."""
        for p in self.pull_backs:
            u = p.chart_at(origin_like(p, u)).push(u)
        return u


def view(manifold: Manifold) -> View:
    """Return the geometry in which to compute, with the maps registered for its class, or those by transport."""
    pull_backs: list[PullBack] = []
    while isinstance(manifold, PullBack):
        pull_backs.append(manifold)
        manifold = manifold.manifold
    maps = _REGISTERED.get(type(manifold), _TRANSPORT)
    return View(manifold, maps, tuple(pull_backs), float(math.prod(p.scale for p in pull_backs)))
