"""One layer on both models of hyperbolic space."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import Space
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, poincare_to_lorentz

C = 0.7


def moved(layer: nn.Module, seed: int = 3) -> nn.Module:
    """A copy of the layer in float64, its parameters (also a manifold's) away from where they start."""
    generator = torch.Generator().manual_seed(seed)
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return layer


@torch.no_grad()
def same_parameters(source: nn.Module, target: nn.Module) -> None:
    for p, q in zip(source.parameters(), target.parameters(), strict=True):
        q.copy_(p)


def pair(make: Callable[[Space], nn.Module], dim: int = 4) -> tuple[nn.Module, nn.Module]:
    """The layer on the ball and on the hyperboloid, with the same parameters."""
    ball, hyperboloid = moved(make(PoincareBall(dim, C))), make(Lorentz(dim, C)).double()
    same_parameters(ball, hyperboloid)
    return ball, hyperboloid


def near_flat(make: Callable[[Space], nn.Module], model: type, dim: int = 4) -> tuple[nn.Module, nn.Module]:
    """The layer on a space of curvature -1e-10 and on the Euclidean one, with the same parameters."""
    curved, flat = moved(make(model(dim, 1e-10))), make(Euclidean(dim)).double()
    same_parameters(curved, flat)
    return curved, flat


def ball_points(*batch: int, dim: int = 4, radius: float = 2.0, seed: int = 0) -> Tensor:
    """Points of ``PoincareBall(dim, C)`` up to the radius, in units of the curvature radius."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(*batch, dim, generator=generator, dtype=torch.float64)
    r = radius * torch.rand(*batch, 1, generator=generator, dtype=torch.float64)
    return (r / 2).tanh() * u / u.norm(dim=-1, keepdim=True) / C**0.5


def to_lorentz(x: Tensor) -> Tensor:
    return poincare_to_lorentz(x, C)
