import numpy as np
import pytest
import torch
from scipy.linalg import helmert
from sklearn.datasets import load_digits
from sklearn.manifold import spectral_embedding
from torch import Tensor, nn

from isometry.layers import ClassCodebook, eigen_codes, simplex_codes
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import DiagonalGaussian, Euclidean, OffManifoldError, PoincareBall, ShapeError, Sphere

MANIFOLDS = [Euclidean(4), Sphere(3), PoincareBall(4), DiagonalGaussian(2)]


class TestClassCodebook(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: ClassCodebook(m, m.random(6, *m.point_shape)),
            lambda n, m=m: m.random(n, *m.point_shape),
            (6,),
            manifold_in=m,
        )
        for m in MANIFOLDS
    )


def test_one_hot_codes_decode_as_argmax() -> None:
    x = torch.randn(100, 6, dtype=torch.float64)
    logits = ClassCodebook(Euclidean(6), torch.eye(6, dtype=torch.float64))(x)
    assert torch.equal(logits.argmax(-1), x.argmax(-1))
    torch.testing.assert_close(logits, -(torch.cdist(x, torch.eye(6, dtype=torch.float64)) ** 2))


def test_codes_of_matrices_are_compared_by_their_metric() -> None:
    m = DiagonalGaussian(3)
    codes, x = m.random(4, 2, 3, dtype=torch.float64), m.random(2, 5, 2, 3, dtype=torch.float64)
    logits = ClassCodebook(m, codes)(x)
    assert logits.shape == (2, 5, 4)
    torch.testing.assert_close(logits[1, 2, 3], -m.dist2(x[1, 2], codes[3]))


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_simplex_codes_are_as_far_apart_as_can_be(count: int) -> None:
    """Welch: K unit vectors have a pair with cosine at least ``-1/(K - 1)``. Helmert's matrix is scipy's."""
    codes = simplex_codes(count, torch.float64)
    gram = codes @ codes.mT
    expected = torch.full_like(gram, -1 / (count - 1)).fill_diagonal_(1)
    torch.testing.assert_close(gram, expected, rtol=0, atol=1e-14)
    ours, theirs = codes.mT * (1 - 1 / count) ** 0.5, torch.from_numpy(helmert(count))
    torch.testing.assert_close(ours.abs(), theirs.abs())
    assert simplex_codes(3).dtype == torch.float32


def similarity(count: int) -> Tensor:
    a = torch.rand(count, count, dtype=torch.float64)
    return a + a.mT


def test_eigen_codes_are_sklearns_at_length_one() -> None:
    a = similarity(8)
    ours = eigen_codes(a, 3)
    theirs = torch.from_numpy(spectral_embedding(a.numpy(), n_components=3, random_state=0))
    theirs = nn.functional.normalize(theirs, dim=-1)
    torch.testing.assert_close(ours, theirs * (ours * theirs).sum(0).sign(), rtol=1e-6, atol=1e-8)
    assert ClassCodebook(Sphere(2), ours)(ours).argmax(-1).tolist() == list(range(8))


def test_eigen_codes_put_similar_classes_together() -> None:
    a = torch.full((9, 9), 0.01, dtype=torch.float64) + torch.block_diag(*[torch.ones(3, 3, dtype=torch.float64)] * 3)
    codes = eigen_codes(a, 2)
    cosine = codes @ codes.mT
    same = torch.block_diag(*[torch.ones(3, 3)] * 3).bool()
    assert cosine[same].min() > 0.999
    assert cosine[~same].max() < -0.4


def test_bad_similarities_are_refused() -> None:
    with pytest.raises(ValueError, match="1 <= dim < num_classes = 5, but got dim=5"):
        eigen_codes(similarity(5), 5)
    with pytest.raises(ValueError, match="symmetric, non-negative"):
        eigen_codes(torch.rand(4, 4), 2)
    with pytest.raises(ValueError, match="symmetric, non-negative"):
        eigen_codes(-torch.ones(4, 4), 2)
    with pytest.raises(ValueError, match="fall into groups without similarity"):
        eigen_codes(torch.block_diag(torch.ones(2, 2), torch.ones(3, 3)), 2)
    with pytest.raises(ValueError, match="class 3 is similar to no other"):
        eigen_codes(torch.block_diag(torch.ones(3, 3), torch.ones(1, 1)), 2)
    path = torch.diag(torch.ones(4, dtype=torch.float64), 1)
    with pytest.raises(ValueError, match="the code of class 2 is 0 in 1 coordinates"):
        eigen_codes(path + path.mT, 1)
    with pytest.raises(ValueError, match="at least 2 classes, but got 1"):
        simplex_codes(1)


def test_codes_off_the_manifold_are_refused() -> None:
    with pytest.raises(OffManifoldError, match="point residual"):
        ClassCodebook(Sphere(2), torch.ones(4, 3))
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        ClassCodebook(Sphere(2), torch.ones(4, 4))


def accuracy(manifold: Euclidean | Sphere, codes: Tensor, seed: int) -> float:
    """Test accuracy on the digits of a small network trained to hit the codes."""
    torch.manual_seed(seed)
    digits = load_digits()
    x = torch.from_numpy(digits.data / 16).float()
    y = torch.from_numpy(digits.target).long()
    codebook = ClassCodebook(manifold, codes.float())
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, codes.shape[-1]))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(30):
        for rows in torch.randperm(1200).split(100):
            loss = manifold.dist2(manifold.projx(net(x[rows])), codebook.codes[y[rows]]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    predicted = codebook(manifold.projx(net(x[1200:]))).argmax(-1)
    return float((predicted == y[1200:]).float().mean())


def test_few_coordinates_are_enough_for_the_digits() -> None:
    """Simplex codes of 9 coordinates are as good as one-hot codes of 10, random codes of 6 nearly so."""
    one_hot, few, simplex = (
        np.mean([accuracy(m, codes(seed), seed) for seed in range(2)])
        for m, codes in [
            (Euclidean(10), lambda seed: torch.eye(10)),
            (Sphere(5), lambda seed: Sphere(5).random(10, 6, generator=torch.Generator().manual_seed(seed))),
            (Sphere(8), lambda seed: simplex_codes(10)),
        ]
    )
    assert simplex > one_hot - 0.01
    assert few > one_hot - 0.03
