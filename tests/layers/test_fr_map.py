import numpy as np
import pytest
import torch

from isometry.layers import FRMap
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, StiefelEuclidean, named_manifolds
from isometry.manifolds.testing import assert_on_manifold
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD


def frames(*batch: int) -> torch.Tensor:
    return Grassmann(5, 2).random(*batch, 5, 2)


class TestFRMap(LayerSuite):
    cases = (
        LayerCase(lambda: FRMap(5, 3), frames, (3, 2), manifold_in=Grassmann(5, 2)),
        LayerCase(lambda: FRMap(5, 3, channels=4), lambda n: frames(n, 4), (4, 3, 2), manifold_in=Grassmann(5, 2)),
        LayerCase(lambda: FRMap(5, 3, channels=4), lambda n: frames(n, 1), (4, 3, 2), manifold_in=Grassmann(5, 2)),
    )


def test_it_is_the_product_of_each_channel() -> None:
    layer, x = FRMap(5, 3, channels=4, dtype=torch.float64), frames(6, 4).double()
    y = layer(x).detach().numpy()
    for b in range(6):
        for c in range(4):
            expected = layer.weight[c].detach().numpy().T @ x[b, c].numpy()
            assert np.allclose(y[b, c], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("optimizer", [RiemannianAdam, RiemannianSGD])
@pytest.mark.parametrize("channels", [None, 4])
def test_steps_keep_the_columns_orthonormal_and_go_down(optimizer: type, channels: int | None) -> None:
    layer, x = FRMap(5, 3, channels=channels, dtype=torch.float64), frames(6, channels or 1).double()
    assert named_manifolds(layer) == {"weight": StiefelEuclidean(5, 3)}
    steps = optimizer(layer, lr=0.02)
    losses = []
    for _ in range(20):
        steps.zero_grad()
        loss = layer(x).square().sum()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert_on_manifold(StiefelEuclidean(5, 3), layer.weight, atol=1e-13)


@pytest.mark.parametrize("out", [0, 5, 6])
def test_bad_sizes_are_refused(out: int) -> None:
    with pytest.raises(ValueError, match=rf"expected 1 <= out_features < in_features, but got out_features={out}"):
        FRMap(5, out)
