"""The optimal transport map T between centred normals: ``T x T = y``, its differentials and the distance it spans."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._eigh import eigh
from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._lyapunov import Diagonalisation, solve_lyapunov_refined
from isometry.manifolds._spd import cholesky

_SWEEPS = 2
_CLOSE = 1e-2


class Coupling(NamedTuple):
    """What one eigendecomposition tells about a pair; a constant for autograd.

    Attributes:
        basis: E with ``E^T x E = 1`` and ``T = E S E^T``, nearly.
        values: The diagonal of S.
        inverse: The inverse of E.
        right: ``E^-1 (T - 1)``.
        defect: ``E^-1 T E^-T - S``.
    """

    basis: Tensor
    values: Tensor
    inverse: Tensor
    right: Tensor
    defect: Tensor

    def dist2(self) -> Tensor:
        """Return ``tr((T - 1) x (T - 1))``, shape = batch."""
        return (self.right * self.right).sum((-2, -1))

    def there(self) -> Tensor:
        """Return ``T - 1``."""
        return self.basis @ self.right

    def back(self) -> Tensor:
        """Return ``T^-1 - 1 = -T^-1 (T - 1)``, with ``E^T T^-1 E = (S + defect)^-1`` by Newton's step from ``S^-1``."""
        s = self.values.unsqueeze(-1)
        right = self.right / s
        return self.inverse.mT @ ((self.defect @ right).div_(s) - right)


@torch.no_grad()
def coupling(
    x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"], gap: Float[Tensor, "*#b n n"] | None = None
) -> Coupling:
    r"""Return the map between ``x`` and ``y``, to full relative accuracy for close pairs.

    With ``x = l l^T`` and ``l^T y l = Q S^2 Q^T``, the basis ``E = l^-T Q`` turns x into 1, T into S and 1 into
    ``G = Q^T l^T l Q``: in it ``K = S - G`` stands for ``T - 1``. That difference cancels for close pairs, while the
    equation ``K S + S K = W + K^2`` with ``W = Q^T l^T (y - x) l Q`` does not, so K is refined by
    ``K_ij <- (W + B + B^T)_ij / (s_i + s_j)``, ``B = K (S - G - K/2)``, a Newton iteration whose fixed point does not
    depend on the rounding of Q and S. For pairs far apart in scale ``S - G`` stays.

    Args:
        x: Positive definite ``[*b, n, n]``.
        y: Positive definite, of a batch that broadcasts.
        gap: ``y - x``, where it is known to more digits than the subtraction gives.

    Source: the map: Olkin & Pukelsheim 1982; the equation: derived here from ``T x T = y``.
    """
    x, y = x.detach(), y.detach()
    work = (y - x if gap is None else gap.detach()) / 2
    lower = cholesky(x)
    root = lower.mT @ cholesky(y)
    _, vectors = eigh((root @ root.mT).nan_to_num())
    values = (root.mT @ vectors).square().sum(-2).sqrt()  # to more digits than the eigenvalues have
    inverse = (lower @ vectors).mT
    basis = torch.linalg.solve_triangular(lower.mT, vectors, upper=True)
    start = (inverse @ inverse.mT).neg_()
    start.diagonal(dim1=-2, dim2=-1).add_(values)
    work = inverse @ work @ inverse.mT
    scale = (values.unsqueeze(-1) + values.unsqueeze(-2)).reciprocal()
    k = start * ((work * work).sum((-2, -1), keepdim=True) > 0)
    for _ in range(_SWEEPS):
        half = work + k @ torch.sub(start, k, alpha=0.5)
        k = (half + half.mT).mul_(scale)
    diagonal = start.diagonal(dim1=-2, dim2=-1)
    far = diagonal.square().sum(-1) > values.square().sum(-1)
    k = torch.where(far[..., None, None], start, k)
    return Coupling(basis, values, inverse, k @ basis.mT, k - start)


