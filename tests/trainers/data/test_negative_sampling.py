import pytest
import torch
from torch import Tensor

from isometry.trainers.data import Graph, NegativeSampler, wordnet_mammals


def crowded_graph() -> tuple[Graph, Tensor]:
    """Node 0 is related to all but one; the others to about half."""
    related = torch.rand(12, 12) < 0.5
    related[0] = True
    related[0, 7] = False
    related.fill_diagonal_(False)
    return Graph(related.nonzero(), 12), related


@pytest.mark.parametrize("power", [0.0, 0.75, 2.0])
def test_frequencies_are_those_of_the_law(power: float) -> None:
    graph, related = crowded_graph()
    draws = 200_000
    sources = torch.arange(12).repeat_interleave(draws // 1000)
    negatives = NegativeSampler(graph, 1000, power).sample(sources, torch.Generator().manual_seed(0))
    counts = torch.zeros(12, 12).index_put((sources[:, None].expand_as(negatives), negatives), torch.ones(()), True)

    weights = related.sum(0).double() ** power
    allowed = weights.masked_fill(related | torch.eye(12, dtype=torch.bool), 0)
    law = allowed / allowed.sum(1, keepdim=True)
    assert counts[law == 0].sum() == 0
    half_ticket = weights.mean() / 64 / 2 / allowed.sum(1, keepdim=True)  # by so much each weight is rounded
    rounding = 0 if power == 0 else half_ticket * (1 + 12 * law)
    assert ((counts / draws - law).abs() <= 4.5 * (law * (1 - law) / draws).sqrt() + rounding).all()


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_no_true_edge_is_drawn(power: float) -> None:
    graph = wordnet_mammals()
    negatives = NegativeSampler(graph, 50, power).sample(graph.edges[:, 0], torch.Generator().manual_seed(0))
    sources = graph.edges[:, :1]
    assert negatives.shape == (6540, 50)
    assert 0 <= negatives.min() <= negatives.max() < 1180
    assert not torch.isin(sources * 1180 + negatives, graph.keys).any()
    assert (negatives != sources).all()


def test_a_seed_fixes_the_draws() -> None:
    sampler = NegativeSampler(wordnet_mammals(), 5)
    first, again, other = (sampler.sample(torch.arange(100), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_node_without_negatives_is_named() -> None:
    with pytest.raises(ValueError, match="node 'hub' has edges to all other nodes, so it has no negatives"):
        NegativeSampler(Graph.from_names([("hub", "a"), ("hub", "b")]), 3)


def test_a_number_of_negatives_is_needed() -> None:
    with pytest.raises(ValueError, match="num_negatives >= 1, but got 0"):
        NegativeSampler(wordnet_mammals(), 0)
