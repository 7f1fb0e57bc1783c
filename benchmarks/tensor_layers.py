"""Layers on tensors beside the dense layers of torch and the factorized ones of tensorly-torch, at the same ranks.

Contestants take turns in one process on one thread; a round gives one ratio of process CPU times. Forward passes are in
eval mode without gradients, where isometry may keep an assembled weight; forward+backward gives the gradients of the
input and of all parameters, `tangent` those on the manifold. The limit is the larger of two times: that of the flops
of the matrix products at the rate of a product of 1024 x 1024 matrices, and that in which input, output and
parameters are read or written once, at the rate of a copy.

    python -m benchmarks.tensor_layers              # writes benchmarks/results/tensor_layers.json
    python -m benchmarks.tensor_layers --quick      # some batches, not compiled, printed and not saved
"""

import argparse
import importlib.metadata
import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn

from benchmarks.embedding_race import RESULTS, machine
from benchmarks.equivariant import limit, measure
from benchmarks.race import Step, race
from isometry.layers.tensor import Conv2d, Linear

WIDTH = 1024
FOLD = (32, 32)
LINEAR: dict[str, dict[str, Any]] = {
    "low rank 16": {"format": "low_rank", "rank": 16},
    "low rank 10 %": {"format": "low_rank", "rank": 50},
    "Kronecker, 4 terms": {"format": "kronecker", "rank": 4},
    "Kronecker, 8 terms": {"format": "kronecker", "rank": 8},
    "Tucker 10 %": {"format": "tucker", "rank": 18},
    "Tucker 2 %": {"format": "tucker", "rank": 11},
    "CP 1 %": {"format": "cp", "rank": 82},
    "CP 10 %": {"format": "cp", "rank": 819},
    "TT 1 %": {"format": "tt", "rank": 6},
    "TT 10 %": {"format": "tt", "rank": 51},
}
CONV: dict[str, dict[int, dict[str, Any]]] = {  # by the number of channels, at 10 % of the parameters
    "low rank": {256: {"format": "low_rank", "rank": 23}, 64: {"format": "low_rank", "rank": 6}},
    "Tucker": {256: {"format": "tucker", "rank": (57, 57, 9)}, 64: {"format": "tucker", "rank": (14, 14, 9)}},
    "CP": {256: {"format": "cp", "rank": 113}, 64: {"format": "cp", "rank": 27}},
    "TT": {256: {"format": "tt", "rank": (65, 65, 65)}, 64: {"format": "tt", "rank": (17, 17, 17)}},
}
PEER_NAMES = {"kronecker": "blocktt", "tt": "blocktt", "tucker": "tucker", "cp": "cp"}
"""Two terms of a train of matrices are what a Kronecker layer is, too."""


def peer_linear(format: str, rank: int, implementation: str) -> nn.Module:
    """Return tensorly-torch's layer of the same ranks, its factors normal numbers."""
    import tltorch

    ranks: Any = {"blocktt": (1, rank, 1), "tucker": (rank,) * 4, "cp": rank}[PEER_NAMES[format]]
    layer = tltorch.FactorizedLinear(
        FOLD, FOLD, factorization=PEER_NAMES[format], rank=ranks, implementation=implementation
    )
    return filled(layer)


def peer_conv(format: str, channels: int, rank: Any) -> nn.Module:
    """Return tensorly-torch's convolution of the same ranks, its factors normal numbers."""
    import tltorch

    if format == "tucker":
        rank = (*rank[:2], 3, 3)
    elif format == "tt":
        rank = (1, *rank, 1)
    sizes = (channels, channels, 3)
    return filled(tltorch.FactorizedConv(*sizes, order=2, factorization=format, rank=rank, padding=1, bias=True))


def filled(layer: nn.Module) -> nn.Module:
    """Fill the parameters, which some of the peer's layers leave uninitialised."""
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_().mul_(0.1)
    return layer


def forward(layer: nn.Module, x: Tensor) -> Step:
    """Return a step of inference."""
    layer.eval()

    @torch.no_grad()
    def step() -> Any:
        return layer(x)

    return step


def both(layer: nn.Module, x: Tensor) -> Step:
    """Return a step that computes the gradients of the input and of all parameters."""
    layer.train()
    x = x.clone().requires_grad_()
    weights = torch.randn_like(layer(x))
    variables = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), variables, weights)


def races(
    name: str, layers: dict[str, nn.Module], x: Tensor, compiled: bool
) -> Iterator[tuple[str, dict[str, Step], dict[str, float]]]:
    """Yield the forward race and that with the backward, with the bytes that each contestant moves at least."""
    for what, step in (("forward", forward), ("forward+backward", both)):
        racing = {n: layer for n, layer in layers.items() if what != "forward" or n != "isometry, tangent"}
        steps = {n: step(layer, x) for n, layer in racing.items()}
        if compiled:
            for n, layer in racing.items():
                if n in ("isometry", "torch"):
                    compiled_layer: Any = torch.compile(layer, dynamic=False)
                    steps[f"{n}, compiled"] = step(compiled_layer, x)
        ends = x.numel() + layers["torch"](x).numel()
        times = 1 if what == "forward" else 3
        moved = {n: 4.0 * times * (ends + sum(p.numel() for p in layer.parameters())) for n, layer in racing.items()}
        yield f"{name}, {what}", steps, moved


