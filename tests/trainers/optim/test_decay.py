import geoopt
import torch
from torch import nn

from isometry.manifolds import Lorentz, register_manifold
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from isometry.trainers.optim.decay import spare_manifolds_from_decay


class Mixed(nn.Module):
    """A linear map, points of a hyperboloid of learnable curvature, and points of one of geoopt's spheres."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        lorentz = Lorentz(2, learnable=True)
        self.points = nn.Parameter(lorentz.random(4, 3))
        register_manifold(self, "points", lorentz)
        self.sphere = geoopt.ManifoldParameter(
            nn.functional.normalize(torch.randn(4, 3), dim=-1), manifold=geoopt.Sphere()
        )


def decay(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, float]:
    names = {p: name for name, p in module.named_parameters()}
    return {names[p]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


def test_only_weights_decay() -> None:
    module = Mixed()
    optimizer = RiemannianAdam(module, lr=0.1, weight_decay=0.5, amsgrad=True)
    spare_manifolds_from_decay(optimizer, module)
    weights = {"linear.weight": 0.5, "linear.bias": 0.5}
    assert decay(optimizer, module) == {
        **weights,
        "points": 0.0,
        "points_manifold.log_c": 0.0,
        "sphere": 0.0,
    }
    for group in optimizer.param_groups:
        assert (group["lr"], group["amsgrad"]) == (0.1, True)


def test_points_stay_on_their_manifolds() -> None:
    """The curvature moves, and the points follow it, from another group."""
    module = Mixed()
    optimizer = RiemannianSGD(module, lr=0.1, momentum=0.9, weight_decay=0.5)
    spare_manifolds_from_decay(optimizer, module)
    manifold = module.points_manifold
    for _ in range(3):
        optimizer.zero_grad()
        distances = manifold.dist(module.points.unsqueeze(1), module.points)
        (distances.square().sum() + module.sphere.sum() + module.linear.weight.sum()).backward()
        optimizer.step()
    assert manifold.point_residual(module.points).max() < 1e-5
    assert (module.sphere.norm(dim=-1) - 1).abs().max() < 1e-5
    assert abs(manifold.c.item() - 1) > 1e-3


def test_groups_without_decay_or_without_weights_are_not_split() -> None:
    module = Mixed()
    groups = [{"params": [module.linear.weight], "weight_decay": 0.5}, {"params": [module.sphere], "weight_decay": 0.1}]
    optimizer = RiemannianSGD([*groups, {"params": [module.linear.bias]}], lr=0.1)
    spare_manifolds_from_decay(optimizer, module)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]
    assert decay(optimizer, module) == {"linear.weight": 0.5, "sphere": 0.0, "linear.bias": 0.0}
