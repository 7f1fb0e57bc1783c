"""An activation of the values of a feature on the sphere."""

import copy
import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from isometry.layers.equivariant.edge_frame import edge_frame
from isometry.layers.equivariant.sphere_grid import SphereGrid
from isometry.layers.equivariant.wigner import WignerD


class S2Activation(nn.Module):
    r"""Apply an activation to the values of a feature on the sphere, ``y_lm = c mean of s(f(n)) Y_lm(n)`` over a grid.

    ``f(n) = sum_lm x_lm Y_lm(n) / c`` with ``c = lmax + 1`` has variance 1 if the coefficients have.

    No grid is exact for a function s that is not a polynomial, so the layer is equivariant only up to an error, which
    is measured when the layer is built: ``equivariance_error``, the root mean square of ``f(R x) - R f(x)`` over that
    of ``f(x)``, for normal coefficients of variance 1. Larger features bring larger errors. ``SwiGLUS2`` and ``Gate``
    are exact.

    Args:
        lmax: The highest degree.
        activation: The function s.
        degree: Polynomials up to this degree are averaged exactly; ``6 lmax + 1`` if None. Odd ones keep parity.

    Raises:
        UserWarning: A warning, if the error is above 1e-3.

    Source: Cohen et al. 2018, Spherical CNNs, section 3; e3nn's S2Activation.
    """

    def __init__(self, lmax: int, activation: Callable[[Tensor], Tensor] = silu, degree: int | None = None) -> None:
        super().__init__()
        self.lmax, self.activation = lmax, activation
        self._grid = SphereGrid(lmax, lmax, 6 * lmax + 1 if degree is None else degree)
        self.equivariance_error = self._measured_error()
        if self.equivariance_error > 1e-3:
            warnings.warn(
                f"S2Activation(lmax={lmax}): rotations change the output by a relative {self.equivariance_error:.1e} "
                f"with degree={self._grid.degree}; raise the degree, or take SwiGLUS2 or Gate, which are exact.",
                stacklevel=2,
            )

    def forward(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n size channels"]:
        """Return the coefficients of the activated function."""
        return (self.lmax + 1) * self._grid.coefficients(self.activation(self._grid.values(x) / (self.lmax + 1)))

    @torch.no_grad()
    def _measured_error(self) -> float:
        layer = copy.deepcopy(self).double()
        rotation = edge_frame(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
        matrix = torch.block_diag(*(d.squeeze(0) for d in WignerD(self.lmax).double()(rotation)))
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(len(matrix), 256, generator=rng, dtype=torch.float64)
        output = layer(x)
        return float((layer(matrix @ x) - matrix @ output).norm() / output.norm())

    def extra_repr(self) -> str:
        """Return the sizes and the measured error."""
        return f"lmax={self.lmax}, degree={self._grid.degree}, equivariance_error={self.equivariance_error:.1e}"
