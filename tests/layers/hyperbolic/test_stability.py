"""Many optimizer steps in float32, far out: a reduced form of benchmarks/hyperbolic_stability.py."""

import pytest
import torch
from torch import nn

from isometry.layers.hyperbolic import Classifier, GraphConv, Linear, LorentzLinear, ToHyperbolic
from isometry.manifolds import Lorentz, PoincareBall


@pytest.mark.parametrize("manifold", [PoincareBall(8), Lorentz(8)], ids=repr)
@pytest.mark.parametrize("radius", [8.0, 16.0])
def test_training_far_out_stays_finite_and_tells_points_of_a_ray_apart(
    radius: float, manifold: PoincareBall | Lorentz
) -> None:
    """One of two points on each ray is 2 farther out: what ends at an epsilon from the boundary sees one point."""
    rays = nn.functional.normalize(torch.randn(16, 8), dim=-1)
    features, target = torch.cat([(radius - 2) * rays, radius * rays]), torch.arange(2).repeat_interleave(16)
    hidden = manifold.with_dim(32)
    model = nn.Sequential(ToHyperbolic(manifold), Linear(manifold, hidden), Classifier(hidden, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), target)
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() and (p.grad != 0).any() for p in model.parameters())
        optimizer.step()
    logits = model(features)
    assert ((logits[:16] - logits[16:]).abs() > 1e-3).any(-1).all()
    if radius == 8.0:
        assert (logits.argmax(-1) == target).all()


@pytest.mark.parametrize("manifold", [PoincareBall(8), Lorentz(8)], ids=repr)
def test_a_deep_graph_network_at_the_edge_has_finite_gradients(manifold: PoincareBall | Lorentz) -> None:
    u = 16 * nn.functional.normalize(torch.randn(32, 8), dim=-1)
    edges = torch.randint(32, (2, 128))
    for aggregation in ("centroid", "tangent"):
        convs = [
            GraphConv(manifold, LorentzLinear(manifold, manifold), aggregation=aggregation, attention=True)
            for _ in range(4)
        ]
        x = ToHyperbolic(manifold)(u)
        for conv in convs:
            x = conv(x, edges)
        assert manifold.dist(manifold.origin(*x.shape), x).max() > 10
        manifold.dist2(x[:16], x[16:]).mean().backward()
        for conv in convs:
            assert all(p.grad.isfinite().all() for p in conv.parameters())
