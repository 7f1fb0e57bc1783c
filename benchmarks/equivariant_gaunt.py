"""Gaunt products beside e3nn's channelwise tensor product of the same degrees, on 500 features of 64 channels.

e3nn has a weight for each triple of degrees and channel. With the weights chosen so that it computes the Gaunt product,
both compute the same numbers, which is checked: `isometry, grid` (and `fft`, `dense`) against `e3nn`. With arbitrary
weights e3nn's function class is larger: `isometry, sum` is a sum of Gaunt products that covers that whole class.
"""

from collections.abc import Iterator

import torch
from e3nn import o3
from torch import Tensor, nn

from benchmarks.race import Step
from isometry.layers.equivariant import GauntProduct, SphericalLayout

NODES, CHANNELS = 500, 64
TERMS = {1: 2, 2: 2, 3: 4, 4: 4, 6: 6}


def paths(lmax: int) -> list[tuple[int, int, int]]:
    """Return the triples of degrees with an even sum that couple."""
    degrees = range(lmax + 1)
    return [
        (a, b, d)
        for a in degrees
        for b in degrees
        for d in degrees
        if (a + b + d) % 2 == 0 and abs(a - b) <= d <= a + b
    ]


class SumOfProducts(nn.Module):
    """Gaunt products with a weight for each degree and channel of both inputs and the output, summed.

    The weights of e3nn's path (a, b, d) are then ``sum_r u_ra v_rb w_rd``. As weights of triples that do not couple
    are free, few terms reach all weights of the paths: ``TERMS``, see ``worst_fit``.
    """

    def __init__(self, lmax: int, channels: int, terms: int) -> None:
        super().__init__()
        self.degrees, self.product = SphericalLayout(lmax).degrees, GauntProduct(lmax, lmax, lmax)
        self.weight = nn.Parameter(torch.randn(terms, 3, lmax + 1, channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum."""
        total = torch.zeros_like(x)
        for first, second, last in self.weight[:, :, self.degrees]:
            total = total + self.product(x * first, y * second) * last
        return total

    @torch.no_grad()
    def path_weights(self) -> list[Tensor]:
        """Return the weight of each path and channel."""
        first, second, last = self.weight.unbind(1)
        return [(first[:, a] * second[:, b] * last[:, d]).sum(0) for a, b, d in paths(first.shape[1] - 1)]


def worst_fit(lmax: int, terms: int) -> float:
    """Return the relative error, worst of three draws, of fits of ``terms`` terms to random weights of all paths."""
    targets = torch.randn(3, len(paths(lmax)), dtype=torch.float64)
    return max(min(fit(lmax, terms, target) for _ in range(4)) for target in targets)


def fit(lmax: int, terms: int, target: Tensor) -> float:
    """Return the relative error of a fit of the weights of all paths, by Levenberg-Marquardt from a random start."""
    index = torch.tensor(paths(lmax)).T

    def weights(factors: Tensor) -> Tensor:
        first, second, last = factors.view(3, lmax + 1, terms).unbind()
        return (first[index[0]] * second[index[1]] * last[index[2]]).sum(1)

    factors, damping = torch.randn(3 * (lmax + 1) * terms, dtype=torch.float64), 1.0
    residual = weights(factors) - target
    for _ in range(300):
        if residual.norm() < 1e-12 * target.norm():
            break
        jacobian = torch.func.jacrev(weights)(factors)
        normal = jacobian.T @ jacobian + damping * torch.eye(len(factors), dtype=torch.float64)
        trial = factors - torch.linalg.solve(normal, jacobian.T @ residual)
        better = (weights(trial) - target).norm() < residual.norm()
        factors, damping = (trial, max(damping / 3, 1e-12)) if better else (factors, damping * 3)
        residual = weights(factors) - target
    return float(residual.norm() / target.norm())


def e3nn_product(lmax: int, channels: int, weights: list[Tensor] | None = None) -> o3.TensorProduct:
    """Return e3nn's product with these weights of the paths, all 1 for the Gaunt product, in e3nn's flat order."""
    irreps = SphericalLayout(lmax).irreps(channels)
    product = o3.TensorProduct(
        irreps,
        irreps,
        irreps,
        [(a, b, d, "uuu", True) for a, b, d in paths(lmax)],
        irrep_normalization="none",
        path_normalization="none",
    )
    with torch.no_grad():
        for place, ((a, b, d), weight) in enumerate(zip(paths(lmax), product.weight_views(), strict=True)):
            gaunt = ((2 * a + 1) * (2 * b + 1) * (2 * d + 1)) ** 0.5 * o3.wigner_3j(a, b, d)[a, b, d]
            weight.copy_(gaunt * (weights[place] if weights else torch.ones(channels)))
    return product


def step(f: nn.Module, inputs: tuple[Tensor, ...], backward: bool) -> Step:
    """Return a step forward without a graph, or forward and backward by the inputs and the parameters."""
    if not backward:

        def run() -> None:
            with torch.no_grad():
                f(*inputs)

        return run
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    variables = [*inputs, *f.parameters()]
    weight = torch.randn_like(f(*inputs))
    return lambda: torch.autograd.grad(f(*inputs), variables, weight)


def gaunt() -> Iterator[tuple[str, dict[str, Step]]]:
    """Yield the name and the contestants of each case."""
    for lmax, terms in TERMS.items():
        layout = SphericalLayout(lmax)
        dense = tuple(torch.randn(2, NODES, layout.size, CHANNELS))
        flat = tuple(layout.to_irreps(x).contiguous() for x in dense)
        if not worst_fit(lmax, terms) < 1e-10:
            raise RuntimeError(f"expected {terms} products to reach all weights of the paths of degree {lmax}")
        theirs, total = e3nn_product(lmax, CHANNELS), SumOfProducts(lmax, CHANNELS, terms)
        ours: dict[str, nn.Module] = {
            f"isometry, {backend}": GauntProduct(lmax, lmax, lmax, backend) for backend in ("grid", "fft", "dense")
        }
        for product in ours.values():
            check(product(*dense), layout.from_irreps(theirs(*flat), CHANNELS))
        weighted = e3nn_product(lmax, CHANNELS, total.path_weights())
        check(total(*dense), layout.from_irreps(weighted(*flat), CHANNELS))
        ours[f"isometry, sum of {terms}"] = total
        for backward in (False, True):
            steps = {name: step(f, dense, backward) for name, f in ours.items()} | {
                "e3nn": step(theirs, flat, backward)
            }
            yield f"Gaunt product {'forward+backward' if backward else 'forward'}, L={lmax}, float32", steps


def check(found: Tensor, expected: Tensor) -> None:
    """Raise unless the results agree."""
    error = float(((found - expected).abs().max() / expected.abs().max()).detach())
    if not error < 1e-5:
        raise RuntimeError(f"expected the result of e3nn, but the relative difference is {error:.1e}")
