from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from isometry.trainers.data import TensorDataModule
from isometry.trainers.data.sample_batches import Samples

X, LABELS = torch.arange(20.0).view(10, 2), torch.arange(10) % 3
ROWS = {"train": slice(0, 6), "val": torch.tensor([7, 6]), "test": torch.arange(10) > 7}


class Given(TensorDataModule):
    num_classes = 3

    def __init__(self, *samples: Tensor, rows: Mapping[str, slice | Tensor] = ROWS) -> None:
        super().__init__(batch_size=4, seed=0)
        self.samples, self.rows = samples, rows
        self.reads = 0

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        self.reads += 1
        return self.samples, self.rows


def test_parts_are_rows_of_all_tensors_and_are_read_once() -> None:
    data = Given(X, 2 * X, LABELS)
    for stage in ("fit", "test"):
        data.setup(stage)
    x, double, labels = data.parts["val"]
    assert torch.equal(x, X[[7, 6]])
    assert torch.equal(double, 2 * x)
    assert labels.tolist() == [1, 0]
    assert data.reads == 1


def test_training_is_shuffled_and_evaluation_is_in_order() -> None:
    data = Given(X, LABELS)
    (x, labels), (rest, _) = data.test_dataloader().__iter__().__next__(), list(data.train_dataloader())[1]
    assert torch.equal(x, X[8:])
    assert torch.equal(labels, LABELS[8:])
    assert len(rest) == 2
    order = torch.cat([x for x, _ in data.train_dataloader()])
    assert torch.equal(order.sort(0).values, X[:6])
    assert not torch.equal(order, X[:6])


def test_a_part_without_samples_has_no_batches() -> None:
    assert Given(X, LABELS, rows={**ROWS, "val": slice(0, 0)}).val_dataloader() == []


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ((X, LABELS[:9]), r"expected as many labels as inputs, but got \[10, 9\] rows"),
        ((X / 0, LABELS), "expected finite inputs"),
        ((X, LABELS + 1), "expected int64 labels 0 to 2, but got torch.int64 1 to 3"),
        ((X, LABELS.float()), r"expected int64 labels 0 to 2, but got torch.float32 0\.0 to 2\.0"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"Given: {message}"):
        Given(*samples).setup("fit")
