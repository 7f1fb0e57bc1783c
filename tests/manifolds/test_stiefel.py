"""The Stiefel manifold in both metrics: the differential equations, the sphere, other libraries and the far side."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds import Sphere, StiefelCanonical, StiefelEuclidean
from isometry.manifolds._stiefel import Stiefel
from isometry.manifolds._stiefel_log import _linearised
from tests.manifolds import reference_stiefel as reference

BOTH = [StiefelCanonical, StiefelEuclidean]
SMALL = [StiefelCanonical(4, 2), StiefelEuclidean(4, 2), StiefelCanonical(4, 3), StiefelEuclidean(4, 3)]


def vectors(m: Stiefel, x: Tensor, length: float = 1.0) -> Tensor:
    u = m.proju(x, torch.randn_like(x))
    return length / m.norm(x, u, keepdim=True) * u


def draw(m: Stiefel, *batch: int, length: float = 1.0) -> tuple[Tensor, Tensor]:
    x = m.random(*batch, *m.point_shape, dtype=torch.float64)
    return x, vectors(m, x, length)


# --- the oracle and against it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("m", SMALL[:2], ids=repr)
def test_reference_solves_the_geodesic_equation(m: Stiefel) -> None:
    x, u = draw(m, length=1.5)
    exact_x = reference.frame(x)
    exact_u = reference.tangent(exact_x, u)
    end, moved = reference.exp_and_transp(exact_x, exact_u, exact_u, m.beta)
    assert abs(end - reference.exp_by_lift(exact_x, exact_u, m.beta)).max() < 1e-20
    squares = [reference.inner(p, v, v, m.beta) for p, v in ((exact_x, exact_u), (end, moved))]
    assert abs(squares[1] - squares[0]) < 1e-20


@pytest.mark.parametrize("length", [1e-6, 2.0])
@pytest.mark.parametrize("m", SMALL, ids=repr)
def test_exp_and_transport_against_the_reference(m: Stiefel, length: float) -> None:
    x, u = draw(m, length=length)
    v = vectors(m, x)
    exact = reference.frame(x)
    exact_u, exact_v = reference.tangent(exact, u), reference.tangent(exact, v)
    y, moved = map(reference.floats, reference.exp_and_transp(exact, exact_u, exact_v, m.beta))
    assert float((m.expmap(x, u) - y).abs().max()) < 2e-15
    assert float((m.transp_follow_expmap(x, u, v) - moved).abs().max()) < 2e-15
    assert float((m.transp(x, y, v) - moved).abs().max()) < max(4e-15, 1e-15 / length)


@pytest.mark.parametrize("length", [1e-6, 1e-3, 1.0, 2.4])
@pytest.mark.parametrize("m", SMALL, ids=repr)
def test_log_and_distance_against_the_reference(m: Stiefel, length: float) -> None:
    """At the frames that the floats stand for, so that close pairs have all their digits."""
    x, u = draw(m, length=length)
    y = m.expmap(x, u)
    exact = reference.frame(x)
    log = reference.logmap(exact, reference.frame(y), m.logmap(x, y), m.beta)
    error = m.norm(x, m.logmap(x, y) - reference.floats(log)) / length
    assert float(error) < 2e-14
    square = reference.MP.sqrt(reference.inner(exact, log, log, m.beta))
    assert abs(m.dist(x, y).item() / float(square) - 1) < 2e-14


# --- how far log reaches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "share"), [(StiefelCanonical, 0.99), (StiefelEuclidean, 0.97)])
@pytest.mark.parametrize(("n", "k"), [(3, 2), (4, 2), (6, 3), (7, 5), (12, 4)])
def test_log_inverts_exp_up_to_the_documented_radius(cls: type[Any], share: float, n: int, k: int) -> None:
    m = cls(n, k)
    x, u = draw(m, 100, length=share * m.injectivity_radius())
    error = m.norm(x, m.logmap(x, m.expmap(x, u)) - u)
    # The worst of 100 is near the conjugate locus, where dexp is small; mostly the error is that of rounding.
    assert float(error.max()) < 1e-11
    assert float(error.median()) < 1e-14


@pytest.mark.parametrize("m", SMALL, ids=repr)
def test_distant_pairs_have_a_geodesic(m: Stiefel) -> None:
    x, y = (m.random(100, *m.point_shape, dtype=torch.float64) for _ in range(2))
    u = m.logmap(x, y)
    found = ~u.isnan().any(-1).any(-1)
    assert int(found.sum()) >= 98
    assert float((m.expmap(x, u) - y)[found].abs().max()) < 1e-13


@pytest.mark.parametrize("m", SMALL, ids=repr)
def test_a_nan_stays_in_its_pair(m: Stiefel) -> None:
    x, u = draw(m, 3)
    y = m.expmap(x, u)
    y[1, 0, 0] = math.nan
    nans = m.logmap(x, y).isnan().any(-1).any(-1)
    assert nans.tolist() == [False, True, False]


@pytest.mark.parametrize("m", [StiefelCanonical(6, 3), StiefelEuclidean(6, 3)], ids=repr)
@pytest.mark.parametrize("kind", ["along", "across", "rank one"])
def test_directions_without_full_rank(m: Stiefel, kind: str) -> None:
    """A turn of the frame in its span, a turn of the span, one column alone: values and derivatives."""
    x, u = draw(m, 4)
    along = x @ (x.mT @ u)
    column = torch.zeros(3, 3, dtype=x.dtype)
    column[0, 0] = 1
    u = {"along": along, "across": u - along, "rank one": (u - along) @ column}[kind]
    y = m.expmap(x, u)
    assert float((m.logmap(x, y) - u).abs().max()) < 1e-14
    x, y = x[:1].requires_grad_(), y[:1].detach().requires_grad_()
    torch.autograd.gradcheck(lambda x, y: m.logmap(m.projx(x), m.projx(y)), (x, y), fast_mode=True)
    torch.autograd.gradgradcheck(lambda x, y: m.dist2(m.projx(x), m.projx(y)), (x, y), fast_mode=True)


def test_the_solver_is_a_proper_operation_of_torch() -> None:
    m = StiefelEuclidean(5, 2)
    x, u = draw(m, 3)
    torch.library.opcheck(_linearised, (x, m.expmap(x, u) - x, m.beta))


# --- special cases and formulas of others -----------------------------------------------------------------------


@pytest.mark.parametrize("cls", BOTH)
def test_unit_vectors_are_the_sphere(cls: type[Any]) -> None:
    m, sphere = cls(5, 1), Sphere(4)
    x, u = draw(m, 20, length=2.5)
    v = vectors(m, x)
    y = m.expmap(x, u)
    a, b = x.squeeze(-1), y.squeeze(-1)
    for ours, theirs in [
        (m.dist(x, y), sphere.dist(a, b)),
        (m.logmap(x, y).squeeze(-1), sphere.logmap(a, b)),
        (m.transp(x, y, v).squeeze(-1), sphere.transp(a, b, v.squeeze(-1))),
        (m.log_det_exp(x, u), sphere.log_det_exp(a, u.squeeze(-1))),
    ]:
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_gradient_of_the_canonical_metric() -> None:
    """``g - x g^T x`` (Edelman, Arias & Smith 1998, equation 2.53)."""
    m = StiefelCanonical(6, 3)
    x, _ = draw(m, 4)
    g = torch.randn_like(x)
    torch.testing.assert_close(m.egrad2rgrad(x, g), g - x @ g.mT @ x)


def test_projection_is_orthogonal() -> None:
    """Unlike geoopt's in the canonical class: ``<u - proju(u), v> = 0`` for every tangent v, in both metrics."""
    for m in (StiefelCanonical(6, 3), StiefelEuclidean(6, 3)):
        x, v = draw(m, 8)
        u = torch.randn_like(x)
        normal = u - m.proju(x, u)
        assert float((normal * v).sum((-2, -1)).abs().max()) < 1e-14
        assert float(m.inner(x, normal, v).abs().max()) < 1e-14


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize(("n", "k"), [(3, 0), (3, 3), (2, 3)])
def test_sizes_that_are_no_frames_are_refused(cls: type[Any], n: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"expected frames of 1 <= k < n columns.*SpecialOrthogonal"):
        cls(n, k)


