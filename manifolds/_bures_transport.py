r"""Parallel transport of the Bures-Wasserstein metric along geodesics, by a spectral method in time.

``z -> z z^T`` is a Riemannian submersion of the invertible matrices with the Frobenius metric. A field
``v = H p + p H`` along ``p(t) = z z^T`` has the horizontal lift ``H z`` and is parallel iff ``d(H z)/dt`` is vertical:

    p dH + dH p + H s + s^T H = 0,    s = dz z^T.

On the geodesic ``z = m x^(1/2)``, ``m = 1 + t (T - 1)``, so ``p = m x m`` and ``s = (T - 1) x m``. The equation has no
closed form unless x and T commute. It is linear; here it is collocated at Gauss points of a time in which the ends of
the extended geodesic lie at infinity, and solved by Picard's iteration, which converges like an exponential series.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import legendre
from torch import Tensor

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._iterate import iterate
from isometry.manifolds._lyapunov import Diagonalisation, solve_lyapunov
from isometry.manifolds.spectral import spectrum

_NODES = 24
_SWEEPS = 64
_LEAST_SPREAD = 1.25


def _gauss(count: int) -> tuple[list[float], list[float], list[list[float]]]:
    """Return nodes and weights on [0, 1], and the integrals of the interpolating polynomials from 0 to each node."""
    x, w = legendre.leggauss(count)
    values = legendre.legvander(x, count)
    integrals = np.outer(x + 1, w)
    for j in range(1, count):
        integrals += np.outer(values[:, j + 1] - values[:, j - 1], w * values[:, j])
    return ((x + 1) / 2).tolist(), (w / 2).tolist(), (integrals / 4).tolist()


_TIMES, _WEIGHTS, _INTEGRALS = _gauss(_NODES)


def _like_matrix(value: Tensor) -> Tensor:
    return value[..., None, None]


@torch.no_grad()
def _schedule(there: Tensor) -> tuple[Tensor, Tensor]:
    """Return the times ``[nodes, *b, 1, 1]`` and their weights ``dt``.

    With eigenvalues of T in ``[a, b]``, ``a < 1 < b``, ``m(t)`` is singular at ``t = 1/(1-a)`` and ``-1/(b-1)``, the
    ends of the line s in ``t = (e^s - 1) / (b - 1 + (1 - a) e^s)``, of which the geodesic takes ``0 <= s <= log(b/a)``.
    """
    values = 1 + torch.linalg.eigvalsh(there.detach())
    low, high = values[..., 0].clamp_max(1 / _LEAST_SPREAD), values[..., -1].clamp_min(_LEAST_SPREAD)
    length = (high / low).log()
    times = torch.tensor(_TIMES, dtype=there.dtype, device=there.device)
    e = (times.reshape(-1, *(1,) * length.ndim) * length).exp()
    denominator = high - 1 + (1 - low) * e
    return _like_matrix((e - 1) / denominator), _like_matrix(length * e * (high - low) / denominator.square())


def _along_nodes(matrix: list[list[float]], h: Tensor, transposed: bool) -> Tensor:
    """Return the combinations of the nodes' values, the first dimension of ``h``."""
    weights = torch.tensor(matrix, dtype=h.dtype, device=h.device)
    return torch.tensordot(weights.mT if transposed else weights, h, 1)


