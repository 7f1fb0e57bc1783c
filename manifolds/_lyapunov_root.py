r"""The square root of the operator ``v -> x v + v x`` on matrices, differentiable twice.

In the eigenbasis of ``x`` it multiplies ``v_ij`` by ``sqrt(x_i + x_j)``. Its derivatives are operator integrals as in
``spectral``, but of a function of two variables: in a product of matrices around ``v`` the indices on its left enter as
the first variable, those on its right as the second. The kernel is the divided difference of ``sqrt(a + b)`` in both.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds.spectral import SQRT, spectrum

_CONTRACTIONS = {1: "...ij,...ij->...ij", 2: "...iaj,...ia,...aj->...ij", 3: "...iabj,...ia,...ab,...bj->...ij"}


def _kernel(sides: str, points: list[Tensor]) -> Tensor:
    """Return the divided difference of ``sqrt(a + b)``, the a of the points on one side, the b on the other."""
    left = [p for p, side in zip(points, sides, strict=True) if side == "L"]
    right = [p for p, side in zip(points, sides, strict=True) if side == "R"]
    if len(left) < len(right):
        left, right = right, left
    if len(right) == 1:
        return SQRT.divided([a + right[0] for a in left])
    (r00, r01), (r10, r11) = ([(a + b).sqrt() for b in right] for a in left)
    return -(1 / (r00 + r01) + 1 / (r10 + r11)) / ((r00 + r10) * (r01 + r11))


class _RootIntegral(torch.autograd.Function):
    """A product of up to three matrices with the kernel of their indices, each of which ``sides`` calls L or R."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        sides: str,
        x: Tensor,
        values: Tensor,
        vectors: Tensor,
        g1: Tensor,
        g2: Tensor | None,
        g3: Tensor | None,
    ) -> Tensor:
        # torch.compile traces neither *args nor defaults here
        g = [vectors.mT @ v @ vectors for v in (g1, g2, g3) if v is not None]
        axes = [[-1 if i == j else 1 for j in range(len(sides))] for i in range(len(sides))]
        kernel = _kernel(sides, [values.reshape(*values.shape[:-1], *axis) for axis in axes])
        return vectors @ torch.einsum(_CONTRACTIONS[len(g)], kernel, *g) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        tensors = [v for v in inputs[1:] if v is not None]
        ctx.sides = inputs[0]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        x, values, vectors, *g = ctx.saved_tensors
        g, sides = [v.mT for v in g], ctx.sides

        def adjoint(p: int, q: int) -> Tensor:
            """Return the integral from the p-th index back to the first, over w to the last and back to the q-th."""
            word = [*g[:p][::-1], w, *g[q:][::-1]]
            return _apply(sides[: p + 1][::-1] + sides[q:][::-1], x, values, vectors, *word)

        dx = None
        if ctx.needs_input_grad[1]:
            dx = torch.stack([adjoint(p, p) for p in range(len(g) + 1)]).sum(0)
            dx = (dx + dx.mT) / 2
        dg = [adjoint(p, p + 1) if ctx.needs_input_grad[4 + p] else None for p in range(len(g))]
        return None, dx, None, None, *dg, *[None] * (3 - len(dg))


class _ForwardMode(_RootIntegral):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, values, vectors, *g = ctx.saved_tensors
        dx, sides = tangents[1], ctx.sides
        terms = [(sides, *g[:p], v, *g[p + 1 :]) for p, v in enumerate(tangents[4:]) if v is not None]
        if dx is not None:
            dx = (dx + dx.mT) / 2
            terms += [(sides[: p + 1] + sides[p:], *g[:p], dx, *g[p:]) for p in range(len(g) + 1)]
        return torch.stack([_apply(split, x, values, vectors, *word) for split, *word in terms]).sum(0)


def _apply(*args: Any) -> Tensor:
    function = _RootIntegral if torch.compiler.is_compiling() else _ForwardMode
    return function.apply(*args, *[None] * (7 - len(args)))


def lyapunov_root(x: Float[Tensor, "*#b n n"], v: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the matrix with entries ``sqrt(x_i + x_j) v_ij`` in the eigenbasis of positive definite ``x``."""
    values, vectors = spectrum(x)
    shape = torch.broadcast_shapes(x.shape, v.shape)
    x, vectors, v = (z.expand(shape) for z in (x, vectors, v))
    return _apply("LR", x, values.expand(shape[:-1]), vectors, v)
