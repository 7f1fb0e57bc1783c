"""Ranks under a budget of parameters."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from isometry.manifolds.low_rank._linalg import unfold


def mode_energies(w: Inexact[Tensor, "..."], d: int) -> list[Float[Tensor, "_"]]:
    """Return ``sum sigma_i^2`` of the unfolding of each of the last d modes, by i, descending; batches add up."""
    spectra = [torch.linalg.svdvals(unfold(w, k, d)).square() for k in range(d)]
    padded = [torch.nn.functional.pad(s, (0, w.shape[k - d] - s.shape[-1])) for k, s in enumerate(spectra)]
    return [s.reshape(-1, s.shape[-1]).sum(0) for s in padded]


def select_tucker_ranks(energies: Sequence[Float[Tensor, "_"]], budget: int) -> tuple[int, ...]:
    r"""Return the core shape that keeps most energy in a budget of parameters ("Tucker packing").

    ``max sum_k sum_(i <= r_k) sigma_(k,i)^2  subject to  prod_k r_k + sum_k n_k r_k <= budget``

    The energy left out bounds the error E of the best Tucker approximation of that shape: ``left out / d <= E^2 <= left
    out``. The maximum is exact, by enumeration: partial shapes that the budget rules out are dropped mode by mode, and
    the longest mode takes what is left of the budget. For layers (four modes, five with three long ones) that is a
    matter of milliseconds; the work grows with the product of all modes but the longest.

    Args:
        energies: Squared singular values of each unfolding, descending, as many as the mode is long.
        budget: Largest number of parameters, those of the factors included.

    Raises:
        ValueError: The budget is less than the parameters of rank 1.

    Source: Ghadiri, Fahrbach, Fu & Mirrokni 2023, Approximately optimal core shapes for Tensor decompositions.
    """
    sizes = [len(e) for e in energies]
    least = 1 + sum(sizes)
    if budget < least:
        raise ValueError(
            f"select_tucker_ranks: expected a budget of at least {least} parameters, those of rank 1 for the shape "
            f"{tuple(sizes)}, but got {budget}."
        )
    shapes = _maximal_shapes(sizes, budget)
    kept = [torch.cumsum(e.double().cpu(), 0)[shapes[:, k] - 1] for k, e in enumerate(energies)]
    return tuple(shapes[int(torch.stack(kept).sum(0).argmax())].tolist())


def _maximal_shapes(sizes: Sequence[int], budget: int) -> Int[Tensor, "shapes d"]:
    """Return the core shapes in the budget whose rank in the longest mode cannot grow, but those nothing attains.

    A shape with ``r_k > prod_(j != k) r_j`` is attained by no tensor: its unfolding k has fewer columns than rows.
    """
    d, longest = len(sizes), max(range(len(sizes)), key=lambda k: sizes[k])
    shapes = torch.ones(1, d, dtype=torch.int64)
    for k in range(d):
        if k != longest:
            shapes = shapes.repeat_interleave(sizes[k], 0)
            shapes[:, k] = torch.arange(1, sizes[k] + 1).repeat(len(shapes) // sizes[k])
            shapes = shapes[_parameters(shapes, sizes) <= budget]
    others = shapes.prod(1)
    rest = budget - (_parameters(shapes, sizes) - others - sizes[longest])
    shapes[:, longest] = torch.minimum(rest // (others + sizes[longest]), others).clamp(max=sizes[longest])
    product = shapes.prod(1, keepdim=True)
    return shapes[(shapes * shapes <= product).all(1)]


def _parameters(shapes: Int[Tensor, "shapes d"], sizes: Sequence[int]) -> Int[Tensor, "shapes"]:
    return shapes.prod(1) + (shapes * torch.tensor(sizes)).sum(1)


def select_ranks(
    energies: Sequence[Float[Tensor, "_"]], parameters: Callable[[tuple[int, ...]], int], budget: int
) -> tuple[int, ...]:
    r"""Return ranks that keep much energy in a budget of parameters, for any format with one spectrum per rank.

    From rank 1 on, grow the rank with the greatest gain of energy per parameter, as long as one fits: a heuristic that
    keeps 0.9 or more of the most that fits for noise, and all of a tensor whose ranks fit. The energy left out bounds
    the squared error of a train or a tree from above, and each rank's own from below.

    Args:
        energies: Squared singular values of the matricization of each rank, descending; no rank exceeds their number.
        parameters: The number of parameters of given ranks.
        budget: Largest number of parameters.

    Raises:
        ValueError: The budget is less than the parameters of rank 1.
    """
    ranks = (1,) * len(energies)
    if budget < parameters(ranks):
        raise ValueError(
            f"select_ranks: expected a budget of at least {parameters(ranks)} parameters, those of rank 1, "
            f"but got {budget}."
        )
    spectra = [e.tolist() for e in energies]
    while True:
        used, best = parameters(ranks), (0.0, ranks)
        for k, spectrum in enumerate(spectra):
            grown = (*ranks[:k], ranks[k] + 1, *ranks[k + 1 :])
            if ranks[k] < len(spectrum) and parameters(grown) <= budget:
                best = max(best, (spectrum[ranks[k]] / (parameters(grown) - used), grown))
        if best[1] == ranks:
            return ranks
        ranks = best[1]
