import geoopt
import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor
from torch.nn.functional import cross_entropy

from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.trainers.losses import HypCDLoss, contrastive_loss

LABELS = torch.tensor([0, -100, 1, 0, -100])


def by_loops(s: np.ndarray, kinds: list[int]) -> float:
    """From the definition."""
    rows = []
    for i, kind in enumerate(kinds):
        others = [j for j in range(len(kinds)) if j != i]
        positives = [j for j in others if kinds[j] == kind]
        if positives:
            total = np.log(sum(np.exp(s[i, j]) for j in others))
            rows.append(np.mean([total - s[i, j] for j in positives]))
    return float(np.mean(rows))


def test_it_is_the_formula_on_geoopts_ball() -> None:
    views = 0.4 * torch.randn(2, 5, 3, dtype=torch.float64)
    points = views.flatten(0, 1)
    distances = geoopt.PoincareBall(c=0.25).dist(points.unsqueeze(1), points).numpy()
    known = np.flatnonzero(LABELS.repeat(2).numpy() >= 0)
    expected = 0.0
    for weight, s in ((0.7, cosine_similarity(points)), (0.3, -distances)):
        of_classes = by_loops(s[known][:, known] / 0.1, LABELS.repeat(2)[known].tolist())
        expected += weight * (0.75 * by_loops(s / 0.5, [*range(5)] * 2) + 0.25 * of_classes)
    loss = HypCDLoss(PoincareBall(3, 0.25), 0.3, 0.25, temperature=0.5, supervised_temperature=0.1)
    assert loss(views, LABELS).item() == pytest.approx(expected, rel=1e-9)


def test_both_models_agree_and_flat_space_is_their_limit() -> None:
    u = torch.randn(2, 5, 3, dtype=torch.float64)

    def loss(manifold: PoincareBall | Lorentz | Euclidean) -> Tensor:
        zero = manifold.origin(2, 5, *manifold.point_shape, dtype=torch.float64)
        return HypCDLoss(manifold)(manifold.expmap(zero, manifold.origin_vector(u)), LABELS)

    torch.testing.assert_close(loss(PoincareBall(3, 0.7)), loss(Lorentz(3, 0.7)))
    torch.testing.assert_close(loss(Lorentz(3, 1e-9)), loss(Euclidean(3)), rtol=1e-7, atol=0)


def test_one_positive_is_cross_entropy() -> None:
    s = torch.randn(6, 6, dtype=torch.float64)
    partner = torch.tensor([3, 4, 5, 0, 1, 2])
    loss = contrastive_loss(s, torch.eye(6, dtype=torch.bool)[partner])
    torch.testing.assert_close(loss, cross_entropy(s.clone().fill_diagonal_(-torch.inf), partner))


def test_without_labels_and_with_derivatives() -> None:
    none = torch.full((4,), -100)
    views = (0.3 * torch.randn(2, 4, 2, dtype=torch.float64)).requires_grad_()
    loss = HypCDLoss(PoincareBall(2), supervised_weight=1.0)
    assert loss(views, none) == 0
    assert torch.autograd.gradcheck(lambda v: HypCDLoss(PoincareBall(2))(v, LABELS[:4]), views)
    equal = torch.zeros(2, 4, 2, requires_grad=True)
    assert torch.autograd.grad(HypCDLoss(PoincareBall(2))(equal, LABELS[:4]), equal)[0].isfinite().all()


def test_the_curvature_is_learned() -> None:
    manifold = Lorentz(3, learnable=True)
    u = manifold.expmap(manifold.origin(2, 5, 4), manifold.origin_vector(torch.randn(2, 5, 3)))
    loss = HypCDLoss(manifold)
    assert [name for name, _ in loss.named_parameters()] == ["manifold.log_c"]
    assert torch.autograd.grad(loss(u, LABELS), manifold.log_c)[0].abs() > 0


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match=r"HypCDLoss: expected weights between 0 and 1, but got 1\.5 and 0\.35"):
        HypCDLoss(Lorentz(2), 1.5)
    with pytest.raises(ValueError, match="HypCDLoss: expected positive temperatures"):
        HypCDLoss(Lorentz(2), temperature=0.0)
    with pytest.raises(ValueError, match=r"expected two views of each of 5 samples, \[2, b, n\], but got \[2, 4, 3\]"):
        HypCDLoss(Lorentz(2))(torch.zeros(2, 4, 3), LABELS)
