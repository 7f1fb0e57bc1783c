"""The Fisher-Rao metric of diagonal normals against 120-digit references, Fisher's integral and geomstats."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds import Checked, DiagonalGaussian, OffManifoldError, PoincareBall, halfspace_to_poincare
from tests.manifolds import reference_gaussian as reference
from tests.manifolds.reference import MP, Real, Vector, vector

LINE = DiagonalGaussian(1)


def exact(x: Tensor) -> Vector:
    return vector(x[:, 0])


def length(x: Vector, u: Vector) -> Real:
    return MP.sqrt(reference.inner(x, u, u))


def draw(radius: float, separation: float, dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A point at the given distance from the standard normal, a vector u, exp(u) at the given separation, and v."""
    generator = torch.Generator().manual_seed(seed)

    def tangent(at: Tensor, size: float) -> Tensor:
        u = torch.randn(2, 1, generator=generator, dtype=dtype)
        return size / LINE.norm(at, u) * u

    origin = LINE.origin(2, 1, dtype=dtype)
    x = LINE.expmap(origin, tangent(origin, radius))
    u, v = tangent(x, separation), tangent(x, 1.0)
    return x, u, LINE.expmap(x, u), v


CASES = [(torch.float64, s) for s in (1e-12, 1e-6, 1e-2, 0.7, 3.0, 15.0, 40.0)]
CASES += [(torch.float32, s) for s in (1e-5, 1e-2, 0.7, 3.0, 15.0, 40.0)]


@pytest.mark.parametrize("radius", [0.0, 3.0, 12.0])
@pytest.mark.parametrize(("dtype", "separation"), CASES)
def test_operations_are_right_to_the_last_places(dtype: torch.dtype, separation: float, radius: float) -> None:
    """Relative to the exact result for the given floats; exp and gradient contain ``e^l``: rounding l costs l eps."""
    eps = torch.finfo(dtype).eps
    few, growing = 8 * eps, 8 * (1 + separation) * eps
    for seed in range(4):
        x, u, y, v = draw(radius, separation, dtype, seed)
        a, b = exact(x), exact(y)
        d, log, end, moved = (
            reference.dist(a, b),
            reference.logmap(a, b),
            reference.expmap(a, exact(u)),
            reference.transp(a, b, exact(v)),
        )
        assert abs(vector([LINE.dist(x, y).item()])[0] / d - 1) < few
        assert length(a, exact(LINE.logmap(x, y)) - log) < few * d
        assert abs(b[1] / end[1] - 1) < growing
        assert abs(b[0] - end[0]) < growing * (abs(a[0]) + abs(end[0]) + end[1])
        assert length(b, exact(LINE.transp(x, y, v)) - moved) < few * length(b, moved)
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(LINE.dist(x, y), x)
        error = (exact(gradient) - reference.dist_egrad(a, b)) * a[1]
        assert (
            MP.sqrt(error[0] ** 2 + error[1] ** 2 / 2) < growing
        )  # in units of the gradient, which is a unit covector


def test_the_metric_is_fishers_information() -> None:
    for x in ([0.0, 1.0], [-2.0, 0.3], [5.0, 4.0]):
        point, frame = torch.tensor(x, dtype=torch.float64).unsqueeze(-1), torch.eye(2, dtype=torch.float64)
        gram = LINE.inner(point, frame.reshape(2, 1, 2, 1), frame.reshape(1, 2, 2, 1))
        information = reference.fisher_information(vector(x))
        expected = torch.tensor([[float(value) for value in row] for row in information], dtype=torch.float64)
        torch.testing.assert_close(gram, expected, rtol=1e-12, atol=1e-12)


def test_variables_are_factors() -> None:
    m = DiagonalGaussian(3)
    x, y = m.random(2, 5, 2, 3, dtype=torch.float64)
    squares = sum(LINE.dist2(x[..., i : i + 1], y[..., i : i + 1]) for i in range(3))
    torch.testing.assert_close(m.dist2(x, y), squares)
    torch.testing.assert_close(m.logmap(x, y)[..., 1:2], LINE.logmap(x[..., 1:2], y[..., 1:2]))


