import pytest
import torch

from isometry.layers import Vectorize
from isometry.layers.testing import LayerCase, LayerSuite


def symmetric(count: int) -> torch.Tensor:
    x = torch.randn(count, 4, 4)
    return x + x.mT


class TestVectorize(LayerSuite):
    cases = (LayerCase(lambda: Vectorize(4), symmetric, (10,), cond=4.0),)


def test_it_reads_the_upper_triangle_by_rows() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    r = 2**0.5
    assert Vectorize(3)(x).tolist() == pytest.approx([1, 2 * r, 3 * r, 4, 5 * r, 6], rel=1e-7)


def test_it_is_an_isometry() -> None:
    x, y = symmetric(7).double(), symmetric(7).double()
    u, v = Vectorize(4)(x), Vectorize(4)(y)
    assert torch.allclose((u * v).sum(-1), (x * y).sum((-2, -1)), rtol=1e-14, atol=1e-14)


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="expected matrices of at least one row, but got n=0"):
        Vectorize(0)


@pytest.mark.peers
def test_pyriemann_agrees() -> None:
    from pyriemann.geometry.tangentspace import upper

    x = symmetric(3).double()
    assert torch.allclose(Vectorize(4)(x), torch.from_numpy(upper(x.numpy())), rtol=1e-15)
