import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.layers import BiMap
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SPDAffineInvariant, StiefelEuclidean, named_manifolds
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD


def points(*shape: int) -> Tensor:
    return SPDAffineInvariant(5).random(*shape, 5, 5)


class TestBiMap(LayerSuite):
    cases = (
        LayerCase(
            lambda: BiMap(5, 3),
            points,
            (3, 3),
            manifold_in=SPDAffineInvariant(5),
            manifold_out=SPDAffineInvariant(3),
            name="smaller",
        ),
        LayerCase(lambda: BiMap(5, 5), points, (5, 5), manifold_in=SPDAffineInvariant(5), name="square"),
        LayerCase(
            lambda: BiMap(5, 3, channels=(2, 4)),
            lambda count: points(count, 2),
            (4, 3, 3),
            manifold_in=SPDAffineInvariant(5),
            manifold_out=SPDAffineInvariant(3),
            name="channels",
        ),
    )


def test_it_is_the_formula() -> None:
    layer = BiMap(5, 3, dtype=torch.float64)
    w, x = layer.weight.detach().numpy(), points(2, 4).double()
    for row, images in zip(x, layer(x), strict=True):
        for one, image in zip(row, images, strict=True):
            assert np.allclose(image.detach().numpy(), w.T @ one.numpy() @ w, rtol=0, atol=1e-14)


def test_channels_are_summed() -> None:
    layer = BiMap(5, 3, channels=(2, 4), dtype=torch.float64)
    assert layer.weight.shape == (4, 2, 5, 3)
    w, x = layer.weight.detach().numpy(), points(6, 2).double()
    y = layer(x).detach().numpy()
    assert y.shape == (6, 4, 3, 3)
    for b in range(6):
        for o in range(4):
            expected = sum(w[o, i].T @ x[b, i].numpy() @ w[o, i] for i in range(2))
            assert np.allclose(y[b, o], expected, rtol=0, atol=1e-14)


def test_eigenvalues_interlace() -> None:
    """Poincare's separation theorem, which holds for orthonormal columns only."""
    x = points(20).double()
    before, after = torch.linalg.eigvalsh(x), torch.linalg.eigvalsh(BiMap(5, 3, dtype=torch.float64)(x))
    assert (after >= before[:, :3] - 1e-12).all()
    assert (after <= before[:, 2:] + 1e-12).all()


@pytest.mark.parametrize("optimizer", [RiemannianAdam, RiemannianSGD])
@pytest.mark.parametrize("channels", [None, (2, 4)])
def test_steps_keep_the_columns_orthonormal_and_go_down(optimizer: type, channels: tuple[int, int] | None) -> None:
    layer = BiMap(5, 3, channels=channels, dtype=torch.float64)
    assert named_manifolds(layer) == {"weight": StiefelEuclidean(5, 3)}
    x = points(8, *(channels or ())[:1]).double()
    steps = optimizer(layer, lr=0.02)
    losses = []
    for _ in range(20):
        steps.zero_grad()
        loss = layer(x).square().sum() / len(x)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    gram = layer.weight.mT @ layer.weight
    assert (gram - torch.eye(3).double()).abs().max() < 1e-12


@pytest.mark.parametrize("out", [0, 6])
def test_bad_sizes_are_refused(out: int) -> None:
    with pytest.raises(ValueError, match=rf"expected 1 <= out_features <= in_features, but got out_features={out}"):
        BiMap(5, out)


@pytest.mark.peers
def test_spd_learn_agrees() -> None:
    from spd_learn.modules import BiMap as Peer

    ours, theirs = BiMap(5, 3, dtype=torch.float64), Peer(5, 3, parametrized=False, dtype=torch.float64)
    theirs.weight.data.copy_(ours.weight.detach())
    x = points(6).double()
    weight = torch.randn(6, 3, 3, dtype=torch.float64)
    gradients = []
    for layer in (ours, theirs):
        y = layer(x).view(6, 3, 3)
        gradients.append(torch.autograd.grad(y, layer.weight, weight)[0].view(5, 3))
        assert torch.allclose(y, ours(x), rtol=0, atol=1e-13)
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)
