"""OperatorLearning: training, exact resume, two processes, and what it refuses."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from torch import Tensor, nn

from isometry.models import FNO
from isometry.trainers import OperatorLearning
from isometry.trainers.callbacks import RNGState
from isometry.trainers.data import FunctionDataModule
from isometry.trainers.losses import RelativeError, relative_errors
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import in_two_processes, trainer


class Shifted(FunctionDataModule):
    """From periodic functions of low frequency to these, moved and squared."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(batch_size=6, seed=0)
        self.dtype = dtype

    def read(self) -> dict[str, tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(0)
        t = 2 * torch.pi * torch.arange(16, dtype=self.dtype) / 16
        waves = torch.stack([t.cos(), t.sin(), (2 * t).cos()])
        x = (torch.randn(32, 3, generator=generator, dtype=self.dtype) @ waves).unsqueeze(1)
        pair = (x, x.roll(3, -1) + 0.3 * x.square())
        return {
            part: tuple(f[rows] for f in pair)
            for part, rows in (("train", slice(18)), ("val", slice(18, 27)), ("test", slice(27, 32)))
        }


def module(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> OperatorLearning:
    torch.manual_seed(seed)
    model = FNO((6,), 1, 1, 8, 2, format="tucker", rank=4).to(dtype)
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.99)
    return OperatorLearning(model, partial(RiemannianAdam, lr=0.01), schedule, **options)


@pytest.mark.parametrize("norm", ["l2", "h1"])
def test_it_learns(tmp_path: Path, norm: Any) -> None:
    task, run = module(loss=RelativeError(norm)), trainer(tmp_path, max_epochs=80)
    run.fit(task, Shifted())
    assert run.callback_metrics["val/l2"] < 0.3
    (tested,) = run.test(task, Shifted(), verbose=False)
    assert tested.keys() == {"test/loss", "test/l2", "test/h1"}
    assert tested["test/loss"] == pytest.approx(tested[f"test/{norm}"])


def test_what_is_logged_is_over_all_samples(tmp_path: Path) -> None:
    task, data = module(), Shifted()
    (logged,) = trainer(tmp_path).validate(task, data, verbose=False)
    x, y = data.parts["val"]  # nine samples, in batches of six and three
    for norm in ("l2", "h1"):
        assert logged[f"val/{norm}"] == pytest.approx(relative_errors(task.model(x), y, norm).mean().item(), rel=1e-5)
    assert logged["val/loss"] == pytest.approx(logged["val/l2"], rel=1e-5)


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    whole, save = module(), ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(tmp_path, RNGState(), save)
    run.fit(whole, Shifted())
    for step in (2, 3):
        resumed = module(seed=1)
        again = trainer(tmp_path, RNGState())
        again.fit(resumed, Shifted(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
        assert again.callback_metrics == run.callback_metrics


def fit(seed: int, folder: str, **options: Any) -> tuple[list[Any], list[float], dict[str, float]]:
    task, losses = module(seed, torch.float64), []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    run = trainer(folder, record, **options)
    run.fit(task, Shifted(torch.float64))
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    return [p.detach().tolist() for p in task.parameters()], losses, logged


def worker(rank: int, folder: str) -> Any:
    return fit(rank, folder, devices=2, strategy="ddp")


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Complex factors, too, which are stored as real tensors for that."""
    first, second = in_two_processes(worker, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == second[0]
    parameters, losses, logged = fit(0, str(tmp_path))
    assert [(a + b) / 2 for a, b in zip(first[1], second[1], strict=True)] == pytest.approx(losses, rel=1e-9)
    for p, q in zip(first[0], parameters, strict=True):
        assert torch.allclose(torch.tensor(p), torch.tensor(q), rtol=1e-8, atol=1e-10)
    assert first[2] == pytest.approx(logged, rel=1e-6)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * x.mean(-1, keepdim=True)

    wrong = OperatorLearning(Mean(), partial(RiemannianAdam, lr=0.1))
    with pytest.raises(ValueError, match=r"expected predictions \[6, 1, 16\], but got \[6, 1, 1\]"):
        trainer(tmp_path).fit(wrong, Shifted())
