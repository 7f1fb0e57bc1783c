"""PropertyRegression: training, exact resume, two processes, and what it refuses."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from torch import nn

from isometry.manifolds import SPDAffineInvariant
from isometry.models import TensorProperty
from isometry.trainers import PropertyRegression
from isometry.trainers.callbacks import RNGState
from isometry.trainers.data import AtomsDataModule
from isometry.trainers.optim import RiemannianAdam
from tests.models.atomistic import PairNetwork
from tests.trainers.callbacks.toy import in_two_processes, trainer

MANIFOLD = SPDAffineInvariant(3)


def data(dtype: Any = "float32") -> AtomsDataModule:
    """Molecules with a positive definite tensor that their shape gives."""
    frames = []
    for i in range(18):
        atoms = molecule(("H2O", "CH3OH", "CH4")[i % 3])
        atoms.rattle(0.1, seed=i)
        atoms.info["alpha"] = len(atoms) * np.eye(3) + atoms.positions.T @ atoms.positions
        frames.append(atoms)
    options = {"energy": None, "forces": None, "properties": ["alpha"], "val_size": 6, "batch_size": 4}
    return AtomsDataModule(frames, test=frames[:3], cutoff=4.0, dtype=dtype, **options)


def module(seed: int = 0, dtype: torch.dtype = torch.float32, on_manifold: bool = False) -> PropertyRegression:
    torch.manual_seed(seed)
    model = TensorProperty(PairNetwork(), positive=on_manifold).to(dtype)
    loss = {"loss": lambda x, y: MANIFOLD.dist2(x, y).mean()} if on_manifold else {}
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.99)
    return PropertyRegression(model, "alpha", partial(RiemannianAdam, lr=0.02), schedule, **loss)


@pytest.mark.parametrize("on_manifold", [False, True], ids=["flat", "manifold"])
def test_it_learns(tmp_path: Path, on_manifold: bool) -> None:
    task, parts, run = module(on_manifold=on_manifold), data(), trainer(tmp_path, max_epochs=60)
    run.fit(task, parts)
    labels = torch.cat([graph.alpha for graph in parts.parts["val"]])
    spread = (labels - labels.mean(0)).square().mean().sqrt().item()
    assert run.callback_metrics["val/rmse"] < 0.3 * spread
    (tested,) = run.test(task, parts, verbose=False)
    assert tested.keys() == {"test/loss", "test/mae", "test/rmse"}


def test_what_is_logged_is_over_all_structures(tmp_path: Path) -> None:
    task, parts = module(), data()
    (logged,) = trainer(tmp_path).validate(task, parts, verbose=False)
    graphs = parts.parts["val"]
    errors = (torch.cat([task.model(graph) - graph.alpha for graph in graphs])).detach().numpy()
    assert logged["val/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert logged["val/rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)
    assert logged["val/loss"] == pytest.approx((errors**2).mean(), rel=1e-5)


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    whole, save = module(), ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(tmp_path, RNGState(), save)
    run.fit(whole, data())
    for step in (2, 3):
        resumed = module(seed=1)
        again = trainer(tmp_path, RNGState())
        again.fit(resumed, data(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
        assert again.callback_metrics == run.callback_metrics


def fit(seed: int, folder: str, **options: Any) -> tuple[list[Any], list[float], dict[str, float]]:
    task, losses = module(seed, torch.float64), []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    run = trainer(folder, record, **options)
    run.fit(task, data("float64"))
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    return [p.detach().tolist() for p in task.parameters()], losses, logged


def worker(rank: int, folder: str) -> Any:
    # Degree 1 of the network's features, and so a part of its last layer, is not read out; the layer is.
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


def test_a_missing_label_and_another_shape_are_refused(tmp_path: Path) -> None:
    task = module()
    task.target = "dipole"
    with pytest.raises(ValueError, match="expected the label 'dipole', but the batch has"):
        trainer(tmp_path).fit(task, data())

    class Trace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, batch: Any) -> torch.Tensor:
            return self.weight.expand(batch.num_graphs, 1, 1)

    wrong = PropertyRegression(Trace(), "alpha", partial(RiemannianAdam, lr=0.1))
    with pytest.raises(ValueError, match=r"expected predictions \[4, 3, 3\], but got \[4, 1, 1\]"):
        trainer(tmp_path).fit(wrong, data())
