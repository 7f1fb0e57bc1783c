"""PhysicsInformed: it solves equations, resumes exactly, and two processes are one."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from torch import Tensor, nn

from isometry.manifolds import Sphere, laplace_beltrami, laplacian
from isometry.trainers import PhysicsInformed
from isometry.trainers.callbacks import RNGState
from isometry.trainers.data import Collocation
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import in_two_processes, trainer

SPHERE = Sphere(2)


def solution(y: Tensor) -> Tensor:
    return y[..., 0] * y[..., 1] + y[..., 2]


class Network(nn.Sequential):
    """Values ``[b]``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(-1)


def network(n: int, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    return Network(nn.Linear(n, 24), nn.Tanh(), nn.Linear(24, 1)).to(dtype)


def helmholtz(u: Any, x: Tensor) -> Tensor:
    """``Delta u - u = f`` on the sphere, which has one solution."""
    values = x[..., 0] * x[..., 1], x[..., 2]
    return laplace_beltrami(u, SPHERE, x) - u(x) + 7 * values[0] + 3 * values[1]


def task(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> PhysicsInformed:
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.97)
    residual = options.pop("residual", helmholtz)
    return PhysicsInformed(network(3, seed, dtype), residual, partial(RiemannianAdam, lr=0.02), schedule, **options)


def data(dtype: torch.dtype = torch.float32, batches: int = 4) -> Collocation:
    def sample(count: int, generator: torch.Generator) -> Tensor:
        return SPHERE.random(count, 3, generator=generator, dtype=dtype)

    return Collocation(sample, solution, batch_size=32, batches=batches, test_points=96)


def test_it_solves_an_equation_on_the_sphere(tmp_path: Path) -> None:
    run, parts = trainer(tmp_path, max_epochs=60, limit_val_batches=0), data()
    fitted = task()
    run.fit(fitted, parts)
    (tested,) = run.test(fitted, parts, verbose=False)
    assert tested["test/relative_error"] < 0.05
    x = torch.cat([x for x, _ in parts.test_dataloader()])
    error = (fitted.model(x) - solution(x)).norm() / solution(x).norm()
    assert tested["test/relative_error"] == pytest.approx(error.item(), rel=1e-4)


def test_the_product_of_two_estimates_is_unbiased() -> None:
    x = SPHERE.random(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def estimated(u: Any, y: Tensor) -> Tensor:
        return laplacian(u, y, method="hutchinson", samples=1)

    fitted = task(dtype=torch.float64, residual=estimated, unbiased=True)
    exact = laplacian(fitted.model, x).square().mean().item()
    losses = [fitted.training_step((part,), 0).item() for part in x.split(500)]
    mean, deviation = torch.tensor(losses).mean(), torch.tensor(losses).std() / len(losses) ** 0.5
    assert abs(mean - exact) < 5 * deviation < 0.2 * exact
    fitted.unbiased = False
    assert fitted.training_step((x,), 0) > exact + 10 * deviation


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    whole, save = task(), ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(tmp_path, RNGState(), save)
    run.fit(whole, data())
    for step in (2, 4):
        resumed = task(seed=1)
        again = trainer(tmp_path, RNGState())
        again.fit(resumed, data(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
        assert again.callback_metrics == run.callback_metrics


def fit(seed: int, folder: str, **options: Any) -> tuple[list[Any], list[float], dict[str, float]]:
    fitted, losses = task(seed, torch.float64), []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    run = trainer(folder, record, **options)
    run.fit(fitted, data(torch.float64))
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    return [p.detach().tolist() for p in fitted.parameters()], losses, logged


def worker(rank: int, folder: str) -> Any:
    return fit(rank, folder, devices=2, strategy="ddp")


def test_two_processes_are_one(tmp_path: Path) -> None:
    first, second = in_two_processes(worker, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == second[0]
    parameters, losses, logged = fit(0, str(tmp_path))
    assert [(a + b) / 2 for a, b in zip(first[1], second[1], strict=True)] == pytest.approx(losses, rel=1e-9)
    for p, q in zip(first[0], parameters, strict=True):
        assert torch.allclose(torch.tensor(p), torch.tensor(q), rtol=1e-8, atol=1e-10)
    assert first[2] == pytest.approx(logged, rel=1e-6)


def test_refusals(tmp_path: Path) -> None:
    wrong = task(residual=lambda u, x: u(x).mean())
    with pytest.raises(ValueError, match=r"expected a residual for each of the 32 points, but got \[\]"):
        trainer(tmp_path).fit(wrong, data())
    wrong.model = nn.Linear(3, 1)
    with pytest.raises(ValueError, match=r"expected values \[32\], but the model returns \[32, 1\]"):
        trainer(tmp_path).validate(wrong, data(), verbose=False)
