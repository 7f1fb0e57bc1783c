"""How an element of a group acts on features."""

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.wigner import WignerD


class LinearAction(nn.Module):
    r"""A matrix made linearly of a group element's coordinates, ``y = W(z) x`` with ``W(z) = sum_a z_a W_a``.

    Nothing makes W a representation: ``W(z1 z2) = W(z1) W(z2)`` is only learned, as far as it is. Without a constant
    term, z and -z act by opposite matrices: so give rotations as matrices, not as quaternions, of which two are one.

    Args:
        group_features: Coordinates of z: 9 for the entries of a rotation matrix.
        features: Features on which the matrices act.
        dtype: Of the weight.
        device: Of the weight.

    Source: Garrido, Najman & LeCun 2023, Self-supervised learning of split invariant equivariant representations,
    (the hypernetwork).
    """

    def __init__(
        self,
        group_features: int,
        features: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        weight = torch.randn(group_features, features, features, dtype=dtype, device=device)
        self.weight = nn.Parameter(weight / (group_features * features) ** 0.5)

    def forward(self, z: Float[Tensor, "*b g h"], x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return ``W(z) x`` for matrices z, whose entries are the coordinates."""
        return torch.einsum("...a,aij,...j->...i", z.flatten(-2), self.weight, x)


class RotationAction(nn.Module):
    r"""The features turn with the rotation, ``y = D(R) x``: a representation by construction, without parameters.

    ``D(R1 R2) = D(R1) D(R2)`` and ``D(R)`` is orthogonal. D is the sum of the Wigner matrices of the irreps, in e3nn's
    order; every representation of the rotations is of this form in some basis, which the layers before it can learn.
    (The exponential ``exp(sum_a z_a G_a)`` of free generators is none: rotations about different axes do not commute as
    the ``G_a`` would have to.)

    Args:
        irreps: Of the features, such as ``"8x0e + 8x1o + 4x2e"``; parities do not matter to rotations.

    Source: Garrido, Najman & LeCun 2023, Self-supervised learning of split invariant equivariant representations, with
    the representation in the place of the learned matrix.
    """

    def __init__(self, irreps: str | o3.Irreps) -> None:
        super().__init__()
        self.irreps = o3.Irreps(irreps)
        self.features = self.irreps.dim
        self.wigner = WignerD(self.irreps.lmax)
        self._parts = [(ir.l, part) for (_, ir), part in zip(self.irreps, self.irreps.slices(), strict=True)]

    def forward(self, z: Float[Tensor, "*b 3 3"], x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return ``D(z) x`` for rotation matrices z."""
        blocks = self.wigner(z)
        turned = [
            (x[..., part].unflatten(-1, (-1, 2 * degree + 1)) @ blocks[degree].mT).flatten(-2)
            for degree, part in self._parts
        ]
        return torch.cat(turned, -1)

    def extra_repr(self) -> str:
        """Return the irreps."""
        return str(self.irreps)
