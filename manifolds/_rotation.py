"""Exponential and logarithm of rotations of the plane and of space, in closed form.

A plane rotation is a rotation of space about the third axis.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from isometry.manifolds._smooth import asinhc_sqrt, dot, norm, sinc_sqrt


def exp(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return ``1 + sin(t)/t a + (1 - cos(t))/t^2 a^2`` of a skew ``a``, with ``t^2 = |a|^2/2`` (Rodrigues)."""
    s = (a * a).sum((-2, -1), keepdim=True) / 2
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return eye + sinc_sqrt(s) * a + sinc_sqrt(s / 4).square() / 2 * (a @ a)


def log(e: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the shortest skew ``a`` with ``exp(a) = 1 + e``, to full accuracy at every angle in ``[0, pi]``.

    The rotation by t about the unit vector u is the quaternion ``(cos(t/2), u sin(t/2))`` up to sign. Of the four
    quaternions that the entries of ``1 + e`` give, times one of their components each, the longest is taken.

    Source: Shepperd 1978.
    """
    n = e.shape[-1]
    q = _quaternion(pad(e, (0, 3 - n, 0, 3 - n)))
    w, v = q[..., :1], q[..., 1:]
    sine2 = dot(v, v)
    near = sine2 <= w * w
    small = torch.where(near, sine2, 0)
    length = norm(torch.where(near, torch.ones_like(v), v), keepdim=True)
    # t / sin(t/2): analytic in sin^2(t/2) up to a right angle
    x, y, z = (2 * torch.where(near, asinhc_sqrt(-small), torch.atan2(length, w) / length) * v).unbind(-1)
    zero = torch.zeros_like(x)
    a = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return a[..., :n, :n]


def _quaternion(e: Tensor) -> Tensor:
    """Return the unit quaternion ``(w, v)`` of ``1 + e`` with ``w >= 0``; ``v = 0`` exactly at ``e = 0``."""
    xx, yy, zz = e.diagonal(dim1=-2, dim2=-1).unbind(-1)
    trace = xx + yy + zz
    wx, wy, wz = (e[..., i, j] - e[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    xy, xz, yz = (e[..., i, j] + e[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = torch.stack(
        [
            torch.stack([4 + trace, wx, wy, wz], -1),
            torch.stack([wx, 2 * xx - trace, xy, xz], -1),
            torch.stack([wy, xy, 2 * yy - trace, yz], -1),
            torch.stack([wz, xz, yz, 2 * zz - trace], -1),
        ],
        -2,
    )
    largest = rows.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = rows.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    q = torch.where(q[..., :1] < 0, -q, q)
    return q / norm(q, keepdim=True)
