import math

import pytest
import torch
from torch import nn

from isometry.layers import GaussianHead
from isometry.manifolds import gaussian_kl
from isometry.trainers.losses import InfoNCE, RankingLoss


def test_it_is_the_formula() -> None:
    scores = torch.randn(4, 6, dtype=torch.float64)
    rows = scores.tolist()
    expected = (
        sum(-math.log(math.exp(row[i] / 0.3) / sum(math.exp(s / 0.3) for s in row)) for i, row in enumerate(rows)) / 4
    )
    assert InfoNCE(0.3)(scores).item() == pytest.approx(expected, rel=1e-14)


def test_of_one_query_it_is_the_ranking_loss() -> None:
    distances = torch.rand(1, 9, dtype=torch.float64)
    torch.testing.assert_close(InfoNCE()(-distances), RankingLoss()(distances))


def test_equal_scores_cost_log_d_and_perfect_ones_nothing() -> None:
    assert InfoNCE(0.1)(torch.ones(3, 8)).item() == pytest.approx(math.log(8))
    assert InfoNCE()(1e4 * torch.eye(5)) == 0


def test_gradient() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(InfoNCE(0.5), scores)


def test_it_teaches_a_head_which_documents_are_uncertain() -> None:
    """Features show a document's noise; trained on the divergence the head learns to state it."""
    generator = torch.Generator().manual_seed(0)

    def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        topic = torch.randn(count, 8, generator=generator)
        level = 0.05 * 30 ** torch.rand(count, 1, generator=generator)
        document = torch.cat([topic + level * torch.randn(count, 8, generator=generator), level.log()], 1)
        query = torch.cat([topic + 0.05 * torch.randn(count, 8, generator=generator), torch.full((count, 1), -3.0)], 1)
        return query, document, level

    torch.manual_seed(0)
    head, loss = GaussianHead(9, 8), InfoNCE()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(300):
        query, document, _ = pairs(64)
        value = loss(-gaussian_kl(head(query).unsqueeze(1), head(document)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert sum(losses[-20:]) < sum(losses[:20]) / 2
    _, document, level = pairs(500)
    spread = head(document)[:, 1].log().mean(-1)
    assert torch.corrcoef(torch.stack([spread, level.log().squeeze(1)]))[0, 1] > 0.9


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="expected a positive temperature"):
        InfoNCE(temperature)


def test_missing_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="a document for each of 4 queries, but got 3"):
        InfoNCE()(torch.zeros(4, 3))
    assert isinstance(InfoNCE(), nn.Module)
