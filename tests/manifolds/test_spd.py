"""What the geometries of positive definite matrices share, and their numbers against 80 digits."""

import math
import re

import pytest
import torch
from torch import Tensor

from isometry.manifolds import Checked, OffManifoldError, ShapeError, SPDAffineInvariant, SPDLogEuclidean
from isometry.manifolds._spd import SPD, symmetric_coordinates, symmetric_matrix
from tests.manifolds.reference_spd import AffineInvariant, matrix, size
from tests.manifolds.spd_cases import GEOMETRIES, N, name, pair, spd

ACCURACY = [(10.0, 1e-6, 1e-14), (1e4, 1e-6, 1e-12), (1e4, 0.1, 1e-12), (1e4, None, 1e-12), (1e8, None, 1e-9)]
Reference = AffineInvariant  # all offer the same methods


def relative(x: Tensor, expected: object) -> float:
    return float(size(matrix(x) - expected) / size(expected))


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize(("cond", "separation", "bound"), ACCURACY)
def test_distance(m: SPD, reference: Reference, cond: float, separation: float | None, bound: float) -> None:
    for seed in range(4):
        x, y = pair(cond, separation, seed)
        expected = reference.dist(matrix(x), matrix(y))
        for p, q in [(x, y), (y, x), (x.clone().requires_grad_(), y)]:
            assert abs(float(m.dist(p, q).detach()) - expected) <= bound * expected


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
def test_distance_at_condition_1e12(m: SPD, reference: Reference) -> None:
    """Six digits; an eigendecomposition, which the logarithm needs, keeps the smallest eigenvalue to eps times 1e12."""
    bound = 1e12 * torch.finfo(torch.float64).eps if isinstance(m, SPDLogEuclidean) else 1e-6
    for seed in range(4):
        x, y = pair(1e12, None, seed)
        expected = reference.dist(matrix(x), matrix(y))
        assert abs(float(m.dist(x, y)) - expected) <= bound * expected


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize(("cond", "separation", "bound"), ACCURACY)
def test_log(m: SPD, reference: Reference, cond: float, separation: float | None, bound: float) -> None:
    """In the metric, relative to the distance, where ill-conditioned points cost two digits more."""
    for seed in range(2):
        x, y = pair(cond, separation, seed)
        exact = [matrix(x), matrix(y)]
        error = reference.norm(exact[0], matrix(m.logmap(x, y)) - reference.logmap(*exact))
        assert error <= 100 * bound * reference.dist(*exact)


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize(("cond", "separation", "bound"), ACCURACY)
def test_gradient_of_the_distance(
    m: SPD, reference: Reference, cond: float, separation: float | None, bound: float
) -> None:
    x, y = pair(cond, separation, seed=5)
    inputs = (x.requires_grad_(), y.requires_grad_())
    gradients = torch.autograd.grad(m.dist(*inputs), inputs)
    for p, q, gradient in [(x, y, gradients[0]), (y, x, gradients[1])]:
        assert relative(gradient, reference.dist_egrad(matrix(p.detach()), matrix(q.detach()))) <= 100 * bound


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize("cond", [10.0, 1e4])
def test_exp_and_transport(m: SPD, reference: Reference, cond: float) -> None:
    """Up to the rounding of the result's entries, which moves a point of this condition by eps times as much."""
    x, y = pair(cond, None, seed=6)
    u, v = 0.3 * m.logmap(x, y), m.logmap(x, spd(cond, 7))
    exact = [matrix(z) for z in (x, y, u, v)]
    bound = 16 * cond * torch.finfo(torch.float64).eps
    assert reference.dist(reference.expmap(exact[0], exact[2]), matrix(m.expmap(x, u))) <= bound
    moved = reference.transp(exact[0], exact[1], exact[3])
    error = reference.norm(exact[1], matrix(m.transp(x, y, v)) - moved)
    assert error <= bound * reference.norm(exact[0], exact[3])


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize("separation", [1e-2, None])
def test_float32_is_right_to_its_last_place(m: SPD, reference: Reference, separation: float | None) -> None:
    for seed in range(4):
        x, y = (z.float() for z in pair(1e4, separation, seed))
        expected = reference.dist(matrix(x), matrix(y))
        assert abs(float(m.dist(x, y)) - expected) <= 1e-7 * expected


