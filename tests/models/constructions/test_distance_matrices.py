"""h-MDS and single linkage."""

import math

import pytest
import torch
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.models.constructions import h_mds, single_linkage_ultrametric
from tests.models.constructions.trees import random_tree, tree_distances

FUNCTIONS = {"h_mds": lambda d: h_mds(d, Lorentz(2)), "single_linkage_ultrametric": single_linkage_ultrametric}


def distances_of(manifold: PoincareBall | Lorentz | Euclidean, x: Tensor) -> Tensor:
    d = manifold.dist(x.unsqueeze(1), x)
    return (d + d.T) / 2


# --- h-MDS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifold", [Lorentz(5), PoincareBall(5), Lorentz(2, c=0.3), PoincareBall(3, c=4.0)], ids=repr)
def test_points_of_the_space_are_recovered(manifold: PoincareBall | Lorentz) -> None:
    distances = distances_of(manifold, manifold.random(60, *manifold.point_shape, dtype=torch.float64))
    points = h_mds(distances, manifold)
    assert manifold.check_point_on_manifold(points)
    off = ~torch.eye(60, dtype=torch.bool)
    error = (distances_of(manifold, points) - distances).abs()
    # eigenvalues are right to eps cosh(largest distance), which is the square of a distance's error at 0
    assert error[off].max() < 1e-9
    assert error.max() < 1e-6


def test_dimensions_that_are_not_needed_are_zero() -> None:
    plane = PoincareBall(2)
    distances = distances_of(plane, plane.random(8, 2, dtype=torch.float64))
    points = h_mds(distances, PoincareBall(20))
    assert torch.allclose(distances_of(PoincareBall(20), points), distances, atol=1e-6)
    assert points[:, 8:].count_nonzero() == 0


def test_isometries_and_the_order_of_points_change_nothing() -> None:
    manifold = Lorentz(3)
    x = manifold.random(20, 4, dtype=torch.float64)
    moved = manifold.act(manifold.random_isometry(dtype=torch.float64), x)
    order = torch.randperm(20)
    first, second = (h_mds(distances_of(manifold, y), Lorentz(2)) for y in (x, moved[order]))
    assert torch.allclose(distances_of(Lorentz(2), first)[order][:, order], distances_of(Lorentz(2), second), atol=1e-6)


def test_in_the_flat_limit_it_is_classical_scaling() -> None:
    """cosh(sqrt(c) d) - 1 = c d^2/2 + O(c^2): the centre and the axes are those of the double-centred matrix."""
    x = torch.randn(30, 4, dtype=torch.float64)
    d2 = torch.cdist(x, x).square()
    centre = torch.eye(30, dtype=torch.float64) - 1 / 30
    values, vectors = torch.linalg.eigh(-centre @ d2 @ centre / 2)
    classical = vectors[:, -2:] * values[-2:].sqrt()
    manifold = Lorentz(2, c=1e-6)
    points = h_mds(d2.sqrt().fill_diagonal_(0), manifold)
    assert torch.allclose(distances_of(manifold, points), torch.cdist(classical, classical), atol=1e-4)


def test_a_tree_is_embedded_with_less_distortion_where_it_is_more_curved() -> None:
    distances = tree_distances(random_tree(60))
    off = ~torch.eye(60, dtype=torch.bool)
    errors = []
    for c in (0.001, 0.1):
        manifold = Lorentz(30, c=c)
        errors.append(((distances_of(manifold, h_mds(distances, manifold)) / distances)[off] - 1).abs().mean())
    assert errors[1] < errors[0] / 2


def test_distances_too_large_for_the_curvature_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sqrt\(c\) d of at most 700, but got 1600; choose a smaller curvature"):
        h_mds(torch.tensor([[0.0, 800.0], [800.0, 0.0]]), PoincareBall(2, c=4.0))


def test_points_that_coincide_may() -> None:
    points = h_mds(torch.zeros(4, 4, dtype=torch.float64), PoincareBall(2))
    assert torch.allclose(points, torch.zeros_like(points), atol=1e-7)


# --- single linkage ------------------------------------------------------------------------------------------


def random_distances(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return distances_of(Euclidean(3), torch.randn(n, 3, generator=generator, dtype=torch.float64)).fill_diagonal_(0)


@pytest.mark.parametrize("case", ["points", "tree", "ties"])
def test_the_ultrametric_is_that_of_scipy(case: str) -> None:
    distances = {
        "points": random_distances(50),
        "tree": tree_distances(random_tree(50)),
        "ties": (4 * random_distances(50)).round(),
    }[case]
    expected = squareform(cophenet(linkage(squareform(distances.numpy()), "single")))
    assert torch.equal(single_linkage_ultrametric(distances), torch.from_numpy(expected))


def test_it_is_an_ultrametric_and_its_own() -> None:
    u = single_linkage_ultrametric(random_distances(30))
    assert (u.unsqueeze(2) <= torch.maximum(u.unsqueeze(1), u.unsqueeze(0)).transpose(1, 2)).all()
    assert torch.equal(single_linkage_ultrametric(u), u)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_stable_and_a_functor(seed: int) -> None:
    d, other = random_distances(25, seed), random_distances(25, seed + 100)
    u = single_linkage_ultrametric(d)
    assert (u - single_linkage_ultrametric(other)).abs().max() <= (d - other).abs().max() + 1e-15
    assert (single_linkage_ultrametric(torch.minimum(d, other)) <= u).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points(n: int) -> None:
    d = random_distances(n)
    assert torch.equal(single_linkage_ultrametric(d), d)


# --- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("i", "j", "value", "message"),
    [
        (0, 1, math.nan, "expected finite distances, but that of 0 and 1 is nan"),
        (1, 2, math.inf, "that of 1 and 2 is inf; where they are of a graph, take a connected component"),
        (0, 1, -1.0, "expected distances >= 0, but that of 0 and 1 is -1.0"),
        (1, 1, 0.5, "expected 0 on the diagonal, but got 0.5"),
        (0, 1, 3.0, r"expected a symmetric matrix, but from 0 to 1 it is 3.0 and back 1.0; take \(d \+ d.T\)/2"),
    ],
)
def test_what_is_no_matrix_of_distances_is_refused(name: str, i: int, j: int, value: float, message: str) -> None:
    distances = 1 - torch.eye(3)
    distances[i, j] = value
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        FUNCTIONS[name](distances)
