"""What data modules share: that each process takes its part."""

import pytorch_lightning as pl


class SharedDataModule(pl.LightningDataModule):
    """A data module that knows which process it is in."""

    @property
    def share(self) -> dict[str, int]:
        """The arguments of a loader that gives this process its part: its number and the number of processes."""
        trainer = self.trainer
        return {"rank": trainer.global_rank, "world_size": trainer.world_size} if trainer else {}
