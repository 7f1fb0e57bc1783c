"""The orthogonal factor of the polar decomposition, with derivatives that need no gaps between singular values."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds._smooth import with_value
from isometry.manifolds.spectral import Spectrum, sym_inv_sqrt


def tightened(x: Inexact[Tensor, "*b n k"]) -> Inexact[Tensor, "*b n k"]:
    """Return ``x (3 - x^H x)/2``, a step of Newton and Schulz: what rounding left of ``x^H x - 1`` is squared.

    Source: Higham 2008, Functions of Matrices, section 8.3.
    """
    return 1.5 * x - 0.5 * x @ (x.mH @ x)


def svd(m: Inexact[Tensor, "*b n k"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the thin singular value decomposition, a constant for autograd; that of 0 for a matrix with NaN in it.

    LAPACK would refuse the whole batch. What is computed from ``m`` beside the decomposition is NaN all the same.
    """
    left, values, right = torch.linalg.svd(torch.nan_to_num(m.detach(), 0.0, 0.0, 0.0), full_matrices=False)
    return left, values, right


def polar_factor(x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b n k"]:
    """Return ``x (x^T x)^(-1/2)``, the matrix with orthonormal columns nearest to ``x``, for ``n >= k``.

    The value is that of the singular value decomposition, orthonormal to rounding whatever the condition of ``x``. It
    is differentiable twice where ``x`` has rank k.

    Source: Higham 2008, Functions of Matrices, theorem 8.4.
    """
    left, values, right = svd(x)
    inverse_root = sym_inv_sqrt(x.mT @ x, Spectrum(values.flip(-1).square(), right.mT.flip(-1)))
    return with_value(tightened(left @ right), x @ inverse_root)


def polar_rotation(m: Float[Tensor, "*b k k"]) -> tuple[Float[Tensor, "*b k k"], Spectrum]:
    """Return the polar factor P of a square ``m = P S``, and the spectrum of the positive semidefinite S.

    P turns one frame onto another as nearly as can be (orthogonal Procrustes).

    Source: Schoenemann 1966; Higham 2008, Functions of Matrices, section 8.
    """
    left, values, right = svd(m)
    return rotation(m, left, values, right), Spectrum(values.flip(-1), right.mT.flip(-1))


def rotation(
    m: Inexact[Tensor, "*b k k"],
    left: Inexact[Tensor, "*b k k"],
    values: Float[Tensor, "*b k"],
    right: Inexact[Tensor, "*b k k"],
) -> Inexact[Tensor, "*b k k"]:
    """Return the orthogonal (unitary) ``P = left right``, for a decomposition ``m = left diag(values) right``.

    A derivative ``dP = P W`` solves ``W S + S W = P^H dm - dm^H P``, so it exists as long as no two singular values add
    to 0 (of one that is 0, P is one of two solutions); the part between two that do is taken as 0. Derivatives are
    exact up to the second order: in the basis of the singular vectors autograd records two steps of Newton's method for
    ``P = 1 + W + W^2/2 + ...``, the first of which is exact to the first order and the second to the second.

    Args:
        m: Square matrices.
        left: Orthogonal (unitary) matrices.
        values: Singular values, which may have signs; constants for autograd, as ``left`` and ``right``.
        right: Orthogonal (unitary) matrices.
    """
    near = left.mH @ m @ right.mH  # diag(values) up to rounding, and differentiable
    total = values.unsqueeze(-1) + values.unsqueeze(-2)
    divisor = torch.where(total == 0, torch.inf, total)
    turn = (near - near.mH) / divisor
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    first = eye + turn + turn @ turn / 2
    rest = first.mH @ near
    path = first @ (eye + (rest - rest.mH) / divisor)
    # The same step corrects the rounding of the singular vectors, but for those whose plane rounding decides.
    polished = eye + torch.where(total > torch.finfo(values.dtype).eps ** 0.5, turn, 0)
    return with_value(tightened(left @ polished @ right), left @ path @ right)