def test_a_dimension_does_not_determine_a_size() -> None:
    with pytest.raises(ValueError, match="does not determine a Stiefel manifold"):
        StiefelCanonical(5, 2).with_dim(7)


# --- peers ------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_geomstats_agrees_in_the_canonical_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    from geomstats.geometry.stiefel import Stiefel as Peer

    m, peer = StiefelCanonical(6, 3), Peer(6, 3).metric
    x, u = draw(m, length=1.5)
    y = m.expmap(x, u)
    a, b, tangent = x.numpy(), y.numpy(), u.numpy()
    assert np.allclose(peer.exp(tangent, a), b, rtol=0, atol=1e-13)
    assert np.allclose(peer.log(b, a), tangent, rtol=0, atol=1e-5)  # its default tolerance
    assert np.allclose(peer.inner_product(tangent, tangent, a), m.inner(x, u), rtol=1e-13)


@pytest.mark.peers
def test_geoopt_and_pymanopt_agree_in_the_euclidean_metric() -> None:
    import geoopt
    from pymanopt.manifolds import Stiefel as Peer

    m = StiefelEuclidean(6, 3)
    x, u = draw(m, length=1.5)
    g = torch.randn_like(x)
    peer = Peer(6, 3)
    assert np.allclose(peer.exp(x.numpy(), u.numpy()), m.expmap(x, u), rtol=0, atol=1e-13)
    assert np.allclose(peer.projection(x.numpy(), g.numpy()), m.proju(x, g), rtol=0, atol=1e-14)
    torch.testing.assert_close(geoopt.EuclideanStiefel().expmap(x, u), m.expmap(x, u), rtol=0, atol=1e-13)