def linear(quick: bool) -> Iterator[tuple[str, dict[str, Step], dict[str, float]]]:
    """Race layers of 1024 x 1024."""
    for batch in (1, 16, 512) if quick else (1, 16, 128, 512, 1024):
        x = torch.randn(batch, WIDTH)
        for label, options in LINEAR.items():
            format, rank = options["format"], options["rank"]
            layers: dict[str, nn.Module] = {
                "isometry": Linear(WIDTH, WIDTH, **options),
                "torch": nn.Linear(WIDTH, WIDTH),
            }
            if format != "cp":
                layers["isometry, tangent"] = Linear(WIDTH, WIDTH, **options, tangent_grad=True)
            if format in PEER_NAMES:
                layers["tensorly-torch"] = peer_linear(format, rank, "factorized")
                if label != "CP 10 %":  # takes seconds
                    layers["tensorly-torch, reconstructed"] = peer_linear(format, rank, "reconstructed")
            yield from races(f"Linear {label}, batch {batch}", layers, x, not quick)


def conv(quick: bool) -> Iterator[tuple[str, dict[str, Step], dict[str, float]]]:
    """Race convolutions 3 x 3 at 10 % of the parameters, four images."""
    for channels, side in ((256, 28), (64, 56)):
        x = torch.randn(4, channels, side, side)
        for label, by_channels in CONV.items():
            options = by_channels[channels]
            format, rank = options["format"], options["rank"]
            layers: dict[str, nn.Module] = {
                "isometry": Conv2d(channels, channels, 3, padding=1, **options),
                "torch": nn.Conv2d(channels, channels, 3, padding=1),
            }
            if format != "cp":
                more = {**options, "tangent_grad": True}
                layers["isometry, tangent"] = Conv2d(channels, channels, 3, padding=1, **more)
            if format != "low_rank":
                layers["tensorly-torch"] = peer_conv(format, channels, rank)
            yield from races(f"Conv2d {label} 10 %, {channels} channels, {side} x {side}", layers, x, not quick)


GROUPS = {"linear": linear, "conv": conv}


def bandwidth() -> float:
    """Return the bytes per millisecond that a copy of a large tensor reads and writes."""
    a, b = torch.randn(2, 1 << 24)
    return 2 * 4 * a.numel() / min(race({"copy": lambda: b.copy_(a)}, 5, 0.2)["copy"])


def show(name: str, result: dict[str, Any]) -> None:
    """Print a case's result, one line for each contestant."""
    print(name)
    for contestant, ms in result["ms"].items():
        ratios = [
            f"{ours} {ratio['median']:.2f} times ({ratio['least']:.2f} to {ratio['most']:.2f})"
            for ours, ratio in result["times_faster_than"].get(contestant, {}).items()
        ]
        share = result["limit / time"][contestant]
        print(f"    {contestant:30s}{ms:9.3f} ms {share:5.0%} of the limit   {'   '.join(ratios)}", flush=True)


def main() -> None:
    """Run the cases, print them, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", help=f"{', '.join(GROUPS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="some batches, not compiled, printed and not saved")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"expected {', '.join(GROUPS)}, but got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    torch._dynamo.config.recompile_limit = 1000  # every case compiles the same modules for new sizes
    warnings.simplefilter("ignore")  # of what tensorly-torch says about its reconstruction
    rounds, seconds = (3, 0.02) if args.quick else (7, 0.1)

    fastest, rate, cases = limit(), bandwidth(), {}
    for group in args.groups or GROUPS:
        torch.manual_seed(0)
        start = time.perf_counter()
        for name, steps, moved in GROUPS[group](args.quick):
            result = measure(steps, rounds, seconds, fastest)
            del result["of the limit"]
            result["limit / time"] = {
                n: max(1e9 * result["gflop"][n] / fastest, moved[n.removesuffix(", compiled")] / rate) / ms
                for n, ms in result["ms"].items()
            }
            cases[name] = result
            show(name, result)
        print(f"{group}: {time.perf_counter() - start:.0f} s", flush=True)
    if not (args.quick or args.groups):
        versions = {name: importlib.metadata.version(name) for name in ("tensorly", "tensorly-torch")}
        save(machine() | versions | {"gflop_per_s": fastest / 1e6, "gb_per_s": rate / 1e6}, rounds, cases)


def save(setting: dict[str, Any], rounds: int, cases: dict[str, Any]) -> None:
    """Write the results, four digits and one line for each case, for readable diffs."""
    rounded = json.loads(json.dumps(cases), parse_float=lambda s: float(f"{float(s):.4g}"))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in rounded.items())
    head = f'"machine": {json.dumps(setting)},\n"rounds": {rounds}'
    (RESULTS / "tensor_layers.json").write_text(f'{{{head},\n"cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
