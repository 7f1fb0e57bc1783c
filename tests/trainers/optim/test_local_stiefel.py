"""The step on the Stiefel manifold: of second order, on the manifold whatever its length, and the same for a stack."""

from typing import Any

import pytest
import torch
from torch import nn

from isometry.manifolds import StiefelCanonical, StiefelEuclidean
from isometry.manifolds._stiefel import Stiefel
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD, _batch
from isometry.trainers.optim._local_geometry import local_geometry
from isometry.trainers.optim._local_stiefel import LocalStiefel
from tests.trainers.optim.cases import difference, parameters, run

MANIFOLDS = [cls(n, k) for cls in (StiefelCanonical, StiefelEuclidean) for n, k in ((5, 1), (6, 3), (6, 5))]
OPTIMIZERS: list[tuple[type[Any], dict[str, Any]]] = [
    (RiemannianAdam, {"lr": 0.05}),
    (RiemannianSGD, {"lr": 0.05}),
    (RiemannianSGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
]


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_against_the_manifold(manifold: Stiefel) -> None:
    x = manifold.random(20, *manifold.point_shape, dtype=torch.float64)
    u, v = (manifold.proju(x, torch.randn_like(x)) for _ in range(2))
    u = u / manifold.norm(x, u, keepdim=True)
    local = local_geometry(manifold, x)
    assert isinstance(local, LocalStiefel)
    g = torch.randn_like(x)
    r = local.gradient(g)
    torch.testing.assert_close(r, manifold.egrad2rgrad(x, g))
    torch.testing.assert_close(local.square(g, r), manifold.inner(x, r, keepdim=True))
    errors = [float((local.move(u, t) - manifold.expmap(x, t * u)).abs().max()) for t in (1e-2, 1e-3)]
    assert errors[0] < 1e-6
    assert errors[1] < errors[0] / 900 + 1e-14
    y, moved = local.move_with(1e-3 * u, v)
    torch.testing.assert_close(moved, manifold.proju(y, v))
    parallel = manifold.transp(x, y, v)
    assert float((moved - parallel).abs().max()) < 4e-3 * float(v.abs().max())
    rate = -torch.rand(20, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(local.move_along(u, rate), local.move_with(rate * u, u))


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@pytest.mark.parametrize("length", [1e-3, 3.0, 100.0])
def test_steps_of_any_length_end_on_the_manifold(manifold: Stiefel, length: float) -> None:
    x = manifold.random(20, *manifold.point_shape, dtype=torch.float64)
    local = local_geometry(manifold, x)
    y, moved = local.move_along(manifold.proju(x, torch.randn_like(x)), length)
    assert float(manifold.point_residual(y).max()) < 1e-14 * (1 + 10 * length**2)
    assert float(manifold.tangent_residual(y, moved).max()) < 1e-14 * (1 + 10 * length**2)


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
@pytest.mark.parametrize("manifold", [StiefelCanonical(6, 3), StiefelEuclidean(6, 3)], ids=repr)
class TestOptimizers:
    def test_a_stack_is_stepped_as_each_alone(
        self, manifold: Stiefel, optimizer: type[Any], options: dict[str, Any]
    ) -> None:
        points = [manifold.random(*manifold.point_shape, dtype=torch.float64) for _ in range(4)]
        together, alone = ([nn.Parameter(x.clone()) for x in points] for _ in range(2))
        stack = optimizer([{"params": together, "manifold": manifold}], **options)
        run(stack, together)
        generator = torch.Generator().manual_seed(1)
        targets = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in alone]
        for p, target in zip(alone, targets, strict=True):
            stepper = optimizer([{"params": [p], "manifold": manifold}], **options)
            for _ in range(20):
                stepper.zero_grad()
                (p - target).square().sum().backward()
                stepper.step()
        assert difference(together, alone) < 1e-14
        assert max(float(manifold.point_residual(p.detach())) for p in together) < 1e-14

    def test_goes_down_to_the_nearest_frame(
        self, manifold: Stiefel, optimizer: type[Any], options: dict[str, Any]
    ) -> None:
        """``|p - target|^2`` is least at the polar factor of the target."""
        start = manifold.random(*manifold.point_shape, dtype=torch.float64)
        target = manifold.expmap(start, 0.5 * manifold.proju(start, torch.randn_like(start)))
        target = target @ torch.diag(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64))
        p = nn.Parameter(start)
        stepper = optimizer([{"params": [p], "manifold": manifold}], **options)
        for step in range(600):
            for group in stepper.param_groups:
                group["lr"] = options["lr"] * 0.99 ** (step / 2)
            stepper.zero_grad()
            (p - target).square().sum().backward()
            stepper.step()
        assert float((p.detach() - manifold.projx(target)).abs().max()) < 1e-3

    def test_nan_spoils_one_point_only(self, manifold: Stiefel, optimizer: type[Any], options: dict[str, Any]) -> None:
        p = nn.Parameter(parameters(manifold, count=1)[0])
        p.grad = torch.randn_like(p)
        p.grad[2, 1, 1] = torch.nan
        optimizer([{"params": [p], "manifold": manifold}], **options).step()
        assert p.isnan().any(-1).any(-1).tolist() == [False, False, True, False, False]

    def test_compiled_is_eager(
        self, manifold: Stiefel, optimizer: type[Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_batch, "_COMPILED", 0)
        points = parameters(manifold, 3, torch.float32)
        results = []
        for compiled in (False, True):
            params = [nn.Parameter(x.clone()) for x in points]
            stepper = optimizer([{"params": params, "manifold": manifold}], compile=compiled, **options)
            results.append(run(stepper, params, steps=4))
        assert difference(*results) < 2e-6
