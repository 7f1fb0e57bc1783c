"""Weight decay for weights only."""

from torch import nn
from torch.optim import Optimizer

from isometry.manifolds import named_manifolds


def spare_manifolds_from_decay(optimizer: Optimizer, module: nn.Module) -> None:
    """Move the points of manifolds to parameter groups of their own, without weight decay.

    Decay draws a weight to 0, the simplest map. It would draw a point to where its coordinates are small, which means
    nothing: for a positive definite matrix to the boundary, and nowhere on a sphere, whose points have one norm. The
    manifolds' own parameters, such as a learnable curvature, are spared too.

    Args:
        optimizer: Of parameters of ``module``; groups without decay, and all other options, stay as they are.
        module: Whose registered manifolds (and geoopt's ManifoldParameters) are looked up.
    """
    manifolds = named_manifolds(module)
    spared = {module.get_parameter(name) for name in manifolds}
    spared |= {parameter for manifold in manifolds.values() for parameter in manifold.parameters()}
    for group in list(optimizer.param_groups):
        points = [parameter for parameter in group["params"] if parameter in spared]
        weights = [parameter for parameter in group["params"] if parameter not in spared]
        if not group.get("weight_decay") or not points:
            continue
        if not weights:
            group["weight_decay"] = 0.0
            continue
        group["params"] = weights
        optimizer.add_param_group({**group, "params": points, "weight_decay": 0.0})
