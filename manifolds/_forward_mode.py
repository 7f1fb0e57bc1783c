"""Forward-mode derivatives that can be nested."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Jvp = Callable[..., Tensor]


class _Primal:
    """The context of an autograd function whose saved tensors have no tangents of the innermost level."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.saved_tensors = tuple(forward_ad.unpack_dual(t).primal for t in ctx.saved_tensors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def nestable(jvp: Jvp) -> Jvp:
    """Let a ``jvp`` be differentiated by forward mode in turn.

    torch turns forward mode off around it, so that the outer of two nested ``torch.func.jvp`` takes its result for a
    constant, in silence. It is turned on again, without the tangents of the inner one, which the result is.
    """

    @functools.wraps(jvp)
    def wrapped(ctx: Any, *tangents: Any) -> Tensor:
        levels = torch._C._functorch.get_interpreter_stack() or []
        if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in levels) < 2:
            return jvp(ctx, *tangents)
        primal = _Primal(ctx)
        with forward_ad._set_fwd_grad_enabled(True):
            return jvp(primal, *tangents)

    return wrapped


def solve(a: Tensor, b: Tensor) -> Tensor:
    """Return ``torch.linalg.solve(a, b)``, of which torch 2.13 takes a factor for a constant in nested forward mode."""
    return torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b)
