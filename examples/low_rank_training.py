"""
Networks that choose their ranks
================================

A fully connected and a convolutional net on handwritten digits (with ``--data`` MNIST's 10,000 test images): dense; in
factors with ranks that adapt (parallel and augmented BUG); in factors of fixed rank, trained by gradient descent on the
manifold and by plain gradient descent on the factors, each at the learning rate of the dense net and at the best of a
few (by validation); and dense, truncated after training to as many parameters as the adaptive net has. The last columns
count the parameters of all layers.
"""

import argparse
import functools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from isometry.layers.tensor import Conv2d, Linear
from isometry.manifolds.low_rank import named_low_rank
from isometry.trainers import Classification
from isometry.trainers.data import Digits, MNIST10k, ShuffledSamples
from isometry.trainers.optim import LowRankOptimizer, RiemannianSGD

Build = Callable[..., nn.Module]
RATE, TUNED = 0.1, (0.03, 0.1, 0.3)


class Dense(nn.Sequential):
    """Three fully connected layers, or two convolutions and a fully connected layer; the last one stays dense."""

    def __init__(self, size: int, kind: str, **factors: Any) -> None:
        linear: Build = functools.partial(Linear, **factors) if factors else nn.Linear

        def conv(channels: int, out: int) -> nn.Module:
            if not factors:
                return nn.Conv2d(channels, out, 3, padding=1)
            room = {"max_rank": (32, channels, 9)} if "max_rank" in factors else {}  # modes: out, in, places
            return Conv2d(channels, out, 3, padding=1, format="tucker", **{**factors, **room})

        if kind == "linear":
            layers = [nn.Flatten(), linear(size * size, 128), nn.ReLU(), linear(128, 128), nn.ReLU()]
            super().__init__(*layers, nn.Linear(128, 10))
        else:
            layers = [nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(size // 8), conv(16, 32)]
            layers += [nn.ReLU(), nn.MaxPool2d(2), conv(32, 64), nn.ReLU(), nn.MaxPool2d(2)]
            super().__init__(*layers, nn.Flatten(), nn.Linear(256, 10))


def parameters(model: nn.Module) -> int:
    """Return how many numbers the layers hold, low-rank ones at their present ranks."""
    tensors = named_low_rank(model).values()
    room = sum(p.numel() for tensor in tensors for p in tensor.parameters)
    present = sum(tensor.manifold.num_parameters(tensor.ranks) for tensor in tensors)
    return sum(p.numel() for p in model.parameters()) - room + present


def accuracy(model: nn.Module, samples: tuple[Tensor, ...]) -> float:
    """Return the share of right answers, in percent."""
    with torch.no_grad():
        return 100 * float((model.eval()(samples[0]).argmax(1) == samples[1]).float().mean())


def train(model: nn.Module, data: Digits | MNIST10k, optimizer: Any, epochs: int, seed: int) -> nn.Module:
    """Return the trained model."""
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", barebones=True)
    trainer.fit(Classification(model, 10, optimizer), ShuffledSamples(data.parts["train"], 64, seed=seed))
    return model


def truncated(model: nn.Module, budget: int) -> nn.Module:
    """Return a dense model with its layers truncated to a common tolerance, the least that meets the budget."""
    for tol in torch.linspace(0.05, 0.95, 19).tolist():
        first, *middle, last = model.children()
        small = nn.Sequential(first, *(_factored(layer, tol) for layer in middle), last)
        if parameters(small) <= budget:
            return small
    return small


def _factored(layer: nn.Module, tol: float) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return Linear.from_dense(layer, tol=tol)
    return Conv2d.from_dense(layer, format="tucker", tol=tol) if isinstance(layer, nn.Conv2d) else layer


def contest(data: Digits | MNIST10k, size: int, kind: str, epochs: int, seed: int) -> dict[str, tuple[float, int]]:
    """Return accuracy and parameters of each contestant."""
    test, results = data.parts["test"], {}

    def run(name: str, optimizer: Any, epochs: int = epochs, **factors: Any) -> nn.Module:
        torch.manual_seed(seed)
        model = train(Dense(size, kind, **factors), data, optimizer, epochs, seed)
        results[name] = accuracy(model, test), parameters(model)
        return model

    low = functools.partial(LowRankOptimizer, lr=RATE)
    rank: Any = 32 if kind == "linear" else (16, 16, 9)
    adaptive: dict[str, Any] = {"rank": rank, "max_rank": 64, "tangent_grad": True}
    dense = run("dense", functools.partial(RiemannianSGD, lr=RATE))
    bug = run("parallel BUG, tol .2", functools.partial(low, integrator="parallel_bug", tol=0.2), **adaptive)
    run("augmented BUG, tol .1", functools.partial(low, integrator="augmented_bug", tol=0.1, n_local=4), **adaptive)
    fixed: dict[str, Any] = {"rank": 8} if kind == "linear" else {"rank": (12, 8, 6)}
    for name, optimizer, tangent_grad in (
        ("on the manifold", LowRankOptimizer, True),
        ("by SGD", RiemannianSGD, False),
    ):
        best = {}
        for rate in TUNED:
            label = f"fixed rank {name}" + ("" if rate == RATE else ", tuned")
            model = run(label, functools.partial(optimizer, lr=rate), **fixed, tangent_grad=tangent_grad)
            best[rate] = accuracy(model, data.parts["val"]), results[label]
        results[f"fixed rank {name}, tuned"] = max(best.values())[1]
    small = truncated(dense, parameters(bug))
    results["dense, truncated after"] = accuracy(small, test), parameters(small)
    return results


def main(data: Path | None = None, seeds: int = 3, epochs: int = 15, smoke: bool = False) -> None:
    """Run the example; ``smoke`` trains for one epoch, to show that it runs."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    images, size = (Digits(), 8) if data is None else (MNIST10k(data), 28)
    for kind in ("linear", "conv"):
        runs = [contest(images, size, kind, 1 if smoke else epochs, seed) for seed in range(1 if smoke else seeds)]
        print(f"{type(images).__name__}, {kind}")
        for name in runs[0]:
            score, count = (torch.tensor([r[name][k] for r in runs], dtype=torch.float64) for k in (0, 1))
            share = 100 * count.mean() / runs[0]["dense"][1]
            spread = score.std(unbiased=False)
            print(f"  {name:34}{score.mean():7.1f} +- {spread:3.1f} %{count.mean():10.0f} ({share:5.1f} %)", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of MNIST's t10k-*-ubyte.gz, instead of the digits")
    parser.add_argument("--seeds", type=int, default=3, help="how many runs the means are of")
    parser.add_argument("--epochs", type=int, default=15, help="of each training")
    parser.add_argument("--smoke", action="store_true", help="one epoch only")
    main(**vars(parser.parse_args()))
