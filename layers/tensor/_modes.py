"""Products of batches of tensors with a factor for each of their modes, dimensions 1, 2, ...; 0 is the batch."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.tensor._work import product


def pull(x: Float[Tensor, "b ..."], factors: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "b ..."]:
    """Return ``x x_k U_k^T``; each product is one of matrices, the last mode first, for it needs no copy."""
    for U in reversed(factors):
        x = (x @ U).movedim(-1, 1)
    return x


def push(x: Float[Tensor, "b ..."], factors: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "b ..."]:
    """Return ``x x_k U_k``, contiguous: copies are made while the modes are small."""
    for U in factors:
        x = F.linear(x.movedim(1, -1), U)
    return x


def mode_work(count: int, sizes: Sequence[int], ranks: Sequence[int]) -> int:
    """Return the work of ``pull`` from sizes to ranks, or of ``push`` back."""
    rest = [math.prod(sizes[:k]) * math.prod(ranks[k + 1 : len(sizes)]) for k in range(len(sizes))]
    return sum(product(count * rest[k], n, ranks[k]) for k, n in enumerate(sizes))


def digits(index: Int[Tensor, "n"], sizes: Sequence[int]) -> list[Int[Tensor, "n"]]:
    """Return the index in mixed radix, the most significant digit first."""
    result = []
    for n in reversed(sizes):
        result.append(index % n)
        index = index // n
    return result[::-1]


def gathered(
    core: Float[Tensor, "..."], factors: Sequence[Float[Tensor, "_ _"]], index: Sequence[Int[Tensor, "b"]]
) -> Float[Tensor, "b rest"]:
    """Return the core with its first modes contracted with the rows of their factors at the index."""
    first, *others = (F.embedding(i, U) for i, U in zip(index, factors, strict=True))
    z = first @ core.flatten(1)
    for row in others:
        z = (row.unsqueeze(1) @ z.unflatten(1, (row.shape[1], -1))).squeeze(1)
    return z
