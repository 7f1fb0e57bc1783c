import copy

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from isometry.manifolds import PoincareBall, Sphere, register_manifold
from isometry.trainers.callbacks import GeodesicAverage, RiemannianEMA
from tests.trainers.callbacks.toy import StatefulLoader, Toy, trainer


class Points(nn.Module):
    def __init__(self, manifold, points: Tensor) -> None:
        super().__init__()
        self.points = nn.Parameter(points.clone())
        register_manifold(self, "points", manifold)
        self.register_buffer("count", torch.tensor(0))


def great_circle(t: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle = np.arctan2(np.linalg.norm(np.cross(x, y), axis=-1), (x * y).sum(-1))[:, None]
    return (np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle)


def unit_ball_geodesic(t: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Straight lines of the hyperboloid, whose points are those of the ball by stereographic projection."""

    def lift(p: np.ndarray) -> np.ndarray:
        square = (p * p).sum(-1, keepdims=True)
        return np.concatenate([1 + square, 2 * p], -1) / (1 - square)

    a, b = lift(x), lift(y)
    d = np.arccosh(a[:, :1] * b[:, :1] - (a[:, 1:] * b[:, 1:]).sum(-1, keepdims=True))
    p = (np.sinh((1 - t) * d) * a + np.sinh(t * d) * b) / np.sinh(d)
    return p[:, 1:] / (1 + p[:, :1])


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize(
    ("manifold", "geodesic"), [(Sphere(2), great_circle), (PoincareBall(3), unit_ball_geodesic)], ids=["sphere", "ball"]
)
def test_an_update_is_a_point_of_the_geodesic(manifold, geodesic, dtype, rtol):
    x, y = manifold.random(2, 50, 3, dtype=torch.float64).to(dtype)
    x, y = manifold.projx(x), manifold.projx(y)
    model = Points(manifold, x)
    average = GeodesicAverage(model, decay=0.9)
    average.update_parameters(model)
    assert torch.equal(average.module.points, x)
    model.points.data.copy_(y)
    model.count += 3
    average.update_parameters(model)
    expected = geodesic(0.1, x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(average.module.points.detach().double().numpy(), expected, rtol=rtol, atol=rtol)
    assert average.module.count == 3


def test_the_average_stays_on_the_manifold():
    sphere = Sphere(4)
    model = Points(sphere, sphere.random(100, 5))
    average = GeodesicAverage(model, decay=0.8)
    for _ in range(100):
        model.points.data.copy_(sphere.random(100, 5))
        average.update_parameters(model)
    assert sphere.point_residual(average.module.points.detach().double()).max() <= 3e-7


def test_points_of_a_learnable_curvature_are_averaged_in_unit_coordinates():
    ball = PoincareBall(2, c=0.5, learnable=True)
    x, y = (0.9 * PoincareBall(2).random(2, 20, 2, dtype=torch.float64)).numpy()
    model = Points(ball, torch.from_numpy(x) / 0.5**0.5)
    average = GeodesicAverage(model, decay=0.75)
    average.update_parameters(model)
    ball.log_c.data.fill_(np.log(4.0))
    model.points.data.copy_(torch.from_numpy(y) / 2)
    average.update_parameters(model)
    c = 0.5**0.75 * 4**0.25
    assert average.module.points_manifold.c.item() == pytest.approx(c, rel=1e-6)
    unit = average.module.points.detach().numpy() * average.module.points_manifold.c.item() ** 0.5
    np.testing.assert_allclose(unit, unit_ball_geodesic(0.25, x, y), rtol=1e-6)


def test_a_table_with_two_names_moves_once():
    model = Points(Sphere(2), Sphere(2).random(5, 3))
    twice = nn.ModuleDict({"a": model, "b": model})
    once, average = GeodesicAverage(model, 0.9), GeodesicAverage(twice, 0.9)
    for _ in range(3):
        once.update_parameters(model)
        average.update_parameters(twice)
        model.points.data.copy_(Sphere(2).random(5, 3))
    assert torch.equal(average.module["a"].points, once.module.points)


class Follow(pl.Callback):
    """What the callback should do, step by step."""

    def __init__(self, module: nn.Module) -> None:
        self.average = GeodesicAverage(copy.deepcopy(module), 0.9)
        self.validated: list[Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.average.update_parameters(pl_module)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.validated.append(pl_module.points.detach().clone())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_validation_checkpoint_and_result_are_the_average(tmp_path):
    toy = Toy()
    follow = Follow(toy)
    run = trainer(tmp_path, follow, RiemannianEMA(0.9), max_epochs=2, num_sanity_val_steps=0)
    run.fit(toy, StatefulLoader(), [torch.arange(4)])
    assert same(toy, follow.average.module)
    assert torch.equal(follow.validated[-1], toy.points)
    run.save_checkpoint(tmp_path / "end.ckpt")
    state = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert torch.equal(state["state_dict"]["points"], toy.points)
    assert not torch.equal(state["current_model_state"]["points"], follow.validated[0])


def test_a_resumed_run_goes_on_with_the_average(tmp_path):
    whole, half, resumed = Toy(), Toy(), Toy(seed=1)
    torch.manual_seed(0)
    noise = torch.randn(8)
    for toy in (whole, half, resumed):
        toy.training_step = lambda batch, i, toy=toy: (
            (toy.linear(toy.points[batch]) - noise[toy.global_step]).square().mean()
        )
    trainer(tmp_path, RiemannianEMA(0.9), max_epochs=2).fit(whole, StatefulLoader())
    saving = pl.callbacks.ModelCheckpoint(tmp_path, "half", every_n_train_steps=4)
    trainer(tmp_path, RiemannianEMA(0.9), saving, max_epochs=1).fit(half, StatefulLoader())
    run = trainer(tmp_path, RiemannianEMA(0.9), max_epochs=2)
    run.fit(resumed, StatefulLoader(), ckpt_path=tmp_path / "half.ckpt")
    assert same(whole, resumed)


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_a_decay_outside_the_unit_interval_is_refused(decay):
    with pytest.raises(ValueError, match=r"\[0, 1\], but got"):
        RiemannianEMA(decay)
