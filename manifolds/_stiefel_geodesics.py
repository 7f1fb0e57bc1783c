r"""Geodesics of the Stiefel manifold ``{x [n, k] : x^T x = 1}`` in a family of metrics.

A tangent vector is ``u = x a + w`` with ``a = x^T u`` skew and ``x^T w = 0``. For ``beta > 0`` the metric is

    <u, v> = beta tr(a_u^T a_v) + tr(w_u^T w_v)

Euclidean at ``beta = 1`` and canonical at ``beta = 1/2``. With ``p = w + beta x a`` the geodesics are

    exp_x(u) = exp(p x^T - x p^T) x exp((1 - 2 beta) a) = [p, x] exp [[beta a, 1], [-p^T p, beta a]] [0; 1] exp(...)

an exponential of size 2k, analytic in ``u`` whatever the rank of w (the usual form needs a QR factorisation of w).

Source: Edelman, Arias & Smith 1998; the family: Hueper, Markina & Silva Leite 2021; Zimmermann & Hueper 2022.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._unitary import skew

_TERMS = 32  # of the series of exp: to rounding for operators of norm 5


def split(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> tuple[Tensor, Tensor]:
    """Return the parts ``a [k, k]`` and ``w [n, k]`` of the tangential part of ``u``."""
    along = x.mT @ u
    return skew(along), u - x @ along


def proju(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return the tangent vector ``u - x sym(x^T u)`` nearest to ``u`` (in every metric of the family)."""
    a, w = split(x, u)
    return x @ a + w


def generator(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"], beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``[p, x]``, the matrix ``m`` of the action of ``p x^T - x p^T`` on its columns, and ``a``."""
    a, w = split(x, u)
    p = w + beta * x @ a
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
    m = torch.cat([torch.cat([beta * a, eye], -1), torch.cat([-p.mT @ p, beta * a], -1)], -2)
    return torch.cat([p, x.expand_as(p)], -1), m, a


def displacement(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"], beta: float) -> Float[Tensor, "*b n k"]:
    """Return ``exp_x(u) - x``, to full relative accuracy for short ``u``."""
    px, m, a = generator(x, u, beta)
    k = a.shape[-1]
    turned = matrix_exp(m)[..., k:]
    if beta != 0.5:
        turned = turned @ matrix_exp((1 - 2 * beta) * a)
    eye = torch.eye(k, dtype=a.dtype, device=a.device)
    return px @ torch.cat([turned[..., :k, :], turned[..., k:, :] - eye], -2)


def transported(
    x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"], v: Float[Tensor, "*#b n k"], beta: float
) -> Float[Tensor, "*b n k"]:
    r"""Return the parallel transport of ``v`` along the geodesic of ``u`` to its end.

    In the frame that moves with the geodesic, ``V(t) = exp(t (p x^T - x p^T)) (x b + z) exp(t (1 - 2 beta) a)``, the
    transport is an equation with constant coefficients,

        b' = (2 beta - 1/2) (b a - a b) + (w^T z - z^T w)/2        z' = beta (z a - w b)

    whose solution is the series of the exponential. The geometry of the family is naturally reductive, hence this.
    """
    px, m, a = generator(x, u, beta)
    k = a.shape[-1]
    w = split(x, u)[1]
    b, z = split(x, v)
    b, z = b.expand(torch.broadcast_shapes(a.shape, b.shape)), z.expand(torch.broadcast_shapes(w.shape, z.shape))
    term_b, term_z = b, z
    for order in range(1, _TERMS + 1):
        term_b, term_z = (
            ((2 * beta - 0.5) * (term_b @ a - a @ term_b) + skew(w.mT @ term_z)) / order,
            (beta / order) * (term_z @ a - w @ term_b),
        )
        b, z = b + term_b, z + term_z
    # exp(p x^T - x p^T) z = z + [p, x] phi(m) [0; -w^T z] with phi(m) = (exp(m) - 1)/m, a block of the exponential
    below = torch.zeros_like(torch.cat([m, px.mT @ z], -1)[..., :k, :])
    across = torch.cat([torch.zeros_like(b), -(w.mT @ z)], -2)
    block = matrix_exp(torch.cat([torch.cat([m.expand(*b.shape[:-2], *m.shape[-2:]), across], -1), below], -2))
    moved = px @ (block[..., : 2 * k, k : 2 * k] @ b + block[..., : 2 * k, 2 * k :]) + z
    return moved if beta == 0.5 else moved @ matrix_exp((1 - 2 * beta) * a)
