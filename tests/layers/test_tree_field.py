import math
import random
from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isometry.layers import CosineKernel, ExponentialKernel, PolynomialKernel, TopologicalAttention, TreeFieldIntegrator
from isometry.layers.testing import LayerCase, LayerSuite

Edges = list[tuple[int, int]]
SEVEN: Edges = [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6)]
LENGTHS = [1.0, 2.0, 1.0, 3.0, 1.0, 2.0]


def rational(d: Tensor) -> Tensor:
    return 1 / (1 + d) ** 2


KERNELS: list[Callable[[], nn.Module]] = [
    lambda: ExponentialKernel(0.3),
    lambda: PolynomialKernel([0.5, -0.2, 0.03, 0.001]),
    lambda: CosineKernel(0.7),
]


class TestKernels(LayerSuite):
    cases = tuple(LayerCase(kernel, lambda n: 3 * torch.rand(n), ()) for kernel in KERNELS)


class TestTreeFieldIntegrator(LayerSuite):
    cases = (
        *(
            LayerCase(
                lambda kernel=kernel: TreeFieldIntegrator(SEVEN, 7, kernel(), [0.5 * x for x in LENGTHS]),  # type: ignore[misc]
                lambda n: torch.randn(n, 7, 2),
                (7, 2),
                cond=256.0,
            )
            for kernel in KERNELS
        ),
        LayerCase(lambda: TreeFieldIntegrator(SEVEN, 7, rational, LENGTHS), lambda n: torch.randn(n, 7, 2), (7, 2)),
    )


class TestTopologicalAttention(LayerSuite):
    cases = (
        LayerCase(lambda: TopologicalAttention(4, 2, SEVEN), lambda n: torch.randn(n, 7, 4), (7, 4), cond=256.0),
        LayerCase(
            lambda: TopologicalAttention(4, 1, SEVEN, rational, LENGTHS), lambda n: torch.randn(n, 7, 4), (7, 4), 256.0
        ),
    )


def tree(kind: str, n: int) -> Edges:
    if kind == "random":
        graph = nx.random_labeled_tree(n, seed=0)
    elif kind == "path":
        graph = nx.path_graph(n)
    else:
        graph = nx.star_graph(n - 1)
    return [(int(a), int(b)) for a, b in graph.edges]


def distances(edges: Edges, n: int, lengths: list[float]) -> Tensor:
    """All distances, by Dijkstra."""
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_weighted_edges_from((a, b, x) for (a, b), x in zip(edges, lengths, strict=True))
    found = dict(nx.all_pairs_dijkstra_path_length(graph))
    return torch.from_numpy(np.array([[found[i][j] for j in range(n)] for i in range(n)], dtype=float))


@pytest.mark.parametrize("kind", ["random", "path", "star"])
@pytest.mark.parametrize("n", [2, 3, 17, 250])
def test_it_is_the_sum_over_all_pairs(kind: str, n: int) -> None:
    torch.set_default_dtype(torch.float64)
    edges, rng, x = tree(kind, n), random.Random(1), torch.randn(n, 3)
    whole = [float(rng.randint(1, 5)) for _ in edges]
    broken = [rng.uniform(0.1, 3.0) for _ in edges]
    for lengths, functions in ((whole, [*(k() for k in KERNELS), rational]), (broken, [k() for k in KERNELS])):
        d = distances(edges, n, lengths)
        for f in functions:
            y, expected = TreeFieldIntegrator(edges, n, f, lengths)(x), f(d) @ x
            assert (y - expected).abs().max() < 1e-12 * (f(d).abs() @ x.abs()).max(), f


def test_a_single_node_has_only_itself() -> None:
    torch.set_default_dtype(torch.float64)
    x = torch.randn(1, 2)
    for f, value in ((PolynomialKernel([3.0, 1.0]), 3.0), (lambda d: d + 5, 5.0)):
        assert torch.allclose(TreeFieldIntegrator([], 1, f)(x), value * x)


def test_large_parts_are_transformed_and_the_result_is_the_same() -> None:
    """A path of 1,000 nodes has parts of more distances than Hankel matrices are used for."""
    torch.set_default_dtype(torch.float64)
    n = 1000
    edges, x = tree("path", n), torch.randn(2, n, 3)
    d = (torch.arange(n) - torch.arange(n)[:, None]).abs().double()
    for f in (rational, lambda d: torch.sin(d) / (1 + d), lambda d: (d < 7).double()):
        assert torch.allclose(TreeFieldIntegrator(edges, n, f)(x), f(d) @ x, rtol=0, atol=1e-12)


