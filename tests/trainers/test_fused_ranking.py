import copy
from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from isometry.layers import FermiDirac
from isometry.manifolds import Lorentz, PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers._fused_ranking import FusedRankingStep
from isometry.trainers.data import GraphDataModule, wordnet_mammals
from isometry.trainers.losses import LinkLoss, RankingLoss
from isometry.trainers.metrics import Reconstruction
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD


def twins(c: float, dtype: torch.dtype, sparse: bool = True) -> tuple[NodeEmbedding, NodeEmbedding]:
    model = NodeEmbedding(40, PoincareBall(5, c), init_scale=0.5, sparse=sparse, dtype=dtype)
    return model, copy.deepcopy(model)


def generic_step(model: NodeEmbedding, index: torch.Tensor, lr: float) -> torch.Tensor:
    """One step through autograd and the optimizer."""
    optimizer = RiemannianSGD(model, lr=lr)
    loss = RankingLoss()(model(index))
    loss.backward()
    optimizer.step()
    model.nodes.weight.grad = None
    return loss


@pytest.mark.parametrize("c", [1.0, 0.37, 4.0])
def test_it_is_the_generic_step_to_rounding(c: float) -> None:
    generic, fused = twins(c, torch.float64)
    for model in (generic, fused):
        with torch.no_grad():
            model.nodes.weight[1] = model.nodes.weight[0]
    step = FusedRankingStep(fused.nodes.weight, fused.manifold)
    for _ in range(10):
        index = torch.randint(40, (32, 7))  # rows repeat within and across lines
        index[0, :3] = torch.tensor([0, 1, 1])  # distance 0
        index[1, :2] = 2
        before = generic.nodes.weight.detach().clone()
        losses = generic_step(generic, index, 2.0).item(), step(index, 2.0).item()
        assert losses[0] == pytest.approx(losses[1], rel=1e-13)
        assert torch.allclose(fused.nodes.weight, generic.nodes.weight, rtol=1e-12, atol=1e-14)
        assert (generic.nodes.weight - before).abs().max() > 1e-3


def test_in_float32_it_is_the_generic_step_to_rounding() -> None:
    generic, fused = twins(1.0, torch.float32)
    step = FusedRankingStep(fused.nodes.weight, fused.manifold)
    for _ in range(10):
        index = torch.randint(40, (32, 7))
        generic_step(generic, index, 2.0)
        step(index, 2.0)
    assert torch.allclose(fused.nodes.weight, generic.nodes.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [1.0, 9.0])
def test_coincident_points_have_no_gradient_wherever_they_are(c: float, dtype: torch.dtype) -> None:
    model, _ = twins(c, dtype)
    with torch.no_grad():
        model.nodes.weight[:2] = torch.tensor([1 - 1e-6, 0, 0, 0, 0]) / c**0.5
        model.nodes.weight[2] = 0
    before = model.nodes.weight.detach().clone()
    FusedRankingStep(model.nodes.weight, model.manifold)(torch.tensor([[0, 1, 1], [2, 2, 2]]), 1.0)
    assert torch.equal(model.nodes.weight, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_stay_inside_the_ball_however_long_the_step(dtype: torch.dtype) -> None:
    model, _ = twins(0.37, dtype)
    step = FusedRankingStep(model.nodes.weight, model.manifold)
    for _ in range(20):
        step(torch.randint(40, (32, 7)), 1e6)
    assert model.nodes.weight.isfinite().all()
    assert (model.manifold.point_residual(model.nodes.weight) == 0).all()
    assert model.manifold.dist(model.nodes.weight[:-1], model.nodes.weight[1:]).isfinite().all()


def fit(fused: bool, **options: object) -> tuple[GraphEmbedding, dict[str, float]]:
    """Train on the mammals for two epochs, of which one is burn-in."""
    torch.manual_seed(0)
    graph = wordnet_mammals()
    data = GraphDataModule(graph, batch_size=100, num_negatives=10, burn_in_epochs=1, eval_nodes=100)
    model = NodeEmbedding(1180, PoincareBall(5), init_scale=0.1, dtype=torch.float64)
    optimizer = partial(RiemannianSGD, lr=3.0)
    metrics = [Reconstruction(graph)]
    task = GraphEmbedding(model, RankingLoss(), optimizer, metrics, burn_in_epochs=1, burn_in_factor=0.1, fused=fused)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", **quiet, **options)
    trainer.fit(task, data)
    return task, {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_training_gives_the_same_numbers_with_and_without() -> None:
    """Two epochs amplify rounding; the losses agree to more digits than the metrics, which count."""
    (fused, fused_log), (generic, generic_log) = fit(True), fit(False)
    assert fused.automatic_optimization is False
    assert generic.automatic_optimization is True
    assert torch.allclose(fused.model.nodes.weight, generic.model.nodes.weight, rtol=1e-8, atol=1e-10)
    assert fused_log == pytest.approx(generic_log, rel=1e-6)


SGD = partial(RiemannianSGD, lr=1.0)


@pytest.mark.parametrize(
    "other",
    [
        {"fused": False},
        {"loss": LinkLoss(FermiDirac())},
        {"manifold": PoincareBall(5, learnable=True)},
        {"manifold": Lorentz(5)},
        {"sparse": False},
        {"optimizer": RiemannianAdam},
        {"optimizer": partial(SGD, momentum=0.9)},
        {"optimizer": partial(SGD, weight_decay=0.1)},
        {"trainer": {"gradient_clip_val": 1.0}},
        {"trainer": {"accumulate_grad_batches": 2}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_where_the_closed_form_does_not_apply_the_generic_path_is_taken(other: dict) -> None:
    kwargs = {
        "loss": RankingLoss(),
        "optimizer": SGD,
        "manifold": PoincareBall(5),
        "sparse": True,
        "fused": True,
        "trainer": {},
    }
    kwargs |= other
    model = NodeEmbedding(40, kwargs["manifold"], sparse=kwargs["sparse"])
    task = GraphEmbedding(model, kwargs["loss"], kwargs["optimizer"], fused=kwargs["fused"])
    task.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **kwargs["trainer"])
    task.configure_optimizers()
    assert task.automatic_optimization is True
    assert task.updates_per_batch == 1
