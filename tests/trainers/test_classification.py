"""Classification: training, exact resume, two processes, and what it refuses."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Tensor, nn

from isometry.manifolds import OffManifoldError, PoincareBall, register_manifold
from isometry.trainers import Classification
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard, RNGState
from isometry.trainers.data import ShuffledSamples, TensorDataModule
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD, riemannian_grad_norm
from tests.trainers.callbacks.toy import in_two_processes, trainer


class Blobs(TensorDataModule):
    """Three Gaussian blobs in R^4: 48 to train, 21 to validate and 22 to test."""

    num_classes = 3

    def __init__(self, batch_size: int = 12, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(batch_size, seed)
        self.dtype = dtype

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        generator = torch.Generator().manual_seed(5)
        labels = torch.randint(3, (91,), generator=generator)
        centres = 3 * torch.randn(3, 4, dtype=torch.float64, generator=generator)
        x = centres[labels] + torch.randn(91, 4, dtype=torch.float64, generator=generator)
        rows = {"train": slice(0, 48), "val": slice(48, 69), "test": slice(69, None)}
        return (x.to(self.dtype), labels), rows


class Prototypes(nn.Module):
    """Distances to a point of the ball for each class, with dropout and batch norm before."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2)).to(dtype)
        self.ball = PoincareBall(2)
        self.points = nn.Parameter(self.ball.random(3, 2, dtype=dtype))
        register_manifold(self, "points", self.ball)

    def forward(self, x: Tensor) -> Tensor:
        return -self.ball.dist(self.ball.projx(0.1 * self.body(x)).unsqueeze(-2), self.points)


