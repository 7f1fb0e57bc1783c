"""Parameters that step together, as one stacked tensor."""

from collections.abc import Callable
from operator import is_
from typing import Any

import torch
from geoopt.manifolds import Manifold as AnyManifold
from torch import Tensor

from isometry.trainers.optim._local_geometry import local_geometry

State = dict[str, Tensor]
Update = Callable[..., tuple[Tensor, State]]

_COMPILE: dict[str, Any] = {
    "fullgraph": True,
    # Batches share the code, but not each other's recompilations (an argument that torch's stubs lack).
    "isolate_recompiles": True,
    # Keep what is one number per point, and intermediate results, in place of computing them again for each use: a
    # third faster where rows are short. Multiply and add in one instruction.
    "options": {
        "realize_opcount_threshold": 4,
        "realize_reads_threshold": 1,
        "cpp.enable_floating_point_contract_flag": "fast",
    },
}
_COMPILED = 1024  # numbers: for fewer the call of a compiled graph takes longer than the step
_PART = 2**17  # numbers: a part of a table and the intermediate results of its step stay in the cache


class Batch:
    """Parameters of one group, manifold, shape, dtype and device (manifold ``None``: Euclidean, of any shape).

    The state of several parameters lives in stacked tensors, of which ``optimizer.state[p]`` holds the slices: a
    state dict, a copy or a checkpoint sees ordinary tensors, and a step neither gathers nor scatters them.

    Args:
        update: Returns the points and the state after a step, from the local geometry, the Euclidean gradient, the
            state and further arguments.
        manifold: The manifold of all parameters.
        params: The parameters.
        compile: Compile the step, unless the parameters are tiny.
    """

    def __init__(self, update: Update, manifold: AnyManifold | None, params: list[Tensor], compile: bool) -> None:
        self.update = update
        self.manifold = manifold
        self.params = params
        self._step_points, self._step_rows = step_points, step_rows
        if compile and sum(p.numel() for p in params) >= _COMPILED:
            # The shapes of a batch do not change, unless sparse gradients touch another number of rows.
            self._step_points = torch.compile(step_points, dynamic=False, **_COMPILE)
            self._step_rows = torch.compile(step_rows, **_COMPILE)
        self._members: list[Tensor] = []
        self._slices: list[Tensor] = []

    def zero_squares(self, p: Tensor) -> Tensor:
        """Return a zero for every number that ``square`` gives at the points ``p``."""
        zero = torch.zeros_like(p)
        return torch.zeros_like(local_geometry(self.manifold, p).square(zero, zero))

    def stack_state(self, params: list[Tensor], states: list[State]) -> State:
        """Return the state of ``params`` with a leading dimension over them, in memory that ``states`` share.

        A single parameter has no such dimension: its state is returned as it is.
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

    def step(self, params: list[Tensor], grads: list[Tensor], state: State, arguments: dict[str, Any]) -> None:
        """Step ``params`` by their dense gradients, and with them the state that ``stack_state`` returned."""
        if len(params) == 1:
            self.advance(self.manifold, params[0].detach(), grads[0], state, arguments)
        else:
            points = torch.stack(params, out=self._points)
            self.advance(self.manifold, points, torch.stack(grads), state, arguments)
            torch._foreach_copy_(params, self._point_slices)

    def advance(
        self, manifold: AnyManifold | None, x: Tensor, g: Tensor, state: State, arguments: dict[str, Any]
    ) -> None:
        """Step ``x`` and its state in place, part by part."""
        parts = self._parts(x)
        if len(parts) > 1:
            for part in parts:
                self.advance(manifold, x[part], g[part], _cut(state, part), _cut(arguments, part))
            return
        y, new = self._step_points(self.update, manifold, x, g, state, arguments)
        x.copy_(y)
        for name, value in new.items():
            state[name].copy_(value)

    def step_rows(self, p: Tensor, rows: Tensor, g: Tensor, state: State, arguments: dict[str, Any]) -> None:
        """Step ``rows`` of the table ``p``, and of its state, by their gradients ``g``."""
        for part in self._parts(g):
            self._step_rows(self.update, self.manifold, p.detach(), rows[part], g[part], state, arguments)

    def _parts(self, x: Tensor) -> list[slice]:
        """Return the slices of the first dimension that are stepped one after the other."""
        ndim = 0 if self.manifold is None else self.manifold.ndim
        if x.numel() <= _PART or x.ndim == ndim or len(x) == 1:
            return [slice(None)]
        count = -(-x.numel() // _PART)
        size = -(-len(x) // count)
        return [slice(i, i + size) for i in range(0, len(x), size)]


def _cut(values: dict[str, Any], part: slice) -> dict[str, Any]:
    """Return the dictionary with its tensors, but for numbers, cut to ``part`` of their first dimension."""
    return {name: v[part] if isinstance(v, Tensor) and v.ndim else v for name, v in values.items()}


def _tensors(states: list[State]) -> list[Tensor]:
    return [t for state in states for t in state.values()]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


def step_points(
    update: Update,
    manifold: AnyManifold | None,
    x: Tensor,
    g: Tensor,
    state: State,
    arguments: dict[str, Any],
) -> tuple[Tensor, State]:
    """Return the points ``x`` and what changed in their state after a step."""
    # Nothing is written in place here: Inductor fails on that in torch 2.13 (pytorch/pytorch#188228).
    return update(local_geometry(manifold, x), g, state, **arguments)


def step_rows(
    update: Update,
    manifold: AnyManifold | None,
    table: Tensor,
    rows: Tensor,
    g: Tensor,
    state: State,
    arguments: dict[str, Any],
) -> None:
    """Step ``rows`` of ``table`` and of its state, in place."""
    picked = {name: t.index_select(0, rows) for name, t in state.items() if name != "step"}
    y, new = update(local_geometry(manifold, table.index_select(0, rows)), g, picked, **arguments)
    table.index_copy_(0, rows, y)
    for name, value in new.items():
        state[name].index_copy_(0, rows, value)
