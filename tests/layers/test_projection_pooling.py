import pytest
import torch
from torch.nn import functional as F

from isometry.layers import ProjectionPooling, ProjMap
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, ShapeError
from isometry.manifolds.testing import assert_small


def projectors(*batch: int, n: int = 6) -> torch.Tensor:
    return ProjMap()(Grassmann(n, 2).random(*batch, n, 2, dtype=torch.float64))


class TestProjectionPooling(LayerSuite):
    cases = (
        LayerCase(lambda: ProjectionPooling(2), lambda n: projectors(n, 4), (2, 6, 6)),
        LayerCase(lambda: ProjectionPooling(3, patch=2), lambda n: projectors(n, 3), (1, 3, 3)),
    )


def test_it_is_torchs_mean_pooling() -> None:
    x = projectors(5, 4)
    expected = F.avg_pool3d(x.unsqueeze(1), (2, 3, 3)).squeeze(1)
    assert_small(ProjectionPooling(2, patch=3)(x) - expected, 1e-15, "ProjectionPooling - avg_pool3d")
    assert torch.equal(ProjectionPooling()(x), x)


def test_the_mean_is_closest_to_the_projectors() -> None:
    x = projectors(4)
    mean = ProjectionPooling(4)(x)[0]
    spread = (x - mean).square().sum()
    for other in projectors(20):
        assert ((x - (mean + 1e-3 * other)).square().sum() > spread).all()


@pytest.mark.parametrize("shape", [(3, 6, 6), (4, 5, 5)])
def test_sizes_that_are_no_multiples_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ShapeError, match="expected a multiple of 2 channels and of 2 rows"):
        ProjectionPooling(2, patch=2)(torch.zeros(shape))
    with pytest.raises(ValueError, match="expected sizes >= 1, but got channels=0, patch=1"):
        ProjectionPooling(0)
