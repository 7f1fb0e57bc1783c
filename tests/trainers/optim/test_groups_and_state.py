"""How parameters find their manifolds, and what an optimizer keeps."""

import copy
import io
import pickle
from typing import Any

import geoopt
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from isometry.manifolds import Euclidean, Manifold, PoincareBall, Scaled, Sphere, named_manifolds, register_manifold
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.trainers.optim.cases import MANIFOLDS, difference, parameters, run

OPTIMIZERS: list[tuple[type[Any], dict[str, Any]]] = [
    (RiemannianAdam, {"lr": 0.05}),
    (RiemannianAdam, {"lr": 0.05, "amsgrad": True, "weight_decay": 0.01}),
    (RiemannianSGD, {"lr": 0.05}),
    (RiemannianSGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.1}),
]
IDS = ["adam", "amsgrad", "sgd", "momentum"]


class Net(nn.Module):
    """Two parameters on a sphere, one in a ball, a geoopt parameter and a linear map."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(Sphere(2).random(4, 3, dtype=dtype)) for _ in range(2))
        register_manifold(self, "first", Sphere(2))
        register_manifold(self, "second", Sphere(2))
        self.inner = nn.Module()
        self.inner.weight = nn.Parameter(PoincareBall(3).random(6, 3, dtype=dtype))
        register_manifold(self.inner, "weight", PoincareBall(3))
        self.foreign = geoopt.ManifoldParameter(Sphere(2).random(2, 3, dtype=dtype), manifold=geoopt.Sphere())
        self.linear = nn.Linear(3, 2, dtype=dtype)

    def forward(self) -> Tensor:
        points = torch.cat([self.first, self.second, self.inner.weight, self.foreign])
        return self.linear(points - 0.3).square().mean() + (points - 1).square().sum()

    def fit(self, optimizer: torch.optim.Optimizer, steps: int) -> "Net":
        for _ in range(steps):
            optimizer.zero_grad()
            self().backward()
            optimizer.step()
        return self

    def equals(self, other: "Net") -> bool:
        return all(torch.equal(p, q) for p, q in zip(self.parameters(), other.parameters(), strict=True))

    def residual(self) -> float:
        points = {name: self.get_parameter(name) for name in named_manifolds(self)}
        return max(
            float(m.point_residual(points[name]).detach().max()) if isinstance(m, Manifold) else 0.0
            for name, m in named_manifolds(self).items()
        )


class TestParameters:
    def test_module(self) -> None:
        net = Net()
        optimizer = RiemannianSGD(net, lr=0.1)
        assert len(optimizer.param_groups[0]["params"]) == len(list(net.parameters()))
        net.fit(optimizer, 20)
        assert net.residual() < 1e-6
        assert net.foreign.norm(dim=-1).sub(1).abs().max() < 1e-6
        assert net.linear.weight.norm(dim=-1).sub(1).abs().max() > 1e-3

    def test_modules_in_groups(self) -> None:
        net = Net()
        other = copy.deepcopy(net)
        rest = [net.first, net.second, net.foreign]
        groups = [
            {"params": net.inner, "lr": 0.01},
            {"params": rest[:2], "manifold": Sphere(2)},
            {"params": [net.foreign]},
            {"params": net.linear, "weight_decay": 0.1},
        ]
        net.fit(RiemannianAdam(groups, lr=0.1), 3)
        flat = {"params": other.linear, "weight_decay": 0.1}
        named = [
            {"params": [("inner.weight", other.inner.weight)], "manifold": PoincareBall(3), "lr": 0.01},
            {"params": [("first", other.first), ("second", other.second)], "manifold": Sphere(2)},
            {"params": [("foreign", other.foreign)]},
            flat | {"params": list(other.linear.named_parameters())},
        ]
        other.fit(RiemannianAdam(named, lr=0.1), 3)
        assert net.equals(other)

    def test_add_param_group(self) -> None:
        net = Net()
        optimizer = RiemannianAdam(net.inner, lr=0.1)
        net.fit(optimizer, 2)
        optimizer.add_param_group({"params": [net.first, net.second], "manifold": Sphere(2), "lr": 0.01})
        before = net.first.detach().clone()
        net.fit(optimizer, 2)
        assert net.residual() < 1e-6
        assert not torch.equal(before, net.first)

    def test_euclidean_manifold_is_torchs_path(self) -> None:
        values = parameters(Euclidean(4), dtype=torch.float32)
        mine, other = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
        a = run(RiemannianAdam([{"params": mine, "manifold": Euclidean(4)}], lr=0.1), mine)
        b = run(torch.optim.Adam(other, lr=0.1, fused=True), other)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    def test_generic_manifold(self) -> None:
        """A manifold without formulas of its own here: on the sphere of radius 2, gradients are a quarter as long."""
        x = parameters(Sphere(3), count=1)[0]
        unit, scaled = nn.Parameter(x.clone()), nn.Parameter(x.clone())
        a = run(RiemannianSGD([{"params": [unit], "manifold": Sphere(3)}], lr=1e-4), [unit])
        b = run(RiemannianSGD([{"params": [scaled], "manifold": Scaled(Sphere(3), 2.0)}], lr=4e-4), [scaled])
        assert difference(a, b) < 1e-8

    def test_registered_parameter_without_its_manifold(self) -> None:
        with pytest.raises(ValueError, match=r"registered on a manifold, but came without it.*Pass the module"):
            RiemannianAdam(Net().parameters())

    def test_wrong_shape(self) -> None:
        with pytest.raises(ShapeError, match=r"\(5,\)"):
            RiemannianAdam([{"params": [nn.Parameter(torch.zeros(2, 3))], "manifold": Sphere(4)}])

    def test_off_the_manifold(self) -> None:
        with pytest.raises(OffManifoldError, match="project with `projx`"):
            RiemannianAdam([{"params": [nn.Parameter(torch.ones(2, 3))], "manifold": Sphere(2)}])

    def test_refused_group_is_not_added(self) -> None:
        optimizer = RiemannianAdam([nn.Parameter(torch.zeros(1))])
        with pytest.raises(OffManifoldError):
            optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 3))], "manifold": Sphere(2)})
        assert len(optimizer.param_groups) == 1

    def test_half_precision_points(self) -> None:
        point = nn.Parameter(torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16))
        with pytest.raises(ValueError, match=r"float32 or float64.*autocast"):
            RiemannianAdam([{"params": [point], "manifold": Sphere(1)}])

    def test_manifold_beside_a_module(self) -> None:
        with pytest.raises(ValueError, match="drop 'manifold'"):
            RiemannianAdam([{"params": Net().inner, "manifold": Sphere(2)}])


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS, ids=IDS)
class TestState:
    def test_resumes_bit_for_bit(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        net = Net()
        stepper = optimizer(net, **options)
        net.fit(stepper, 3)
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": stepper.state_dict()}, file)
        net.fit(stepper, 3)

        file.seek(0)
        saved = torch.load(file, weights_only=True)
        resumed = Net()
        resumed.load_state_dict(saved["net"])
        fresh = optimizer(resumed, **options)
        fresh.load_state_dict(saved["optimizer"])
        assert resumed.fit(fresh, 3).equals(net)

    def test_deepcopy_goes_on_alike(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        net = Net()
        stepper = optimizer(net, **options)
        net.fit(stepper, 2)
        twin, twin_stepper = copy.deepcopy((net, stepper))
        assert twin.fit(twin_stepper, 3).equals(net.fit(stepper, 3))

    def test_pickle_goes_on_alike(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        points = [nn.Parameter(x) for x in parameters(Sphere(3))]
        stepper = optimizer([{"params": points, "manifold": Sphere(3)}], **options)
        run(stepper, points, steps=2)
        copies, twin = pickle.loads(pickle.dumps((points, stepper)))
        assert difference(run(stepper, points, steps=2), run(twin, copies, steps=2)) == 0

    def test_gradients_are_not_changed(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        net = Net()
        net().backward()
        before = [p.grad.clone() for p in net.parameters() if p.grad is not None]
        optimizer(net, **options | {"weight_decay": 0.1}).step()
        after = [p.grad for p in net.parameters() if p.grad is not None]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def test_parameter_without_gradient_rests(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        """Members of a stack may miss steps: each goes on from its own state."""
        values = parameters(Sphere(3))
        together, alone = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
        steppers = [
            optimizer([{"params": together, "manifold": Sphere(3)}], **options),
            optimizer([{"params": [p], "manifold": Sphere(3)} for p in alone], **options),
        ]
        for missing in (1, None, 0, 2, None, None):
            grads = [None if i == missing else torch.randn_like(x) for i, x in enumerate(values)]
            for params, stepper in zip((together, alone), steppers, strict=True):
                for p, g in zip(params, grads, strict=True):
                    p.grad = g
                stepper.step()
        for p, q in zip(together, alone, strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-14)

    def test_state_may_be_replaced(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        """A tensor put in the place of a stacked state's slice is used from then on."""
        points = [nn.Parameter(x) for x in parameters(Sphere(3))]
        stepper = optimizer([{"params": points, "manifold": Sphere(3)}], **options)
        run(stepper, points, steps=2)
        twin_points, twin = copy.deepcopy((points, stepper))
        for state in twin.state.values():
            state.update({name: value.clone() for name, value in state.items()})
        assert difference(run(stepper, points, steps=2), run(twin, twin_points, steps=2)) == 0

    def test_nan_spoils_one_point_only(self, optimizer: type[Any], options: dict[str, Any]) -> None:
        for manifold in MANIFOLDS[:4]:
            p = nn.Parameter(parameters(manifold, count=1)[0])
            p.grad = torch.randn_like(p)
            p.grad[2, 1] = torch.nan
            optimizer([{"params": [p], "manifold": manifold}], **options).step()
            assert p.isnan().any(-1).tolist() == [False, False, True, False, False]