def rotated(values: list[float]) -> Tensor:
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))
    return (basis * torch.tensor(values, dtype=torch.float64)) @ basis.mT


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize("values", [[1.0] * N, [1.0, 1.0, 2.0, 2.0, 3.0], [1e-4, 1e-2, 1.0, 1.0, 1.0]])
def test_coincident_points(m: SPD, reference: Reference, values: list[float]) -> None:
    """The distance and its gradient are exactly 0, and the Hessian of its square is twice the metric."""
    x = rotated(values)
    x = ((x + x.mT) / 2).requires_grad_()
    y = x.detach().clone()
    for f in (m.dist(x, y), m.dist2(x, y)):
        assert f == 0
        assert not torch.autograd.grad(f, x)[0].any()
    u = torch.randn(N, N, dtype=torch.float64)
    u = u + u.mT
    (gradient,) = torch.autograd.grad(m.dist2(x, y), x, create_graph=True)
    (second,) = torch.autograd.grad((gradient * u).sum(), x)
    expected = 2 * reference.inner(matrix(y), matrix(u), matrix(u))
    assert abs(float((second * u).sum()) - expected) <= 1e-13 * expected / min(values)


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
@pytest.mark.parametrize("bad", [-torch.eye(N), torch.full((N, N), math.nan), torch.eye(N) - 2 * torch.ones(N, N)])
def test_what_is_not_positive_definite_gives_nan_and_harms_no_other(m: SPD, reference: Reference, bad: Tensor) -> None:
    good = m.random(N, N, dtype=torch.float64)
    x = torch.stack([good, bad.double(), good]).requires_grad_()
    y = m.random(3, N, N, dtype=torch.float64)
    for value in (m.dist(x.detach(), y), m.dist(x, y)):
        assert value.isnan().tolist() == [False, True, False]
    for result in (m.logmap(x, y), m.transp(x, y, y), m.expmap(x, y)):
        assert result.isnan().flatten(1).all(1).tolist() == [False, True, False]
        assert result[0].isfinite().all()


def test_projection_raises_eigenvalues_to_the_documented_floor() -> None:
    m = SPDAffineInvariant(3)
    for dtype in (torch.float32, torch.float64):
        x = torch.diag(torch.tensor([4.0, 1e-3, -1.0], dtype=dtype))
        floor = 3 * torch.finfo(dtype).eps * 4
        torch.testing.assert_close(m.projx(x), torch.diag(torch.tensor([4.0, 1e-3, floor], dtype=dtype)))
        z = torch.randn(100, 3, 3, dtype=dtype)
        points = m.projx(z)
        assert (torch.linalg.eigvalsh(points.double()) > 0).all()
        torch.testing.assert_close(m.projx(points), points)
    torch.testing.assert_close(m.projx(torch.zeros(3, 3)), 3 * torch.finfo(torch.float32).eps * torch.eye(3))


def test_points_stay_bit_for_bit() -> None:
    m = SPDAffineInvariant(N)
    for x in (m.random(50, N, N), m.random(50, N, N, dtype=torch.float64), spd(1e12, 0)):
        assert torch.equal(m.projx(x), x)


@pytest.mark.parametrize(
    ("x", "residual"),
    [
        (torch.eye(3), 0.0),
        (torch.diag(torch.tensor([1.0, 1e-30, 1.0])), 0.0),  # nothing tells 1e-30 from a rounded 0
        (torch.diag(torch.tensor([1.0, 1.0, -1e-9])), 1.0),
        (torch.diag(torch.tensor([1.0, 1.0, -0.5])), 1.5),
        (torch.zeros(3, 3), 1.0),
        (torch.eye(3) + torch.eye(3).roll(1, 0).triu(), 1.0 / 2**0.5),
    ],
)
def test_residual(x: Tensor, residual: float) -> None:
    assert float(SPDAffineInvariant(3).point_residual(x)) == pytest.approx(residual, abs=1e-6)


def test_checks_name_the_violation() -> None:
    m = Checked(SPDAffineInvariant(2))
    eye, bad = torch.eye(2), torch.diag(torch.tensor([1.0, -1e-3]))
    with pytest.raises(OffManifoldError, match=re.escape("argument 'y': point residual 1.0e+00 > tolerance 1e-05")):
        m.dist(eye, bad)
    with pytest.raises(OffManifoldError, match="argument 'u': tangent residual"):
        m.expmap(eye, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ShapeError, match=re.escape("ends in dimensions (2, 2), but the tensor has shape (3, 3)")):
        m.dist(torch.eye(3), torch.eye(3))


def test_construction() -> None:
    with pytest.raises(ValueError, match="matrices of at least one row, but got n=0"):
        SPDAffineInvariant(0)
    assert SPDLogEuclidean(4, upcast=False).with_dim(6) == SPDLogEuclidean(3, upcast=False)
    with pytest.raises(ValueError, match=r"dimensions, but got dim=7\. The nearest sizes are n=3 and n=4"):
        SPDAffineInvariant(2).with_dim(7)


@pytest.mark.parametrize("n", [2, 30])
def test_random_matrices_have_the_documented_law(n: int) -> None:
    """The logarithm has variance 1/n on the diagonal and 1/(2n) off it, and its spectrum stays near sqrt(2)."""
    x = SPDAffineInvariant(n).random(4000 // n, n, n, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(x)
    log = (vectors * values.log().unsqueeze(-2)) @ vectors.mT
    diagonal, off = log.diagonal(dim1=-2, dim2=-1), log[:, 0, 1]
    assert float(diagonal.square().mean()) * n == pytest.approx(1, rel=0.1)
    assert float(off.square().mean()) * 2 * n == pytest.approx(1, rel=0.4)
    assert torch.equal(x, x.mT)
    if n == 30:
        assert float(values.log().abs().amax(-1).mean()) == pytest.approx(2**0.5, rel=0.1)


def test_coordinates_of_symmetric_matrices_are_isometric() -> None:
    z = torch.randn(7, 10, dtype=torch.float64)
    u = symmetric_matrix(z, 4)
    assert torch.equal(u, u.mT)
    torch.testing.assert_close(u.square().sum((-2, -1)), z.square().sum(-1))
    torch.testing.assert_close(symmetric_coordinates(u), z)
