"""Iterations whose length may depend on the data."""

from collections.abc import Callable

import torch
from torch import Tensor

from isometry.manifolds._precision import captured


def iterate(
    body: Callable[..., tuple[Tensor, ...]],
    unfinished: Callable[..., Tensor],
    state: tuple[Tensor, ...],
    limit: int,
) -> tuple[Tensor, ...]:
    """Return the state after ``body`` has been applied until no row is unfinished, at most ``limit`` times."""
    if torch.compiler.is_compiling():
        count = torch.zeros((), dtype=torch.int64, device=state[0].device)
        return torch.while_loop(
            lambda k, *s: (k < limit) & unfinished(*s).any(), lambda k, *s: (k + 1, *body(*s)), (count, *state)
        )[1:]
    for _ in range(limit):
        if not captured() and not bool(unfinished(*state).any()):
            break
        state = body(*state)
    return state
