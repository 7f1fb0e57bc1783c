"""A complex manifold with real points."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._wrapper import Wrapper, standing_for
from isometry.manifolds.base import HomogeneousManifold, Manifold

F = TypeVar("F", bound=Callable[..., Any])


def viewed(method: F) -> F:
    """Return ``method`` as the wrapped manifold has it, between a view of its arguments as complex and back."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        dtype = functools.reduce(torch.promote_types, (a.dtype for a in tensors))
        given = [self.complex(a) if isinstance(a, Tensor) else a for a in args]
        named = {k: self.complex(a) if isinstance(a, Tensor) else a for k, a in kwargs.items()}
        result = getattr(self.manifold, method.__name__)(*given, **named)
        if isinstance(result, tuple):
            return tuple(self.real(part, dtype) for part in result)
        return self.real(result, dtype)

    return standing_for(method, call)


class RealView(Wrapper):
    r"""A manifold of complex points ``[*p]``, its points and vectors given as real tensors ``[*p, 2]``.

    ``view(z) = (Re z, Im z)``, and everything is as the wrapped manifold has it. So complex matrices enter a
    ``Product`` with real manifolds, or code that knows no complex numbers.

    Args:
        manifold: A manifold of complex points.
    """

    def __init__(self, manifold: Manifold) -> None:
        super().__init__(manifold)
        if not manifold.origin(*manifold.point_shape).is_complex():
            raise ValueError(f"RealView: expected a manifold of complex points, but those of {manifold!r} are real.")

    @property
    def point_shape(self) -> tuple[int, ...]:
        """The manifold's, and the real and imaginary parts."""
        return (*self.manifold.point_shape, 2)

    def with_dim(self, dim: int) -> Self:
        """Return the view of the same geometry in another dimension."""
        return type(self)(self.manifold.with_dim(dim))

    def complex(self, x: Tensor) -> Tensor:
        """Return the complex points or vectors with the parts ``x``, in float32 at least."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.complex(x[..., 0], x[..., 1])

    def real(self, z: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return the parts of complex points or vectors; real numbers as they are."""
        parts = torch.stack([z.real, z.imag], -1) if z.is_complex() else z
        return parts.to(parts.dtype if dtype is None else dtype)

    point_residual = viewed(Manifold.point_residual)
    tangent_residual = viewed(Manifold.tangent_residual)
    projx = viewed(Manifold.projx)
    proju = viewed(Manifold.proju)
    egrad2rgrad = viewed(Manifold.egrad2rgrad)
    expmap = viewed(Manifold.expmap)
    expmap_transp = viewed(Manifold.expmap_transp)
    logmap = viewed(Manifold.logmap)
    retr = viewed(Manifold.retr)
    retr_transp = viewed(Manifold.retr_transp)
    transp = viewed(Manifold.transp)
    transp_from_origin = viewed(Manifold.transp_from_origin)
    transp_to_origin = viewed(Manifold.transp_to_origin)
    log_det_exp = viewed(HomogeneousManifold.log_det_exp)
    origin_coordinates = viewed(HomogeneousManifold.origin_coordinates)
    compute_dtype = Manifold.compute_dtype
    frechet_mean = Manifold.frechet_mean
    geodesic = Manifold.geodesic

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the manifold's inner product."""
        return self._number("inner", x, u, u if v is None else v, keepdim=keepdim)

    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the manifold's norm."""
        return self._number("norm", x, u, keepdim=keepdim)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the manifold's distance."""
        return self._number("dist", x, y, keepdim=keepdim)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the manifold's squared distance."""
        return self._number("dist2", x, y, keepdim=keepdim)

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return the manifold's inner products per factor."""
        return self._number("component_inner", x, u, u if v is None else v).unsqueeze(-1)

    def _number(self, method: str, *tensors: Tensor, keepdim: bool = False) -> Tensor:
        dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
        value = getattr(self.manifold, method)(*map(self.complex, tensors)).to(dtype)
        return value.reshape(value.shape + (1,) * self.ndim) if keepdim else value

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the manifold's base point."""
        return self.real(self.manifold.origin(self._size(size)[:-1], dtype=dtype, device=device))

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return the manifold's random points."""
        size = self._size(size)[:-1]
        return self.real(self.manifold.random(size, generator=generator, dtype=dtype, device=device))

    def act(self, g: Any, x: Tensor) -> Tensor:
        """Return the image of ``x`` under an isometry of the manifold."""
        return self.real(self.manifold.act(g, self.complex(x)), x.dtype)

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the manifold's tangent vector with coordinates ``z``."""
        return self.real(self.manifold.origin_vector(z), z.dtype)
