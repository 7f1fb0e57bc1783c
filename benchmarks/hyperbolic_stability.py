"""10,000 optimizer steps in float32 far out in hyperbolic space: isometry's layers, and those that stop at an epsilon.

On each of 16 rays from the origin lie two points of eight dimensions, one 2 farther out than the other. A linear layer
with 32 features and a classifier learn which is which. Code that moves points back to an epsilon from the boundary sees
them as one point where both lie beyond it. Reported after the last step: accuracy (0.5 is chance), the part of the rays
whose two points have the same logits to six digits, and the first step at which something was not finite.

    python -m benchmarks.hyperbolic_stability              # writes benchmarks/results/hyperbolic_stability.json
    python -m benchmarks.hyperbolic_stability --quick      # 300 steps, printed and not saved
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

from benchmarks.embedding_race import RESULTS, machine
from isometry.layers.hyperbolic import Classifier, Linear, LorentzLinear, ToHyperbolic
from isometry.manifolds import Lorentz, PoincareBall

DIM, HIDDEN, RAYS = 8, 32, 16
RADII = (4.0, 8.0, 12.0, 16.0)  # of the farther points
STEPS = 10_000
HGCN_EPS = 4e-3  # by which hgcn stays within the unit ball in float32


def ours(manifold: PoincareBall | Lorentz, kind: type[Linear] | type[LorentzLinear]) -> nn.Module:
    """Our layers on either model."""
    hidden = manifold.with_dim(HIDDEN)
    return nn.Sequential(ToHyperbolic(manifold), kind(manifold, hidden), Classifier(hidden, 2))


class Moebius(nn.Module):
    """The layer of Ganea et al. 2018 and of hgcn, in the operations of a library, and hgcn's linear decoder."""

    def __init__(self, exp: Any, log: Any, matvec: Any, add: Any) -> None:
        super().__init__()
        self.exp, self.log, self.matvec, self.add = exp, log, matvec, add
        self.weight = nn.Parameter(nn.Linear(DIM, HIDDEN).weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(HIDDEN))
        self.decoder = nn.Linear(HIDDEN, 2)

    def forward(self, u: Tensor) -> Tensor:
        """Return logits for features."""
        return self.decoder(self.log(self.add(self.matvec(self.weight, self.exp(u / 2)), self.exp(self.bias))))


def with_geoopt() -> nn.Module:
    """The operations of geoopt's ball."""
    ball = geoopt.PoincareBall()
    return Moebius(ball.expmap0, ball.logmap0, lambda w, x: ball.mobius_matvec(w, x, project=True), ball.mobius_add)


def with_hypll() -> nn.Module:
    """The linear layer and the hyperplane distances of hypll."""
    from hypll.manifolds.poincare_ball import Curvature
    from hypll.manifolds.poincare_ball import PoincareBall as Theirs
    from hypll.manifolds.poincare_ball.math.linalg import poincare_hyperplane_dists
    from hypll.nn import HLinear
    from hypll.tensors import TangentTensor

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ball = Theirs(Curvature(1.0, constraining_strategy=lambda c: c))
            self.linear = HLinear(DIM, HIDDEN, self.ball)
            self.z = nn.Parameter(nn.Linear(HIDDEN, 2).weight.detach().mT.clone())
            self.r = nn.Parameter(torch.zeros(2))

        def forward(self, u: Tensor) -> Tensor:
            x = self.ball.expmap(TangentTensor(u / 2, manifold_points=None, manifold=self.ball, man_dim=-1))
            return poincare_hyperplane_dists(self.linear(x).tensor, self.z, self.r, self.ball.c())

    return Model()


def like_hgcn() -> nn.Module:
    """The formulas and clamps of hgcn's ball."""

    def length(x: Tensor) -> Tensor:
        return x.norm(dim=-1, keepdim=True).clamp_min(1e-15)

    def proj(x: Tensor) -> Tensor:
        return torch.where(length(x) > 1 - HGCN_EPS, x / length(x) * (1 - HGCN_EPS), x)

    def artanh(x: Tensor) -> Tensor:
        return x.clamp(-1 + 1e-5, 1 - 1e-5).atanh()

    def exp(u: Tensor) -> Tensor:
        return proj(length(u).clamp(max=15).tanh() * u / length(u))

    def log(x: Tensor) -> Tensor:
        return artanh(length(x)) * x / length(x)

    def matvec(w: Tensor, x: Tensor) -> Tensor:
        wx = x @ w.mT
        return proj((length(wx) / length(x) * artanh(length(x))).clamp(max=15).tanh() * wx / length(wx))

    def add(x: Tensor, y: Tensor) -> Tensor:
        xx, yy, xy = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True), (x * y).sum(-1, keepdim=True)
        total = (1 + 2 * xy + yy) * x + (1 - xx) * y
        return proj(total / (1 + 2 * xy + xx * yy).clamp_min(1e-15))

    return Moebius(exp, log, matvec, add)


CONTESTANTS: dict[str, Callable[[], nn.Module]] = {
    "isometry, ball": lambda: ours(PoincareBall(DIM), Linear),
    "isometry, hyperboloid": lambda: ours(Lorentz(DIM), Linear),
    "isometry, LorentzLinear": lambda: ours(Lorentz(DIM), LorentzLinear),
    "hypll": with_hypll,
    "geoopt": with_geoopt,
    "hgcn's formulas": like_hgcn,
}


def run(make: Callable[[], nn.Module], radius: float, steps: int) -> dict[str, Any]:
    """Train one contestant and return what is reported."""
    torch.manual_seed(0)
    rays = nn.functional.normalize(torch.randn(RAYS, DIM), dim=-1)
    features, target = torch.cat([(radius - 2) * rays, radius * rays]), torch.arange(2).repeat_interleave(RAYS)
    model = make()
    if any("hypll" in type(p).__module__ for p in model.parameters()):
        from hypll.optim import RiemannianAdam as Adam  # torch's refuses its parameters
    else:
        from torch.optim import Adam
    optimizer, bad = Adam(model.parameters(), lr=1e-2), None
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), target)
        loss.backward()
        if not all(v.isfinite().all() for v in (loss, *(p.grad for p in model.parameters() if p.grad is not None))):
            bad = step
            break
        optimizer.step()
    with torch.no_grad():
        logits = model(features)
    near, far = logits.unflatten(0, (2, RAYS))
    same = ((near - far).abs() <= 1e-6 * far.abs()).all(-1)
    return {
        "accuracy": (logits.argmax(-1) == target).double().mean().item(),
        "rays seen as one point": same.double().mean().item(),
        "first step that is not finite": bad,
    }


def main() -> None:
    """Run all contestants at all radii, print, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps, printed and not saved")
    quick = parser.parse_args().quick
    steps = 300 if quick else STEPS
    torch.set_num_threads(1)
    results: dict[str, dict[str, Any]] = {}
    for radius in RADII:
        print(f"points at the radii {radius - 2:g} and {radius:g}")
        for name, make in CONTESTANTS.items():
            result = results.setdefault(name, {})[f"radius {radius:g}"] = run(make, radius, steps)
            shown = "   ".join(f"{k} {v if v is None else f'{v:.3g}'}" for k, v in result.items())
            print(f"    {name:26s}{shown}", flush=True)
    if not quick:
        content = {"machine": machine(), "steps": STEPS, "results": results}
        (RESULTS / "hyperbolic_stability.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
