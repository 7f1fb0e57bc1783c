"""A manifold that checks what goes in and what comes out."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._precision import captured
from isometry.manifolds._wrapper import Wrapper, standing_for
from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold, Manifold
from isometry.manifolds.errors import OffManifoldError, ShapeError

F = TypeVar("F", bound=Callable[..., Any])


def checked(method: F, roles: str) -> F:
    """Return ``method`` as the wrapped manifold has it, between checks of its arguments and results.

    Args:
        method: A method of the interface.
        roles: What its arguments and results are, as in ``"point vector -> point"``:
            ``point``, on the manifold; ``vector``, tangent at the first point; ``moved``, tangent at the last point;
            ``array``, of a point's shape and otherwise free; ``any``, whatever is not NaN.
    """
    takes, gives = (side.split() for side in roles.split("->"))
    signature = inspect.signature(method)
    names = list(signature.parameters)[1:]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = method.__name__
        result = functools.partial(getattr(self.manifold, name), *args, **kwargs)
        if captured():
            return result()
        given = signature.bind(self, *args, **kwargs).arguments
        inputs = [(role, key, given[key]) for role, key in zip(takes, names, strict=False) if key in given]
        audit = _Audit(self, name, [value for _, _, value in inputs if isinstance(value, Tensor)])
        for role, key, value in inputs:
            audit.check(role, f"argument {key!r}", value)
        value = result()
        for role, part in zip(gives, value if isinstance(value, tuple) else [value], strict=True):
            audit.check(role, "result", part)
        return value

    return standing_for(method, call)


class _Audit:
    """The checks of one call."""

    def __init__(self, manifold: "Checked", name: str, inputs: list[Tensor]) -> None:
        self.manifold, self.where = manifold, f"{manifold!r}.{name}"
        self.eps = max([torch.finfo(t.dtype).eps for t in inputs if t.is_floating_point()], default=0.0)
        self.inputs = inputs
        self.points: list[Tensor] = []

    @torch.no_grad()
    def check(self, role: str, what: str, value: Any) -> None:
        """Raise unless ``value`` is what its role says."""
        if not isinstance(value, Tensor):
            return
        if role != "any":
            ok, reason = self.manifold._check_shape(value.shape, "point" if role == "point" else "vector")
            if not ok:
                raise ShapeError(f"{self.where}: {what}: {reason}")
        nans = int(value.isnan().sum())
        if nans:
            raise OffManifoldError(f"{self.where}: {what}: {nans} of {value.numel()} numbers are NaN")
        if role == "point":
            self.points.append(value)
            self._require(self.manifold.point_residual(value), 0.0, f"{what}: point", value, "projx")
        elif role in ("vector", "moved"):
            at = self.points[0 if role == "vector" else -1]
            # A vector cannot be rounded better than the numbers from which it was computed.
            noise = self._scale() / self._length(value).clamp_min(torch.finfo(torch.float64).tiny)
            self._require(self.manifold.tangent_residual(at, value), noise, f"{what}: tangent", value, "proju")

    def _require(self, residual: Tensor, noise: Tensor | float, what: str, value: Tensor, remedy: str) -> None:
        eps = max(self.eps, torch.finfo(value.dtype).eps)
        limit = max(Checked.atol, 8 * eps) + 8 * eps * noise
        bad = ~(residual <= limit)  # NaN is bad
        if bad.any():
            worst, limit = float(torch.where(bad, residual, 0).max()), float(torch.as_tensor(limit).min())
            raise OffManifoldError(
                f"{self.where}: {what} residual {worst:.1e} > tolerance {limit:.0e} at {int(bad.sum())} of "
                f"{bad.numel()}; project with `{remedy}`"
            )

    def _length(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x.double(), dim=tuple(range(-self.manifold.ndim, 0)))

    def _scale(self) -> Tensor:
        arrays = [t for t in self.inputs if self.manifold._check_shape(t.shape, "point")[0]]
        return functools.reduce(torch.maximum, map(self._length, arrays))


class Checked(Wrapper):
    r"""The same manifold, checking every call: for tests and for finding where a program leaves the manifold.

    Arguments and results must have the shape of points, contain no NaN, and satisfy the manifold's equations to 1e-5
    in float64 and float32 and to 8 eps in the half formats. Each check reads its values back, so a program runs
    slower; there are none under ``torch.compile``, ``vmap`` and the other transformations.

    Args:
        manifold: The manifold to check.

    Raises:
        ShapeError: A tensor does not end in ``point_shape``.
        OffManifoldError: A point or vector violates the equations, or a number is NaN.
    """

    atol = 1e-5

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry in another dimension, checked too."""
        return type(self)(self.manifold.with_dim(dim))

    act = checked(HomogeneousManifold.act, "any point -> point")
    component_inner = checked(Manifold.component_inner, "point vector vector -> any")
    dist = checked(Manifold.dist, "point point -> any")
    dist2 = checked(Manifold.dist2, "point point -> any")
    egrad2rgrad = checked(Manifold.egrad2rgrad, "point array -> vector")
    expmap = checked(Manifold.expmap, "point vector -> point")
    expmap_transp = checked(Manifold.expmap_transp, "point vector vector -> point moved")
    frechet_mean = checked(Manifold.frechet_mean, "point any -> point")
    geodesic = checked(Manifold.geodesic, "any point point -> point")
    heat_kernel_log_prob = checked(HeatKernelManifold.heat_kernel_log_prob, "any point point -> any")
    inner = checked(Manifold.inner, "point vector vector -> any")
    log_det_exp = checked(HomogeneousManifold.log_det_exp, "point vector -> any")
    logmap = checked(Manifold.logmap, "point point -> vector")
    norm = checked(Manifold.norm, "point vector -> any")
    origin_coordinates = checked(HomogeneousManifold.origin_coordinates, "array -> any")
    origin_vector = checked(HomogeneousManifold.origin_vector, "any -> array")
    proju = checked(Manifold.proju, "point array -> vector")
    projx = checked(Manifold.projx, "array -> point")
    random = checked(Manifold.random, "-> point")
    rescale = checked(Manifold.rescale, "array any -> point")
    retr = checked(Manifold.retr, "point vector -> point")
    retr_transp = checked(Manifold.retr_transp, "point vector vector -> point moved")
    sample_heat_kernel = checked(HeatKernelManifold.sample_heat_kernel, "any point -> point")
    transp = checked(Manifold.transp, "point point vector -> moved")
    transp_from_origin = checked(Manifold.transp_from_origin, "point array -> vector")
    transp_to_origin = checked(Manifold.transp_to_origin, "point vector -> array")
