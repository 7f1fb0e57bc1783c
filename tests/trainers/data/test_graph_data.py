from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from isometry.trainers.data import Graph, GraphDataModule, wordnet_mammals

MAMMALS = wordnet_mammals()


class Recorder(pl.LightningModule):
    """Learns something that depends on every number of every batch, and keeps the batches."""

    def __init__(self, updates_per_batch: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1180))
        self.updates_per_batch = updates_per_batch
        self.seen: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch)
        return (self.weight[batch].cumsum(-1) - batch / 1180).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Do nothing: Lightning draws validation batches only where this is defined."""


def trainer(folder: Path, **kwargs: object) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(default_root_dir=folder, accelerator="cpu", **{"max_epochs": 3, **quiet, **kwargs})


def data(**kwargs: object) -> GraphDataModule:
    return GraphDataModule(**{"graph": MAMMALS, "batch_size": 1000, "burn_in_epochs": 1, **kwargs})


@pytest.mark.parametrize("updates", [1, 4])
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path: Path, updates: int) -> None:
    whole = Recorder(updates)
    every_step = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(tmp_path, callbacks=[every_step]).fit(whole, data())
    assert len(whole.seen) == 21 if updates == 1 else 9

    per_epoch = len(whole.seen) // 3
    for step in (1, per_epoch - 1, per_epoch, per_epoch + 1, 2 * per_epoch, 3 * per_epoch - 1):
        resumed = Recorder(updates)
        trainer(tmp_path, enable_checkpointing=False).fit(resumed, data(), ckpt_path=tmp_path / f"step={step}.ckpt")
        assert len(resumed.seen) == len(whole.seen) - step
        assert all(torch.equal(a, b) for a, b in zip(resumed.seen, whole.seen[step:], strict=True))
        assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.parametrize("after_validation", [False, True])
@pytest.mark.parametrize("length", [{"max_epochs": 3}, {"max_steps": 21, "max_epochs": -1}])
def test_a_checkpoint_at_the_end_of_an_epoch_goes_on_with_the_next(
    tmp_path: Path, after_validation: bool, length: dict[str, int]
) -> None:
    whole, resumed = Recorder(), Recorder()
    each_epoch = ModelCheckpoint(
        tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=not after_validation
    )
    trainer(tmp_path, callbacks=[each_epoch], **length).fit(whole, data())
    trainer(tmp_path, enable_checkpointing=False, **length).fit(resumed, data(), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert len(resumed.seen) == 14
    assert all(torch.equal(a, b) for a, b in zip(resumed.seen, whole.seen[7:], strict=True))
    assert torch.equal(resumed.weight, whole.weight)


def test_epochs_of_limited_length_and_a_second_fit_go_on(tmp_path: Path) -> None:
    module, datamodule = Recorder(), data()
    first = trainer(tmp_path, max_epochs=2, limit_train_batches=3)
    first.fit(module, datamodule)
    first.fit_loop.max_epochs = 3
    first.fit(module, datamodule)
    alone = datamodule.train_dataloader()
    for epoch in range(3):
        for seen, batch in zip(module.seen[3 * epoch : 3 * epoch + 3], alone, strict=False):
            assert torch.equal(seen, batch)
    assert len(module.seen) == 9


def test_a_checkpoint_of_other_batches_is_refused(tmp_path: Path) -> None:
    each_step = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(tmp_path, callbacks=[each_step], max_epochs=1).fit(Recorder(), data())
    with pytest.raises(ValueError, match=r"it has {'batch_size': 1000}, but here is {'batch_size': 500}"):
        trainer(tmp_path).fit(Recorder(), data(batch_size=500), ckpt_path=tmp_path / "step=2.ckpt")


def test_every_node_is_evaluated_or_a_fixed_sample() -> None:
    everything = torch.cat(list(data().val_dataloader()))
    assert torch.equal(everything, torch.arange(1180))
    sample, again = (torch.cat(list(data(eval_nodes=100).test_dataloader())) for _ in range(2))
    assert torch.equal(sample, again)
    assert len(sample.unique()) == 100


def test_it_has_as_many_nodes_as_the_graph() -> None:
    assert data().num_nodes == 1180
    assert data(graph=Graph(torch.tensor([[0, 1], [1, 2]]), 3)).num_nodes == 3
