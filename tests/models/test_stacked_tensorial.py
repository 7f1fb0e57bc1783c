"""Stacked tensorial networks: written out with dense matrices, they fit a family of functions, mistakes refused."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import StackedTensorialNetwork, TensorialNetwork


def stacked(rank: int = 3, stack: int = 2) -> StackedTensorialNetwork:
    return StackedTensorialNetwork(2, [(2, 3), (4, 3)], (4, 5), rank, stack=stack, gate_width=6)


class TestStacked(LayerSuite):
    cases = (
        LayerCase(stacked, lambda count: torch.randn(count, 2), (4, 5), cond=512.0, name="stacked"),
        LayerCase(
            lambda: TensorialNetwork([(2, 3), (4, 3), (2, 2)], 2),
            lambda count: torch.randn(count, 2, 3),
            (2, 2),
            cond=512.0,
            name="single",
        ),
    )


def test_it_is_written_out() -> None:
    model = stacked().double()
    p = torch.randn(7, 2, dtype=torch.float64)

    def matrix(network: TensorialNetwork, y: Tensor) -> Tensor:
        dense = network.layers[0].to_dense()
        return y @ dense.weight.mT + dense.bias

    x = F.gelu(model.lift(p))
    gates = model.gate(p)
    parts = [gates[:, k, None] * matrix(network, x) for k, network in enumerate(model.stacked)]
    expected = matrix(model.fuse, F.gelu(torch.cat(parts, 1))).view(7, 4, 5)
    assert torch.allclose(model(p), expected, atol=1e-12)
    assert torch.allclose(gates.sum(1), torch.ones(7, dtype=torch.float64))


def test_it_learns_solutions_of_an_equation() -> None:
    """Of heat that spreads from two widths: ``u(x, y) = exp(-(x - a)^2/(2 b) - y^2/2)``, parameters a and b."""
    torch.manual_seed(0)
    grid = torch.linspace(-1, 1, 6)
    p = torch.rand(200, 2)
    x, y = grid.view(1, 6, 1), grid.view(1, 1, 6)
    u = torch.exp(-((x - p[:, :1, None]) ** 2) / (0.2 + p[:, 1:, None]) - y**2 / 2)
    model = StackedTensorialNetwork(2, [(4, 4), (4, 4)], (6, 6), 4, stack=3, gate_width=16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(model(p[:150]), u[:150])
        loss.backward()
        optimizer.step()
    error = (model(p[150:]) - u[150:]).norm() / u[150:].norm()
    floor = (u[:150].mean(0) - u[150:]).norm() / u[150:].norm()
    assert error < 0.1 * floor


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the shapes of input and output, of equally many modes, but got"):
        TensorialNetwork([(2, 3), (4,)], 2)
    with pytest.raises(ValueError, match=r"expected sizes of at least 1, but got num_parameters=2, stack=0"):
        stacked(stack=0)
