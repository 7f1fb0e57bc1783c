"""Exponential and logarithm of orthogonal and unitary matrices, and the nearest such matrix.

A group element near another is written by its displacement ``e = x^H y - 1 = x^H (y - x)``, which keeps its relative
accuracy however small it is. Skew-Hermitian matrices with trace 0 are the tangent vectors at the identity: for real
matrices those of SO(n), for complex ones those of SU(n).
"""

import math

import torch
from jaxtyping import Inexact
from torch import Tensor

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._polar import rotation, svd


def skew(a: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    """Return ``(a - a^H)/2`` without its trace, the part of ``a`` in the Lie algebra."""
    a = (a - a.mH) / 2
    if not a.is_complex():
        return a
    return a - eye_like(a) * (a.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None])


def eye_like(a: Tensor) -> Tensor:
    """Return the identity matrix of the size and format of the square ``a``."""
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def above(a: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b p"]:
    """Return the entries above the diagonal, row by row."""
    i, j = torch.triu_indices(a.shape[-1], a.shape[-1], 1, device=a.device)
    return a[..., i, j]


def skew_from(entries: Inexact[Tensor, "*b p"], n: int) -> Inexact[Tensor, "*b n n"]:
    """Return the skew ``n x n`` matrix with the given entries above the diagonal, and zeros on it."""
    i, j = torch.triu_indices(n, n, 1, device=entries.device)
    a = entries.new_zeros(*entries.shape[:-1], n * n).index_copy(-1, i * n + j, entries).unflatten(-1, (n, n))
    return a - a.mH


def displacement(x: Inexact[Tensor, "*#b n n"], y: Inexact[Tensor, "*#b n n"]) -> Inexact[Tensor, "*b n n"]:
    """Return ``x^H y - 1``, to full relative accuracy for close pairs."""
    return x.mH @ (y - x)


def log(e: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    r"""Return the shortest ``a`` in the Lie algebra with ``exp(a) = 1 + e``.

    Two steps of Newton's method for ``skew(exp(-a/2) (1 + e) exp(-a/2)) = 0`` follow on a first value, with the inverse
    of the derivative there: in the eigenbasis of ``a`` the entries are divided by ``sinc((t_i - t_j)/2)``. The first
    value and the inverse are constants for autograd. The steps correct the rounding, and as autograd records them, the
    first and second derivatives are exact, also at equal angles. A matrix that is not finite is read as the identity.
    """
    finite = e.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    clean = torch.where(finite, e.detach(), 0)
    if e.is_complex():
        angles, vectors = _spectrum(clean)
        a = skew((vectors * (1j * angles).unsqueeze(-2)) @ vectors.mH)
    else:
        a = rotation_log(clean)
        angles, vectors = torch.linalg.eigh(-1j * a)
    sinc = torch.sinc((angles.unsqueeze(-1) - angles.unsqueeze(-2)) / (2 * math.pi))
    least = torch.finfo(sinc.dtype).eps ** 0.5
    kernel = 1 / torch.where(sinc.abs() < least, least, sinc)
    r = eye_like(e) + e
    for _ in range(2):
        back = matrix_exp(-a / 2)
        rest = vectors.mH @ skew(back @ r @ back).to(vectors.dtype) @ vectors
        step = vectors @ (kernel * rest) @ vectors.mH
        a = a + skew(step if e.is_complex() else step.real)
    return a


def rotation_log(e: Tensor) -> Tensor:
    """Return the skew ``a`` with ``exp(a) = 1 + e`` for a rotation ``1 + e``, without derivatives.

    With the symmetric part c and the skew part k of the rotation, which commute, it is ``k t/sin(t)`` for
    ``t = arccos c``. Near pi, where ``sin(t)`` loses its digits, it is ``j t`` with the orthogonal polar factor j of k:
    the planes and their sense of rotation. (Planes that turn by pi have none, and are given one.) From t = 1.9 to 2.3,
    where both are right, one passes into the other continuously, so that equal angles are treated alike.
    """
    n = e.shape[-1]
    eps = torch.finfo(e.dtype).eps
    values, vectors = torch.linalg.eigh((e + e.mT) / 2)
    k = vectors.mT @ (e - e.mT) @ vectors / 2
    sine, cosine = torch.linalg.vector_norm(k, dim=-2), 1 + values
    angle = torch.atan2(sine, cosine)
    far = ((-0.3 - cosine) / 0.4).clamp(0, 1)
    divisor = torch.where((sine > 0) & (far < 1), sine, 1)
    near = torch.where(far < 1, (1 - far) * torch.where(sine > 0, angle / divisor, 1), 0)
    obtuse = (cosine < 0).to(e.dtype)
    without = obtuse * 64 * eps / (64 * eps + sine)
    any_sense = skew(torch.arange(n * n, dtype=e.dtype, device=e.device).square().sin().reshape(n, n))
    left, _, right = torch.linalg.svd(_product(obtuse) * k + eps**0.5 * _product(without) * any_sense)
    return skew(vectors @ (_mean(near) * k + _mean(far * angle) * skew(left @ right)) @ vectors.mT)


def _product(factors: Tensor) -> Tensor:
    return factors.unsqueeze(-1) * factors.unsqueeze(-2)


def _mean(values: Tensor) -> Tensor:
    return (values.unsqueeze(-1) + values.unsqueeze(-2)) / 2


def _spectrum(e: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles, of sum 0 and least squares, of a special unitary ``1 + e``, and its eigenvectors."""
    vectors = _eigenvectors(e + eye_like(e))
    sine = (vectors.conj() * ((e - e.mH) / 2 @ vectors)).sum(-2).imag
    cosine = 1 + (vectors.conj() * ((e + e.mH) / 2 @ vectors)).sum(-2).real
    angles = torch.atan2(sine, cosine)
    # The sum is 2 pi m: of the m extreme ones each turns back.
    turns = (angles.sum(-1, keepdim=True) / (2 * math.pi)).round()
    rank = angles.argsort(-1, descending=True).argsort(-1)
    last = angles.shape[-1] - 1 - rank
    return angles - 2 * math.pi * ((rank < turns).to(angles.dtype) - (last < -turns).to(angles.dtype)), vectors


def _eigenvectors(r: Tensor) -> Tensor:
    """Return unitary eigenvectors of a unitary ``r``, whatever its eigenvalues.

    ``r`` is turned so that the middle of the widest gap of its spectrum comes to -1. Then Cayley's transform is a
    bounded Hermitian matrix, with eigenvalues ``tan(t/2)`` as distinct as the angles t and orthonormal eigenvectors.
    """
    angles = torch.linalg.eigvals(r).angle().sort(-1).values
    gaps = torch.cat([angles[..., 1:], angles[..., :1] + 2 * math.pi], -1) - angles
    widest = gaps.argmax(-1, keepdim=True)
    middle = (angles + gaps / 2).gather(-1, widest).unsqueeze(-1)
    turned = r * torch.polar(torch.ones_like(middle), math.pi - middle)
    eye = eye_like(turned)
    cayley = 1j * torch.linalg.solve_ex(eye + turned, eye - turned).result
    return torch.linalg.eigh((cayley + cayley.mH) / 2).eigenvectors


def nearest(m: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    """Return the orthogonal matrix of determinant 1, or the unitary matrix, that is nearest to ``m``.

    With ``m = U S V^H`` it is ``U V^H``, where a real ``m`` of negative determinant has the sign of its least singular
    value changed. Derivatives are exact up to the second order while no two (signed) singular values add to 0.

    Source: Kabsch 1976; the derivatives as in ``polar_rotation``.
    """
    left, values, right = svd(m)
    if not m.is_complex():
        sign = torch.where(torch.linalg.det(left @ right) < 0, -1.0, 1.0).to(values.dtype).unsqueeze(-1)
        signs = torch.cat([torch.ones_like(values[..., 1:]), sign], -1)
        values, left = values * signs, left * signs.unsqueeze(-2)
    return rotation(m, left, values, right)
