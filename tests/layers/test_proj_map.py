import torch

from isometry.layers import ProjMap
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds.testing import assert_small


class TestProjMap(LayerSuite):
    cases = (
        LayerCase(ProjMap, lambda n: Grassmann(5, 2).random(n, 5, 2), (5, 5), manifold_in=Grassmann(5, 2)),
        LayerCase(ProjMap, lambda n: torch.randn(n, 3, 4, 2), (3, 4, 4)),
    )


def test_it_is_the_projector_of_the_subspace() -> None:
    x = Grassmann(5, 2).random(7, 5, 2, dtype=torch.float64)
    p = ProjMap()(x)
    assert torch.equal(p, p.mT)
    assert_small(p @ p - p, 1e-14, "p^2 - p")
    assert_small(p @ x - x, 1e-14, "p x - x")
    assert_small(ProjMap()(x @ random_orthogonal(2, dtype=torch.float64)) - p, 1e-14, "another frame")
    assert_small(p.diagonal(dim1=-2, dim2=-1).sum(-1) - 2, 1e-14, "trace - k")
