import math

import pytest
import torch
from torch import Tensor, nn

from isometry.layers import FermiDirac
from isometry.trainers.losses import DistortionLoss, LinkLoss, RankingLoss


def distances() -> Tensor:
    return 3 * torch.rand(4, 6, dtype=torch.float64)


def test_ranking_loss_is_the_formula_and_torchs_cross_entropy() -> None:
    dist = distances()
    expected = sum(-math.log(math.exp(-row[0]) / sum(math.exp(-d) for d in row)) for row in dist.tolist()) / 4
    assert RankingLoss()(dist).item() == pytest.approx(expected, rel=1e-14)
    torch_loss = nn.functional.cross_entropy(-dist, torch.zeros(4, dtype=torch.int64))
    assert RankingLoss()(dist).item() == pytest.approx(torch_loss.item(), rel=1e-14)


def test_ranking_loss_of_equal_and_of_far_distances() -> None:
    assert RankingLoss()(torch.zeros(2, 6)).item() == pytest.approx(math.log(6))
    assert RankingLoss()(torch.tensor([[1e4, 0.0]])) == 1e4
    assert RankingLoss()(torch.tensor([[0.0, 1e4]])) == 0


def test_distortion_loss_is_the_formula() -> None:
    dist, target = distances(), 1 + distances()
    pairs = zip(dist.flatten().tolist(), target.flatten().tolist(), strict=True)
    expected = sum(abs((d / g) ** 2 - 1) for d, g in pairs) / 24
    assert DistortionLoss()(dist, target).item() == pytest.approx(expected, rel=1e-14)
    assert DistortionLoss()(target, target) == 0


def test_link_loss_is_the_formula_and_torchs_binary_cross_entropy() -> None:
    dist, decoder = distances(), FermiDirac(r=1.0, t=0.5)

    def p(d: float) -> float:
        return 1 / (math.exp((d - 1.0) / 0.5) + 1)

    rows = dist.tolist()
    expected = sum(-math.log(p(d0)) - sum(math.log(1 - p(d)) for d in rest) / 5 for d0, *rest in rows) / 4
    loss = LinkLoss(decoder)(dist).item()
    assert loss == pytest.approx(expected, rel=1e-13)
    links, others = (
        nn.functional.binary_cross_entropy(decoder.probability(part), torch.full_like(part, target))
        for part, target in ((dist[:, :1], 1.0), (dist[:, 1:], 0.0))
    )
    assert loss == pytest.approx((links + others).item(), rel=1e-13)


@pytest.mark.parametrize("loss", [RankingLoss(), LinkLoss(FermiDirac())], ids=lambda loss: type(loss).__name__)
def test_gradient(loss: nn.Module) -> None:
    assert torch.autograd.gradcheck(loss, distances().requires_grad_())


def test_gradient_of_the_distortion_loss() -> None:
    target = 1 + distances()
    assert torch.autograd.gradcheck(lambda dist: DistortionLoss()(dist, target), distances().requires_grad_())
