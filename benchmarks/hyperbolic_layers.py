"""Hyperbolic layers beside hypll, the formulas of fully hyperbolic networks and their twins of torch.nn, at width 256.

Contestants take turns in one process on one thread; a round gives one ratio of process CPU times. A step is a forward
and a backward pass in float32. isometry computes float32 in float64 where digits would cancel; `upcast=False` does not.

    python -m benchmarks.hyperbolic_layers            # writes benchmarks/results/hyperbolic_layers.json
    python -m benchmarks.hyperbolic_layers linear gcn  # some groups only, printed and not saved
"""

import argparse
import importlib.metadata
import json
import statistics
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from benchmarks.embedding_race import RESULTS, machine
from benchmarks.race import Step, race, times_faster
from isometry.layers.hyperbolic import Conv2d, GraphConv, Linear, LorentzLinear, MultiheadAttention, ToHyperbolic
from isometry.manifolds import Lorentz, PoincareBall

WIDTH, BATCH = 256, 1024
Cases = Iterator[tuple[str, dict[str, Step]]]


def step(module: Callable[..., Tensor], *inputs: Any) -> Step:
    """Return a forward and a backward pass."""
    x = inputs[0].detach().clone().requires_grad_()

    def run() -> None:
        module(x, *inputs[1:]).sum().backward()

    return run


def both(name: str, module: nn.Module, *inputs: Any) -> dict[str, Step]:
    """Return the steps of a module, eager and compiled."""
    return {name: step(module, *inputs), f"{name}, compiled": step(torch.compile(module), *inputs)}


def spaces(dim: int) -> dict[str, PoincareBall | Lorentz]:
    """Return the models in which isometry runs."""
    return {
        "ball": PoincareBall(dim),
        "ball, upcast=False": PoincareBall(dim, upcast=False),
        "hyperboloid": Lorentz(dim),
        "hyperboloid, upcast=False": Lorentz(dim, upcast=False),
    }


def features(*size: int) -> Tensor:
    """Return features that are about two from the origin."""
    return torch.randn(size) * 2 / size[-1] ** 0.5


class FullyHyperbolicLinear(nn.Module):
    """The linear layer of fully hyperbolic networks: time by a sigmoid, the spatial part brought to fit it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width + 1, width + 1)
        self.scale = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, x: Tensor) -> Tensor:
        """Return points of the hyperboloid."""
        y = self.linear(x)
        time = y[..., :1].sigmoid() * self.scale.exp() + 1.1
        space = y[..., 1:]
        square = space.square().sum(-1, keepdim=True).clamp_min(1e-8)
        return torch.cat([time, space * ((time.square() - 1) / square).sqrt()], -1)


class Hypll(nn.Module):
    """A layer of hypll between plain tensors."""

    def __init__(self, make: Callable[..., nn.Module], man_dim: int) -> None:
        super().__init__()
        from hypll.manifolds.poincare_ball import Curvature
        from hypll.manifolds.poincare_ball import PoincareBall as Theirs

        self.manifold, self.man_dim = Theirs(Curvature(1.0)), man_dim
        self.layer = make(manifold=self.manifold)

    def forward(self, x: Tensor) -> Tensor:
        """Return the points as a tensor."""
        from hypll.tensors import ManifoldTensor

        return self.layer(ManifoldTensor(x, manifold=self.manifold, man_dim=self.man_dim)).tensor


def linear() -> Cases:
    """1,024 points."""
    from hypll.nn import HLinear

    u = features(BATCH, WIDTH)
    steps = both("torch", nn.Linear(WIDTH, WIDTH), u)
    for name, space in spaces(WIDTH).items():
        for kind in (Linear, LorentzLinear):
            steps |= both(f"isometry {kind.__name__}, {name}", kind(space, space), ToHyperbolic(space)(u))
    points = ToHyperbolic(PoincareBall(WIDTH))(u)
    steps["hypll"] = step(Hypll(partial(HLinear, WIDTH, WIDTH), -1), points)
    on_sheet = ToHyperbolic(Lorentz(WIDTH))(u)
    steps |= both("fully hyperbolic formula", FullyHyperbolicLinear(WIDTH), on_sheet)
    yield f"linear, {BATCH} x {WIDTH}", steps


def conv() -> Cases:
    """Kernels of 3 x 3, 8 images of 16 x 16."""
    from hypll.nn import HConvolution2d

    for channels, images in ((32, 8), (WIDTH, 2)):
        u = features(images, 16, 16, channels)
        steps = both("torch", nn.Conv2d(channels, channels, 3, padding=1), u.movedim(-1, 1))
        for name, space in spaces(channels).items():
            steps |= both(f"isometry, {name}", Conv2d(space, space, 3, padding=1), ToHyperbolic(space)(u))
        make = partial(HConvolution2d, channels, channels, 3, padding=1, id_init=False)
        steps["hypll"] = step(Hypll(make, 1), ToHyperbolic(PoincareBall(channels))(u).movedim(-1, 1))
        yield f"conv, {images} x 16 x 16 x {channels}", steps


class TorchAttention(nn.Module):
    """Torch's layer as self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(WIDTH, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sequence."""
        return self.layer(x, x, x, need_weights=False)[0]


