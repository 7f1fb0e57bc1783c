"""Representation matrices of rotations, without angles."""

import math

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor

from isometry.layers.equivariant._constants import Constants


class WignerD(Constants):
    r"""The matrices ``D_l(R)`` with ``Y_l(R r) = D_l(R) Y_l(r)``, as polynomials of the rotation matrix.

    Degree l is the top part of the product of degrees l - 1 and 1, on which a rotation acts as ``D_{l-1}`` and R:

        ``D_l = A_l (R x D_{l-1}) A_l^T``,   ``A_l = sqrt(2 l + 1) wigner_3j(1, l - 1, l)``,  ``A_l A_l^T = 1``.

    Three matrix products for each degree; no angle, no case, so that all derivatives exist and are exact.

    Args:
        lmax: The highest degree.

    Accuracy: about ``(l + 1) eps``, for R orthogonal to eps. Nothing is checked: for another matrix the result is no
        representation.

    Source: the Clebsch-Gordan series of the product of two representations; the axes and signs are e3nn's.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        if lmax < 0:
            raise ValueError(f"WignerD: expected lmax >= 0, but got {lmax}.")
        self.lmax = lmax
        for degree in range(2, lmax + 1):
            top = math.sqrt(2 * degree + 1) * o3.wigner_3j(1, degree - 1, degree, dtype=torch.float64)
            left = torch.einsum("iam,jk->ijmka", top, torch.eye(3, dtype=torch.float64))
            self.register_constant(f"left_{degree}", left.reshape(9, -1))
            self.register_constant(f"right_{degree}", top.reshape(-1, 2 * degree + 1))

    def forward(self, rotation: Float[Tensor, "*n 3 3"]) -> list[Float[Tensor, "*n _ _"]]:
        """Return ``D_0, ..., D_lmax``, of shapes ``[*n, 2 l + 1, 2 l + 1]``."""
        batch = rotation.shape[:-2]
        flat = rotation.reshape(-1, 9)
        blocks = [torch.ones_like(flat[:, :1, None]), flat.view(-1, 3, 3)]
        for degree in range(2, self.lmax + 1):
            rows, before = 2 * degree + 1, 2 * degree - 1
            turned = (flat @ self.get_buffer(f"left_{degree}")).view(-1, 3 * rows, before) @ blocks[-1]
            top = turned.view(-1, rows, 3 * before) @ self.get_buffer(f"right_{degree}")
            blocks.append(top)
        return [block.view(*batch, *block.shape[1:]) for block in blocks[: self.lmax + 1]]
