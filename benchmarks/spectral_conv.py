"""Spectral convolutions beside neuraloperator's, and tensor regression beside tensorly-torch's.

Forward and backward, float32. Contestants have the same weights' shapes and take turns in one process on one thread; a
round gives one ratio of process CPU times. Outputs are checked to be equal for dense weights, which are mapped.

    python -m benchmarks.spectral_conv            # writes benchmarks/results/spectral_conv.json
    python -m benchmarks.spectral_conv --quick    # fewer rounds, printed and not saved
"""

import argparse
import importlib.metadata
import json
import statistics
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from neuralop.layers.spectral_convolution import SpectralConv as PeerConv
from tltorch import TRL
from torch import nn

from benchmarks.embedding_race import RESULTS, machine
from benchmarks.race import Step, race, times_faster
from isometry.layers.tensor import SpectralConv, TensorRegression

GOAL = 1.7
SIZES = [  # dimension, channels, points, batch
    (2, 64, 64, 8),
    (2, 32, 128, 4),
    (2, 32, 16, 32),
    (1, 64, 256, 16),
    (1, 64, 1024, 8),
]
SHARES = {"a quarter": 4, "half": 2}


def step(layer: nn.Module, x: torch.Tensor) -> Step:
    """Return a forward and backward pass."""
    variables = [x, *layer.parameters()]

    def run() -> None:
        y = layer(x)
        torch.autograd.grad(y, variables, torch.ones_like(y))

    return run


def convolutions() -> Iterator[tuple[str, dict[str, Step]]]:
    """Dense weights, and Tucker ones of a tenth of the parameters."""
    for d, channels, n, batch in SIZES:
        for share, divisor in SHARES.items():
            modes = (n // divisor,) * d
            x = torch.randn(batch, channels, *(n,) * d, requires_grad=True)
            name = f"{d}-d, {channels} channels, {n} points, batch {batch}, modes {share}"
            peer, own = PeerConv(channels, channels, modes), SpectralConv(channels, channels, modes)
            weight = peer.weight.to_tensor().detach().permute(*range(2, 2 + d), 0, 1).contiguous()
            with torch.no_grad():
                own.weight.get_parameter("weight").copy_(torch.view_as_real(weight))
                own.get_parameter("bias").copy_(peer.bias.flatten())
                expected = peer(x)
                if not (own(x) - expected).abs().max() < 1e-4 * expected.abs().max():
                    raise SystemExit(f"{name}: the outputs differ")
            yield f"dense, {name}", {"neuraloperator": step(peer, x), "isometry": step(own, x)}
            options = {"factorization": "tucker", "rank": 0.1}
            steps = {
                f"neuraloperator, {how}": step(PeerConv(channels, channels, modes, implementation=how, **options), x)
                for how in ("factorized", "reconstructed")
            }
            own = SpectralConv(channels, channels, modes, format="tucker", budget=weight.numel() // 5)
            yield f"tucker, {name}", {**steps, "isometry": step(own, x)}


def regressions() -> Iterator[tuple[str, dict[str, Step]]]:
    """The head of a network of images: 256 channels of 7 x 7 to 10 and to 1,000 outputs."""
    for outputs, batch in ((10, 64), (1000, 64), (1000, 1)):
        for format, rank, peer_rank in (("tucker", (10, 64, 5, 5), [64, 5, 5, 10]), ("cp", 64, 64)):
            x = torch.randn(batch, 256, 7, 7, requires_grad=True)
            peer = TRL((256, 7, 7), (outputs,), bias=True, factorization=format, rank=peer_rank)
            own = TensorRegression((256, 7, 7), (outputs,), format=format, rank=rank)
            steps = {"tensorly-torch": step(peer, x), "isometry": step(own, x)}
            yield f"regression, {format}, {outputs} outputs, batch {batch}", steps


def measure(steps: dict[str, Step], rounds: int, seconds: float) -> dict[str, Any]:
    """Return the times, and how many times faster than each peer isometry is."""
    times = race(steps, rounds, seconds)
    own = times["isometry"]
    return {
        "ms": {name: statistics.median(ms) for name, ms in times.items()},
        "times_faster_than": {peer: times_faster(ms, own) for peer, ms in times.items() if peer != "isometry"},
    }


def main() -> None:
    """Run the cases, print them, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, printed and not saved")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    rounds, seconds = (3, 0.02) if args.quick else (7, 0.1)
    cases = {}
    for name, steps in [*convolutions(), *regressions()]:
        cases[name] = measure(steps, rounds, seconds)
        print(name)
        for contestant, ms in cases[name]["ms"].items():
            ratio = cases[name]["times_faster_than"].get(contestant)
            faster = f"   {ratio['median']:.2f} times ({ratio['least']:.2f} to {ratio['most']:.2f})" if ratio else ""
            print(f"    {contestant:32s}{ms:9.3f} ms{faster}", flush=True)
    dense = {name: c["times_faster_than"]["neuraloperator"]["median"] for name, c in cases.items() if "dense" in name}
    reached = [name for name, ratio in dense.items() if ratio >= GOAL]
    print(f"{len(reached)} of {len(dense)} dense cases are {GOAL} times faster than neuraloperator")
    if not args.quick:
        versions = {name: importlib.metadata.version(name) for name in ("neuraloperator", "tensorly-torch")}
        rounded = json.loads(json.dumps(cases), parse_float=lambda s: float(f"{float(s):.4g}"))
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in rounded.items())
        head = f'"machine": {json.dumps(machine() | versions)},\n"rounds": {rounds}'
        (RESULTS / "spectral_conv.json").write_text(f'{{{head},\n"cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