def _size(h: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(h, keepdim=True)


def _twice_symmetric(h: Tensor) -> Tensor:
    return h + h.mT


class _Volterra(torch.autograd.Function):
    """The solution of ``h + A h = g`` at the nodes, or of the transposed system.

    ``A h = integral of L_p[h s + s^T h]``, ``A^T h = s z + z s^T`` with ``z = L_p[integral^T h]``.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, s: Tensor, g: Tensor, vectors: Tensor, values: Tensor, transposed: bool) -> Tensor:
        total = values.unsqueeze(-1) + values.unsqueeze(-2)
        back = vectors.mT.clone()  # a compiled loop captures no two views of one tensor
        side = back @ s.mT if transposed else s @ vectors

        def sweep(h: Tensor, change: Tensor) -> tuple[Tensor, ...]:
            if transposed:
                core = back @ _along_nodes(_INTEGRALS, h, True) @ vectors / total
                new = g - _twice_symmetric(vectors @ core @ side)
            else:
                core = _twice_symmetric(back @ h @ side) / total
                new = g - _along_nodes(_INTEGRALS, vectors @ core @ back, False)
            return new, _size(new - h)

        start = (g.clone(), _size(g))
        least = 2 * torch.finfo(g.dtype).eps
        return iterate(sweep, lambda h, change: change > least * _size(h), start, _SWEEPS)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p, s, _, vectors, values, ctx.transposed = inputs
        ctx.save_for_backward(p, s, output, vectors, values)
        ctx.save_for_forward(p, s, output, vectors, values)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        p, s, h, vectors, values = ctx.saved_tensors
        y = _solved(p, s, (w + w.mT) / 2, vectors, values, not ctx.transposed)
        outer, inner = (h, y) if ctx.transposed else (y, h)
        parts = Diagonalisation(vectors, values, vectors.mT)
        first = solve_lyapunov(p, _along_nodes(_INTEGRALS, outer, True), parts)
        second = solve_lyapunov(p, _twice_symmetric(inner @ s), parts)
        return _twice_symmetric(first @ second), -2 * inner @ first, y, None, None, None


class _VolterraForwardMode(_Volterra):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, dp: Any, ds: Any, dg: Any, *_: Any) -> Tensor:
        p, s, h, vectors, values = ctx.saved_tensors
        dp, ds, dg = (torch.zeros_like(h) if d is None else d for d in (dp, ds, dg))
        parts = Diagonalisation(vectors, values, vectors.mT)
        if ctx.transposed:
            z = solve_lyapunov(p, _along_nodes(_INTEGRALS, h, True), parts)
            dz = solve_lyapunov(p, _twice_symmetric(dp @ z), parts)
            change = _twice_symmetric(ds @ z - s @ dz)
        else:
            z = solve_lyapunov(p, _twice_symmetric(h @ s), parts)
            dz = solve_lyapunov(p, _twice_symmetric(h @ ds - dp @ z), parts)
            change = _along_nodes(_INTEGRALS, dz, False)
        return _solved(p, s, dg - change, vectors, values, ctx.transposed)


def _solved(p: Tensor, s: Tensor, g: Tensor, vectors: Tensor, values: Tensor, transposed: bool) -> Tensor:
    function = _Volterra if torch.compiler.is_compiling() else _VolterraForwardMode
    return function.apply(p, s, g, vectors, values, transposed)


def transported_lift(
    x: Float[Tensor, "*c n n"], there: Float[Tensor, "*c n n"], lift: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """Return H at ``t = 1`` from H at ``t = 0`` on the geodesic from ``x`` with ``T - 1 = there``.

    The batch of geodesics ``*c`` broadcasts to that of the vectors: what belongs to a geodesic is decomposed once.
    """
    times, steps = _schedule(there)
    m = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) + times * there
    half = m @ x
    p, s = half @ m, steps * (there @ half.mT)
    values, vectors = spectrum(p)
    shape = (_NODES, *(1,) * (lift.ndim - x.ndim), *x.shape)
    p, s, vectors = (z.reshape(shape).expand(_NODES, *lift.shape) for z in (p, s, vectors))
    values = values.reshape(shape[:-1]).expand(p.shape[:-1])
    h = _solved(p, s, lift.expand(p.shape), vectors, values, False)
    rates = solve_lyapunov(p, _twice_symmetric(h @ s), Diagonalisation(vectors, values, vectors.mT))
    return lift - torch.tensordot(torch.tensor(_WEIGHTS, dtype=x.dtype, device=x.device), rates, 1)
