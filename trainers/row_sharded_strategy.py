"""Training with tables that are distributed over processes."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from isometry.layers import Embedding, ShardedEmbedding


class RowShardedStrategy(DDPStrategy):
    """DDP, but every sparse ``Embedding`` becomes a ``ShardedEmbedding``: each process holds and steps its rows alone.

    All other parameters are replicated as DDP does it. The numbers are those of DDP, in memory ``1 / W`` of the tables
    and of what the optimizer keeps for their rows. Checkpoints hold whole tables, and fit one process and any number of
    them; while one is written, a whole table is in each process. A table on the device "meta" is drawn row by row
    where it is trained. It is registered as ``Trainer(strategy="row_sharded")``.

    Raises:
        ValueError: If the trainer clips gradients or averages weights, which would see the rows of one process only.
    """

    def setup(self, trainer: pl.Trainer) -> None:
        """Distribute the tables, then go on as DDP."""
        averages = any(isinstance(callback, WeightAveraging) for callback in getattr(trainer, "callbacks", []))
        if trainer.gradient_clip_val is not None or averages:
            raise ValueError(
                "RowShardedStrategy: expected no gradient clipping and no average of the weights, which would be "
                "another one on each process; leave them out, or train with strategy='ddp'."
            )
        root = self._root
        for name, module in list(root.named_modules()):
            if isinstance(module, Embedding) and module.sparse:
                root.set_submodule(name, ShardedEmbedding(module, device=self.root_device))
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(root, list(self._tables))
        super().setup(trainer)

    def _setup_model(self, model: nn.Module) -> Any:
        """Wrap the model, unless its tables are all that it has: DDP refuses to reduce nothing."""
        replicated = [p for name, p in model.named_parameters() if p.requires_grad and name not in self._tables]
        return super()._setup_model(model) if replicated else model

    @property
    def _root(self) -> pl.LightningModule:
        if self.lightning_module is None:
            raise RuntimeError("RowShardedStrategy: expected a module; call Trainer.fit.")
        return self.lightning_module

    @property
    def _tables(self) -> dict[str, ShardedEmbedding]:
        """The distributed tables, by the names of their weights."""
        tables = {name: m for name, m in self._root.named_modules() if isinstance(m, ShardedEmbedding)}
        return {f"{name}.weight": table for name, table in tables.items()}

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Whole tables are cut when the table here has been, and not before."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the state with whole tables."""
        return super().lightning_module_state_dict() | {name: table.gather() for name, table in self._tables.items()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the rows of this process."""
        state = dict(checkpoint["state_dict"])
        for name, table in self._tables.items():
            if name in state:
                state[name] = table.scatter(state[name])
        super().load_model_state_dict({"state_dict": state}, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimizer's state with that of all rows."""
        return self._with_tables(optimizer, super().optimizer_state(optimizer), ShardedEmbedding.gather)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the optimizers' state of the rows of this process."""
        pairs = zip(self.optimizers, checkpoint["optimizer_states"], strict=True)
        states = [self._with_tables(optimizer, state, ShardedEmbedding.scatter) for optimizer, state in pairs]
        super().load_optimizer_state_dict({"optimizer_states": states})

    def _with_tables(
        self, optimizer: Optimizer, state: dict[str, Any], convert: Callable[[ShardedEmbedding, Tensor], Tensor]
    ) -> dict[str, Any]:
        """Return an optimizer's state in which what belongs to the rows of a table is converted."""
        tables = {table.weight: table for table in self._tables.values()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        values = dict(state["state"])
        for number, p in enumerate(parameters):
            if number in values and p in tables:
                rows = (tables[p].num_embeddings, len(tables[p].weight))
                values[number] = {
                    key: convert(tables[p], v) if isinstance(v, Tensor) and v.ndim and len(v) in rows else v
                    for key, v in values[number].items()
                }
        return {**state, "state": values}


StrategyRegistry.register(
    "row_sharded", RowShardedStrategy, description="DDP with the rows of embedding tables distributed over processes"
)
