"""A table of points whose rows are distributed over processes."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding

from isometry.layers.embedding import Embedding, initial_points
from isometry.manifolds import register_manifold

_CHUNK = 2**16  # rows that are drawn together where the whole table has no room


class ShardedEmbedding(nn.Module):
    r"""An ``Embedding`` of which each process holds ``ceil(N / W)`` consecutive rows: ``index -> weight[index]``.

    A process asks the owners for the rows of its batch, each row once, and gets them by two exchanges of all with all;
    in the backward pass a third one brings the gradients to the owners, who average over processes as DDP does. So an
    optimizer steps on rows that are here, with its state for these alone, and the numbers are those of a whole table
    under DDP. All processes call the layer together, with batches of any sizes.

    A step moves ``2 n`` numbers and an index per row that is owned elsewhere, whatever N. ``weight`` and ``state_dict``
    hold this process's rows, and DDP has to leave them alone: ``RowShardedStrategy`` sees to both.

    Args:
        table: The whole table, of which rows are taken. On the device "meta" it occupies no memory, and the rows are
            drawn here: those that ``Embedding`` draws, if all processes have the same seed then.
        group: The processes; by default all.
        device: Of the rows of a table on "meta".

    Raises:
        RuntimeError: If torch.distributed is not initialised.
        ValueError: If there are processes that would hold no row, or the manifold's curvature is learned.

    Source: the row-wise sharding of recommender systems (Ivchenko et al. 2022, TorchRec).
    """

    weight: nn.Parameter

    def __init__(
        self, table: Embedding, group: dist.ProcessGroup | None = None, device: torch.device | str | None = None
    ) -> None:
        if not dist.is_initialized():
            raise RuntimeError(
                "ShardedEmbedding: expected processes, but torch.distributed is not initialised; call "
                "init_process_group first, or use Embedding in one process."
            )
        if any(p.requires_grad for p in table.manifold.parameters()):
            raise ValueError(
                "ShardedEmbedding: expected a fixed curvature, but that of the table's manifold is learned, and its "
                "gradient needs all points; set learnable=False, or keep the table whole."
            )
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self.manifold, self.group = table.manifold, group
        self.world_size = dist.get_world_size(group)
        self.rows = -(-self.num_embeddings // self.world_size)
        self.start = dist.get_rank(group) * self.rows
        if (self.world_size - 1) * self.rows >= self.num_embeddings:
            raise ValueError(
                f"ShardedEmbedding: {self.num_embeddings} rows in blocks of {self.rows} leave nothing for some of the "
                f"{self.world_size} processes; use fewer."
            )
        here = slice(self.start, self.start + self.rows)
        rows = self._drawn(table, device) if table.weight.is_meta else table.weight.detach()[here].clone()
        self.weight = nn.Parameter(rows)
        register_manifold(self, "weight", self.manifold)

    def _drawn(self, table: Embedding, device: torch.device | str | None) -> Tensor:
        """Return this process's rows out of the whole table's, drawn one part after the other."""
        parts, end = [], min(self.start + self.rows, self.num_embeddings)
        for first in range(0, end, _CHUNK):
            size = (min(_CHUNK, self.num_embeddings - first), self.manifold)
            points = initial_points(*size, table.init_scale, table.weight.dtype, device)
            parts.append(points[max(self.start - first, 0) : end - first])
        return torch.cat(parts)

    def forward(self, index: Int[Tensor, "*b"]) -> Float[Tensor, "*b n"]:
        """Return the rows at ``index``, from whatever process holds them."""
        flat = index.reshape(-1)
        if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < self.num_embeddings:
            raise IndexError(
                f"ShardedEmbedding: expected indices in [0, {self.num_embeddings}), but got {int(flat.min())} to "
                f"{int(flat.max())}."
            )
        wanted, place = flat.unique(return_inverse=True)
        asked = torch.bincount(wanted // self.rows, minlength=self.world_size)
        given = torch.empty_like(asked)
        dist.all_to_all_single(given, asked, group=self.group)
        splits = asked.tolist(), given.tolist()
        ids = wanted.new_empty(sum(splits[1]))
        dist.all_to_all_single(ids, wanted, splits[1], splits[0], group=self.group)
        rows = embedding(ids - self.start, self.weight, sparse=True)
        if rows.requires_grad:
            rows.register_hook(lambda gradient: gradient / self.world_size)
        rows = _Exchange.apply(rows, *splits, self.group)
        return embedding(place.view(index.shape), rows, sparse=True)  # adds up gradients in the order of a whole table

    @torch.no_grad()
    def gather(self, rows: Tensor | None = None) -> Tensor:
        """Return on every process the whole table, or a tensor of which each process gives the part of its rows."""
        mine = self.weight if rows is None else rows
        padded = mine.new_zeros(self.rows, *mine.shape[1:])
        padded[: len(mine)] = mine
        whole = mine.new_empty(self.world_size * self.rows, *mine.shape[1:])
        dist.all_gather_single(whole, padded, group=self.group)
        return whole[: self.num_embeddings]

    def scatter(self, whole: Tensor) -> Tensor:
        """Return this process's part of a tensor with a row for each row of the table."""
        return whole[self.start : self.start + len(self.weight)]

    def extra_repr(self) -> str:
        """Return the sizes and this process's rows."""
        return f"{self.num_embeddings}, {self.embedding_dim}, rows {self.start} to {self.start + len(self.weight) - 1}"


class _Exchange(torch.autograd.Function):
    """All processes send each other rows; their gradients take the same way back."""

    @staticmethod
    def forward(rows: Tensor, received: list[int], sent: list[int], group: Any) -> Tensor:
        """Return the rows that came, ``received[p]`` of process p; ``sent[p]`` of the given ones go to it."""
        output = rows.new_empty(sum(received), *rows.shape[1:])
        dist.all_to_all_single(output, rows.contiguous(), received, sent, group=group)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the sizes."""
        _, ctx.received, ctx.sent, ctx.group = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Send the gradients back, one for each row."""
        return _Exchange.apply(grads[0].coalesce().to_dense(), ctx.sent, ctx.received, ctx.group), None, None, None
