"""Fine grids cut into patches that see their surroundings on coarser grids."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MultigridPatching(nn.Module):
    r"""Apply a model to the patches of a periodic grid, each with coarser views of what is around it.

    Each of d dimensions is cut into ``2^levels`` patches of s points. To a patch, ``padding`` points of its neighbours
    are added on both sides; the view of level l = 0, ..., levels covers ``2^l`` times that length around the same
    centre (rounded down to a point) with every ``2^l``-th point, so that all views have the same number of points. They
    are the channels of the model's input, level 0 first; the patches are its batch. Its outputs lose the padding and
    are put together again: exactly, as patches do not overlap. The model sees ``1/2^levels`` of each dimension at a
    time, which bounds its memory.

    Args:
        model: Maps ``[b, (levels + 1) i, ...]`` to ``[b, o, ...]``, such as ``FNO``.
        levels: Number of coarser views, 0 or more.
        padding: Points added on each side of a patch.

    Raises:
        ValueError: If an argument is negative.

    Source: Kossaifi et al. 2024, Multi-grid tensorized Fourier neural operator for high-resolution PDEs, section 3.3.
    """

    def __init__(self, model: nn.Module, levels: int = 1, padding: int = 0) -> None:
        super().__init__()
        if min(levels, padding) < 0:
            raise ValueError(
                f"MultigridPatching: expected levels and padding of at least 0, but got {levels} and {padding}."
            )
        self.model, self.levels, self.padding = model, levels, padding

    def forward(self, x: Float[Tensor, "b i *n"]) -> Float[Tensor, "b o *n"]:
        """Return the output functions."""
        return self.stitch(self.model(self.split(x)), len(x))

    def split(self, x: Float[Tensor, "b i *n"]) -> Float[Tensor, "p j *m"]:
        """Return the patches, ``2^(levels d)`` of each sample one after the other, with their views.

        Raises:
            ValueError: If a size does not divide by ``2^levels``.
        """
        count = 2**self.levels
        if any(n % count for n in x.shape[2:]):
            raise ValueError(
                f"MultigridPatching: expected sizes that divide by 2^levels = {count}, but got {list(x.shape[2:])}."
            )
        return torch.cat([self._view(x, level) for level in range(self.levels + 1)], 1)

    def _view(self, x: Tensor, level: int) -> Tensor:
        """Return the patches as they look at one level."""
        d, count, stride = x.ndim - 2, 2**self.levels, 2**level
        for axis in range(d):
            place = 2 + 2 * axis  # patches of the axes before stand behind the sample: [b, p_1, .., i, m_1, .., n, ..]
            n = x.shape[place]
            size = n // count
            first = -self.padding * stride - size * (stride - 1) // 2  # of the view of the patch that starts at 0
            points = first + stride * torch.arange(size + 2 * self.padding, device=x.device)
            index = (torch.arange(0, n, size, device=x.device)[:, None] + points) % n
            x = x.index_select(place, index.flatten()).unflatten(place, index.shape).movedim(place, 1 + axis)
        return x.flatten(0, d)

    def stitch(self, y: Float[Tensor, "p o *m"], batch: int) -> Float[Tensor, "b o *n"]:
        """Return the functions on the whole grid from those on the patches of ``batch`` samples."""
        d, count = y.ndim - 2, 2**self.levels
        for axis in range(2, y.ndim):
            y = y.narrow(axis, self.padding, y.shape[axis] - 2 * self.padding)
        y = y.unflatten(0, (batch, *[count] * d))
        # [b, p_1, .., p_d, o, m_1, .., m_d] to [b, o, p_1, m_1, ...]
        y = y.permute(0, d + 1, *(place for k in range(d) for place in (1 + k, d + 2 + k)))
        for axis in range(d):
            y = y.flatten(2 + axis, 3 + axis)
        return y

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"levels={self.levels}, padding={self.padding}"
