"""
Structures that data reveal
===========================

Three planted structures are recovered from data. A greedy search over tensor networks finds trains and rings, with
their ranks. Gradient descent on a tubal product finds a tensor of low tubal rank among the many that fit 120
measurements of 155 unknowns, the better the smaller its start. A sum of four Kronecker products (a PHM layer) learns
the product of quaternions from examples, and its factors span the matrices of the quaternion units.
"""

import argparse
from collections.abc import Mapping

import torch
from torch import Tensor

from isometry.layers.tensor import Linear
from isometry.manifolds.low_rank import KroneckerRearrangement, MatrixPoint, t_product, t_transpose, tubal_point
from isometry.models import TensorNetwork, search_network

PLANTED: Mapping[str, dict[tuple[int, int], int]] = {
    "train, ranks 2, 3, 2": {(0, 1): 2, (1, 2): 3, (2, 3): 2},
    "ring, ranks 2, 2, 2, 2": {(0, 1): 2, (1, 2): 2, (2, 3): 2, (0, 3): 2},
}


def structures(draws: int) -> None:
    """Search for planted trains and rings of size 5 x 5 x 5 x 5."""
    print("Planted structures of size 5^4, found with exactly their ranks")
    for name, bonds in PLANTED.items():
        found, errors, sizes = 0, [], []
        for seed in range(draws):
            w = TensorNetwork((5,) * 4, bonds, generator=torch.Generator().manual_seed(seed))().detach()
            steps = search_network(w, generator=torch.Generator().manual_seed(seed))
            network = steps[-1].network
            found += {pair: r for pair, r in network.bonds.items() if r > 1} == bonds
            errors.append(steps[-1].error)
            sizes.append(network.num_parameters)
        print(f"  {name:24} {found} of {draws}, {max(sizes)} parameters, error at most {max(errors):.0e}", flush=True)


def tubal(steps: int) -> None:
    """Fit 120 measurements of a tensor with 155 unknowns and of tubal rank 2 by ``U * U^T``, U of 6 columns."""
    print("Tubal rank 2 from 120 measurements, fitted with 6: relative error, third and largest singular value")
    torch.manual_seed(0)
    n, r, k, size = 10, 2, 3, 120
    planted = torch.randn(n, r, k, dtype=torch.float64)
    target = t_product(planted, t_transpose(planted))
    target = target / target.norm()
    measure = torch.randn(size, target.numel(), dtype=torch.float64) / size**0.5
    for alpha in (1e-1, 1e-3, 1e-6):
        generator = torch.Generator().manual_seed(1)
        U = alpha * torch.randn(n, 3 * r, k, generator=generator, dtype=torch.float64)
        U.requires_grad_()
        optimizer = torch.optim.SGD([U], lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            (measure @ (t_product(U, t_transpose(U)) - target).flatten()).square().sum().div(2).backward()
            optimizer.step()
        found = t_product(U, t_transpose(U)).detach()
        s = tubal_point(found).S.diagonal(dim1=-2, dim2=-1).real.amax(0)
        print(f"  start {alpha:.0e}: {(found - target).norm():.1e}, {s[2]:.1e}, {s[0]:.1e}", flush=True)


def units() -> Tensor:
    """Return the matrices of x -> 1 x, i x, j x and k x, ``[4, 4, 4]``."""
    table = torch.zeros(4, 4, 4, dtype=torch.float64)
    signs = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, -1, 1], [1, 1, -1, -1]], dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            table[i, i ^ j, j] = signs[i, j]
    return table


def quaternions(steps: int) -> None:
    """Learn x -> q x for vectors x of 8 quaternions and an 8 x 8 matrix q of them."""
    torch.manual_seed(0)
    basis, q = units(), torch.randn(4, 8, 8, dtype=torch.float64)
    teacher = torch.stack([torch.kron(a, s) for a, s in zip(basis, q, strict=True)]).sum(0) / 8
    assert_product(basis)
    layer = Linear(32, 32, 4, format="kronecker", fold=((4, 8), (4, 8)), bias=False, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=0,
                                  tolerance_change=0, history_size=50)  # fmt: skip
    x = torch.randn(500, 32, dtype=torch.float64)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (layer(x) - x @ teacher.mT).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    dense = layer.to_dense().weight.detach()
    point: MatrixPoint = KroneckerRearrangement((32, 32), (4, 4)).manifold.from_dense(
        KroneckerRearrangement((32, 32), (4, 4)).rearrange(dense), ranks=4
    )
    size = sum(p.numel() for p in layer.parameters())
    angles = torch.linalg.svdvals(point.U.mT @ basis.flatten(1).mT / 2)
    print(f"Hamilton product: loss {float(loss().detach()):.0e}, {dense.numel()} weights in {size} numbers")
    print(f"  the factors span the quaternion units: 1 - smallest cosine = {1 - float(angles.min()):.0e}")


def assert_product(basis: Tensor) -> None:
    """Check ``ij = k`` and ``ijk = -1``."""
    one, i, j, k = basis
    if not (torch.equal(i @ j, k) and torch.equal(i @ j @ k, -one)):
        raise SystemExit("expected the matrices of the quaternion units")


def main(draws: int = 10, steps: int = 3000, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes a draw and few steps."""
    torch.set_num_threads(1)
    structures(1 if smoke else draws)
    tubal(100 if smoke else steps)
    quaternions(100 if smoke else steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10, help="of each planted structure")
    parser.add_argument("--steps", type=int, default=3000, help="of gradient descent")
    parser.add_argument("--smoke", action="store_true", help="a draw and few steps")
    main(**vars(parser.parse_args()))
