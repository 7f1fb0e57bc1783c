"""
Poisson's equation in 50 and in 10,000 dimensions
=================================================

``Delta u = f`` in the unit ball, 0 on its boundary, for the "two-body" solution ``(1 - |x|^2) g(x)``, ``g = sum_i c_i
sin(x_i + cos x_(i+1) + x_(i+1) cos x_i)``. A network cannot afford a Hessian of 10,000 coordinates; directional Taylor
derivatives along a few of them estimate the Laplacian without bias. In a ball of so many dimensions every coordinate is
small and g is nearly constant, so the honest floor is the best multiple of ``1 - |x|^2``. Errors are root mean squares
over 1,000 points, relative to the solution.
"""

import argparse
import functools
import logging
import time
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from isometry.manifolds import directional_derivatives, laplacian
from isometry.trainers import PhysicsInformed
from isometry.trainers.data import Collocation
from isometry.trainers.optim import RiemannianAdam


class TwoBody:
    """The solution and its Laplacian, ``(1 - |x|^2) Delta g - 4 x . grad g - 2 n g``."""

    def __init__(self, n: int, seed: int) -> None:
        self.c = torch.randn(n - 1, generator=torch.Generator().manual_seed(seed)) / n**0.5
        self.n = n

    @staticmethod
    def pair(a: Tensor, b: Tensor) -> Tensor:
        """Return the term of two neighbouring coordinates."""
        return (a + b.cos() + b * a.cos()).sin()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the solution."""
        return (1 - x.square().sum(-1)) * (self.c * self.pair(x[..., :-1], x[..., 1:])).sum(-1)

    def laplacian(self, x: Tensor) -> Tensor:
        """Return its Laplacian, exactly: only pairs of coordinates interact."""
        a, b = x[..., :-1], x[..., 1:]
        g, g_a, g_aa = directional_derivatives(lambda a: self.pair(a, b), a, torch.ones_like(a), 2)
        _, g_b, g_bb = directional_derivatives(lambda b: self.pair(a, b), b, torch.ones_like(b), 2)
        inner = (1 - x.square().sum(-1, keepdim=True)) * (g_aa + g_bb) - 4 * (a * g_a + b * g_b) - 2 * self.n * g
        return (self.c * inner).sum(-1)


class BallNetwork(nn.Module):
    """A network that vanishes on the unit sphere."""

    def __init__(self, n: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        sizes = [n, *[width] * depth]
        hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
        self.body = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values ``[b]``."""
        return (1 - x.square().sum(-1)) * self.body(x).squeeze(-1)


def in_ball(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Return points of uniform direction and uniform distance from the center."""
    x = nn.functional.normalize(torch.randn(count, n, generator=generator), dim=-1)
    return torch.rand(count, 1, generator=generator) * x


def solve(n: int, epochs: int, batch_size: int, seed: int, **estimate: Any) -> tuple[float, float, float]:
    """Return the relative error of the trained network and of the floor, and the seconds of training."""
    torch.manual_seed(seed)
    solution = TwoBody(n, seed)
    data = Collocation(functools.partial(in_ball, n), solution, batch_size=batch_size, batches=20, seed=seed)

    def residual(u: nn.Module, x: Tensor) -> Tensor:
        return (laplacian(u, x, **estimate) - solution.laplacian(x)) / (2 * n)

    optimizer = functools.partial(RiemannianAdam, lr=1e-3)
    schedule = functools.partial(torch.optim.lr_scheduler.LinearLR, start_factor=1, end_factor=0, total_iters=epochs)
    task = PhysicsInformed(BallNetwork(n), residual, optimizer, schedule)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
        **quiet,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(task, data)
    seconds = time.perf_counter() - start
    x = in_ball(n, 1000, torch.Generator().manual_seed(seed + 1))
    true, bump = solution(x), 1 - x.square().sum(-1)
    floor = true - bump * (true @ bump) / (bump @ bump)
    (tested,) = trainer.test(task, data, verbose=False)
    return tested["test/relative_error"], float(floor.norm() / true.norm()), seconds


def main(seeds: int = 1, smoke: bool = False) -> None:
    """Run the example with so many seeds; ``smoke`` takes a few steps in fewer dimensions, to show that it runs."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    high = 200 if smoke else 10_000
    sparse, hutchinson = {"method": "sparse", "samples": 16}, {"method": "hutchinson", "samples": 16}
    runs = [(50, 100, "exact", {}, 25), (50, 100, "sparse, 16 of 50", sparse, 60)]
    runs += [
        (50, 100, "Hutchinson, 16", hutchinson, 60),
        (high, 64, f"sparse, 4 of {high}", {**sparse, "samples": 4}, 75),
    ]
    print(f"{'n':>6} {'estimate':24}{'steps':>6}{'seconds':>9}{'relative error':>16}{'multiple of 1-|x|^2':>22}")
    for n, batch_size, name, estimate, epochs in runs:
        epochs = 1 if smoke else epochs
        results = [solve(n, epochs, batch_size, seed, **estimate) for seed in range(seeds)]
        error, floor, seconds = torch.tensor(results).mean(0).tolist()
        print(f"{n:6} {name:24}{20 * epochs:6}{seconds:9.1f}{error:16.5f}{floor:22.5f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many runs the means are of")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    main(**vars(parser.parse_args()))
