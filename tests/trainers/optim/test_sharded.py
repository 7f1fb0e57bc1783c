"""Parameters that FSDP2 distributes over two processes step as whole ones in a single process do."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from isometry.manifolds import (
    Grassmann,
    Lorentz,
    PoincareBall,
    SPDAffineInvariant,
    Sphere,
    StiefelEuclidean,
    register_manifold,
)
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD, clip_riemannian_grad_norm_, riemannian_grad_norm
from tests.trainers.callbacks.toy import in_two_processes

OPTIMIZERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "adam": (RiemannianAdam, {"amsgrad": True, "stabilize": 2}),
    "momentum": (RiemannianSGD, {"momentum": 0.9}),
}


class Net(nn.Module):
    """Tables that do not divide by two, on a manifold of learnable curvature; points and matrices that shards cut."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.ball = PoincareBall(3, c=1.3, learnable=True).double()
        self.table = nn.Parameter(self.ball.random(5, 3, generator=generator, dtype=torch.float64).detach())
        self.point = nn.Parameter(self.ball.random(3, generator=generator, dtype=torch.float64).detach())
        self.sphere = nn.Parameter(Sphere(3).random(2, 3, 4, generator=generator, dtype=torch.float64))
        self.lorentz = nn.Parameter(Lorentz(3).random(4, generator=generator, dtype=torch.float64))
        register_manifold(self, "table", self.ball)
        register_manifold(self, "point", self.ball)
        register_manifold(self, "sphere", Sphere(3))
        register_manifold(self, "lorentz", Lorentz(3))
        for name, m, batch in (
            ("frame", StiefelEuclidean(5, 2), ()),
            ("subspaces", Grassmann(4, 2), (3,)),
            ("covariances", SPDAffineInvariant(3), (2,)),
        ):
            value = m.random(*batch, *m.point_shape, generator=generator, dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(value))
            register_manifold(self, name, m)
        self.linear = nn.Linear(3, 2, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.fill_(0.3)
            self.linear.bias.fill_(0.1)

    def forward(self) -> Tensor:
        distances = self.ball.dist2(self.table, self.point).sum() + self.linear(self.table).square().sum()
        matrices = (self.frame, self.subspaces, self.covariances)
        distances = distances + sum((p - 0.2).square().sin().sum() for p in matrices)
        return distances + (self.sphere - 0.3).square().sin().sum() + (self.lorentz - 0.5).square().sum()


def train(net: Net, name: str) -> dict[str, Any]:
    optimizer, options = OPTIMIZERS[name]
    stepper = optimizer(net, lr=0.05, **options)
    norms = []
    for _ in range(3):
        stepper.zero_grad()
        net().backward()
        norms.append(riemannian_grad_norm(net))
        clip_riemannian_grad_norm_(net, 1.0)
        stepper.step()
    norms.append(riemannian_grad_norm(net))
    values = {name: p.detach() for name, p in net.named_parameters()}
    values |= {f"{i}.{key}": t for i, p in enumerate(net.parameters()) for key, t in stepper.state[p].items()}
    whole = {key: t.full_tensor() if isinstance(t, DTensor) else t for key, t in values.items()}
    return {"norms": torch.stack(norms), **whole}


def work(rank: int, name: str) -> dict[str, Any]:
    dist.init_process_group("gloo", rank=rank, world_size=2)
    net = Net()
    fully_shard(net)
    assert all(isinstance(p, DTensor) for p in net.parameters())
    return {key: value.detach().numpy() for key, value in train(net, name).items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_processes_equal_one(name: str) -> None:
    expected = train(Net(), name)
    for found in in_two_processes(work, name):
        assert isinstance(found, dict), found
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(torch.from_numpy(found[key]), value, rtol=0, atol=1e-12, msg=key)
