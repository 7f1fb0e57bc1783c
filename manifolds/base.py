"""The interface that every manifold implements and every layer, optimizer and trainer uses."""

import inspect
from abc import abstractmethod
from typing import Any, ClassVar

import geoopt
import torch
from torch import Tensor, nn

from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import safe_sqrt
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.manifolds.frechet import frechet_mean


class Manifold(geoopt.manifolds.Manifold):
    """A Riemannian manifold with geoopt's interface, so that geoopt's parameters and optimizers accept it.

    A point is a tensor whose trailing dimensions are ``point_shape``; all leading dimensions are batch and broadcast.
    A subclass implements the abstract members; everything else is derived from them here, once. A derived member may be
    replaced only by a faster or more exact formula for the same thing, and the conformance suite compares the two.

    Constructor arguments are stored under their own names, which makes ``spec`` complete. Two manifolds are equal
    when their specs are, unless one holds parameters (a learnable curvature): such a manifold equals only itself.
    """

    name: ClassVar[str]
    reversible = True
    parallel: bool = True
    """Whether ``transp`` is the parallel transport along the geodesic (else a vector transport)."""

    # --- facts ------------------------------------------------------------------------------------------------

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__

    @property
    @abstractmethod
    def dim(self) -> int:
        """The intrinsic dimension."""

    @property
    @abstractmethod
    def point_shape(self) -> tuple[int, ...]:
        """The trailing dimensions of a point."""

    @property
    def ndim(self) -> int:
        """The number of trailing dimensions of a point."""
        return len(self.point_shape)

    @abstractmethod
    def injectivity_radius(self) -> float:
        """Return a radius within which ``logmap`` inverts ``expmap`` at every point (possibly infinity)."""

    @abstractmethod
    def point_residual(self, x: Tensor) -> Tensor:
        """Return how far each point violates the manifold's equation, relative to its scale (0 = on it)."""

    @abstractmethod
    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return how far each vector is from tangent at ``x``, relative to its length."""

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the dtype in which geometry on points of ``dtype`` is computed: float32 at least."""
        return torch.promote_types(dtype, torch.float32)

    def supports(self, capability: type) -> bool:
        """Return whether the members of a capability class work here.

        A product or a wrapper has the members of all capability classes; they work where those of its parts do.
        """
        return isinstance(self, capability)

    # --- curvature that training may change -------------------------------------------------------------------

    @property
    def c(self) -> Any:
        """The curvature, in the form that ``rescale`` takes; None where nothing can change it."""
        return None

    def rescale(self, x: Tensor, c_old: Any) -> Tensor:
        """Return ``x``, points from when ``c`` was ``c_old``, moved to the present curvature."""
        return x

    # --- geometry ---------------------------------------------------------------------------------------------

    @abstractmethod
    def projx(self, x: Tensor) -> Tensor:
        """Return a point of the manifold near the ambient ``x``; points of the manifold stay where they are."""

    @abstractmethod
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the tangent vector at ``x`` nearest to the ambient ``u``."""

    @abstractmethod
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Riemannian gradient at ``x`` of a function whose Euclidean gradient is ``u``."""

    @abstractmethod
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``<u, v>_x`` (``v = u`` if omitted); the point dimensions are dropped, or kept with size 1."""

    @abstractmethod
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``exp_x(u)``, the end of the geodesic that leaves ``x`` with velocity ``u``, at time 1."""

    @abstractmethod
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the shortest ``u`` with ``exp_x(u) = y``."""

    @abstractmethod
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from ``x`` to ``y`` along the minimizing geodesic."""

    @abstractmethod
    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the base point, in a tensor of shape ``size``, which ends in ``point_shape``."""

    @abstractmethod
    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return random points in a tensor of shape ``size``, which ends in ``point_shape``.

        Uniform where the manifold is compact, else the class says.
        """

    @abstractmethod
    def with_dim(self, dim: int) -> "Manifold":
        """Return the same geometry, sharing any learnable parameter, in another intrinsic dimension."""

    # --- derived ----------------------------------------------------------------------------------------------

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return a retraction of second order; the exponential map unless a class has a cheaper one."""
        return self.expmap(x, u)

    @full_precision
    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``|u|_x``, with gradient 0 at ``u = 0``."""
        return safe_sqrt(self.inner(x, u, keepdim=keepdim))

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the squared distance, smooth at ``x = y``."""
        return self.inner(x, self.logmap(x, y), keepdim=keepdim)

    @full_precision
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the geodesic distance: 0 with gradient 0 at ``x = y``."""
        return safe_sqrt(self.dist2(x, y, keepdim=keepdim))

    def geodesic(self, t: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
        """Return the point at time ``t`` (a batch) of the geodesic that is at ``x`` at 0 and at ``y`` at 1."""
        u = self.logmap(x, y)
        t = torch.as_tensor(t, dtype=u.dtype, device=u.device)
        return self.expmap(x, t.reshape(t.shape + (1,) * self.ndim) * u)

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = exp_x(u)`` and ``v`` transported to it."""
        y = self.expmap(x, u)
        return y, self.transp(x, y, v)

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = retr_x(u)`` and ``v`` transported to it."""
        y = self.retr(x, u)
        return y, self.transp(x, y, v)

    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported to ``exp_x(u)``."""
        return self.expmap_transp(x, u, v)[1]

    def transp_follow_retr(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported to ``retr_x(u)``."""
        return self.retr_transp(x, u, v)[1]

    def transp_to_origin(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from ``x`` to the origin."""
        return self.transp(x, self._origin_like(x), v)

    def transp_from_origin(self, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from the origin to ``y``."""
        return self.transp(self._origin_like(y), y, v)

    def _origin_like(self, x: Tensor) -> Tensor:
        return self.origin(*self.point_shape, dtype=x.dtype, device=x.device)

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the minimizer of ``sum_i w_i d(mu, x_i)^2`` over the last batch dimension (see ``frechet_mean``)."""
        return frechet_mean(self, x, weights)

    # --- checks -----------------------------------------------------------------------------------------------

    def check_shape(self, x: Tensor, what: str = "point") -> None:
        """Raise ``ShapeError`` unless ``x`` ends in ``point_shape``."""
        ok, reason = self._check_shape(x.shape, what)
        if not ok:
            raise ShapeError(reason)

    def assert_check_point(self, x: Tensor) -> None:
        """Raise ``ShapeError`` unless ``x`` has the shape of points."""
        self.check_shape(x)

    def assert_check_vector(self, u: Tensor) -> None:
        """Raise ``ShapeError`` unless ``u`` has the shape of tangent vectors."""
        self.check_shape(u, "vector")

    def assert_check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> None:
        """Raise ``ShapeError`` or ``OffManifoldError`` unless every point of ``x`` is on the manifold."""
        self.check_shape(x)
        ok, reason = self._check_point_on_manifold(x, atol=atol, rtol=rtol)
        if not ok:
            raise OffManifoldError(reason)

    def assert_check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, ok_point: bool = False, atol: float = 1e-5, rtol: float = 1e-5
    ) -> None:
        """Raise ``ShapeError`` or ``OffManifoldError`` unless every ``u`` is tangent at ``x``."""
        if not ok_point:
            self.assert_check_point_on_manifold(x, atol=atol, rtol=rtol)
        self.check_shape(u, "vector")
        ok, reason = self._check_vector_on_tangent(x, u, atol=atol, rtol=rtol)
        if not ok:
            raise OffManifoldError(reason)

    def _check_shape(self, shape: Any, name: str) -> tuple[bool, str | None]:
        expected = self.point_shape
        if tuple(shape[len(shape) - len(expected) :]) == expected and len(shape) >= len(expected):
            return True, None
        return (
            False,
            f"{self!r}: a {name} ends in dimensions {expected}, but the tensor has shape {tuple(shape)}",
        )

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        return self._verdict(self.point_residual(x), atol, "point", "project with `projx`")

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return self._verdict(self.tangent_residual(x, u), atol, "tangent", "project with `proju`")

    def _verdict(self, residual: Tensor, atol: float, what: str, remedy: str) -> tuple[bool, str | None]:
        worst = float(residual.detach().max()) if residual.numel() else 0.0
        if worst <= atol:  # False for NaN, too
            return True, None
        return False, f"{self!r}: {what} residual {worst:.1e} > atol {atol:.0e}; {remedy}"

    def _size(self, size: tuple[Any, ...]) -> tuple[int, ...]:
        """Return the full shape asked of ``origin`` or ``random``; ``(*batch, *point_shape)`` as ints or one tuple."""
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        ok, reason = self._check_shape(shape, "point")
        if not ok:
            raise ShapeError(f"{reason}; give the full shape, batch first")
        return shape

    # --- identity ---------------------------------------------------------------------------------------------

    @property
    def spec(self) -> dict[str, Any]:
        """The class and its arguments as plain data: ``{"class_path": ..., "init_args": {...}}``."""
        cls = type(self)
        arguments = {
            name: _plain(getattr(self, name)) for name in inspect.signature(cls.__init__).parameters if name != "self"
        }
        return {"class_path": f"{_public_module(cls)}.{cls.__qualname__}", "init_args": arguments}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the spec, which a state dict carries so that it is not loaded into another manifold."""
        return self.spec

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Refuse the state of another manifold."""
        if _fixed(state) != _fixed(self.spec):
            raise ValueError(
                f"The checkpoint was written for the manifold {state}, but this module has {self.spec}. "
                "Build the module with the checkpoint's manifold, or convert its points."
            )

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Manifold) or type(self) is not type(other):
            return self is other
        return not (_holds_parameters(self) or _holds_parameters(other)) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(type(self))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return ", ".join(f"{k}={v}" for k, v in self.spec["init_args"].items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _holds_parameters(module: nn.Module) -> bool:
    """Return whether there are parameters below ``module``; ``parameters()`` would compare modules, and so call us."""
    own = any(p is not None for p in module._parameters.values())
    return own or any(_holds_parameters(child) for child in module._modules.values() if child is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, Manifold):
        return value.spec
    if isinstance(value, Tensor):
        return None if value.is_meta else value.tolist() if value.numel() > 1 else value.item()
    if isinstance(value, tuple | list | nn.ModuleList):
        return [_plain(v) for v in value]
    return value


def _public_module(cls: type) -> str:
    return "isometry.manifolds" if cls.__module__.startswith("isometry.manifolds.") else cls.__module__


def _fixed(spec: Any) -> Any:
    """Return a spec without what training may change: the curvature or the metric's matrix where it is learnable."""
    if isinstance(spec, list):
        return [_fixed(s) for s in spec]
    if isinstance(spec, dict):
        learnable = spec.get("learnable", False)
        return {k: _fixed(v) for k, v in spec.items() if not (learnable and k in ("c", "M"))}
    return spec


class EmbeddedManifold(Manifold):
    """A submanifold with the induced metric: the Riemannian gradient is the projection of the Euclidean one."""

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the tangential part of the Euclidean gradient ``u``."""
        return self.proju(x, u)


class HomogeneousManifold(Manifold):
    """A manifold on which isometries act transitively, with a frame at its origin that they carry everywhere."""

    @abstractmethod
    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> Any:
        """Return a random isometry, in the form that ``act`` takes."""

    @abstractmethod
    def act(self, g: Any, x: Tensor) -> Tensor:
        """Return the image of the points ``x`` under the isometry ``g``."""

    @abstractmethod
    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the tangent vector at the origin with coordinates ``z`` (``dim`` of them) in an orthonormal frame."""

    @abstractmethod
    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the coordinates of a tangent vector at the origin: the inverse of ``origin_vector``."""

    @abstractmethod
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``log |det d(exp_x)_u|`` between orthonormal frames, shape = batch (-inf at conjugate points)."""


class HeatKernelManifold(Manifold):
    """A manifold with a computable heat kernel ``p_t(x, y)`` (generator: half the Laplacian; variance t)."""

    @abstractmethod
    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log p_t(x, y)`` with respect to the Riemannian volume."""

    @abstractmethod
    def sample_heat_kernel(self, t: Tensor, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a point at the end of Brownian motion started at ``x`` and run for time ``t``."""

    @abstractmethod
    def volume(self) -> float:
        """Return the total volume (infinity where the manifold is not compact)."""
