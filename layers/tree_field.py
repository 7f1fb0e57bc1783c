"""Sums over all nodes of a tree, weighted by a function of the distance."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._separator_tree import separate
from isometry.layers.equivariant._constants import Constants

_DENSE = 64  # distances of a group up to which a product with its Hankel matrix beats Fourier transforms


class TreeFieldIntegrator(Constants):
    r"""Sums ``y_i = sum_j f(d(i, j)) x_j`` over all nodes j of a tree, exactly, without the matrix of distances.

    Every path leads through the centroid of one of at most ``n log n`` nested parts of the tree, where its length is a
    sum. A function f that splits, ``f(a + b) = u(a) . v(b)``, costs ``O(r n log n)``. Any other needs lengths that are
    integers: then the sums of a part are a Hankel matrix's product, by Fourier transforms from size 64 on, and cost
    ``O(n log^2 n)``. The parts are found once, and all of them are summed at the same time.

    Args:
        edges: The ``n - 1`` pairs of joined nodes.
        num_nodes: n, at least 1.
        f: Maps distances to weights, entry by entry: a module with ``factors``, as ``ExponentialKernel``,
            ``PolynomialKernel`` and ``CosineKernel``, or any function. It must be finite up to twice the diameter.
        weights: Positive lengths of the edges; 1 by default.

    Raises:
        ValueError: If this is no tree, or a length is not positive, or not an integer where f does not split.

    Accuracy: some eps relative to ``sum_j |f|_max |x_j|``, f taken up to twice the diameter.

    Source: Choromanski et al. 2024, Fast tree-field integrators: from low displacement rank to topological
    transformers; the split by centroids is our own choice.
    """

    node: Tensor  # [M], of each member of a group
    sign: Tensor  # [M, 1]
    group: Tensor  # [M]
    distance: Tensor  # [M], from the centroid
    cell: Tensor  # [M], where a member's distance is counted in its group

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        num_nodes: int,
        f: Callable[[Tensor], Tensor],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if weights is None:
            weights = [1.0] * len(edges)
        if len(weights) != len(edges) or not all(weight > 0 for weight in weights):
            raise ValueError(f"TreeFieldIntegrator: expected {len(edges)} positive weights, but got {weights}.")
        self.f = f
        self.num_nodes = num_nodes
        node, group, distance, sign = separate(edges, weights, num_nodes)
        self.num_groups = len(sign)
        self.register_buffer("node", node, persistent=False)
        self.register_buffer("sign", sign[group].unsqueeze(-1), persistent=False)
        self._splits = hasattr(f, "factors")
        if self._splits:
            self.register_buffer("group", group, persistent=False)
            self.register_constant("distance", distance)
        elif all(float(weight).is_integer() for weight in weights):
            self.register_buffer("cell", self._count(group, distance.long()), persistent=False)
        else:
            raise ValueError(
                "TreeFieldIntegrator: expected integers as lengths, or an f with `factors`, such as ExponentialKernel, "
                f"but got the length {next(weight for weight in weights if not float(weight).is_integer())}."
            )

    def _count(self, group: Tensor, distance: Tensor) -> Tensor:
        """Give each group as many cells as it has distances, a power of two, and put equal groups side by side."""
        largest = torch.zeros(self.num_groups, dtype=torch.int64).scatter_reduce(0, group, distance, "amax")
        cells = torch.tensor([1 << int(m).bit_length() for m in largest])  # m + 1 at least
        sizes, counts = cells.unique(return_counts=True)
        self._buckets = list(zip(sizes.tolist(), counts.tolist(), strict=True))
        order = cells.argsort(stable=True)
        start = torch.empty_like(cells)
        start[order] = cells[order].cumsum(0) - cells[order]
        return start[group] + distance

    def forward(self, x: Float[Tensor, "*b n c"]) -> Float[Tensor, "*b n c"]:
        """Return the weighted sums of the rows of ``x``."""
        if x.shape[-2] != self.num_nodes:
            raise ValueError(f"TreeFieldIntegrator: expected {self.num_nodes} rows, but got {x.shape[-2]}.")
        return self._split(x) if self._splits else self._hankel(x)

    def _split(self, x: Tensor) -> Tensor:
        u, v = self.f.factors(self.distance)  # type: ignore[attr-defined]
        u = self.sign * u
        y = x.new_zeros(x.shape)
        for k in range(u.shape[-1]):
            terms = v[:, k : k + 1] * x.index_select(-2, self.node)
            sums = x.new_zeros(*x.shape[:-2], self.num_groups, x.shape[-1]).index_add(-2, self.group, terms)
            y = y.index_add(-2, self.node, u[:, k : k + 1] * sums.index_select(-2, self.group))
        return y

    def _hankel(self, x: Tensor) -> Tensor:
        cells = sum(size * count for size, count in self._buckets)
        counted = x.new_zeros(*x.shape[:-2], cells, x.shape[-1]).index_add(-2, self.cell, x.index_select(-2, self.node))
        parts = counted.split([size * count for size, count in self._buckets], -2)
        f = self.f(torch.arange(2 * self._buckets[-1][0] - 1, dtype=x.dtype, device=x.device))
        sums = [
            _hankel_product(f[: 2 * size - 1], part.unflatten(-2, (count, size))).flatten(-3, -2)
            for (size, count), part in zip(self._buckets, parts, strict=True)
        ]
        return x.new_zeros(x.shape).index_add(
            -2, self.node, self.sign * torch.cat(sums, -2).index_select(-2, self.cell)
        )

    def extra_repr(self) -> str:
        """Return the number of nodes."""
        return f"num_nodes={self.num_nodes}"


def _hankel_product(f: Float[Tensor, " m"], x: Float[Tensor, "*b n c"]) -> Float[Tensor, "*b n c"]:
    """Return ``y_a = sum_b f_{a + b} x_b`` for ``m = 2 n - 1``."""
    n = x.shape[-2]
    if n <= _DENSE:
        return f.unfold(0, n, 1) @ x
    transformed = torch.fft.rfft(f, 2 * n).unsqueeze(-1) * torch.fft.rfft(x, 2 * n, -2).conj()
    return torch.fft.irfft(transformed, 2 * n, -2)[..., :n, :]
