"""
How wide the sum over a set must be
===================================

A sum of features over a set determines the set if there are enough features: a number polynomial in the size of the
set and the dimension of its elements (LP: powers of linear features; LE: exponentials). For sets that differ by little,
this measures how well: the least change of the sums by a unit change of the elements, the smallest singular value of
their derivative, which is 0 as long as there are too few. It is positive from about as many features as the set has
numbers, far below the bound.

Then, a network (DeepSets) learns a function of four numbers, the second smallest, from sums of different width.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from isometry.layers import LEAggregation, LPAggregation
from isometry.models import DeepSets
from isometry.trainers.optim import RiemannianAdam

Aggregation = LPAggregation | LEAggregation


def least_change(aggregation: Aggregation, x: Tensor) -> float:
    """Return the smallest singular value of the derivative of the sums in the elements; 0 if they are fewer."""
    jacobian = torch.autograd.functional.jacobian(lambda x: aggregation(x)[0], x).flatten(1)
    values = torch.linalg.svdvals(jacobian)
    return float(values[-1]) if len(jacobian) >= x.numel() else 0.0


def separation(size: int, dim: int, ratios: Sequence[float], trials: int) -> dict[str, list[float]]:
    """Return the median of the least change over random sets, for widths relative to the numbers in a set."""
    medians: dict[str, list[float]] = {"LP": [], "LE": []}
    for ratio in ratios:
        directions = max(round(ratio * dim), 1)
        makers: dict[str, Callable[[], Aggregation]] = {
            "LP": partial(LPAggregation, dim, directions, size, dtype=torch.float64),
            "LE": partial(LEAggregation, dim, directions * size, radius=0.25, dtype=torch.float64),
        }
        for name, make in makers.items():
            sets = (torch.rand(size, dim, dtype=torch.float64) - 0.5 for _ in range(trials))
            medians[name].append(float(torch.tensor([least_change(make(), x) for x in sets]).median()))
    return medians


def rank_error(aggregation: Aggregation, steps: int) -> float:
    """Train a network on the second smallest of four numbers; return the unexplained share of its variance."""
    x, tested = (2 * torch.rand(count, 4, 1) - 1 for count in (4096, 1024))
    model = DeepSets(1, aggregation, 64, 1)
    optimizer = RiemannianAdam(model, lr=3e-3)
    for step in range(steps):
        batch = x[step * 256 % 4096 :][:256]
        loss = nn.functional.mse_loss(model(batch), batch.sort(1).values[:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        target = tested.sort(1).values[:, 1]
        return float(nn.functional.mse_loss(model(tested), target) / target.var())


def main(smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes few sets and steps, to show that it runs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ratios = (0.5, 1.0, 1.5, 2.0, 3.0)
    sizes = ((2, 2),) if smoke else ((2, 2), (4, 3), (8, 3), (16, 4))
    print("least change of the sums; features: ratio x (size x dimension)")
    print(f"{'':6}{'size':>5}{'dim':>4}" + "".join(f"{ratio:10.1f}" for ratio in ratios) + f"{'bound':>10}")
    for size, dim in sizes:
        for name, values in separation(size, dim, ratios, 2 if smoke else 10).items():
            bound = size**5 * dim**2 if name == "LP" else size**4 * dim**2
            print(f"{name:6}{size:5}{dim:4}" + "".join(f"{value:10.1e}" for value in values) + f"{bound:10}")
            if not smoke and not (values[0] == 0 and values[-1] > 1e-6):
                raise SystemExit("expected no separation below as many features as numbers, and one above")
    print("\nsecond smallest of 4 numbers: unexplained share of the variance")
    steps = 10 if smoke else 2000
    for powers in (1, 2, 3, 4):
        print(f"LP, {powers} powers of 2 features  {rank_error(LPAggregation(1, 2, powers), steps):8.3f}")
    for width in (1, 2, 4, 8):
        print(f"LE, {width} exponentials         {rank_error(LEAggregation(1, width, radius=0.25), steps):8.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few sets and steps")
    main(**vars(parser.parse_args()))
