"""The rows of a table that a sparse gradient touches."""

import torch
from torch import Tensor

_MARK_LIMIT = 64


def touched_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the rows in which a COO gradient has entries, each once, and the sums of their entries.

    An uncoalesced gradient is summed by marking its rows in a boolean table, numbering the marks and ``index_add``,
    faster than ``coalesce()``, which sorts, unless the table has very many more rows than the gradient has entries.
    """
    # Detached, the row of indices is no view: torch.compile guards on the base of a view, which only some inputs have.
    index, values = grad._indices()[0].detach(), grad._values()
    if grad.is_coalesced():
        return index, values
    size, entries = grad.shape[0], len(index)
    if size > _MARK_LIMIT * entries:
        grad = grad.coalesce()
        return grad._indices()[0].detach(), grad._values()
    marks = torch.zeros(size, dtype=torch.bool, device=grad.device).index_fill_(0, index, True)
    number = marks.cumsum(0)
    count = int(number[-1])
    if count == entries:  # each row once
        return index, values
    place = number.index_select(0, index) - 1
    rows = index.new_empty(count).scatter_(0, place, index)
    return rows, values.new_zeros(count, *values.shape[1:]).index_add_(0, place, values)
