"""Products of spherical features as functions on the sphere, and the bracket that completes them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant._gaunt_backends import DenseProduct, FourierProduct, GridProduct
from isometry.layers.equivariant.sphere_grid import SphereGrid

_BACKENDS: dict[str, type[GridProduct] | type[FourierProduct] | type[DenseProduct]] = {
    "grid": GridProduct,
    "fft": FourierProduct,
    "dense": DenseProduct,
}


class GauntProduct(nn.Module):
    r"""Multiply two features as functions on the sphere, ``(x y)_d = sum_ab mean(Y_a Y_b Y_d) x_a y_b`` per channel.

    A feature is the function ``f(n) = sum_a x_a Y_a(n)``. The product is symmetric and holds one fixed multiple of the
    Clebsch-Gordan product for each triple of degrees with an even sum; it keeps natural parity. Weights belong to
    ``SphericalLinear`` layers before and after.

    The triples with an odd sum, such as the cross product of vectors, are all in the Poisson bracket of the functions,
    ``{f, g} = n . (grad f x grad g)``. It is antisymmetric and of opposite parity. Product and bracket together hold
    every triple of degrees.

    Args:
        l1: The highest degree of the first feature.
        l2: The highest degree of the second feature.
        lout: The highest degree of the product that is computed.
        backend: ``"grid"`` multiplies values on a grid that is exact for these degrees; ``"fft"`` convolves Fourier
            coefficients on the torus, as the paper does; ``"dense"`` contracts with all coefficients. They agree up to
            rounding; the grid is the fastest.
        antisymmetric: Give the bracket instead of the product.

    Source: Luo, Chen & Krishnapriyan 2024, Enabling efficient equivariant operations in the Fourier basis via Gaunt
    tensor products, section 3; the grid as in Xie et al. 2025, The price of freedom. The bracket is this library's: it
    commutes with rotations as a construction of geometry, and its coefficients are multiples of the 3j symbols.
    """

    def __init__(
        self,
        l1: int,
        l2: int,
        lout: int,
        backend: str = "grid",
        antisymmetric: bool = False,
    ) -> None:
        super().__init__()
        if min(l1, l2, lout) < 0:
            raise ValueError(f"GauntProduct: expected degrees >= 0, but got l1={l1}, l2={l2} and lout={lout}.")
        if backend not in _BACKENDS:
            raise ValueError(f"GauntProduct: expected backend in {sorted(_BACKENDS)}, but got {backend!r}.")
        self.l1, self.l2, self.lout, self.backend, self.antisymmetric = l1, l2, lout, backend, antisymmetric
        self._product = _BACKENDS[backend](l1, l2, lout, antisymmetric)

    def forward(
        self, x: Float[Tensor, "*n size1 channels"], y: Float[Tensor, "*n size2 channels"]
    ) -> Float[Tensor, "*n size channels"]:
        """Return the product, or the bracket, of each channel of ``x`` with the same channel of ``y``."""
        return self._product(x, y)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.l1}, {self.l2}, {self.lout}, backend={self.backend!r}, antisymmetric={self.antisymmetric}"


class GauntPower(nn.Module):
    r"""Powers of a feature as a function on the sphere, ``[f^2, ..., f^order]``, side by side in the channels.

    A power is a product of many bodies, where the feature sums over neighbours. All are taken on one grid, which is
    exact for degree ``order * lmax + lout``. Natural parity is kept.

    Args:
        lmax: The highest degree of the feature.
        lout: The highest degree of the powers that is computed.
        order: The highest power, 2 or more.

    Source: Luo, Chen & Krishnapriyan 2024, section 3.3 (equivariant many-body interactions).
    """

    def __init__(self, lmax: int, lout: int, order: int) -> None:
        super().__init__()
        if min(lmax, lout) < 0 or order < 2:
            raise ValueError(
                f"GauntPower: expected degrees >= 0 and order >= 2, but got lmax={lmax}, lout={lout}, order={order}."
            )
        self.lmax, self.lout, self.order = lmax, lout, order
        self._grid = SphereGrid(lmax, lout, order * lmax + lout)

    def forward(self, x: Float[Tensor, "*n size_in channels"]) -> Float[Tensor, "*n size powers"]:
        """Return the powers, ``(order - 1) * channels`` wide, the square first."""
        values = self._grid.values(x)
        powers = [values]
        for _ in range(self.order - 1):
            powers.append(powers[-1] * values)
        return self._grid.coefficients(torch.cat(powers[1:], -1))

    def extra_repr(self) -> str:
        """Return the degrees and the order."""
        return f"{self.lmax}, {self.lout}, order={self.order}"