def test_loads_geoopts_step_counts() -> None:
    p = nn.Parameter(torch.randn(3))
    optimizer = RiemannianAdam([p])
    run(optimizer, [p], steps=1)
    state = optimizer.state_dict()
    state["state"][0]["step"] = 1
    optimizer.load_state_dict(state)
    run(optimizer, [p], steps=1)
    assert optimizer.state[p]["step"] == 2


def test_closure_runs_with_gradients() -> None:
    net = Net()
    optimizer = RiemannianSGD(net, lr=0.01)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = net()
        loss.backward()
        return loss

    with torch.no_grad():
        first, second = optimizer.step(closure), optimizer.step(closure)
    assert second < first


def test_stabilize() -> None:
    p = nn.Parameter(Sphere(2).random(4, 3))
    optimizer = RiemannianSGD([{"params": [p], "manifold": Sphere(2)}], lr=0.0, momentum=0.9, stabilize=2)
    run(optimizer, [p], steps=1)
    with torch.no_grad():
        optimizer.state[p]["momentum_buffer"].add_(p)
    run(optimizer, [p], steps=1)
    assert Sphere(2).tangent_residual(p, optimizer.state[p]["momentum_buffer"]).max() < 1e-6
    with torch.no_grad():
        p.mul_(1.5)
    optimizer.stabilize()
    assert Sphere(2).point_residual(p).max() < 1e-6


