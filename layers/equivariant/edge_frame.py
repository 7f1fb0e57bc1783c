"""A rotation that turns each edge to the polar axis."""

import torch
from jaxtyping import Float
from torch import Tensor


def unit_vectors(vec: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Return ``vec / |vec|``, and the polar axis y, with derivative 0, where ``vec`` is 0.

    The division by the largest entry first keeps tiny and huge vectors from under- and overflow. Directions do not
    depend on the scale, so it is a constant to the derivative.
    """
    scale = vec.detach().abs().amax(-1, keepdim=True)
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=vec.dtype, device=vec.device)
    scaled = torch.where(scale > 0, vec / torch.where(scale > 0, scale, 1), axis)
    return scaled / scaled.square().sum(-1, keepdim=True).sqrt()


def edge_frame(vec: Float[Tensor, "*n 3"], roll: Float[Tensor, "*n"] | None = None) -> Float[Tensor, "*n 3 3"]:
    r"""Return rotations R with ``R vec = |vec| y``, the polar axis.

    Around ``y >= 0`` it is the smallest rotation that takes the unit vector (x, y, z) to the axis,

        [ 1 - x^2 / (1 + y)   -x   -x z / (1 + y)    ]
        [ x                    y    z                ]
        [ -x z / (1 + y)      -z    1 - z^2 / (1 + y)]

    and around ``y < 0`` the same for (x, -y, -z), after the half turn about x: two charts, the quaternions
    ``(1 + y, -z, 0, x)`` and ``(-z, 1 - y, x, 0)``. No angle appears, so all derivatives are exact everywhere, at the
    poles too. Frames on both sides of ``y = 0`` differ by a turn about the edge, as no field of frames on the sphere is
    continuous; what is computed with them must not depend on such a turn, and equivariant layers do not.

    Args:
        vec: Vectors of any length. Those of length 0 get the identity, with derivative 0.
        roll: Angles of a turn about the edge that follows; 0 if None. For tests, and for augmentation.
    """
    x, y, z = unit_vectors(vec).unbind(-1)
    side = torch.where(y >= 0, 1.0, -1.0).to(y.dtype)
    y, z = side * y, side * z
    xx, xz, zz = (a * b / (1 + y) for a, b in ((x, x), (x, z), (z, z)))
    rows = ((1 - xx, -x * side, -xz * side), (x, y * side, z * side), (-xz, -z * side, (1 - zz) * side))
    frame = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return frame if roll is None else polar_rotation(roll) @ frame


def polar_rotation(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n 3 3"]:
    """Return the rotations about the polar axis y that take z towards x."""
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rows = ((cos, zero, sin), (zero, one, zero), (-sin, zero, cos))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
