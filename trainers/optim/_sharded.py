"""Points that are distributed over processes (DTensors, as FSDP2 makes them).

Where no shard cuts a point, each process works on the points that it holds. Otherwise the tensor is gathered, every
process does the same work, and keeps its share of the result.
"""

import copy
from typing import Any

from geoopt.manifolds import Manifold as AnyManifold
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor import zeros as distributed_zeros

from isometry.trainers.optim._batch import Batch, State, Update
from isometry.trainers.optim._local_geometry import local_geometry


def is_cut(t: Tensor, ndim: int) -> bool:
    """Return whether a shard boundary of ``t`` runs through its points, its last ``ndim`` dimensions."""
    return isinstance(t, DTensor) and any(isinstance(s, Shard) and s.dim >= t.ndim - ndim for s in t.placements)


def opened(t: Tensor, cut: bool) -> Tensor:
    """Return an ordinary tensor: the shard itself (memory of ``t``), or everything if shards ``cut`` the points."""
    if not isinstance(t, DTensor):
        return t
    return t.full_tensor() if cut else t.to_local()


def write(t: Tensor, value: Tensor, cut: bool) -> None:
    """Write ``value``, of the shape that ``opened`` returns, to ``t``."""
    if not isinstance(t, DTensor):
        t.copy_(value)
    elif cut:
        t.to_local().copy_(opened(shared_like(value, t), cut=False))
    else:
        t.to_local().copy_(value)


def total(value: Tensor, t: Tensor, cut: bool) -> Tensor:
    """Return the sum over processes of a sum over the entries of ``t`` that ``opened`` gave to each."""
    if not isinstance(t, DTensor) or cut:
        return value
    placements = [Partial() if isinstance(s, Shard) else Replicate() for s in t.placements]
    summed: Any = DTensor.from_local(value, t.device_mesh, placements)
    return summed.full_tensor()


def shared_like(value: Tensor, t: Tensor) -> Tensor:
    """Return ``value``, which every process has, distributed as ``t`` is."""
    if not isinstance(t, DTensor):
        return value
    return distribute_tensor(value, t.device_mesh, t.placements, src_data_rank=None)


def whole(manifold: Any) -> Any:
    """Return the manifold with its curvature parameters gathered: itself where they are ordinary tensors."""
    sharded = {name: p for name, p in manifold.named_parameters() if isinstance(p, DTensor)}
    if not sharded:
        return manifold
    twin = copy.deepcopy(manifold)
    for name, p in sharded.items():
        owner, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(owner), leaf, nn.Parameter(opened(p.detach(), cut=True)))
    return twin


class ShardedBatch(Batch):
    """A single distributed parameter."""

    manifold: AnyManifold

    def __init__(self, update: Update, manifold: AnyManifold, params: list[Tensor], compile: bool) -> None:
        super().__init__(update, manifold, params, compile)
        self.cut = is_cut(params[0], manifold.ndim)

    def zero_squares(self, p: Any) -> Tensor:
        """Return distributed zeros, replicated over the processes that share a point."""
        x = opened(p.detach(), self.cut)
        batch = p.ndim - self.manifold.ndim
        zero = x.new_zeros(x.shape)
        tail = local_geometry(whole(self.manifold), x).square(zero, zero).shape[batch:]
        placements = [Replicate() if isinstance(s, Shard) and s.dim >= batch else s for s in p.placements]
        size = (*p.shape[:batch], *tail)
        return distributed_zeros(size, dtype=p.dtype, device_mesh=p.device_mesh, placements=placements)

    def step(self, params: list[Any], grads: list[Any], state: State, arguments: dict[str, Any]) -> None:
        """Step the process's share of the parameter, or all of it where shards cut its points."""
        p, g = params[0].detach(), grads[0].redistribute(placements=params[0].placements)
        x, here = opened(p, self.cut), {name: opened(t, self.cut) for name, t in state.items()}
        self.advance(whole(self.manifold), x, opened(g, self.cut), here, arguments)
        if self.cut:  # else the shards themselves were changed
            write(p, x, self.cut)
            for name, value in here.items():
                write(state[name], value, self.cut)
