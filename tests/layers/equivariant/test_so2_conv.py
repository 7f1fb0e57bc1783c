import pytest
import torch
from torch import Tensor, nn

from isometry.layers.equivariant import EdgeLayout, SO2Attention, SO2Conv, SO2Depthwise, SO2Frame, SO2Linear, SO2Message
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, invariant, spherical, vectors
from isometry.layers.testing import LayerSuite

EDGES = torch.tensor([[1, 2, 0, 2, 1, 0], [0, 0, 1, 1, 2, 2]])  # of each triangle; atom 3 is alone


class OnTriangles(nn.Module):
    """A convolution over the edges of separate triangles, ``x [n, 4 * size, channels]`` and ``pos [n, 4, 3]``."""

    def __init__(self, conv: nn.Module, lmax: int, mmax: int) -> None:
        super().__init__()
        self.frame, self.conv, self.size = SO2Frame(lmax, mmax), conv, (lmax + 1) ** 2

    def forward(self, x: Tensor, pos: Tensor, scalars: Tensor) -> Tensor:
        n = len(x)
        edges = (4 * torch.arange(n)[:, None, None] + EDGES).transpose(0, 1).reshape(2, -1)
        nodes = pos.reshape(-1, 3)
        vec = nodes[edges[0]] - nodes[edges[1]]
        envelope = torch.exp(-vec.square().sum(-1))
        y = self.conv(x.reshape(4 * n, self.size, x.shape[2]), edges, self.frame(vec), scalars.flatten(0, 1), envelope)
        return y.reshape(n, 4 * self.size, y.shape[2])


def feature(lmax: int, nodes: int) -> object:
    act = spherical(lmax)
    return lambda x, rotation: act(x.unflatten(1, (nodes, -1)), rotation).flatten(1, 2)


def case(
    name: str, make: object, channels_in: int, channels_out: int, lmax: int, mmax: int, group: str
) -> EquivariantCase:
    count = make().num_scalars if name.startswith("attention") else make().product.num_scalars
    width = 2 * channels_in if name != "depthwise" and "ends" in name else channels_in
    size = 4 * (lmax + 1) ** 2
    return EquivariantCase(
        lambda: OnTriangles(make(), lmax, mmax),
        lambda n: (torch.randn(n, size, channels_in), torch.randn(n, 4, 3), torch.randn(n, 6, count, width)),
        (size, channels_out),
        actions_in=(feature(lmax, 4), vectors, invariant),
        action_out=feature(lmax, 4),
        group=group,
        cond=2048.0,  # edges that are shorter than 1/4 enlarge the derivatives of their frames
        name=name,
    )


class TestSO2Conv(EquivariantTests, LayerSuite):
    cases = (
        case("linear", lambda: SO2Conv(SO2Linear(3, 2, 2, 1)), 3, 2, 2, 1, "SO(3)"),
        case("depthwise", lambda: SO2Conv(SO2Depthwise(2, 2, o3=True)), 3, 3, 2, 2, "O(3)"),
        case(
            "message of both ends",
            lambda: SO2Conv(SO2Message(6, 2, 2, 2, 1, o3=True), both_ends=True),
            3,
            2,
            2,
            1,
            "O(3)",
        ),
        case("attention of both ends", lambda: SO2Attention(4, 3, 2, 1, heads=2), 4, 4, 2, 1, "SO(3)"),
        case("attention of both ends, O(3)", lambda: SO2Attention(4, 3, 1, 1, heads=1, o3=True), 4, 4, 1, 1, "O(3)"),
    )


@pytest.mark.parametrize("both_ends", [False, True])
def test_it_is_a_loop_over_edges(both_ends: bool) -> None:
    product = SO2Linear(6 if both_ends else 3, 2, 2, 2)
    edges = torch.randint(5, (2, 12))
    x, frame, envelope = torch.randn(5, 9, 3), SO2Frame(2, 2)(torch.randn(12, 3)), torch.rand(12)
    scalars = torch.randn(12, product.num_scalars, product.channels_in)
    expected = torch.zeros(5, 9, 2)
    for e, (j, i) in enumerate(edges.T.tolist()):
        ends = torch.cat([x[j], x[i]], -1) if both_ends else x[j]
        message = product((frame[e] @ ends)[None], scalars[e : e + 1])[0]
        expected[i] += envelope[e] * frame[e].T @ message
    found = SO2Conv(product, both_ends)(x, edges, frame, scalars, envelope)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    plain = SO2Conv(product, both_ends)(x, edges, frame, scalars)
    assert torch.equal(plain, SO2Conv(product, both_ends)(x, edges, frame, scalars, torch.ones(12)))


def test_without_edges_the_sums_are_zero() -> None:
    frame = SO2Frame(2, 1)(torch.empty(0, 3))
    y = SO2Conv(SO2Linear(3, 2, 2, 1))(torch.randn(4, 9, 3), torch.empty(2, 0, dtype=torch.int64), frame)
    assert torch.equal(y, torch.zeros(4, 9, 2))


def test_products_say_how_many_scalars_they_take() -> None:
    assert SO2Linear(3, 2, 4, 2).num_scalars == sum(EdgeLayout(4, 2).counts) == 12
    assert SO2Depthwise(4, 2).num_scalars == 25 + 2 * 16 + 2 * 9
    assert SO2Depthwise(4, 2, o3=True).num_scalars == 25 + 16 + 9
