"""Functions of a distance, smooth and without an envelope."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant._constants import Constants
from isometry.manifolds._smooth import sinc_sqrt


def _check(name: str, cutoff: float, size: int, least: int) -> None:
    if not cutoff > 0 or size < least:
        raise ValueError(
            f"{name}: expected a positive cutoff and size >= {least}, but got cutoff={cutoff} and size={size}."
        )


class BesselBasis(nn.Module):
    r"""The first spherical Bessel functions that vanish at the cutoff, ``sqrt(2/cutoff) sin(n pi r/cutoff) / r``.

    They are orthonormal on the ball of this radius with the weight ``r^2``. Computed as ``sin(n t) / t = sinc(t)
    U_{n-1}(cos t)`` with the recursion of Chebyshev's polynomials: analytic, r = 0 included.

    Args:
        cutoff: Where they vanish, positive.
        size: Number of functions, ``n = 1, ..., size``.

    Source: Gasteiger et al. 2020, Directional message passing for molecular graphs, equation 7.
    """

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        _check("BesselBasis", cutoff, size, 1)
        self.cutoff, self.size = cutoff, size

    def forward(self, r: Float[Tensor, "*e"]) -> Float[Tensor, "*e size"]:
        """Return the functions at distances ``r >= 0``."""
        t = r * (math.pi / self.cutoff)
        twice = 2 * torch.cos(t)
        before, now = torch.zeros_like(t), sinc_sqrt(t * t) * math.sqrt(2 / self.cutoff) * (math.pi / self.cutoff)
        functions = [now]
        for _ in range(self.size - 1):
            before, now = now, twice * now - before
            functions.append(now)
        return torch.stack(functions, -1)

    def extra_repr(self) -> str:
        """Return the cutoff and the size."""
        return f"{self.cutoff}, {self.size}"


class GaussianBasis(Constants):
    r"""Gaussians at equal distances, ``exp(-(r - r_k)^2 / (2 d^2))`` with ``r_k = k d``, ``d = cutoff / (size - 1)``.

    Args:
        cutoff: The last centre, positive.
        size: Number of functions, 2 or more.

    Source: Schuett et al. 2017, SchNet: a continuous-filter convolutional neural network, section 4.2.
    """

    centers: Tensor

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        _check("GaussianBasis", cutoff, size, 2)
        self.cutoff, self.size = cutoff, size
        self.register_constant("centers", torch.linspace(0, size - 1, size, dtype=torch.float64))

    def forward(self, r: Float[Tensor, "*e"]) -> Float[Tensor, "*e size"]:
        """Return the functions at distances ``r >= 0``."""
        distance = r.unsqueeze(-1) * ((self.size - 1) / self.cutoff) - self.centers
        return torch.exp(-0.5 * distance * distance)

    def extra_repr(self) -> str:
        """Return the cutoff and the size."""
        return f"{self.cutoff}, {self.size}"


class ExpNormalBasis(Constants):
    r"""Gaussians of ``exp(-a r)``, narrow where atoms are close, ``exp(-b (exp(-a r) - m_k)^2)``.

    ``a = 5 / cutoff``, ``m_k`` goes in equal steps from ``exp(-cutoff)`` to 1 and ``b = (2 (1 - exp(-cutoff)) /
    size)^-2``, where the cutoff counts in the unit of the distances (angstrom in the paper).

    Args:
        cutoff: The range of the distances, positive.
        size: Number of functions, 2 or more.

    Source: Unke & Meuwly 2019, PhysNet, equation 7 and below, without its envelope; the constants are those of Simeon &
    De Fabritiis 2023, TensorNet, appendix A.1.
    """

    centers: Tensor

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        _check("ExpNormalBasis", cutoff, size, 2)
        self.cutoff, self.size = cutoff, size
        self.register_constant("centers", torch.linspace(math.exp(-cutoff), 1, size, dtype=torch.float64))
        self._width = 2 / size * (1 - math.exp(-cutoff))

    def forward(self, r: Float[Tensor, "*e"]) -> Float[Tensor, "*e size"]:
        """Return the functions at distances ``r >= 0``."""
        distance = (torch.exp(r.unsqueeze(-1) * (-5 / self.cutoff)) - self.centers) / self._width
        return torch.exp(-distance * distance)

    def extra_repr(self) -> str:
        """Return the cutoff and the size."""
        return f"{self.cutoff}, {self.size}"
