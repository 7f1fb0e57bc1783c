"""Adam on Riemannian manifolds."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from isometry.trainers.optim._batch import Batch, State
from isometry.trainers.optim._local import LocalGeometry
from isometry.trainers.optim._riemannian import Parameters, RiemannianOptimizer


class RiemannianAdam(RiemannianOptimizer):
    r"""Adam and AMSGrad on Riemannian manifolds, with geoopt's arguments; on Euclidean parameters, torch's Adam.

    With the Riemannian gradient ``r`` at the point ``x``, the moments ``m`` (a tangent vector) and ``v`` (a number)::

        m = beta1 m + (1 - beta1) r            v = beta2 v + (1 - beta2) |r|_x^2
        u = -lr m/(1 - beta1^t) / (sqrt(v/(1 - beta2^t)) + eps)
        x' = retr_x(u)                         m' = m transported to x'

    Gradients are never changed; a NaN in the gradient of a point makes that point NaN, and no other. With a sparse
    gradient the step is lazy, as torch's SparseAdam: rows without entries keep their moments, which do not decay.

    Args:
        params: A module (its registered manifolds and geoopt's ManifoldParameters are found, everything else is
            Euclidean), an iterable of parameters, or groups ``{"params": [...], "manifold": m, ...}``. Pass a learnable
            curvature to the optimizer of its points, which then follow it.
        lr: Learning rate, a number or a tensor.
        betas: Decay rates of the moments, in [0, 1).
        eps: Added to the root of the second moment.
        weight_decay: Coefficient of ``|x|^2/2``, in the coordinates of the points, in the loss.
        amsgrad: Divide by the largest second moment so far.
        stabilize: Project points and moments to the manifold every so many steps (rounding only: steps stay on it).
        maximize: Go up the gradient.
        decoupled_weight_decay: Keep the decay out of the moments, as AdamW.
        compile: Compile the update of each set of equal parameters, from 1,024 numbers on, with ``torch.compile``.

    Source: Becigneul & Ganea 2019, algorithm 1a (RAMSGrad), each point a factor of the product of manifolds.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        stabilize: int | None = None,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        compile: bool = False,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"RiemannianAdam: expected lr >= 0, but got {lr}.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"RiemannianAdam: expected betas in [0, 1), but got {betas}.")
        if not eps >= 0:
            raise ValueError(f"RiemannianAdam: expected eps >= 0, but got {eps}.")
        if not weight_decay >= 0:
            raise ValueError(f"RiemannianAdam: expected weight_decay >= 0, but got {weight_decay}.")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
            "stabilize": stabilize,
        }
        super().__init__(params, defaults, compile)

    def start(self, group: dict[str, Any], batch: Batch, p: Tensor) -> State:
        """Return zero moments, the second with the shape of ``|r|^2``."""
        names = ("exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg_sq",)
        return {
            "step": torch.zeros((), dtype=torch.float32, device=p.device),
            "exp_avg": torch.zeros_like(p),
            **{name: batch.zero_squares(p) for name in names},
        }

    def arguments(self, group: dict[str, Any], state: State, first: bool) -> dict[str, Any]:
        """Count the step; return ``-lr root/(1 - beta1^t)`` and ``eps root``, ``root^2 = 1 - beta2^t``, and constants.

        The powers are taken here because the compiled update would take them anew for every row.
        """
        lr, moment = self.learning_rate(group), state["exp_avg"]
        count = state["step"].add_(1)
        step: Any = count.to(moment.dtype).reshape(count.shape + (1,) * (moment.ndim - 1) * count.ndim)
        exact: Any = torch
        if count.device.type == "cpu" and len(steps := set(count.reshape(-1).tolist())) == 1:
            step, exact = steps.pop(), math  # mostly all parameters have taken as many steps
        log_beta1, log_beta2 = (math.log(beta) if beta else -math.inf for beta in group["betas"])
        root = exact.sqrt(-exact.expm1(log_beta2 * step))
        moving = {"rate": lr * root / exact.expm1(log_beta1 * step), "eps": group["eps"] * root, "lr": lr}
        if self._compile:
            moving = {name: torch.as_tensor(value, dtype=moment.dtype) for name, value in moving.items()}
        names = ("betas", "weight_decay", "decoupled_weight_decay", "amsgrad", "maximize")
        return {**moving, **{name: group[name] for name in names}}

    @staticmethod
    def update(
        local: LocalGeometry,
        g: Tensor,
        state: State,
        *,
        rate: float | Tensor,
        eps: float | Tensor,
        lr: float | Tensor,
        betas: tuple[float, float],
        weight_decay: float,
        decoupled_weight_decay: bool,
        amsgrad: bool,
        maximize: bool,
    ) -> tuple[Tensor, State]:
        """Return the points and the moments after the step of the class docstring."""
        x = local.x
        if maximize:
            g = -g
        if weight_decay and not decoupled_weight_decay:
            g = torch.add(g, x, alpha=weight_decay)
        r = local.gradient(g)
        m = torch.lerp(state["exp_avg"], r, 1 - betas[0])
        v = torch.lerp(state["exp_avg_sq"], local.square(g, r), 1 - betas[1])
        moments = {"exp_avg_sq": v}
        if amsgrad:
            v = moments["max_exp_avg_sq"] = torch.maximum(state["max_exp_avg_sq"], v)
        speed = rate / (v.sqrt() + eps)
        if weight_decay and decoupled_weight_decay:
            u = speed * m - lr * weight_decay * local.gradient(x)
            y, moments["exp_avg"] = local.move_with(u, m)
        else:
            y, moments["exp_avg"] = local.move_along(m, speed)
        return y, moments

    def flat_step(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[State], first: bool
    ) -> None:
        """Step Euclidean parameters by torch's Adam: fused where it can be."""
        beta1, beta2 = group["betas"]
        adam(
            params,
            grads,
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [s["max_exp_avg_sq"] for s in states] if group["amsgrad"] else [],
            [s["step"] for s in states],
            fused=all(p.is_floating_point() for p in params),
            has_complex=any(p.is_complex() for p in params),
            decoupled_weight_decay=group["decoupled_weight_decay"],
            amsgrad=group["amsgrad"],
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )
