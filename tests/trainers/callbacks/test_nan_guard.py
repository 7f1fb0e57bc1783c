import pytest
import torch
from torch import Tensor, nn

from isometry.trainers.callbacks import NaNGuard
from tests.trainers.callbacks.toy import StatefulLoader, Toy, in_two_processes, trainer

BAD_STEP = 2


class BadGradient(Toy):
    """The gradient of one parameter is infinite at one step, on one rank, after ranks have averaged."""

    bad_steps = (BAD_STEP,)
    bad_rank = 0

    def on_train_start(self):
        self.history: list[Tensor] = []

    def on_after_backward(self):
        self.history.append(torch.cat([p.detach().flatten().clone() for p in self.parameters()]))
        if self.global_step in self.bad_steps and self.global_rank == self.bad_rank:
            self.linear.weight.grad[0, 1] = torch.inf


def test_a_step_is_skipped(tmp_path):
    guard, module = NaNGuard(), BadGradient()
    with pytest.warns(UserWarning, match="skipped step 2: the gradient of linear.weight is not finite"):
        trainer(tmp_path, guard).fit(module, StatefulLoader())
    assert guard.skipped == 1
    moved = [not torch.equal(a, b) for a, b in zip(module.history, module.history[1:], strict=False)]
    assert moved == [step != BAD_STEP for step in range(11)]


@pytest.mark.filterwarnings("ignore:NaNGuard")
def test_too_many_in_a_row_stop_and_name_the_parameter(tmp_path):
    module = BadGradient()
    module.bad_steps = range(3, 12)
    with pytest.raises(FloatingPointError, match=r"3 steps in a row .*step 5.* the gradient of linear.weight"):
        trainer(tmp_path, NaNGuard(patience=3)).fit(module, StatefulLoader())


@pytest.mark.filterwarnings("ignore:NaNGuard")
def test_skips_that_are_not_in_a_row_go_on(tmp_path):
    guard, module = NaNGuard(patience=2), BadGradient()
    module.bad_steps = range(0, 12, 2)
    trainer(tmp_path, guard).fit(module, StatefulLoader())
    assert guard.skipped == 6


class SparseTable(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(16, 2, sparse=True)

    def training_step(self, batch, batch_idx):
        factor = torch.nan if self.global_step == BAD_STEP else 1.0
        return factor * self.table(torch.cat([batch, batch])).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.table.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:NaNGuard")
def test_sparse_gradients_are_checked(tmp_path):
    guard, module = NaNGuard(), SparseTable()
    trainer(tmp_path, guard).fit(module, StatefulLoader())
    assert guard.skipped == 1
    assert module.table.weight.isfinite().all()


class Manual(Toy):
    """A module that steps by itself, and breaks its points at one step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.optimizers().step(closure=lambda: None)
        if self.trainer.global_step == BAD_STEP:
            self.points.data[0] = torch.nan
        return self.points.detach().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_step_of_manual_optimization_stops_at_once(tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss of step 1 is not finite; parameters .*: points\. Resume"):
        trainer(tmp_path, NaNGuard()).fit(Manual(), StatefulLoader())


def worker(rank: int, folder: str) -> tuple[int, list[float]]:
    guard, module = NaNGuard(), BadGradient()
    module.bad_rank = 1
    trainer(folder, guard, devices=2, strategy="ddp", max_epochs=1).fit(module, StatefulLoader())
    return guard.skipped, torch.cat([p.detach().flatten() for p in module.parameters()]).tolist()


def test_ranks_skip_together(tmp_path):
    first, second = in_two_processes(worker, str(tmp_path))
    assert first == second
    assert first[0] == 1
    assert all(abs(value) < 10 for value in first[1])


def test_patience_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1 step, but got 0"):
        NaNGuard(patience=0)
