"""Parameters that step together, as one stacked tensor."""

from collections.abc import Callable
from operator import is_
from typing import Any

import geoopt
import torch
from torch import Tensor

from isometry.trainers.optim._local import local_geometry

State = dict[str, Tensor]
Update = Callable[..., tuple[Tensor, State]]

_PART = 2**17


class Batch:
    """Parameters of one group, manifold, shape, dtype and device (manifold ``None``: Euclidean, of any shape).

    The state of several parameters lives in stacked tensors, of which ``optimizer.state[p]`` holds the slices: a
    state dict, a copy or a checkpoint sees ordinary tensors, and a step neither gathers nor scatters them.
    """

    def __init__(self, manifold: geoopt.manifolds.Manifold | None, params: list[Tensor], compile: bool) -> None:
        self.manifold = manifold
        self.params = params
        self._update, self._update_rows = _update, _update_rows
        if compile:
            self._update = torch.compile(_update, fullgraph=True, isolate_recompiles=True)
            self._update_rows = torch.compile(_update_rows, fullgraph=True, isolate_recompiles=True)
        self._members: list[Tensor] = []
        self._slices: list[Tensor] = []

    def stack_state(self, params: list[Tensor], states: list[State]) -> State:
        """Return the state of ``params`` with a leading dimension over them, in memory that ``states`` share.

        A single parameter has none: its state is returned as it is.
        """
        if len(params) == 1:
            return states[0]
        if not (_same(params, self._members) and _same(_tensors(states), self._slices)):
            self._state = {name: torch.stack([state[name] for state in states]) for name in states[0]}
            for name, stacked in self._state.items():
                for state, part in zip(states, stacked.unbind(0), strict=True):
                    state[name] = part
            self._members, self._slices = params, _tensors(states)
            self._points = torch.stack(params)
            self._point_slices = self._points.unbind(0)
        return self._state

    def step(
        self, update: Update, params: list[Tensor], grads: list[Tensor], state: State, arguments: dict[str, Any]
    ) -> None:
        """Step ``params`` by their dense gradients, and with them the state that ``stack_state`` returned."""
        single = len(params) == 1
        x = params[0].detach() if single else torch.stack(params, out=self._points)
        g = grads[0] if single else torch.stack(grads)
        for part in self._parts(x):
            here, now = _cut(state, part), _cut(arguments, part)
            y, new = self._update(update, self.manifold, x[part], g[part], here, now)
            x[part].copy_(y)
            for name, value in new.items():
                here[name].copy_(value)
        if not single:
            torch._foreach_copy_(params, self._point_slices)

    def step_rows(
        self, update: Update, p: Tensor, rows: Tensor, g: Tensor, state: State, arguments: dict[str, Any]
    ) -> None:
        """Step ``rows`` of the table ``p``, and of its state, by their gradients ``g``."""
        for part in self._parts(g):
            self._update_rows(update, self.manifold, p.detach(), rows[part], g[part], state, arguments)

    def _parts(self, x: Tensor) -> list[slice]:
        """Return the slices of the first dimension that are stepped one after the other, each within the cache."""
        ndim = 0 if self.manifold is None else self.manifold.ndim
        if x.numel() <= _PART or x.ndim == ndim:
            return [slice(None)]
        count = -(-x.numel() // _PART)
        size = -(-len(x) // count)
        return [slice(i, i + size) for i in range(0, len(x), size)]


def _cut(values: dict[str, Any], part: slice) -> dict[str, Any]:
    """Return the dictionary with its tensors, but for numbers, cut to ``part`` of their first dimension."""
    if part == slice(None):
        return values
    return {name: v[part] if isinstance(v, Tensor) and v.ndim else v for name, v in values.items()}


def _tensors(states: list[State]) -> list[Tensor]:
    return [t for state in states for t in state.values()]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


def _update(
    update: Update,
    manifold: geoopt.manifolds.Manifold,
    x: Tensor,
    g: Tensor,
    state: State,
    arguments: dict[str, Any],
) -> tuple[Tensor, State]:
    return update(local_geometry(manifold, x), g, state, **arguments)


def _update_rows(
    update: Update,
    manifold: geoopt.manifolds.Manifold | None,
    table: Tensor,
    rows: Tensor,
    g: Tensor,
    state: State,
    arguments: dict[str, Any],
) -> None:
    picked = {name: t.index_select(0, rows) for name, t in state.items() if name != "step"}
    y, new = update(local_geometry(manifold, table.index_select(0, rows)), g, picked, **arguments)
    table.index_copy_(0, rows, y)
    for name, value in new.items():
        state[name].index_copy_(0, rows, value)