def test_derivatives_in_the_function() -> None:
    """Of a function of integers, which is a table of numbers: exact against the dense sum."""
    torch.set_default_dtype(torch.float64)
    n = 60
    edges, x = tree("random", n), torch.randn(n, 2)
    lengths = [1.0] * (n - 1)
    d, table = distances(edges, n, lengths).long(), torch.randn(2 * n, requires_grad=True)
    integrator = TreeFieldIntegrator(edges, n, lambda d: table[d.long()])
    weight = torch.randn(n, 2)
    (ours,) = torch.autograd.grad((integrator(x) * weight).sum(), table)
    (expected,) = torch.autograd.grad((table[d] @ x * weight).sum(), table)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-12)


def test_the_members_of_all_groups_are_few() -> None:
    for kind in ("random", "path", "star"):
        for n in (100, 1000):
            integrator = TreeFieldIntegrator(tree(kind, n), n, ExponentialKernel())
            assert len(integrator.node) <= 2 * n * (math.log2(n) + 1)


def test_lengths_that_are_not_of_float32_stay_exact() -> None:
    lengths = [0.1] * 6
    integrator = TreeFieldIntegrator(SEVEN, 7, ExponentialKernel(), lengths).double()
    with torch.no_grad():
        integrator.f.log_rate.fill_(0)
    x = torch.randn(7, 2, dtype=torch.float64)
    expected = torch.exp(-distances(SEVEN, 7, lengths)) @ x
    assert torch.allclose(integrator(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("edges", "n"),
    [
        ([(0, 1), (1, 2), (2, 0)], 3),  # a circle
        ([(0, 1), (2, 3), (2, 3)], 4),  # two parts, one edge twice
        ([(0, 1)], 3),
        ([(0, 0)], 2),
    ],
)
def test_what_is_no_tree_is_refused(edges: Edges, n: int) -> None:
    with pytest.raises(ValueError, match=f"expected a tree, whose n - 1 edges join all {n} nodes"):
        TreeFieldIntegrator(edges, n, ExponentialKernel())


def test_other_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="expected nodes 0 to 1, but an edge joins 0 and 2"):
        TreeFieldIntegrator([(0, 2)], 2, rational)
    with pytest.raises(ValueError, match=r"expected integers as lengths, .* but got the length 0\.5"):
        TreeFieldIntegrator([(0, 1)], 2, rational, [0.5])
    for lengths in ([1.0, 1.0], [0.0], [-1.0], [math.nan]):
        with pytest.raises(ValueError, match="expected 1 positive weights, but got"):
            TreeFieldIntegrator([(0, 1)], 2, ExponentialKernel(), lengths)
    with pytest.raises(ValueError, match="expected 2 rows, but got 3"):
        TreeFieldIntegrator([(0, 1)], 2, rational)(torch.randn(3, 1))
    with pytest.raises(ValueError, match=r"expected a positive rate, but got 0\.0"):
        ExponentialKernel(0.0)
    with pytest.raises(ValueError, match="expected at least one coefficient"):
        PolynomialKernel([])
    with pytest.raises(ValueError, match="expected features that divide by 2, but got 3"):
        TopologicalAttention(3, 2, SEVEN)


# --- attention --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [None, rational])
def test_attention_is_the_masked_matrix(f: Callable[[Tensor], Tensor] | None) -> None:
    torch.set_default_dtype(torch.float64)
    layer, x = TopologicalAttention(6, 2, SEVEN, f, LENGTHS), torch.randn(7, 6)
    mask = (f or ExponentialKernel())(distances(SEVEN, 7, LENGTHS))
    q, k, v = layer.projection(x).chunk(3, -1)
    heads = []
    for head in (slice(0, 3), slice(3, 6)):
        phi_q, phi_k = (nn.functional.elu(y[:, head]) + 1 for y in (q, k))
        weights = mask * (phi_q @ phi_k.T)
        heads.append(weights / weights.sum(1, keepdim=True) @ v[:, head])
    assert torch.allclose(layer(x), layer.output(torch.cat(heads, -1)), rtol=0, atol=1e-13)


def test_a_constant_mask_is_attention_without_one() -> None:
    torch.set_default_dtype(torch.float64)
    layer, order = TopologicalAttention(4, 2, SEVEN, PolynomialKernel([1.0])), torch.randperm(7)
    x = torch.randn(7, 4)
    assert torch.allclose(layer(x[order]), layer(x)[order], atol=1e-12)
