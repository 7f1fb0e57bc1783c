"""Stacks of matrices step as each alone and as compiled, and go down, by the methods of their manifolds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.manifolds import Manifold, Oblique, SpecialOrthogonal, SpecialUnitary
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD, _batch

MANIFOLDS = [SpecialOrthogonal(2), SpecialOrthogonal(3), SpecialOrthogonal(5), SpecialUnitary(3), Oblique(4, 3)]
OPTIMIZERS: list[tuple[type[Any], dict[str, Any]]] = [
    (RiemannianAdam, {"lr": 0.05}),
    (RiemannianSGD, {"lr": 0.05, "momentum": 0.9}),
]


def descend(optimizer: torch.optim.Optimizer, params: list[Any], targets: list[Tensor], steps: int = 20) -> list[float]:
    """Take steps down ``sum |p - target|^2``; return the losses."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        terms = [(p - t).abs().square().sum() for p, t in zip(params, targets, strict=True)]
        loss = torch.stack(terms).sum()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_a_stack_is_stepped_as_each_alone_and_as_compiled(
    manifold: Manifold, optimizer: type[Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batch, "_COMPILED", 0)
    points, targets = manifold.random(2, 4, *manifold.point_shape, dtype=torch.float64).unbind(0)
    together, compiled, alone = ([nn.Parameter(x.clone()) for x in points] for _ in range(3))
    losses = descend(optimizer([{"params": together, "manifold": manifold}], **options), together, list(targets))
    descend(optimizer([{"params": compiled, "manifold": manifold}], compile=True, **options), compiled, list(targets))
    for p, target in zip(alone, targets, strict=True):
        descend(optimizer([{"params": [p], "manifold": manifold}], **options), [p], [target])
    for p, q, r in zip(together, alone, compiled, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-13)
        torch.testing.assert_close(p, r, rtol=0, atol=1e-13)
        assert float(manifold.point_residual(p.detach())) < 1e-14
    assert losses[-1] < 0.7 * losses[0]