def test_it_is_the_half_plane_and_so_the_disk_scaled() -> None:
    x, y = LINE.random(2, 200, 2, 1, dtype=torch.float64)
    plane = [torch.cat([p[:, 0] / math.sqrt(2), p[:, 1]], -1) for p in (x, y)]
    expected = math.sqrt(2) * PoincareBall(2).dist(*map(halfspace_to_poincare, plane))
    torch.testing.assert_close(LINE.dist(x, y), expected, rtol=1e-11, atol=0)


def test_known_distances() -> None:
    """Along sigma the distance is ``sqrt(2) |log ratio|``; a change of units keeps every distance."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [1e-200]], dtype=torch.float64)
    assert LINE.dist(x, y).item() == pytest.approx(math.sqrt(2) * 200 * math.log(10), rel=1e-15)
    m = DiagonalGaussian(4)
    x, y = m.random(2, 50, 2, 4, dtype=torch.float64)
    celsius, fahrenheit = (x, y), tuple(m.act((torch.full((4,), 1.8), torch.full((4,), 32.0)), p) for p in (x, y))
    torch.testing.assert_close(m.dist(*celsius), m.dist(*fahrenheit), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e9), (torch.float64, 1e50)])
def test_extreme_points_have_finite_distances_and_gradients(dtype: torch.dtype, size: float) -> None:
    means, stds = torch.tensor([0.0, 1.0, size], dtype=dtype), torch.tensor([1 / size, 1.0, size], dtype=dtype)
    x = torch.cartesian_prod(means, stds).unsqueeze(-1).requires_grad_()
    distances = LINE.dist(x.unsqueeze(0), x.unsqueeze(1))
    assert distances.isfinite().all()
    (gradient,) = torch.autograd.grad(distances.sum(), x)
    assert gradient.isfinite().all()
    expected = [[reference.dist(exact(a), exact(b)) for b in x.detach()] for a in x.detach()]
    table = torch.tensor([[float(d) for d in row] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(distances.double(), table, rtol=8 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("step", [-200.0, 200.0])
def test_leaving_the_format_is_reported(step: float) -> None:
    x, u = LINE.origin(2, 1), torch.tensor([[0.0], [step]])  # to sigma = exp(step)
    assert not LINE.check_point_on_manifold(LINE.expmap(x, u))
    with pytest.raises(OffManifoldError, match="result"):
        Checked(LINE).expmap(x, u)
    assert LINE.expmap(x.double(), u.double())[1].item() == pytest.approx(math.exp(step), rel=1e-12)


def test_points_outside_are_refused_and_projected() -> None:
    m = DiagonalGaussian(2)
    x = torch.tensor([[1.0, 2.0], [0.5, -3.0]])
    with pytest.raises(OffManifoldError, match=r"DiagonalGaussian\(k=2\): point residual inf .* project with `projx`"):
        m.assert_check_point_on_manifold(x)
    assert m.projx(x).tolist() == [[1.0, 2.0], [0.5, 3.0]]
    assert m.projx(torch.zeros(2, 2))[1].tolist() == [torch.finfo(torch.float32).tiny] * 2
    with pytest.raises(OffManifoldError, match="residual nan"):
        m.assert_check_point_on_manifold(torch.tensor([[0.0, math.inf], [1.0, 1.0]]))


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one variable, but got k=0"):
        DiagonalGaussian(0)
    with pytest.raises(ValueError, match=r"expected an even dimension \(2 per variable\), but got dim=5"):
        DiagonalGaussian(2).with_dim(5)


@pytest.mark.peers
def test_agrees_with_geomstats() -> None:
    np.trapz = np.trapezoid  # which geomstats asks for, and numpy 2 renamed
    from geomstats.information_geometry.normal import UnivariateNormalDistributions

    metric = UnivariateNormalDistributions().metric
    x, y = LINE.random(2, 40, 2, 1, dtype=torch.float64)
    a, b = x.squeeze(-1).numpy(), y.squeeze(-1).numpy()
    log = LINE.logmap(x, y)
    for ours, theirs in [
        (LINE.dist(x, y), metric.dist(a, b)),
        (log.squeeze(-1), metric.log(b, a)),
        (LINE.expmap(x, log).squeeze(-1), metric.exp(log.squeeze(-1).numpy(), a)),
    ]:
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)
