"""Where the coefficients of spherical features stand."""

from dataclasses import dataclass

import torch
from e3nn import o3
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SphericalLayout:
    r"""All degrees up to ``lmax``, each with all channels: a dense tensor ``x[n, l^2 + l + m, channel]``, ``|m| <= l``.

    Rows, axes and signs are those of e3nn: the polar axis is y, the rows of degree 1 are (x, y, z), and a rotation acts
    on the rows of degree l by ``o3.wigner_D(l)``. Parity is natural, ``p = (-1)^l``, or pseudo, ``p = -(-1)^l``.

    Args:
        lmax: The highest degree, 0 or more.
    """

    lmax: int

    def __post_init__(self) -> None:
        if self.lmax < 0:
            raise ValueError(f"SphericalLayout: expected lmax >= 0, but got {self.lmax}.")

    @property
    def size(self) -> int:
        """The number of rows, ``(lmax + 1)^2``."""
        return (self.lmax + 1) ** 2

    @property
    def degrees(self) -> Int[Tensor, " size"]:
        """The degree l of each row."""
        return torch.tensor([degree for degree in range(self.lmax + 1) for _ in range(2 * degree + 1)])

    @property
    def orders(self) -> Int[Tensor, " size"]:
        """The order m of each row, from -l to l."""
        return torch.tensor([order for degree in range(self.lmax + 1) for order in range(-degree, degree + 1)])

    def irreps(self, channels: int, pseudo: bool = False) -> o3.Irreps:
        """Return e3nn's name of the feature: ``channels`` copies of each degree, such as ``8x0e+8x1o+8x2e``."""
        sign = -1 if pseudo else 1
        return o3.Irreps([(channels, (degree, sign * (-1) ** degree)) for degree in range(self.lmax + 1)])

    def from_irreps(self, x: Float[Tensor, "*n dim"], channels: int) -> Float[Tensor, "*n size channels"]:
        """Return a feature of ``irreps(channels)``, e3nn's flat order ``(degree, channel, order)``, as a dense one.

        Raises:
            ValueError: If ``x`` has not ``size * channels`` entries.
        """
        if x.shape[-1] != self.size * channels:
            raise ValueError(
                f"SphericalLayout({self.lmax}): expected {self.irreps(channels)} with {self.size * channels} entries, "
                f"but got {x.shape[-1]}."
            )
        blocks = x.split([channels * (2 * degree + 1) for degree in range(self.lmax + 1)], -1)
        return torch.cat([block.unflatten(-1, (channels, -1)).mT for block in blocks], -2)

    def to_irreps(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n dim"]:
        """Return a dense feature in e3nn's flat order, the inverse of ``from_irreps``."""
        blocks = x.split([2 * degree + 1 for degree in range(self.lmax + 1)], -2)
        return torch.cat([block.mT.flatten(-2) for block in blocks], -1)


@dataclass(frozen=True)
class EdgeLayout:
    r"""The rows ``|m| <= mmax`` of a spherical feature in the frame of an edge, the order m first.

    All (l, 0), then all (l, 1), all (l, -1), all (l, 2), ...: a turn about the edge mixes the rows (l, m) and (l, -m).

    Args:
        lmax: The highest degree.
        mmax: The highest order, from 0 to ``lmax``.
    """

    lmax: int
    mmax: int

    def __post_init__(self) -> None:
        if not 0 <= self.mmax <= self.lmax:
            raise ValueError(f"expected 0 <= mmax <= lmax, but got lmax={self.lmax} and mmax={self.mmax}.")

    @property
    def counts(self) -> list[int]:
        """How many degrees there are of each order from 0 to ``mmax``."""
        return [self.lmax + 1 - m for m in range(self.mmax + 1)]

    @property
    def rows(self) -> Int[Tensor, " rows"]:
        """The place ``l^2 + l + m`` of each row in ``SphericalLayout``."""
        orders = [0, *(sign * m for m in range(1, self.mmax + 1) for sign in (1, -1))]
        return torch.tensor([degree**2 + degree + m for m in orders for degree in range(abs(m), self.lmax + 1)])

    @property
    def degrees(self) -> Int[Tensor, " rows"]:
        """The degree l of each row."""
        return SphericalLayout(self.lmax).degrees[self.rows]
