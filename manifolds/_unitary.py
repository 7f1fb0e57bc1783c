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
from isometry.manifolds._polar import tightened
from isometry.manifolds._smooth import with_value


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


def eigenvectors(r: Inexact[Tensor, "*b n n"]) -> Tensor:
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


def spectrum(e: Inexact[Tensor, "*b n n"]) -> tuple[Tensor, Tensor]:
    """Return the angles of ``1 + e`` in ``[-pi, pi]``, to full relative accuracy, and its eigenvectors; constants.

    A matrix that is not finite is read as the identity.
    """
    e = e.detach()
    finite = e.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    e = torch.where(finite, e, 0)
    if not e.is_complex():
        e = _off_the_cut(e)
    vectors = eigenvectors(e + eye_like(e))
    e = e.to(vectors.dtype)
    sine = (vectors.conj() * ((e - e.mH) / 2 @ vectors)).sum(-2).imag
    cosine = 1 + (vectors.conj() * ((e + e.mH) / 2 @ vectors)).sum(-2).real
    return torch.atan2(sine, cosine), vectors


def _off_the_cut(e: Tensor) -> Tensor:
    """Return ``e``, where ``1 + e`` turns a plane by pi exactly turned on by ``sqrt(eps)``: it has two logs, take one.

    The eigenvalues ``exp(i t)`` and ``exp(-i t)`` of the plane are then distinct.
    """
    eps = torch.finfo(e.dtype).eps
    n, eye = e.shape[-1], eye_like(e)
    angles = torch.linalg.eigvals(e + eye).angle().abs()
    at_cut = (math.pi - angles < 16 * eps).any(-1)[..., None, None]
    any_turn = skew(torch.arange(n * n, dtype=e.dtype, device=e.device).sin().reshape(n, n))
    return torch.where(at_cut, (e + eye) @ matrix_exp(eps**0.5 * any_turn) - eye, e)


def with_sum_zero(angles: Tensor) -> Tensor:
    """Return angles of sum 0, in place of ``2 pi m``, for the same eigenvalues: the m extreme ones turn back."""
    turns = (angles.sum(-1, keepdim=True) / (2 * math.pi)).round()
    rank = angles.argsort(-1, descending=True).argsort(-1)
    last = angles.shape[-1] - 1 - rank
    return angles - 2 * math.pi * ((rank < turns).to(angles.dtype) - (last < -turns).to(angles.dtype))


def log(e: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    r"""Return the shortest ``a`` in the Lie algebra with ``exp(a) = 1 + e``.

    The spectrum of ``1 + e``, a constant for autograd, gives a first value. Two steps of Newton's method follow for
    ``skew(exp(-a/2) (1 + e) exp(-a/2)) = 0``, with the inverse of the derivative at that value: in its eigenbasis the
    entries are divided by ``sinc((t_i - t_j)/2)``. They correct the rounding, and as autograd records them, the first
    and second derivatives are exact, also at equal angles.
    """
    angles, vectors = spectrum(e)
    if e.is_complex():
        angles = with_sum_zero(angles)
    half = (angles.unsqueeze(-1) - angles.unsqueeze(-2)) / 2
    sinc = torch.sinc(half / math.pi)
    eps = torch.finfo(sinc.dtype).eps
    kernel = 1 / torch.where(sinc.abs() < eps**0.5, eps**0.5, sinc)
    a = (vectors * (1j * angles).unsqueeze(-2)) @ vectors.mH
    a = skew(a if e.is_complex() else a.real)
    r = eye_like(e) + e
    for _ in range(2):
        back = matrix_exp(-a / 2)
        rest = vectors.mH @ skew(back @ r @ back).to(vectors.dtype) @ vectors
        step = vectors @ (kernel * rest) @ vectors.mH
        a = a + skew(step if e.is_complex() else step.real)
    return a


def nearest(m: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    """Return the orthogonal matrix of determinant 1, or the unitary matrix, that is nearest to ``m``.

    With ``m = U S V^H`` it is ``U V^H``, where a real ``m`` of negative determinant has the sign of its least singular
    value changed. Derivatives are exact up to the second order while no two (signed) singular values add to 0.

    Source: Kabsch 1976; the derivatives as in ``polar_rotation``.
    """
    clean = torch.nan_to_num(m.detach())
    left, values, right = torch.linalg.svd(clean)
    if not m.is_complex():
        sign = torch.where(torch.linalg.det(left @ right) < 0, -1.0, 1.0).to(values.dtype).unsqueeze(-1)
        signs = torch.cat([torch.ones_like(values[..., 1:]), sign], -1)
        values, left = values * signs, left * signs.unsqueeze(-2)
    near = left.mH @ m @ right.mH  # diag(values) up to rounding, and differentiable
    total = values.unsqueeze(-1) + values.unsqueeze(-2)
    total = torch.where(total == 0, torch.inf, total)
    turn = (near - near.mH) / total
    first = eye_like(turn) + turn + turn @ turn / 2
    rest = first.mH @ near
    path = first @ (eye_like(turn) + (rest - rest.mH) / total)
    return with_value(tightened(left @ right), left @ path @ right)
