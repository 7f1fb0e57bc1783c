import numpy as np
import pytest
import torch
from scipy.linalg import expm, orthogonal_procrustes

from isometry.layers import OrthogonalAdapter
from isometry.layers.testing import LayerCase, LayerSuite


class TestOrthogonalAdapter(LayerSuite):
    cases = (
        LayerCase(lambda: adapter(4), lambda n: torch.randn(n, 4), (4,)),
        LayerCase(lambda: OrthogonalAdapter(3), lambda n: torch.randn(n, 2, 3), (2, 3), name="at the identity"),
    )


def adapter(n: int) -> OrthogonalAdapter:
    layer = OrthogonalAdapter(n, dtype=torch.float64)
    with torch.no_grad():
        layer.skew.normal_()
    return layer


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(5, 6)
    assert torch.equal(OrthogonalAdapter(6)(x), x)


def test_it_is_the_exponential_of_a_skew_matrix() -> None:
    layer, x = adapter(5), torch.randn(7, 5, dtype=torch.float64)
    p = np.zeros((5, 5))
    p[np.triu_indices(5, 1)] = layer.skew.detach().numpy()
    b = expm(p - p.T)
    np.testing.assert_allclose(layer.weight.detach().numpy(), b, rtol=0, atol=1e-13)
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() @ b.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_rotation_at_any_size_of_the_parameter(dtype: torch.dtype) -> None:
    layer = OrthogonalAdapter(8, dtype=dtype)
    for size in (1e-4, 1.0, 10.0):
        with torch.no_grad():
            layer.skew.normal_().mul_(size)
        b = layer.weight.detach().double()
        tolerance = 64 * (1 + size) * torch.finfo(dtype).eps
        torch.testing.assert_close(b @ b.mT, torch.eye(8, dtype=torch.float64), rtol=0, atol=tolerance)
        assert torch.linalg.det(b) > 0


def test_trained_to_align_it_finds_the_procrustes_rotation() -> None:
    torch.manual_seed(1)
    x, hidden = torch.randn(200, 5, dtype=torch.float64), adapter(5).weight.detach()
    y = x @ hidden.mT + 0.1 * torch.randn_like(x)
    layer = OrthogonalAdapter(5, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=500, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    best, _ = orthogonal_procrustes(x.numpy(), y.numpy())
    assert np.linalg.det(best) > 0
    np.testing.assert_allclose(layer.weight.detach().numpy(), best.T, rtol=0, atol=1e-6)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 coordinates, but got n=1"):
        OrthogonalAdapter(1)
