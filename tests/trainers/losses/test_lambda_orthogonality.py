import math
from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.layers import OrthogonalAdapter
from isometry.trainers.losses import LambdaOrthogonality
from isometry.trainers.metrics import CMC


def departure(weight: Tensor) -> float:
    """``|W W^T - I|``, from the singular values."""
    return (torch.linalg.svdvals(weight).square() - 1).norm().item()


def test_it_is_the_formula() -> None:
    weight = torch.randn(5, 5, dtype=torch.float64)
    r = departure(weight)
    expected = r / (1 + math.exp(-3.0 * (r - 0.7)))
    assert LambdaOrthogonality(0.7, 3.0)(weight).item() == pytest.approx(expected, rel=1e-12)


def test_rotations_cost_nothing_and_have_gradient_zero() -> None:
    eye = torch.eye(4, requires_grad=True)
    value = LambdaOrthogonality(1.0)(eye)
    assert value == 0
    assert not torch.autograd.grad(value, eye)[0].any()


def test_gradient() -> None:
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LambdaOrthogonality(2.0), weight)
    assert torch.autograd.gradgradcheck(LambdaOrthogonality(2.0), weight)


@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_a_loss_that_pushes_outward_ends_near_the_threshold(threshold: float) -> None:
    weight = torch.eye(6, requires_grad=True)
    penalty, optimizer = LambdaOrthogonality(threshold, 20.0), torch.optim.Adam([weight], lr=1e-2)
    for _ in range(800):
        loss = penalty(weight) + 0.01 * (weight - 3 * torch.eye(6)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert departure(weight.detach()) == pytest.approx(threshold, abs=0.35)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="threshold >= 0, but got -1"):
        LambdaOrthogonality(-1.0)
    with pytest.raises(ValueError, match="positive sharpness, but got 0"):
        LambdaOrthogonality(1.0, 0.0)


# --- the digits: an old representation, trained on 0-4, and a new one, trained on all ---------------------------------


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target).long()


def representation(seed: int, classes: int) -> Tensor:
    """Features of all images, of a network trained on the first 1,200 of the given classes."""
    torch.manual_seed(seed)
    x, y = digits()
    rows = (y[:1200] < classes).nonzero().squeeze(1)
    body, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)), nn.Linear(16, classes)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(15):
        for batch in rows[torch.randperm(len(rows))].split(64):
            loss = nn.functional.cross_entropy(head(body(x[batch])), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    features = body(x).detach()
    return features / features.norm(dim=1).mean()


def adapted(new: Tensor, old: Tensor, adapter: nn.Module, penalty: LambdaOrthogonality | None) -> Tensor:
    """The new features after an adapter that was trained to hit the old ones."""
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-2)
    for _ in range(600):
        loss = (adapter(new[:1200]) - old[:1200]).square().sum(1).mean()
        if penalty is not None:
            loss = loss + penalty(adapter.weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return adapter(new).detach()


def cmc(queries: Tensor, gallery: Tensor) -> float:
    _, y = digits()
    metric = CMC()
    metric.update(torch.cdist(queries[1200:], gallery[:1200]), y[1200:], y[:1200])
    return metric.compute().item()


def test_on_the_digits_it_is_between_affine_and_orthogonal() -> None:
    """An affine map fits the old features best and spoils the new ones most; a rotation does the opposite."""
    old, new = representation(0, 5), representation(1, 10)
    linear = {name: nn.Linear(16, 16) for name in ("affine", "lambda")}
    for layer in linear.values():
        nn.init.eye_(layer.weight)
    rotation = OrthogonalAdapter(16)
    results = {
        "affine": adapted(new, old, linear["affine"], None),
        "lambda": adapted(new, old, linear["lambda"], LambdaOrthogonality(1.0)),
        "orthogonal": adapted(new, old, rotation, None),
    }
    fit = {k: (v[:1200] - old[:1200]).square().sum(1).mean().item() for k, v in results.items()}
    own = {k: cmc(v, v) for k, v in results.items()}
    cross = {k: cmc(v, old) for k, v in results.items()}
    assert fit["affine"] < fit["lambda"] < fit["orthogonal"]
    assert own["affine"] + 0.1 < own["lambda"] <= own["orthogonal"]
    assert own["orthogonal"] == pytest.approx(cmc(new, new), abs=0.003)  # a rotation changes ties at most
    assert cross["lambda"] > max(cross["affine"], cross["orthogonal"], cmc(old, old))  # compatible, and the best