def attention() -> Cases:
    """8 heads, 8 sequences of 128."""
    u = features(8, 128, WIDTH)
    steps = both("torch", TorchAttention(), u)
    for name, space in spaces(WIDTH).items():
        steps |= both(f"isometry, {name}", MultiheadAttention(space, 8), ToHyperbolic(space)(u))
    yield f"attention, 8 x 128 x {WIDTH}", steps


def gcn() -> Cases:
    """2,708 nodes and 10,556 edges, as Cora has."""
    u, edges = features(2708, WIDTH), torch.randint(2708, (2, 10556))
    steps = both("PyG GCNConv", GCNConv(WIDTH, WIDTH), u, edges)
    for name, space in spaces(WIDTH).items():
        for aggregation in ("centroid", "tangent"):
            layer = GraphConv(space, LorentzLinear(space, space), aggregation=aggregation)
            steps |= both(f"isometry {aggregation}, {name}", layer, ToHyperbolic(space)(u), edges)
    yield f"gcn, 2708 x {WIDTH}, 10556 edges", steps


GROUPS: dict[str, Callable[[], Cases]] = {"linear": linear, "conv": conv, "attention": attention, "gcn": gcn}


def measure(steps: dict[str, Step], rounds: int, seconds: float) -> dict[str, Any]:
    """Return the times of all, and how many times faster than each peer isometry is."""
    times = race(steps, rounds, seconds)
    own = {name: ms for name, ms in times.items() if name.startswith("isometry")}
    return {
        "ms": {name: statistics.median(ms) for name, ms in times.items()},
        "times_faster_than": {
            peer: {name: times_faster(ms, mine)["median"] for name, mine in own.items()}
            for peer, ms in times.items()
            if peer not in own
        },
    }


def show(name: str, result: dict[str, Any]) -> None:
    """Print a case's times."""
    print(name)
    for contestant, ms in result["ms"].items():
        ratios = {peer: r[contestant] for peer, r in result["times_faster_than"].items() if contestant in r}
        print(f"    {contestant:52s}{ms:9.3f} ms   " + "  ".join(f"{p} / it {r:.2f}" for p, r in ratios.items()))


def main() -> None:
    """Run the groups, print them, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", help=f"{', '.join(GROUPS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, printed and not saved")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"expected {', '.join(GROUPS)}, but got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    torch._dynamo.config.recompile_limit = 1000  # every case compiles the same modules for new sizes
    warnings.simplefilter("ignore")
    rounds, seconds = (3, 0.02) if args.quick else (7, 0.2)
    cases = {}
    for group in args.groups or GROUPS:
        torch.manual_seed(0)
        for name, steps in GROUPS[group]():
            cases[name] = measure(steps, rounds, seconds)
            show(name, cases[name])
    if not (args.quick or args.groups):
        setting = machine() | {name: importlib.metadata.version(name) for name in ("hypll", "torch-geometric")}
        rounded = json.loads(json.dumps(cases), parse_float=lambda s: float(f"{float(s):.4g}"))
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in rounded.items())
        head = f'"machine": {json.dumps(setting)},\n"rounds": {rounds}'
        (RESULTS / "hyperbolic_layers.json").write_text(f'{{{head},\n"cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
