"""Gradient descent on tensors of fixed or adaptive rank."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isometry.manifolds import named_manifolds
from isometry.manifolds.low_rank import LowRankParameter, named_low_rank
from isometry.manifolds.low_rank.parameters import is_low_rank
from isometry.trainers.optim._riemannian import RiemannianOptimizer
from isometry.trainers.optim.radam import RiemannianAdam
from isometry.trainers.optim.rsgd import RiemannianSGD

Integrator = Literal["rgd", "parallel_bug", "augmented_bug"]
Groups = nn.Module | Iterable[dict[str, Any]]


class LowRankOptimizer(torch.optim.Optimizer):
    r"""Descent on the low-rank tensors of a module; its other parameters step beside, by an optimizer of their own.

    The tensors' modules give the projected gradient ``P_x(G)`` in tangent coordinates (``tangent_grad=True``), so one
    backward makes a step, and nothing is divided by singular values::

        rgd            x' = truncate(x - lr t, ranks of x), with t = P_x(G): Riemannian gradient descent
        parallel_bug   the same truncated to the tolerance, so that ranks adapt
        augmented_bug  a cycle: augment (the bases [U | directions of the gradient], the same tensor; one gradient),
                       n_local steps of the core alone (a gradient each), truncate to the tolerance

    With ``momentum`` the vector is ``b = momentum b' + t``, b' the last one transported to x. With ``betas``, Adam's
    moments: the first a transported tangent vector, the second one number per block (``|t_k|^2``, the core's and
    each basis's): moments by entry mean nothing in bases that turn. Weight decay shrinks the core,
    ``x' - lr weight_decay x'``: the bases have a fixed length.

    Ranks change within what the parameters have room for; parameters keep their identity and shape. Allocate twice the
    rank for ``augmented_bug`` (or the sizes of the modes, where these are less).

    Args:
        params: A module, or groups ``{"params": module, "lr": ..., ...}``, the options of a group those of its low-rank
            tensors; every low-rank tensor is found and everything else goes to ``beside``.
        lr: Learning rate.
        integrator: One of the above.
        tol: Relative error of a truncation, in [0, 1); for ``parallel_bug`` and ``augmented_bug``. One that is less
            than the noise of a step lets ranks grow, a larger one lets them fall.
        momentum: Decay rate of the momentum, at least 0.
        betas: Decay rates of Adam's moments, in [0, 1); excludes ``momentum``.
        eps: Added to the root of the second moment.
        weight_decay: Coefficient of ``|x|^2/2``, decoupled from the moments.
        n_local: Steps of the core in a cycle of ``augmented_bug``.
        beside: Builds the optimizer of the other parameters from their groups ``{"params": [...], "manifold": ...}``;
            by default RiemannianSGD, or RiemannianAdam if ``betas`` are given, with the same rates.

    Raises:
        ValueError: An argument is out of range, a module gives no tangent coordinates, or there is no low-rank tensor.

    Source: Ceruti, Kusch & Lubich 2024 (parallel BUG) and 2022 (augmented BUG); Schotthoefer et al. 2022, Low-rank
        lottery tickets, for training; transported momentum as in Becigneul & Ganea 2019.
    """

    def __init__(
        self,
        params: Groups,
        lr: float,
        integrator: Integrator = "rgd",
        *,
        tol: float | None = None,
        momentum: float = 0.0,
        betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        n_local: int = 1,
        beside: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "integrator": integrator,
            "tol": tol,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "n_local": n_local,
        }
        self._tensors: dict[Tensor, LowRankParameter] = {}  # by the first of their parameters
        self._beside: torch.optim.Optimizer | None = None
        self._build = beside or self._default
        groups: Any = [{"params": params}] if isinstance(params, nn.Module) else params
        super().__init__(groups, defaults)
        if not self._tensors:
            raise ValueError(
                "LowRankOptimizer: expected modules with low-rank tensors (register_low_rank), but found none; use "
                "RiemannianSGD or RiemannianAdam."
            )

    def _default(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer of the library that does the same beside."""
        lr, decay, betas = self.defaults["lr"], self.defaults["weight_decay"], self.defaults["betas"]
        if betas is None:
            return RiemannianSGD(groups, lr, momentum=self.defaults["momentum"], weight_decay=decay)
        eps = self.defaults["eps"]
        return RiemannianAdam(groups, lr, betas, eps, weight_decay=decay, decoupled_weight_decay=True)

    # --- which parameters are factors -------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: ``params`` is a module, or parameters that are no factors; options hold for all of them."""
        options = {name: value for name, value in param_group.items() if name != "params"}
        module = param_group["params"]
        if not isinstance(module, nn.Module):
            _refuse_bare_factors([module] if isinstance(module, Tensor) else list(module))
            self._add_beside([param_group])
            return
        tensors = list(named_low_rank(module).values())
        if tensors:
            for tensor in tensors:
                _check_tensor(tensor)
            self._tensors.update((tensor.parameters[0], tensor) for tensor in tensors)
            super().add_param_group({**options, "params": [p for tensor in tensors for p in tensor.parameters]})
            try:
                _check_options(self.param_groups[-1])
            except ValueError:
                self.param_groups.pop()
                raise
        factors = {p for tensor in tensors for p in tensor.parameters}
        self._add_beside([{**options, **group} for group in _other_groups(module, factors)])

    def _add_beside(self, groups: list[dict[str, Any]]) -> None:
        """Give groups to the optimizer beside, which is built at the first; both share them, and the state."""
        if not groups:
            return
        before = 0 if self._beside is None else len(self._beside.param_groups)
        if self._beside is None:
            self._beside = self._build(groups)
        else:
            for group in groups:
                self._beside.add_param_group(group)
        if any("manifold" in group for group in groups) and not isinstance(self._beside, RiemannianOptimizer):
            raise ValueError(
                f"LowRankOptimizer: {type(self._beside).__name__} would take Euclidean steps on parameters that are "
                "registered on a manifold; expected RiemannianSGD or RiemannianAdam as `beside`."
            )
        self._beside.state = self.state
        self.param_groups.extend(self._beside.param_groups[before:])

    def __getstate__(self) -> dict[str, Any]:
        names = ("_tensors", "_beside", "_build")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._beside is not None:
            groups = [group for group in self.param_groups if "integrator" not in group]
            self._beside.__setstate__({"state": self.state, "param_groups": groups})

    # --- the step ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure``, if given, computes the loss and its gradients, and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if "integrator" in group:
                self._step_group(group)
        if self._beside is not None:
            self._beside.step()
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        tensors = [self._tensors[p] for p in group["params"] if p in self._tensors]
        live = [tensor for tensor in tensors if _has_gradient(tensor)]
        if group["integrator"] != "augmented_bug":
            for tensor in live:
                self._step_tensor(group, tensor)
        elif live:
            self._step_cycle(group, live)

    def _step_tensor(self, group: dict[str, Any], tensor: LowRankParameter) -> None:
        """Step along the gradient or the moments, and carry the first moment to the new point."""
        m, x = tensor.manifold, tensor.point()
        direction, moment = self._direction(group, tensor, m.gauge(x, tensor.grad()))
        blocks = [-group["lr"] * block for block in m.leaves(direction)]
        blocks[m.core] -= group["lr"] * group["weight_decay"] * m.leaves(x)[m.core]
        ranks = tensor.ranks if group["integrator"] == "rgd" else tensor.max_ranks
        y = m.truncate(m.embed(x, m.tangent(blocks)), ranks=ranks, tol=group["tol"])
        if moment is not None:
            moved = tensor.padded(m.leaves(m.transport(x, moment, y)))
            for p, block in zip(tensor.parameters, moved, strict=True):
                self.state[p]["exp_avg"] = block
        tensor.write(y)

    def _direction(self, group: dict[str, Any], tensor: LowRankParameter, t: Any) -> tuple[Any, Any]:
        """Return the tangent vector to descend along, and the first moment, None where there is none."""
        m, betas = tensor.manifold, group["betas"]
        decay, share = (group["momentum"], 1.0) if betas is None else (betas[0], 1 - betas[0])
        if betas is None and decay == 0:
            return t, None
        states = [self.state[p] for p in tensor.parameters]
        if "exp_avg" in states[0]:
            before = m.tangent(tensor.cut([state["exp_avg"] for state in states]))
            moment = m.combine(decay, before, share, t)
        else:
            moment = m.combine(share, t, 0.0, t)
        if betas is None:
            return moment, moment
        squares = m.block_inner(t, t).unbind(-1)
        pairs = zip(states, m.leaves(moment), squares, m.leaf_shapes(1), strict=True)
        blocks = [_normalised(group, state, block, square, len(shape)) for state, block, square, shape in pairs]
        return m.tangent(blocks), moment

    def _step_cycle(self, group: dict[str, Any], tensors: list[LowRankParameter]) -> None:
        """Take the next step of augment, n_local steps of the core, the last with the truncation."""
        phase = group.setdefault("phase", 0)
        for tensor in tensors:
            m, x = tensor.manifold, tensor.point()
            t = m.gauge(x, tensor.grad())
            if phase == 0:
                _check_room(tensor)
                tensor.write(m.augment(x, t, tensor.max_ranks))
                continue
            core = m.leaves(x)[m.core]  # a view of the parameter
            core -= group["lr"] * (m.leaves(t)[m.core] + group["weight_decay"] * core)
            if phase == group["n_local"]:
                tensor.write(m.truncate(x, ranks=_room(tensor), tol=group["tol"]))
        group["phase"] = (phase + 1) % (group["n_local"] + 1)


def _normalised(group: dict[str, Any], state: dict[str, Any], block: Tensor, square: Tensor, ndim: int) -> Tensor:
    """Return Adam's direction of a block, with one second moment for all of its entries."""
    beta1, beta2 = group["betas"]
    if "step" not in state:
        state["step"], state["exp_avg_sq"] = torch.zeros((), dtype=torch.float32), torch.zeros_like(square)
    step = float(state["step"].add_(1))
    state["exp_avg_sq"].lerp_(square, 1 - beta2)
    root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt() + group["eps"]
    return block / ((1 - beta1**step) * root.reshape(root.shape + (1,) * ndim))


def _room(tensor: LowRankParameter) -> tuple[int, ...]:
    """Return the largest ranks that leave room for as many new directions as there are, or for those that exist."""
    pairs = zip(tensor.max_ranks, tensor.manifold.full_ranks, strict=True)
    return tuple(room if room == full else room // 2 for room, full in pairs)


def _check_room(tensor: LowRankParameter) -> None:
    if any(r > room for r, room in zip(tensor.ranks, _room(tensor), strict=True)):
        raise ValueError(
            f"LowRankOptimizer: augmented_bug doubles the ranks {tensor.ranks} of {tensor.manifold!r}, but the "
            f"parameters have room for {tensor.max_ranks}; allocate them at twice the ranks."
        )


def _has_gradient(tensor: LowRankParameter) -> bool:
    """Return whether the tensor has a gradient, and refuse one that is no tangent vector."""
    grads = [p.grad for p in tensor.parameters]
    if all(g is None for g in grads):
        return False
    if any(g is None or g.is_sparse for g in grads):
        raise ValueError(
            f"LowRankOptimizer: expected a dense gradient of each of the parameters {tensor.names} of "
            f"{tensor.manifold!r}, but some have none or a sparse one; freeze all of them or none."
        )
    _check_tensor(tensor)
    return True


def _check_tensor(tensor: LowRankParameter) -> None:
    if not tensor.tangent_grad:
        raise ValueError(
            f"LowRankOptimizer: the gradients of {type(tensor.module).__name__} are derivatives by its factors, but "
            "tangent coordinates are expected; build the layer with tangent_grad=True."
        )
    dtype = tensor.parameters[0].dtype
    if dtype in (torch.float16, torch.bfloat16):
        raise ValueError(
            f"LowRankOptimizer: factors need float32 or float64, but those of {tensor.manifold!r} are {dtype}. Keep "
            "the parameters in float32 and use autocast."
        )


def _refuse_bare_factors(params: list[Any]) -> None:
    """Refuse factors that arrive without the module that knows their manifold."""
    for p in params:
        if is_low_rank(p[1] if isinstance(p, tuple) else p):
            raise ValueError(
                "LowRankOptimizer: a factor of a low-rank tensor came without its module, and would take Euclidean "
                "steps. Pass the module that owns it."
            )


def _other_groups(module: nn.Module, factors: set[nn.Parameter]) -> list[dict[str, Any]]:
    """Return groups of the module's other parameters, one per manifold."""
    manifolds = {module.get_parameter(name): manifold for name, manifold in named_manifolds(module).items()}
    groups: dict[Any, list[nn.Parameter]] = {}
    for p in module.parameters():
        if p not in factors:
            groups.setdefault(id(manifolds.get(p)), []).append(p)
    found = [(params, manifolds.get(params[0])) for params in groups.values()]
    return [{"params": params, **({} if m is None else {"manifold": m})} for params, m in found]


def _check_options(group: dict[str, Any]) -> None:
    """Raise ``ValueError`` for an option out of its range, or two that exclude each other."""
    integrator, tol, betas = group["integrator"], group["tol"], group["betas"]
    adaptive = integrator in ("parallel_bug", "augmented_bug")
    rules = [
        (integrator == "rgd" or adaptive, "integrator 'rgd', 'parallel_bug' or 'augmented_bug'", "integrator"),
        (group["lr"] >= 0, "lr >= 0", "lr"),
        (tol is None or 0 <= tol < 1, "tol in [0, 1)", "tol"),
        (adaptive == (tol is not None), "a tol with an adaptive integrator, and none with 'rgd'", "tol"),
        (group["momentum"] >= 0, "momentum >= 0", "momentum"),
        (betas is None or all(0 <= beta < 1 for beta in betas), "betas in [0, 1)", "betas"),
        (betas is None or group["momentum"] == 0, "either momentum or betas", "momentum"),
        (integrator != "augmented_bug" or (betas is None and group["momentum"] == 0), "no moments", "momentum"),
        (group["eps"] >= 0, "eps >= 0", "eps"),
        (group["weight_decay"] >= 0, "weight_decay >= 0", "weight_decay"),
        (group["n_local"] >= 1, "n_local >= 1", "n_local"),
    ]
    for holds, expected, name in rules:
        if not holds:
            raise ValueError(f"LowRankOptimizer: expected {expected}, but got {name}={group[name]!r} ({integrator}).")
