"""Functions of one coordinate combined: grids are points, truncation is that of dense tensors at other nodes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds.low_rank import FixedRankTT, cp_to_dense
from isometry.models import SIREN, FunctionalCP, FunctionalTensor, FunctionalTT, FunctionalTucker

BUILD: dict[str, Any] = {
    "tucker": lambda **options: FunctionalTucker([5, 6, 4], 2, width=16, omega=5.0, **options),
    "tt": lambda **options: FunctionalTT([5, 6, 4], 2, width=16, omega=5.0, **options),
    "cp": lambda **options: FunctionalCP(3, 6, 2, width=16, omega=5.0, **options),
}


class TestFunctions(LayerSuite):
    cases = tuple(
        LayerCase(build, lambda count: 2 * torch.rand(count, 3) - 1, (2,), cond=512.0, name=name)
        for name, build in [*BUILD.items(), ("siren", lambda: SIREN(3, 2, 16, 2, omega=5.0))]
    )


def nodes(count: int) -> tuple[Tensor, Tensor]:
    x, w = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(x), torch.from_numpy(w)


def weighted(f: FunctionalTensor, count: int = 41) -> Tensor:
    """Values at the nodes times the roots of the weights: a dense tensor of the same norm."""
    x, w = nodes(count)
    y = f.on_grid([x] * 3).detach()
    return y * torch.einsum("i,j,k->ijk", w, w, w).sqrt().unsqueeze(-1)


@pytest.mark.parametrize("name", BUILD)
def test_a_grid_is_its_points(name: str) -> None:
    f = BUILD[name]().double()
    axes = [torch.rand(n, dtype=torch.float64) for n in (3, 4, 5)]
    points = torch.cartesian_prod(*axes).view(3, 4, 5, 3)
    assert torch.allclose(f.on_grid(axes), f(points), atol=1e-14)


def test_formats_are_written_out() -> None:
    axes = [torch.rand(n, dtype=torch.float64) for n in (3, 4, 5)]
    tucker, tt, cp = (BUILD[name]().double() for name in ("tucker", "tt", "cp"))
    a, b, c = (net(x.unsqueeze(-1)) for net, x in zip(tucker.networks, axes, strict=True))
    assert torch.allclose(tucker.on_grid(axes), torch.einsum("ia,jb,kc,abco->ijko", a, b, c, tucker.core))
    a, b, c = (net(x.unsqueeze(-1)) for net, x in zip(tt.networks, axes, strict=True))
    b, c = b.unflatten(-1, (5, 6)), c.unflatten(-1, (6, 4))
    assert torch.allclose(tt.on_grid(axes), torch.einsum("ia,jab,kbc,co->ijko", a, b, c, tt.core))
    factors = [net(x.unsqueeze(-1)) for net, x in zip(cp.networks, axes, strict=True)]
    assert torch.allclose(cp.on_grid(axes), cp_to_dense([*factors, cp.core.mT]))


@pytest.mark.parametrize(
    "build", [lambda: FunctionalTucker([3]), lambda: FunctionalTT([3]), lambda: FunctionalCP(1, 3)]
)
def test_one_coordinate_is_enough(build: Any) -> None:
    f, x = build(), torch.linspace(-1, 1, 7)
    assert torch.allclose(f.on_grid([x]), f(x.unsqueeze(-1)), atol=1e-6)


@pytest.mark.parametrize("name", BUILD)
def test_the_start_has_variance_1(name: str) -> None:
    build = {
        "tucker": lambda: FunctionalTucker([8, 8, 8], 4),
        "tt": lambda: FunctionalTT([8, 8, 8], 4),
        "cp": lambda: FunctionalCP(3, 8, 4),
    }[name]
    x = torch.rand(200, 3) * 2 - 1
    variances = torch.stack([build()(x).detach().var() for _ in range(40)])
    assert 0.6 < variances.mean() < 1.6


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("tol", [1e-10, 0.05, 0.3])
def test_the_error_of_a_truncation_is_below_its_tolerance(name: str, tol: float) -> None:
    f = BUILD[name]().double()
    g = f.truncate(tol=tol)
    dense = weighted(f)  # other nodes than those of the truncation
    error = (weighted(g) - dense).norm() / dense.norm()
    assert error < tol
    if tol > 0.1:
        assert error > tol / 20  # it does drop what it may
        assert sum(p.numel() for p in g.parameters()) < sum(p.numel() for p in f.truncate().parameters())


def test_truncated_ranks_are_those_of_dense_tensors() -> None:
    f = BUILD["tt"]().double()
    dense = weighted(f)
    expected = FixedRankTT(dense.shape)
    for ranks in ((4, 3, 2), (2, 2, 1)):
        y = expected.to_dense(expected.from_dense(dense, ranks=ranks))
        assert torch.allclose(weighted(f.truncate(ranks=ranks)), y, atol=1e-10)
    f = BUILD["tucker"]().double()
    dense, core = weighted(f), weighted(f)
    for k in range(3):  # the sequential HOSVD
        unfolded = core.movedim(k, 0).flatten(1)
        U = torch.linalg.svd(unfolded, full_matrices=False).U[:, :3]
        core = (U @ (U.mT @ unfolded)).unflatten(1, core.movedim(k, 0).shape[1:]).movedim(0, k)
    assert torch.allclose(weighted(f.truncate(ranks=[3, 3, 3])), core, atol=1e-10)


def test_one_bond_is_cut_at_the_least_error() -> None:
    f = FunctionalTT([6, 1], 1, width=16, omega=5.0).double()
    x, w = nodes(60)
    dense = f.on_grid([x, x])[..., 0].detach() * torch.outer(w, w).sqrt()
    s = torch.linalg.svdvals(dense)
    g = f.truncate(ranks=[2, 1]).on_grid([x, x])[..., 0].detach() * torch.outer(w, w).sqrt()
    assert torch.allclose((g - dense).norm(), s[2:].norm(), rtol=1e-9)


def test_a_truncated_function_goes_on_training_and_is_saved() -> None:
    f = BUILD["cp"]().truncate(ranks=[3, 3, 2])
    twin = FunctionalTT([3, 3, 2], 2, width=16, omega=5.0)
    twin.load_state_dict(f.state_dict())
    x = torch.rand(10, 3)
    assert torch.equal(twin(x), f(x))
    f(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in f.parameters())


def test_superfluous_functions_vanish() -> None:
    f = BUILD["tucker"]().double()
    f.networks[0].head.weight.data[1:] = f.networks[0].head.weight.data[:1]
    f.networks[0].head.bias.data[1:] = f.networks[0].head.bias.data[:1]
    g = f.truncate()
    assert g.core.shape[0] == 1
    assert torch.allclose(weighted(g), weighted(f), atol=1e-12)


def test_a_grid_costs_the_sum_of_its_sizes() -> None:
    f, seen = BUILD["tt"](), []
    for network in f.networks:
        network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    f.on_grid([torch.rand(n) for n in (30, 40, 50)])
    assert seen == [30, 40, 50]


def test_sines_of_variance_one_half_at_every_depth() -> None:
    net, h = SIREN(2, 1, 256, 6), 2 * torch.rand(2000, 2) - 1
    for layer in net.hidden:
        h = torch.sin(net.omega * layer(h))
        assert 0.3 < h.detach().square().mean() < 0.6
    assert net.head(h).detach().std() == pytest.approx(1 / net.omega, rel=0.5)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected sizes of at least 1 and positive omega"):
        SIREN(2, 1, omega=0.0)
    with pytest.raises(ValueError, match=r"FunctionalTucker: expected a coordinate and sizes of at least 1"):
        FunctionalTucker([3, 0])
    with pytest.raises(ValueError, match=r"expected 3 coordinates, but got 2"):
        BUILD["cp"]()(torch.rand(4, 2))
    with pytest.raises(ValueError, match=r"truncate: expected 3 ranks of at least 1, but got \[2, 2\]"):
        BUILD["tt"]().truncate(ranks=[2, 2])
    assert math.isfinite(float(FunctionalCP(2, 3)(torch.rand(1, 2)).detach()))
