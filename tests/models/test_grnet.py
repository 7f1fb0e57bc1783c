import pytest
import torch
from torch import Tensor

from isometry.layers import FRMap, OrthMap, ProjectionPooling, ProjMap, ReOrth
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, StiefelEuclidean, named_manifolds
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds.testing import assert_small
from isometry.models import GrNet
from tests.layers.decompositions import CountDecompositions
from tests.models.suite import ModelTests


def points(count: int) -> Tensor:
    return Grassmann(8, 2).random(count, 8, 2)


class TestGrNet(ModelTests, LayerSuite):
    # a QR decomposition of a matrix of condition up to 20, and an invariant subspace with a gap of about 0.1, per block
    cases = (
        LayerCase(
            lambda: GrNet([8, 5], 2, 4, channels=8), points, (4,), cond=2e4, manifold_in=Grassmann(8, 2), name="one"
        ),
        LayerCase(
            lambda: GrNet([8, 6, 4], 2, 3, channels=16), points, (3,), cond=2e5, manifold_in=Grassmann(8, 2), name="two"
        ),
        LayerCase(
            lambda: GrNet([8, 6], 2, 2, channels=8, patch=2),
            points,
            (2,),
            cond=2e4,
            manifold_in=Grassmann(8, 2),
            name="patch",
        ),
    )


def test_it_is_the_blocks_of_the_paper() -> None:
    model = GrNet([8, 6, 4], 2, 4, channels=8, pool=2, dtype=torch.float64)
    block = [FRMap, ReOrth, ProjMap, ProjectionPooling, OrthMap]
    assert [type(layer) for layer in model.features][:10] == 2 * block
    assert model.classifier.in_features == 2 * 10
    assert named_manifolds(model) == {
        "features.0.weight": StiefelEuclidean(8, 6),
        "features.5.weight": StiefelEuclidean(6, 4),
    }
    assert [model.features[i].weight.shape for i in (0, 5)] == [(8, 8, 6), (4, 6, 4)]
    x = points(3).double()
    assert model.features[:5](x.unsqueeze(1)).shape == (3, 4, 6, 2)
    assert model.features[:10](x.unsqueeze(1)).shape == (3, 2, 4, 2)


def test_one_block_is_numpys() -> None:
    model = GrNet([8, 5], 2, 4, channels=4, pool=2, dtype=torch.float64)
    x = points(1).double()
    weight = model.features[0].weight.detach()
    pooled = []
    for pair in weight.split(2):
        mean = torch.zeros(5, 5, dtype=torch.float64)
        for w in pair:
            y = w.T @ x[0]
            mean += y @ torch.linalg.inv(y.T @ y) @ y.T / 2
        top = torch.linalg.eigh(mean).eigenvectors[:, -2:]
        pooled.append(top @ top.T)
    upper = torch.triu_indices(5, 5)
    scale = torch.where(upper[0] == upper[1], 1, torch.tensor(2.0).double().sqrt())
    features = torch.cat([(p[upper[0], upper[1]] * scale) for p in pooled])
    assert_small(model(x)[0] - model.classifier(features), 1e-12, "GrNet - its formulas")


def test_logits_belong_to_the_subspace() -> None:
    model, x = GrNet([8, 6, 4], 2, 4, dtype=torch.float64), points(5).double()
    assert_small(model(x @ random_orthogonal(2, dtype=torch.float64)) - model(x), 1e-12, "logits in another frame")


def test_each_pooled_matrix_is_decomposed_once() -> None:
    model = GrNet([8, 6, 4], 2, 4, channels=8)
    with CountDecompositions() as count:
        model(points(5)).sum().backward()
    assert (count.vectors, count.values) == (5 * (4 + 2), 0)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match=r"expected the size of the input and of at least one block, but got \[8\]"):
        GrNet([8], 2, 4)
    for sizes, options, numbers in (
        ([8, 6], {"channels": 3}, "3 channels are a multiple of pool=2"),
        ([8, 5], {"patch": 2}, "5 rows are a multiple of patch=2"),
        ([8, 2], {}, "more than 2 after pooling"),
    ):
        with pytest.raises(ValueError, match=numbers):
            GrNet(sizes, 2, 4, **options)