def test_learning_rate_schedule_and_tensor() -> None:
    values = parameters(Sphere(3), dtype=torch.float32)
    a, b = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
    number = RiemannianAdam([{"params": a, "manifold": Sphere(3)}], lr=0.1)
    tensor = RiemannianAdam([{"params": b, "manifold": Sphere(3)}], lr=torch.tensor(0.1))
    for optimizer, params in ((number, a), (tensor, b)):
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(3):
            run(optimizer, params, steps=1)
            schedule.step()
    assert number.param_groups[0]["lr"] == 0.0125
    assert difference(a, b) < 1e-6


class Embedding(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net()

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = RiemannianAdam(self, lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)}


def test_lightning(tmp_path: Any) -> None:
    """Gradients of three batches, the schedule, a checkpoint in the middle: as three epochs without a break."""
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
    }
    whole = Embedding()
    broken = copy.deepcopy(whole)
    loader = DataLoader(torch.zeros(3), batch_size=1)
    pl.Trainer(max_epochs=3, enable_checkpointing=False, **options).fit(whole, loader)
    first = pl.Trainer(max_epochs=1, enable_checkpointing=False, **options)
    first.fit(broken, loader)
    first.save_checkpoint(tmp_path / "one.ckpt")
    resumed = Embedding()
    pl.Trainer(max_epochs=3, enable_checkpointing=False, **options).fit(
        resumed, loader, ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    assert resumed.net.equals(whole.net)
    assert whole.net.residual() < 1e-6
