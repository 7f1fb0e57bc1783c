"""Three ways to compute the product and the bracket of functions on the sphere, with equal results."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from isometry.layers.equivariant._constants import Constants
from isometry.layers.equivariant.sphere_grid import SphereGrid, on_each
from isometry.layers.equivariant.spherical_harmonics import spherical_harmonics


def bracket(f: tuple[Tensor, Tensor], g: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``n . (grad f x grad g) = f_1 g_2 - f_2 g_1`` of the slopes along a right-handed frame."""
    return f[0] * g[1] - f[1] * g[0]


class GridProduct(nn.Module):
    """Multiply values on a grid."""

    def __init__(self, l1: int, l2: int, lout: int, antisymmetric: bool) -> None:
        super().__init__()
        self._grid, self._antisymmetric = SphereGrid(max(l1, l2), lout, l1 + l2 + lout), antisymmetric

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the product."""
        if self._antisymmetric:
            return self._grid.coefficients(bracket(self._grid.slopes(x), self._grid.slopes(y)))
        return self._grid.coefficients(self._grid.values(x) * self._grid.values(y))


class DenseProduct(Constants):
    """Contract with the products of all pairs of harmonics."""

    def __init__(self, l1: int, l2: int, lout: int, antisymmetric: bool) -> None:
        super().__init__()
        self.register_constant("_coefficients", gaunt_coefficients(l1, l2, lout, antisymmetric).flatten(0, 1).T)
        self._coefficients: Tensor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the product."""
        return on_each(self._coefficients, (x.unsqueeze(-2) * y.unsqueeze(-3)).flatten(-3, -2))


def gaunt_coefficients(l1: int, l2: int, lout: int, antisymmetric: bool) -> Tensor:
    """Return ``mean(Y_a Y_b Y_d)``, or ``mean({Y_a, Y_b} Y_d)``, ``[a, b, d]`` in float64 by exact quadrature."""
    a, b = (torch.eye((lmax + 1) ** 2, dtype=torch.float64, device="cpu") for lmax in (l1, l2))
    product = GridProduct(l1, l2, lout, antisymmetric).to(a)
    return product(a.repeat_interleave(len(b), 1), b.repeat(1, len(a))).T.unflatten(0, (len(a), len(b)))


class FourierProduct(Constants):
    r"""Convolve Fourier coefficients on the torus, where the polar angle goes all around.

    A function of degree l is ``sum_uv c_uv e^{i (u theta + v phi)}`` with ``|u|, |v| <= l``. Its slopes have the
    coefficients ``i u c`` and ``i v c``, and the bracket is ``(f_theta g_phi - f_phi g_theta) / sin(theta)``, whose
    denominator cancels with the sphere's measure.
    """

    def __init__(self, l1: int, l2: int, lout: int, antisymmetric: bool) -> None:
        super().__init__()
        self._antisymmetric, self._size = antisymmetric, 2 * (l1 + l2) + 1
        for name, lmax in (("_first", l1), ("_second", l2)):
            self.register_constant(name, torch.view_as_real(_on_torus(lmax)))
        projection = _from_torus(l1 + l2, lout, antisymmetric).flatten(0, 1).T
        self.register_constant("_projection", torch.view_as_real(projection.contiguous()))
        self._first: Tensor
        self._second: Tensor
        self._projection: Tensor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the product."""
        if x.numel() == 0:  # MKL's transform refuses an empty batch
            return x.sum() + y.sum() + x.new_zeros(*x.shape[:-2], len(self._projection), x.shape[-1])
        f, g = _combine(self._first, x), _combine(self._second, y)
        if self._antisymmetric:
            (f1, f2), (g1, g2) = _torus_slopes(f), _torus_slopes(g)
            transformed = bracket(
                (self._transform(f1), self._transform(f2)), (self._transform(g1), self._transform(g2))
            )
        else:
            transformed = self._transform(f) * self._transform(g)
        product = torch.fft.ifft2(transformed, dim=(-3, -2)).flatten(-3, -2)
        return on_each(torch.view_as_complex(self._projection), product).real

    def _transform(self, coefficients: Tensor) -> Tensor:
        """Return the transform, padded for a convolution that does not wrap around."""
        return torch.fft.fft2(coefficients, (self._size, self._size), (-3, -2))


def _combine(torus: Tensor, x: Tensor) -> Tensor:
    """Return the Fourier coefficients ``[..., u, v, channel]`` of features."""
    size = torus.shape[0]
    matrix = torch.view_as_complex(torus).flatten(0, 1)
    return on_each(matrix, x.to(matrix.dtype)).unflatten(-2, (size, size))


def _torus_slopes(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Fourier coefficients of the derivatives by theta and by phi."""
    lmax = coefficients.shape[-2] // 2
    frequency = 1j * torch.arange(-lmax, lmax + 1, dtype=coefficients.real.dtype, device=coefficients.device)
    return frequency[:, None, None] * coefficients, frequency[:, None] * coefficients


def _harmonics_at(theta: Tensor, phi: Tensor, lmax: int) -> Tensor:
    """Return ``[theta, phi, size]``: the harmonics at all pairs of a polar angle from y and a longitude from z to x."""
    sin, cos = theta.sin()[:, None], theta.cos()[:, None]
    points = torch.stack([sin * phi.sin(), cos.expand(-1, len(phi)), sin * phi.cos()], -1)
    return spherical_harmonics(points, lmax)


def _on_torus(lmax: int) -> Tensor:
    """Return ``[u, v, size]``: the Fourier coefficients of the harmonics, frequencies from -lmax to lmax."""
    angle = torch.from_numpy(np.arange(2 * lmax + 1) * (2 * math.pi / (2 * lmax + 1)))
    coefficients = torch.fft.fft2(_harmonics_at(angle, angle, lmax), dim=(0, 1), norm="forward")
    return torch.fft.fftshift(coefficients, (0, 1))


def _from_torus(highest: int, lout: int, slopes: bool) -> Tensor:
    """Return ``[u, v, size]``: the mean over the sphere of ``e^{i (u theta + v phi)} Y``, u and v from -highest.

    For products of slopes, the mean of ``e^{i (u theta + v phi)} Y / sin(theta)``. The nodes in theta are so many that
    the integrand, an entire function, is integrated to the last digit.
    """
    frequency = torch.from_numpy(np.arange(-highest, highest + 1.0))
    nodes, share = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(highest + lout + 24))
    theta = (nodes + 1) * (math.pi / 2)
    phi = torch.from_numpy(np.arange(highest + lout + 1) * (2 * math.pi / (highest + lout + 1)))
    measure = share * (math.pi / 4) / len(phi) * (1 if slopes else theta.sin())
    waves = (torch.exp(1j * frequency[:, None] * angle) for angle in (theta, phi))
    harmonics = _harmonics_at(theta, phi, lout) * measure[:, None, None]
    return torch.einsum("ut,vp,tps->uvs", *waves, harmonics.to(torch.complex128))
