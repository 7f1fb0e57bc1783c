import networkx as nx
import pytest
import torch
from torch import Tensor
from torch_geometric.nn import dense_mincut_pool

from isometry.trainers.losses import NormalizedCutLoss, normalized_cut


def graph(n: int) -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.rand(n, n, dtype=torch.float64)
    weight = (weight + weight.mT) * (weight + weight.mT > 0.7)
    weight.fill_diagonal_(0)
    edges = weight.nonzero().T
    return weight, edges, weight[edges[0], edges[1]]


@pytest.mark.parametrize("k", [2, 4])
def test_it_is_that_of_torch_geometric(k: int) -> None:
    weight, edges, weights = graph(9)
    logits = torch.randn(9, k, dtype=torch.float64, requires_grad=True)
    _, _, cut, orthogonality = dense_mincut_pool(torch.ones(9, 1, dtype=torch.float64), weight, logits)
    torch.testing.assert_close(NormalizedCutLoss()(logits, edges, weights), cut + orthogonality)
    assert torch.autograd.gradcheck(lambda v: NormalizedCutLoss()(v, edges, weights), logits)


def test_the_cut_is_that_of_networkx() -> None:
    weight, edges, weights = graph(10)
    part = torch.arange(10) % 3 == 0
    expected = nx.normalized_cut_size(
        nx.from_numpy_array(weight.numpy()), part.nonzero().squeeze(1).tolist(), weight="weight"
    )
    segments = torch.stack([part, ~part], 1).double()
    assert normalized_cut(segments, edges, weights).item() == pytest.approx(expected, rel=1e-12)
