"""Stochastic gradient descent on Riemannian manifolds."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.sgd import sgd

from isometry.trainers.optim._batch import Batch, State
from isometry.trainers.optim._local import LocalGeometry
from isometry.trainers.optim._riemannian import Parameters, RiemannianOptimizer


class RiemannianSGD(RiemannianOptimizer):
    r"""Stochastic gradient descent on manifolds, with geoopt's arguments; on Euclidean parameters, torch's SGD.

    With the Riemannian gradient ``r`` at the point ``x`` and the momentum ``b``, a tangent vector, at first ``r``::

        b = momentum b + (1 - dampening) r
        x' = retr_x(-lr b)          (nesterov: retr_x(-lr (r + momentum b)))
        b' = b transported to x'

    Gradients are never changed; a NaN in the gradient of a point makes that point NaN, and no other. A sparse gradient
    steps the rows in which it has entries; the momentum of a row starts from zero and rests while the row does.

    Args:
        params: A module (its registered manifolds and geoopt's ManifoldParameters are found, everything else is
            Euclidean), an iterable of parameters, or groups ``{"params": [...], "manifold": m, ...}``. Pass a learnable
            curvature to the optimizer of its points, which then follow it.
        lr: Learning rate, a number or a tensor.
        momentum: Decay rate of the momentum, at least 0.
        dampening: Share of the gradient kept out of the momentum.
        weight_decay: Coefficient of ``|x|^2/2``, in the coordinates of the points, in the loss.
        nesterov: Look ahead along the momentum; needs momentum and no dampening.
        stabilize: Project points and momentum to the manifold every so many steps (rounding only: steps stay on it).
        maximize: Go up the gradient.
        compile: Compile the update of each set of equal parameters, from 1,024 numbers on, with ``torch.compile``.

    Source: Bonnabel 2013; momentum by transport as in Becigneul & Ganea 2019.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        stabilize: int | None = None,
        *,
        maximize: bool = False,
        compile: bool = False,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"RiemannianSGD: expected lr >= 0, but got {lr}.")
        if not momentum >= 0:
            raise ValueError(f"RiemannianSGD: expected momentum >= 0, but got {momentum}.")
        if not weight_decay >= 0:
            raise ValueError(f"RiemannianSGD: expected weight_decay >= 0, but got {weight_decay}.")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "RiemannianSGD: nesterov needs momentum > 0 and dampening = 0, "
                f"but got momentum={momentum} and dampening={dampening}."
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "stabilize": stabilize,
        }
        super().__init__(params, defaults, compile)

    def start(self, group: dict[str, Any], batch: Batch, p: Tensor) -> State:
        """Return a zero momentum, if the group has any."""
        return {"momentum_buffer": torch.zeros_like(p)} if group["momentum"] else {}

    def arguments(self, group: dict[str, Any], state: State, first: bool) -> dict[str, Any]:
        """Return the learning rate and the group's constants; the first gradient enters the momentum undamped."""
        names = ("momentum", "weight_decay", "nesterov", "maximize")
        return {
            "lr": self.learning_rate(group),
            "dampening": 0 if first else group["dampening"],
            **{name: group[name] for name in names},
        }

    @staticmethod
    def update(
        local: LocalGeometry,
        g: Tensor,
        state: State,
        *,
        lr: float | Tensor,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        maximize: bool,
    ) -> tuple[Tensor, State]:
        """Return the points and the momentum after the step of the class docstring."""
        if maximize:
            g = -g
        if weight_decay:
            g = torch.add(g, local.x, alpha=weight_decay)
        if not momentum:
            return local.descend(g, -lr), {}
        r = local.gradient(g)
        b = torch.add(r if dampening == 0 else (1 - dampening) * r, state["momentum_buffer"], alpha=momentum)
        if nesterov:
            y, moved = local.move_with(-lr * torch.add(r, b, alpha=momentum), b)
        else:
            y, moved = local.move_along(b, -lr)
        return y, {"momentum_buffer": moved}

    def flat_step(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[State], first: bool
    ) -> None:
        """Step Euclidean parameters by torch's SGD: fused where it can be."""
        # DTensor has no rule for torch's fused SGD.
        fused = all(p.is_floating_point() and not isinstance(p, DTensor) for p in params)
        buffers: list[Any] = [None if first else state.get("momentum_buffer") for state in states]
        sgd(
            params,
            grads,
            buffers,
            fused=fused,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )
        if group["momentum"]:
            for state, buffer in zip(states, buffers, strict=True):
                state["momentum_buffer"] = buffer
