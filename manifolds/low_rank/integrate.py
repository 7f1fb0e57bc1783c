"""Tensor differential equations on tensors of low rank."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Inexact
from torch import Tensor

from isometry.manifolds.low_rank.base import LowRankManifold, Ranks

Field = Callable[[float, Tensor], Tensor]


class Solution(NamedTuple):
    """The points at the times, the first of which are the initial ones.

    Args:
        times: ``steps + 1`` times.
        points: A point for each.
    """

    times: list[float]
    points: list[Any]


def integrate(
    manifold: LowRankManifold[Any, Any],
    f: Field,
    x0: Any,
    t_span: tuple[float, float],
    steps: int,
    method: str = "parallel_bug",
    *,
    tol: float | None = None,
    max_ranks: Ranks | None = None,
) -> Solution:
    r"""Return the low-rank solution of ``dW/dt = f(t, W)``, ``W(t_0) = x0``, by steps of equal length h.

    With ``F = f(t, W)`` and the blocks ``t = P_x(F)``, whose directions augment the bases::

        parallel_bug    x + h P_x(F): all bases and the core move at once, by one evaluation of f
        augmented_bug   in the augmented bases, the core moves by ``dC/dt = f(t, C x U) x U^H``, by a step of RK4: the
                        solution leaves the tangent space as far as the bases allow

    and then the truncation, to ``tol`` or to the ranks of x0. Both are of first order, with an error that does not
    depend on the smallest singular value: nothing is divided by it.

    Args:
        manifold: Of x0 and of the solution.
        f: Takes the time and the dense tensor ``[*b, *shape]``, and returns its derivative.
        x0: The initial point.
        t_span: ``(t_0, t_1)``; backward in time if ``t_1 < t_0``.
        steps: Number of steps, at least 1.
        method: One of the above.
        tol: Relative truncation error of a step; by default the ranks stay those of x0.
        max_ranks: The largest ranks, with ``tol``.

    Raises:
        ValueError: An argument is out of range.

    Source: Ceruti, Kusch & Lubich 2024 (parallel) and 2022 (augmented); Ceruti, Kusch, Lubich & Sulz 2024 for tensors.
    """
    if steps < 1:
        raise ValueError(f"integrate: expected at least one step, but got steps={steps}.")
    if method not in _STEPS:
        raise ValueError(f"integrate: expected 'parallel_bug' or 'augmented_bug', but got method={method!r}.")
    if tol is None and max_ranks is not None:
        raise ValueError("integrate: expected max_ranks together with tol; without, the ranks are those of x0.")
    ranks = manifold.ranks(x0) if tol is None else max_ranks
    start, h = t_span[0], (t_span[1] - t_span[0]) / steps
    times, points = [start], [x0]
    for k in range(steps):
        y = _STEPS[method](manifold, f, points[-1], times[-1], h)
        points.append(manifold.truncate(y, ranks=ranks, tol=tol))
        times.append(start + (k + 1) * h)
    return Solution(times, points)


def _parallel(m: LowRankManifold[Any, Any], f: Field, x: Any, t: float, h: float) -> Any:
    """Return ``x + h P_x(f)``."""
    velocity = m.project(x, f(t, m.to_dense(x)))
    return m.embed(x, m.combine(h, velocity, 0.0, velocity))


def _augmented(m: LowRankManifold[Any, Any], f: Field, x: Any, t: float, h: float) -> Any:
    """Return the solution of the core's equation in the augmented bases, after a step of RK4."""
    y = m.augment(x, m.project(x, f(t, m.to_dense(x))))
    leaves = m.leaves(y)
    core = leaves[m.core]

    def moved(core: Inexact[Tensor, "..."]) -> Any:
        return m.point([core if k == m.core else leaf for k, leaf in enumerate(leaves)])

    def slope(s: float, core: Inexact[Tensor, "..."]) -> Tensor:
        z = moved(core)
        return m.leaves(m.project(z, f(t + s * h, m.to_dense(z))))[m.core]

    k1 = slope(0.0, core)
    k2 = slope(0.5, core + h / 2 * k1)
    k3 = slope(0.5, core + h / 2 * k2)
    k4 = slope(1.0, core + h * k3)
    return moved(core + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


_STEPS = {"parallel_bug": _parallel, "augmented_bug": _augmented}
