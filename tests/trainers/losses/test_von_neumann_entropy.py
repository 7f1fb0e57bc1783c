import math

import mpmath
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.trainers.losses import VonNeumannEntropyLoss, von_neumann_entropy

MP = mpmath.mp.clone()
MP.dps = 50


def exact(features: Tensor) -> mpmath.mpf:
    """From the definition: eigenvalues of rho in 50 digits."""
    rho = MP.zeros(features.shape[1])
    for row in features.tolist():
        h = MP.matrix(row)
        rho += h * h.T / (h.T * h)[0]
    values = MP.eigsy(rho / len(features), eigvals_only=True)
    return -sum(v * MP.log(v) for v in values if v > MP.mpf(10) ** -40)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5), (1, 3)])
def test_it_is_the_definition(shape: tuple[int, int]) -> None:
    features = torch.randn(shape, dtype=torch.float64)
    assert von_neumann_entropy(features).item() == pytest.approx(float(exact(features)), abs=1e-14)
    assert VonNeumannEntropyLoss()(features) == -von_neumann_entropy(features)


def test_it_is_that_of_singular_values() -> None:
    features = torch.randn(20, 6, dtype=torch.float64)
    squares = torch.linalg.svdvals(nn.functional.normalize(features, dim=1)).square() / 20
    torch.testing.assert_close(von_neumann_entropy(features), -(squares * squares.log()).sum())


def test_extremes() -> None:
    eye = torch.eye(8, dtype=torch.float64)
    assert von_neumann_entropy(torch.cat([eye, -3 * eye])).item() == pytest.approx(math.log(8))
    assert von_neumann_entropy(eye[:3]).item() == pytest.approx(math.log(3))
    line = torch.randn(10, 1, dtype=torch.float64) * torch.randn(8, dtype=torch.float64)
    assert von_neumann_entropy(line).item() == pytest.approx(0, abs=1e-13)


def test_samples_of_zero_add_nothing() -> None:
    features = torch.randn(6, 4, dtype=torch.float64)
    padded = torch.cat([features, torch.zeros(2, 4, dtype=torch.float64)])
    values = torch.linalg.eigvalsh(nn.functional.normalize(features).mT @ nn.functional.normalize(features) / 8)
    torch.testing.assert_close(von_neumann_entropy(padded), -(values * values.log()).sum())
    assert not gradient(padded)[6:].any()


@pytest.mark.parametrize("width", [3, 40])
def test_nan_is_not_hidden(width: int) -> None:
    """Whether eigenvalues of NaN are NaN or an error depends on their number."""
    features = torch.full((50, width), math.nan)
    try:
        entropy = von_neumann_entropy(features)
    except torch.linalg.LinAlgError:
        return
    assert entropy.isnan()


def gradient(features: Tensor) -> Tensor:
    features = features.clone().requires_grad_()
    return torch.autograd.grad(von_neumann_entropy(features), features)[0]


def test_gradient_where_eigenvalues_are_equal_or_zero() -> None:
    """Of ``-tr rho log rho`` it is ``-2/n (log rho + I) z``, less its part along z, over ``|h|``."""
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    repeated = torch.cat([basis, basis[:3], basis[:3]])  # eigenvalues 1/4 and 1/12, three of each
    rho = repeated.mT @ repeated / 12
    values, vectors = torch.linalg.eigh(rho)
    slope = -2 / 12 * repeated @ (vectors * (values.log() + 1)) @ vectors.mT
    slope = slope - (slope * repeated).sum(-1, keepdim=True) * repeated
    torch.testing.assert_close(gradient(repeated), slope, rtol=0, atol=1e-14)

    flat = torch.cat([torch.randn(20, 3, dtype=torch.float64), torch.zeros(20, 4, dtype=torch.float64)], 1)
    torch.testing.assert_close(gradient(flat)[:, :3], gradient(flat[:, :3]), rtol=0, atol=1e-12)
    assert gradient(flat)[:, 3:].abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_gradient_is_that_of_finite_differences(shape: tuple[int, int]) -> None:
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(von_neumann_entropy, features)
    assert torch.autograd.gradgradcheck(von_neumann_entropy, features)


def test_its_weight_raises_and_lowers_the_effective_rank_of_the_digits() -> None:
    x = torch.from_numpy(load_digits().data / 16).float()
    y = torch.from_numpy(load_digits().target).long()
    ranks, accuracies = [], []
    for weight in (-0.2, 0.0, 0.2):
        torch.manual_seed(0)
        body, head, entropy = nn.Sequential(nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 10), VonNeumannEntropyLoss()
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
        for _ in range(10):
            for rows in torch.randperm(1200).split(100):
                h = body(x[rows])
                loss = nn.functional.cross_entropy(head(h), y[rows]) + weight * entropy(h)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        h = body(x[1200:])
        ranks.append(von_neumann_entropy(h).exp().item())
        accuracies.append((head(h).argmax(1) == y[1200:]).float().mean().item())
    assert ranks == sorted(ranks)
    assert ranks[2] > 1.2 * ranks[0]
    assert min(accuracies) > 0.85