class _OptimalMap(torch.autograd.Function):
    """``T - 1`` (or ``T^-1 - 1`` with the points swapped), where ``a dT + dT a^T = dy - T dx T`` with ``a = T x``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, there: Tensor, basis: Tensor, values: Tensor, inverse: Tensor, swapped: bool
    ) -> Tensor:
        return there.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, _, *parts, ctx.swapped = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, output, *parts)
        ctx.save_for_forward(x, output, *parts)

    @staticmethod
    def at(ctx: Any) -> tuple[Tensor, Tensor, Diagonalisation]:
        """Return T, ``T x`` and its diagonalisation."""
        x, there, basis, values, inverse = ctx.saved_tensors
        t = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) + there
        if ctx.swapped:  # seen from y the basis is E^-T S^-1
            s = values.unsqueeze(-1)
            basis, inverse = inverse.mT / s.mT, s * basis.mT
        return t, t @ x, Diagonalisation(basis, values, inverse)

    @staticmethod
    def backward(ctx: Any, w: Tensor | None) -> tuple[Tensor | None, ...]:
        if w is None:  # a gradient of the distance that is not differentiated again
            return None, None, None, None, None, None, None
        t, a, parts = _OptimalMap.at(ctx)
        dy = solve_lyapunov_refined(a.mT, w, parts.transposed)
        return -t @ dy @ t, dy, None, None, None, None, None


class _OptimalMapForwardMode(_OptimalMap):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, dx: Any, dy: Any, *_: Any) -> Tensor:
        t, a, parts = _OptimalMap.at(ctx)
        change = torch.zeros_like(t) if dy is None else dy
        change = change if dx is None else change - t @ dx @ t
        return solve_lyapunov_refined(a, change, parts)


class _WithGradients(torch.autograd.Function):
    """A scalar function of two matrices with its gradients, which may be differentiated in turn."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, value: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        dx, dy = ctx.saved_tensors
        w = -w[..., None, None]
        return w * dx, w * dy, None, None, None


class _WithGradientsForwardMode(_WithGradients):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        pairs = zip(ctx.saved_tensors, tangents[:2], strict=True)
        return -torch.stack([(g * t).sum((-2, -1)) for g, t in pairs if t is not None]).sum(0)


def displacement(x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], pair: Coupling) -> Float[Tensor, "*b n n"]:
    """Return ``T - 1``, differentiable in ``x`` and ``y`` to every order."""
    return _recorded(x, y, pair.there(), pair, False)


def _recorded(x: Tensor, y: Tensor, there: Tensor, pair: Coupling, swapped: bool) -> Tensor:
    function = _OptimalMap if torch.compiler.is_compiling() else _OptimalMapForwardMode
    return function.apply(x, y, there, pair.basis, pair.values, pair.inverse, swapped)


def squared_distance(x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], pair: Coupling) -> Float[Tensor, "*b"]:
    """Return ``tr((T - 1) x (T - 1))`` with the gradients ``1 - T`` in ``x`` and ``1 - T^-1`` in ``y``.

    Source: Bhatia, Jain & Lim 2019, section 4.
    """
    there, back = displacement(x, y, pair), _recorded(y, x, pair.back(), pair, True)
    function = _WithGradients if torch.compiler.is_compiling() else _WithGradientsForwardMode
    return function.apply(x, y, pair.dist2(), there, back)


@torch.no_grad()
def squared_distance_alone(
    x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], gap: Float[Tensor, "*b n n"] | None, half: bool
) -> Float[Tensor, "*b"]:
    """Return ``tr x + tr y - 2 |l_x^T l_y|_*`` (the nuclear norm); of pairs so close that it cancels, the exact form.

    No eigenvectors: twice as fast where no derivative is asked for. It looks at values, so no graph may be captured.

    Args:
        x: Positive definite matrices.
        y: Positive definite matrices.
        gap: ``y - x``, where it is known to more digits than the subtraction gives.
        half: Whether half of the digits are enough (of float32 points): eigenvalues of the square, faster still.
    """
    root = cholesky(x).mT @ cholesky(y)
    number = root.sum((-2, -1)).isfinite()
    root = root.nan_to_num_()
    values = torch.linalg.eigvalsh(root @ root.mT).clamp_min(0).sqrt() if half else torch.linalg.svdvals(root)
    total = (x.diagonal(dim1=-2, dim2=-1) + y.diagonal(dim1=-2, dim2=-1)).sum(-1)
    value = torch.where(number, total - 2 * values.sum(-1), torch.nan)
    close = value < _CLOSE * total
    if close.any():
        value[close] = coupling(x[close], y[close], None if gap is None else gap[close]).dist2()
    return value