def flat(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> Classification:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    return Classification(model, 3, **{"optimizer": partial(RiemannianSGD, lr=0.3, momentum=0.9), **options})


def curved(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> Classification:
    torch.manual_seed(seed)
    optimizer = partial(RiemannianAdam, lr=0.05, weight_decay=1e-3)
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    return Classification(
        Prototypes(dtype), 3, **{"optimizer": optimizer, "scheduler": schedule, "loss": smooth, **options}
    )


CASES = pytest.mark.parametrize("case", [flat, curved], ids=lambda case: case.__name__)


# --- training ------------------------------------------------------------------------------------------------


@CASES
def test_it_learns(tmp_path: Path, case: Any) -> None:
    module, run = case(), trainer(tmp_path, ManifoldMonitor(), max_epochs=30)
    run.fit(module, Blobs())
    assert run.callback_metrics["val/accuracy"] > 0.85
    (tested,) = run.test(module, Blobs(), verbose=False)
    assert tested.keys() >= {"test/loss", "test/accuracy", "test/balanced_accuracy"}
    assert tested["test/accuracy"] > 0.85


def test_fast_dev_run(tmp_path: Path) -> None:
    trainer(tmp_path, fast_dev_run=True).fit(curved(), Blobs())


def test_it_is_a_loop_in_plain_torch(tmp_path: Path) -> None:
    module = flat(dtype=torch.float64)
    twin = flat(dtype=torch.float64).model
    losses: list[float] = []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    trainer(tmp_path, record).fit(module, Blobs(dtype=torch.float64))

    optimizer = torch.optim.SGD(twin.parameters(), lr=0.3, momentum=0.9)
    batches, expected = ShuffledSamples(Blobs(dtype=torch.float64).parts["train"], 12), []
    for _ in range(3):
        for x, labels in batches:
            loss = nn.functional.cross_entropy(twin(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-12)
    for p, q in zip(module.model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-14)


def test_what_is_logged_is_over_all_samples(tmp_path: Path) -> None:
    """At rate 0 all batches see the same model. 21 samples are batches of 12 and 9."""
    module = flat(optimizer=partial(RiemannianSGD, lr=0.0))
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module, Blobs())
    parts = Blobs().parts
    for part in ("train", "val"):
        x, labels = parts[part]
        expected = nn.functional.cross_entropy(module.model(x), labels).item()
        assert run.callback_metrics[f"{part}/loss"].item() == pytest.approx(expected, rel=1e-6)
    predicted = module.model(x).argmax(1)
    assert set(labels.tolist()) == {0, 1, 2}
    for name, score in (("accuracy", accuracy_score), ("balanced_accuracy", balanced_accuracy_score)):
        assert run.callback_metrics[f"val/{name}"].item() == pytest.approx(score(labels, predicted), rel=1e-6)


def test_inputs_of_several_tensors_go_to_the_model() -> None:
    class Product(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x * y

    module = Classification(Product(), 3, partial(RiemannianSGD, lr=0.1))
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    loss = module.training_step((x, y, torch.zeros(5, dtype=torch.int64)), 0)
    assert torch.equal(loss, nn.functional.cross_entropy(x * y, torch.zeros(5, dtype=torch.int64)))


def test_a_model_with_a_margin_is_given_the_labels_in_training(tmp_path: Path) -> None:
    given: list[bool] = []

    class Margin(nn.Linear):
        def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
            given.append(target is not None)
            assert given[-1] == self.training
            return super().forward(x) - (0 if target is None else nn.functional.one_hot(target, 3))

    module = Classification(Margin(4, 3), 3, partial(RiemannianSGD, lr=0.1))
    trainer(tmp_path, max_epochs=1).fit(module, Blobs())
    assert set(given) == {True, False}


def test_the_schedule_steps_after_every_epoch(tmp_path: Path) -> None:
    rates: list[float] = []
    watch = LambdaCallback(on_train_epoch_start=lambda run, _: rates.append(run.optimizers[0].param_groups[0]["lr"]))
    trainer(tmp_path, watch).fit(curved(), Blobs())
    assert rates == pytest.approx([0.05, 0.045, 0.0405])


def test_gradients_are_clipped_by_their_riemannian_norm(tmp_path: Path) -> None:
    """At rate 0, so that the norm of a gradient is taken where it was clipped."""
    norms: list[float] = []
    watch = LambdaCallback(on_before_zero_grad=lambda _, module, __: norms.append(riemannian_grad_norm(module).item()))
    trainer(tmp_path, watch, gradient_clip_val=1e-3).fit(curved(optimizer=partial(RiemannianAdam, lr=0.0)), Blobs())
    assert norms[1:4] == pytest.approx([1e-3] * 3, rel=1e-4)  # an epoch's gradients, from the first one on
    with pytest.raises(ValueError, match=r"expected gradient_clip_algorithm 'norm', but got .*VALUE"):
        trainer(tmp_path, gradient_clip_val=1.0, gradient_clip_algorithm="value").fit(curved(), Blobs())


def test_points_take_no_weight_decay(tmp_path: Path) -> None:
    """At rate 1 and without a loss, decay by 0.1 leaves 0.9 of the weights and the points."""
    module = curved(optimizer=partial(RiemannianSGD, lr=1.0, weight_decay=0.1), loss=Nothing())
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    trainer(tmp_path, max_steps=1).fit(module, Blobs())
    for name, p in module.named_parameters():
        kept = 1.0 if name == "model.points" else 0.9
        assert torch.allclose(p, kept * before[name], rtol=1e-6), name


class Nothing(nn.Module):
    """A loss that is 0 and depends on all logits."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 0 * logits.sum()


# --- exact resume --------------------------------------------------------------------------------------------


@CASES
def test_a_run_resumed_from_any_step_is_the_uninterrupted_one(tmp_path: Path, case: Any) -> None:
    whole = case()
    every_step = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(tmp_path, every_step, RNGState())
    run.fit(whole, Blobs())
    for step in (1, 3, 4, 6, 11):  # four steps are an epoch
        resumed, again = case(seed=step), trainer(tmp_path, RNGState())
        again.fit(resumed, Blobs(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert again.global_step == run.global_step
        for (name, p), q in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert p == q if isinstance(p, dict) else torch.equal(p, q), f"{name} from step {step}"
        assert again.callback_metrics == run.callback_metrics


# --- two processes -------------------------------------------------------------------------------------------


def fit(case: Any, seed: int, folder: str, **options: Any) -> tuple[dict[str, Any], list[float], dict[str, float]]:
    """Return the parameters, the loss of each batch and what was logged at the end of training."""
    module, losses = case(seed, dtype=torch.float64), []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    run = trainer(folder, record, NaNGuard(), ManifoldMonitor(), **options)
    run.fit(module, Blobs(dtype=torch.float64))
    parameters = {name: p.detach().tolist() for name, p in module.named_parameters()}
    return parameters, losses, {name: value.item() for name, value in run.callback_metrics.items()}


def worker(rank: int, case: Any, folder: str) -> Any:
    return fit(case, rank, folder, devices=2, strategy="ddp")


def deterministic(seed: int, dtype: torch.dtype) -> Classification:
    """The curved model without dropout and batch norm, whose numbers depend on how samples are shared."""
    module = curved(seed, dtype)
    module.model.body = nn.Linear(4, 2, dtype=dtype)
    return module


@pytest.mark.parametrize("case", [flat, deterministic], ids=lambda case: case.__name__)
def test_two_processes_are_one(tmp_path: Path, case: Any) -> None:
    """In float64, so that what differs is the order of sums. 21 validation samples do not divide by two."""
    first, second = in_two_processes(worker, case, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == second[0]  # the replicas, to the last bit
    assert first[2] == second[2]

    parameters, losses, logged = fit(case, 0, str(tmp_path))
    assert [(a + b) / 2 for a, b in zip(first[1], second[1], strict=True)] == pytest.approx(losses, rel=1e-10)
    assert first[1] != second[1]  # each process has its own share
    for name, p in parameters.items():
        assert torch.allclose(torch.tensor(first[0][name]), torch.tensor(p), rtol=1e-9, atol=1e-11), name
    assert first[2] == pytest.approx(logged, rel=1e-6)  # logged in float32


# --- bad input -----------------------------------------------------------------------------------------------


def test_data_of_other_classes_are_refused(tmp_path: Path) -> None:
    module = Classification(nn.Linear(4, 5), 5, partial(RiemannianSGD, lr=0.1))
    with pytest.raises(ValueError, match="num_classes is 5, but the data have 3 classes"):
        trainer(tmp_path).fit(module, Blobs())


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    module = Classification(nn.Linear(4, 5), 3, partial(RiemannianSGD, lr=0.1))
    with pytest.raises(ValueError, match=r"expected logits \[12, 3\], but the model returns \[12, 5\]"):
        trainer(tmp_path, num_sanity_val_steps=0).fit(module, Blobs())


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least two classes, but got num_classes=1"):
        Classification(nn.Linear(4, 1), 1, partial(RiemannianSGD, lr=0.1))


def test_an_optimizer_that_leaves_the_manifold_is_refused(tmp_path: Path) -> None:
    def plain(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters())

    with pytest.raises(TypeError, match=r"model\.points would leave their manifolds under Adam"):
        trainer(tmp_path).fit(curved(optimizer=plain, scheduler=None), Blobs())
    trainer(tmp_path, fast_dev_run=True).fit(flat(optimizer=plain), Blobs())


def test_points_off_the_manifold_are_refused(tmp_path: Path) -> None:
    module = curved()
    with torch.no_grad():
        module.model.points[1] = 2.0
    with pytest.raises(OffManifoldError, match="PoincareBall"):
        trainer(tmp_path).fit(module, Blobs())


def test_it_takes_any_lightning_data(tmp_path: Path) -> None:
    x, labels = Blobs().parts["train"]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=8)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(flat(), loader)
    assert run.callback_metrics.keys() == {"train/loss"}
