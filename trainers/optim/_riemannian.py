"""What the Riemannian optimizers share: whose manifold a parameter is on, and how many parameters step as one."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import geoopt
import torch
from geoopt.manifolds import Manifold
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from isometry.manifolds import Euclidean, named_manifolds
from isometry.manifolds.low_rank import named_low_rank
from isometry.manifolds.parameters import is_marked
from isometry.trainers.optim._batch import Batch, State, Update
from isometry.trainers.optim._curvature import TrainedCurvature, curvature_gradients, trained_curvatures
from isometry.trainers.optim._sharded import ShardedBatch, is_cut, opened, whole, write
from isometry.trainers.optim._sparse import touched_rows

Parameters = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class RiemannianOptimizer(torch.optim.Optimizer):
    """An optimizer that knows the manifold of each parameter.

    Manifolds are kept beside ``param_groups``, which hold plain data. Dense gradients of parameters of one group,
    manifold, shape, dtype and device are stacked and stepped as one tensor; a sparse gradient steps the rows it
    touches; Euclidean parameters with dense gradients go to torch's own kernel.

    A subclass says what its state is, how it moves points, and which kernel of torch does the same in flat space.
    """

    update: Update
    """Return the points and what changed in their state, from the local geometry, the gradient and the state."""

    def __init__(self, params: Parameters, defaults: dict[str, Any], compile: bool) -> None:
        stabilize = defaults["stabilize"]
        if stabilize is not None and stabilize < 1:
            raise ValueError(f"{type(self).__name__}: expected stabilize >= 1 steps or None, but got {stabilize}.")
        self._manifolds: dict[Tensor, Manifold] = {}
        self._compile = compile
        self._reset()
        groups: Any = [{"params": params}] if isinstance(params, nn.Module) else params
        super().__init__(groups, defaults)

    # --- which parameters are on which manifold -------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose ``params`` may be a module and which may name the ``manifold`` of all its parameters.

        Raises:
            ValueError: A registered parameter arrives without its manifold.
            ShapeError: A parameter does not end in the manifold's ``point_shape``.
            OffManifoldError: A parameter's values are not points of the manifold.
        """
        group = dict(param_group)
        manifold = group.pop("manifold", None)
        if isinstance(group["params"], nn.Module):
            module = group["params"]
            group["params"] = list(module.parameters())
            if manifold is not None:
                raise ValueError(
                    "A group of a module's parameters takes their manifolds from the module: drop 'manifold'."
                )
            for name, found in named_manifolds(module).items():
                self._manifolds[module.get_parameter(name)] = found
            self._refuse_tangent_coordinates(module)
        super().add_param_group(group)
        try:
            for p in group["params"]:
                self._locate(p, manifold)
        except ValueError:
            self.param_groups.pop()
            raise
        self._reset()

    def _refuse_tangent_coordinates(self, module: nn.Module) -> None:
        """Refuse factors whose gradients are no derivatives by them."""
        for name, tensor in named_low_rank(module).items():
            if tensor.tangent_grad:
                raise ValueError(
                    f"{type(self).__name__}: the gradients of {name} are tangent coordinates of a low-rank tensor, "
                    "which mean nothing as derivatives by its factors. Use LowRankOptimizer, or build the layer with "
                    "tangent_grad=False."
                )

    def _locate(self, p: Tensor, manifold: Manifold | None) -> None:
        """Record the manifold of ``p``: its group's, its module's or its own."""
        if manifold is not None:
            manifold.assert_check_point(p)
            if not p.is_meta:
                points = opened(p.detach(), is_cut(p, manifold.ndim))
                whole(manifold).assert_check_point_on_manifold(points)
            self._manifolds[p] = manifold
        elif isinstance(p, geoopt.ManifoldParameter):
            self._manifolds[p] = p.manifold
        elif is_marked(p) and p not in self._manifolds:
            raise ValueError(
                f"{type(self).__name__}: a parameter of shape {tuple(p.shape)} was registered on a manifold, but came "
                "without it, and would take Euclidean steps. Pass the module that owns it, or a group "
                "{'params': [...], 'manifold': manifold}."
            )
        if p in self._manifolds and p.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"{type(self).__name__}: points of {self._manifolds[p]} need float32 or float64, but a parameter is "
                f"{p.dtype}. Keep the parameters in float32 and use autocast (precision='bf16-mixed' in Lightning)."
            )

    def _reset(self) -> None:
        """Forget what is derived from the groups and the state."""
        self._batches: list[list[Batch]] = []
        self._curvatures: list[TrainedCurvature] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_manifolds": self._manifolds, "_compile": self._compile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()
        for p, values in self.state.items():
            if "step" in values:  # an int in geoopt's checkpoints, and on the CPU in those loaded there
                values["step"] = torch.as_tensor(values["step"], dtype=torch.float32, device=p.device)

    def _partition(self, params: list[Tensor]) -> list[Batch]:
        """Return the parameters that step together; all Euclidean ones do, whatever their shapes."""
        batches: list[Batch] = []
        stacks: dict[Any, list[Tensor]] = {}
        for p in params:
            manifold = self._manifolds.get(p)
            if manifold is None or isinstance(manifold, Euclidean | geoopt.Euclidean):
                stacks.setdefault((None,), []).append(p)
            elif isinstance(p, DTensor):
                batches.append(ShardedBatch(self.update, manifold, [p], self._compile))
            else:
                stacks.setdefault((manifold, p.shape, p.dtype, p.device), []).append(p)
        return batches + [Batch(self.update, key[0], members, self._compile) for key, members in stacks.items()]

    # --- the step -------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, group: dict[str, Any], batch: Batch, p: Tensor) -> State:
        """Return the state of a parameter of ``batch`` before its first step."""

    @abstractmethod
    def arguments(self, group: dict[str, Any], state: State, first: bool) -> dict[str, Any]:
        """Return what ``update`` takes: what moves from step to step as tensors if compiled, constants as numbers."""

    @abstractmethod
    def flat_step(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[State], first: bool
    ) -> None:
        """Step Euclidean parameters by torch's own kernel."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure``, if given, computes the loss and its gradients, and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if len(self._batches) != len(self.param_groups):
            self._batches = [self._partition(group["params"]) for group in self.param_groups]
            members = [p for group in self.param_groups for p in group["params"]]
            self._curvatures = trained_curvatures(self._manifolds, members)
        corrected = curvature_gradients(self._curvatures)
        c_old = [whole(trained.manifold).c for trained in self._curvatures]
        for group, batches in zip(self.param_groups, self._batches, strict=True):
            for batch in batches:
                self._step_batch(group, batch, corrected)
            self._count(group)
        for trained, c in zip(self._curvatures, c_old, strict=True):
            trained.follow(c)
        return loss

    def _step_batch(self, group: dict[str, Any], batch: Batch, corrected: dict[Tensor, Tensor]) -> None:
        live = [(p, g) for p in batch.params if (g := p.grad) is not None]
        if corrected and batch.manifold is None:
            live = [(p, corrected.get(p, g)) for p, g in live]
        dense = [(p, g, self.state[p]) for p, g in live if not g.is_sparse]
        if len(dense) < len(live):
            for p, g in live:
                if g.is_sparse:
                    self._step_rows(group, batch, p, g)
        for first in (False, True):
            part = [entry for entry in dense if first is not bool(entry[2])]
            if part:
                params, grads, states = map(list, zip(*part, strict=True))
                self._step_dense(group, batch, params, grads, states, first)

    def _step_dense(
        self,
        group: dict[str, Any],
        batch: Batch,
        params: list[Tensor],
        grads: list[Tensor],
        states: list[State],
        first: bool,
    ) -> None:
        if first:
            for p, state in zip(params, states, strict=True):
                state.update(self.start(group, batch, p))
        if batch.manifold is None:
            self.flat_step(group, params, grads, states, first)
        else:
            state = batch.stack_state(params, states)
            batch.step(params, grads, state, self.arguments(group, state, first))

    def _step_rows(self, group: dict[str, Any], batch: Batch, p: Tensor, grad: Tensor) -> None:
        ndim = 0 if batch.manifold is None else batch.manifold.ndim
        if grad.sparse_dim() != 1 or p.ndim - ndim < 1:
            raise ValueError(
                f"{type(self).__name__}: expected a sparse gradient over the first dimension of a table of points, as "
                f"nn.Embedding(sparse=True) gives, but got sparse_dim={grad.sparse_dim()} for a parameter of shape "
                f"{tuple(p.shape)} on {batch.manifold}."
            )
        state = self.state[p]
        if not state:
            state.update(self.start(group, batch, p))
        rows, g = touched_rows(grad)
        batch.step_rows(p, rows, g, state, self.arguments(group, state, first=False))

    def learning_rate(self, group: dict[str, Any]) -> Any:
        """Return the learning rate, as a tensor where a graph would be compiled anew for every number."""
        return torch.as_tensor(group["lr"], dtype=torch.float64) if self._compile else group["lr"]

    # --- stabilize ------------------------------------------------------------------------------------------

    def _count(self, group: dict[str, Any]) -> None:
        if group["stabilize"] is not None:
            group["step"] = group.get("step", 0) + 1
            if group["step"] % group["stabilize"] == 0:
                self.stabilize_group(group)

    def stabilize(self) -> None:
        """Project every parameter to its manifold, and the momentum to the tangent space there."""
        for group in self.param_groups:
            self.stabilize_group(group)

    @torch.no_grad()
    def stabilize_group(self, group: dict[str, Any]) -> None:
        """Project the group's parameters to their manifolds, and the momentum to the tangent spaces there."""
        for p in group["params"]:
            manifold = self._manifolds.get(p)
            if manifold is None:
                continue
            manifold, cut = whole(manifold), is_cut(p, manifold.ndim)
            write(p, manifold.projx(opened(p, cut)), cut)
            for name in {"exp_avg", "momentum_buffer"} & self.state.get(p, {}).keys():
                moment = self.state[p][name]
                write(moment, manifold.proju(opened(p, cut), opened(moment, cut)), cut)
