"""A manifold that stands in front of another and passes every call on."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold, Manifold

F = TypeVar("F", bound=Callable[..., Any])


def standing_for(method: F, call: Any) -> F:
    """Return ``call`` with the name, signature and docstring of ``method``, which it implements."""
    call = functools.wraps(method)(call)
    call.__isabstractmethod__ = False
    # torch.compile counts recompilations per code object: each method has one of its own.
    call.__code__ = call.__code__.replace()
    return call


def forwarded(method: F) -> F:
    """Return ``method`` as the wrapped manifold has it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.manifold, method.__name__)(*args, **kwargs)

    return standing_for(method, call)


class Wrapper(HomogeneousManifold, HeatKernelManifold):
    """The geometry of another manifold, method by method; a subclass replaces what it changes.

    ``supports`` tells whether the members of a capability class work: they do where the wrapped manifold has them.

    Args:
        manifold: The manifold to stand in front of.
    """

    def __init__(self, manifold: Manifold) -> None:
        super().__init__()
        self.manifold = manifold
        self.parallel = manifold.parallel

    @property
    def dim(self) -> int:
        """The intrinsic dimension."""
        return self.manifold.dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """The trailing dimensions of a point."""
        return self.manifold.point_shape

    @property
    def c(self) -> Any:
        """The curvature of the wrapped manifold, for ``rescale``."""
        return self.manifold.c

    def supports(self, capability: type) -> bool:
        """Return whether the wrapped manifold has the members of ``capability``."""
        return super().supports(capability) and self.manifold.supports(capability)

    def extra_repr(self) -> str:
        """Return the wrapped manifold and the other arguments."""
        others = [f"{k}={v}" for k, v in self.spec["init_args"].items() if k != "manifold"]
        return ", ".join([repr(self.manifold), *others])

    act = forwarded(HomogeneousManifold.act)
    component_inner = forwarded(Manifold.component_inner)
    compute_dtype = forwarded(Manifold.compute_dtype)
    dist = forwarded(Manifold.dist)
    dist2 = forwarded(Manifold.dist2)
    egrad2rgrad = forwarded(Manifold.egrad2rgrad)
    expmap = forwarded(Manifold.expmap)
    expmap_transp = forwarded(Manifold.expmap_transp)
    frechet_mean = forwarded(Manifold.frechet_mean)
    geodesic = forwarded(Manifold.geodesic)
    heat_kernel_log_prob = forwarded(HeatKernelManifold.heat_kernel_log_prob)
    injectivity_radius = forwarded(Manifold.injectivity_radius)
    inner = forwarded(Manifold.inner)
    log_det_exp = forwarded(HomogeneousManifold.log_det_exp)
    logmap = forwarded(Manifold.logmap)
    norm = forwarded(Manifold.norm)
    origin = forwarded(Manifold.origin)
    origin_coordinates = forwarded(HomogeneousManifold.origin_coordinates)
    origin_vector = forwarded(HomogeneousManifold.origin_vector)
    point_residual = forwarded(Manifold.point_residual)
    proju = forwarded(Manifold.proju)
    projx = forwarded(Manifold.projx)
    random = forwarded(Manifold.random)
    random_isometry = forwarded(HomogeneousManifold.random_isometry)
    rescale = forwarded(Manifold.rescale)
    retr = forwarded(Manifold.retr)
    retr_transp = forwarded(Manifold.retr_transp)
    sample_heat_kernel = forwarded(HeatKernelManifold.sample_heat_kernel)
    tangent_residual = forwarded(Manifold.tangent_residual)
    transp = forwarded(Manifold.transp)
    transp_from_origin = forwarded(Manifold.transp_from_origin)
    transp_to_origin = forwarded(Manifold.transp_to_origin)
    volume = forwarded(HeatKernelManifold.volume)
