"""Batch norm against the Euclidean formula, the closed forms of the metrics and a joint batch."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from isometry.layers import BatchNorm
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    PoincareBall,
    PowerDeformed,
    ShapeError,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    Sphere,
    named_manifolds,
)
from isometry.manifolds.testing import assert_close_points, assert_on_manifold, assert_small
from isometry.trainers.optim import RiemannianSGD
from tests.layers.closed_forms import BuresWasserstein, spectral
from tests.layers.clouds import cloud

M = torch.tensor([[2.0, 0.3, 0.1], [0.3, 0.7, -0.2], [0.1, -0.2, 1.1]], dtype=torch.float64)
GBWBN = PowerDeformed(SPDGeneralizedBuresWasserstein(3, M, learnable=True), 0.5)
SPD = [
    SPDAffineInvariant(3),
    SPDLogEuclidean(3),
    SPDLogCholesky(3),
    SPDBuresWasserstein(3),
    SPDGeneralizedBuresWasserstein(3, M),
    PowerDeformed(SPDAffineInvariant(3), -0.5),
    GBWBN,
]
MANIFOLDS = [Euclidean(3), Sphere(3), PoincareBall(3, c=0.5, learnable=True), Lorentz(3), *SPD]


def case(manifold: Manifold, name: str = "", **arguments: object) -> LayerCase:
    return LayerCase(
        lambda: trained(BatchNorm(manifold, 2, **arguments)),
        lambda n: cloud(manifold, n, 2),
        out_shape=(2, *manifold.point_shape),
        cond=256.0,  # 16 for each of the layer's operations on points
        manifold_in=manifold,
        manifold_out=manifold,
        name=f"{manifold!r}{name}",
    )


def trained(layer: BatchNorm, seed: int = 0) -> BatchNorm:
    """The layer in float64 with other values of its parameters than those it starts with."""
    layer = layer.double()
    torch.manual_seed(seed)
    with torch.no_grad():
        layer.scale.uniform_(0.1, 0.3)  # inside the domain of Bures-Wasserstein
        channels = layer.bias.shape[: layer.bias.ndim - layer.manifold.ndim]
        layer.bias.copy_(cloud(layer.manifold, *channels, spread=0.1))
    return layer


class TestBatchNorm(LayerSuite):
    cases = (
        case(Euclidean(3)),
        case(Sphere(3)),
        case(PoincareBall(2, c=0.5, learnable=True)),
        case(SPDAffineInvariant(3)),
        case(SPDLogEuclidean(3)),
        case(SPDGeneralizedBuresWasserstein(2, M[:2, :2], learnable=True)),
        case(SPDLogCholesky(2), "-origin", mean_steps=0, dispersion="origin"),
        LayerCase(
            lambda: trained(BatchNorm(SPDLogCholesky(2), num_domains=3)),
            lambda n: (cloud(SPDLogCholesky(2), n), torch.arange(n) % 2),
            out_shape=(2, 2),
            cond=256.0,
            manifold_in=SPDLogCholesky(2),
            manifold_out=SPDLogCholesky(2),
            name="domains",
        ),
        LayerCase(
            lambda: trained(BatchNorm(Lorentz(2))).eval(),
            lambda n: cloud(Lorentz(2), n),
            out_shape=(3,),
            manifold_in=Lorentz(2),
            manifold_out=Lorentz(2),
            name="eval",
        ),
    )


@pytest.mark.slow
class TestMoreBatchNorms(LayerSuite):
    """Minutes to compile: longer formulas, and iterations."""

    cases = (
        case(Lorentz(3)),
        case(SPDBuresWasserstein(3)),
        case(SPDBuresWasserstein(2), "-mean", mean_steps=None),
        case(PowerDeformed(SPDAffineInvariant(3), -0.5)),
        case(GBWBN),
    )


def test_in_flat_space_it_has_one_variance_for_all_coordinates() -> None:
    layer, x = trained(BatchNorm(Euclidean(3), 4, momentum=0.2)), 2 + 3 * torch.randn(50, 4, 3, dtype=torch.float64)
    mean, var = x.mean(0), x.var(0, unbiased=False).sum(-1)

    def normalised(mean: Tensor, var: Tensor) -> Tensor:
        return layer.bias + (layer.scale / (var + 1e-5).sqrt()).unsqueeze(-1) * (x - mean)

    torch.testing.assert_close(layer(x), normalised(mean, var), rtol=0, atol=1e-14)
    torch.testing.assert_close(layer.running_mean, 0.2 * mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(layer.running_var, (0.8 + 0.2 * var).view_as(layer.running_var), rtol=0, atol=1e-13)
    torch.testing.assert_close(layer.eval()(x), normalised(0.2 * mean, 0.8 + 0.2 * var), rtol=0, atol=1e-14)


def test_on_the_line_it_is_torchs() -> None:
    ours, theirs = BatchNorm(Euclidean(1), 5).double(), nn.BatchNorm1d(5).double()
    for _ in range(3):
        x = 1 + 2 * torch.randn(40, 5, dtype=torch.float64)
        torch.testing.assert_close(ours(x.unsqueeze(-1)).squeeze(-1), theirs(x), rtol=0, atol=1e-13)
    torch.testing.assert_close(ours.running_mean.squeeze(-1), theirs.running_mean, rtol=0, atol=1e-13)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_the_normalised_batch_has_its_mean_at_the_bias_and_the_dispersion_of_the_scale(manifold: Manifold) -> None:
    layer = trained(BatchNorm(manifold, mean_steps=None, eps=1e-12))
    y = layer(cloud(manifold, 30))
    assert_close_points(manifold, manifold.frechet_mean(y), layer.bias, atol=1e-9)
    assert_small(manifold.dist2(y, layer.bias).mean() / layer.scale**2 - 1, 1e-9, "dispersion")
    assert layer.num_stopped == 0


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_each_channel_is_normalised_by_itself(manifold: Manifold) -> None:
    layer = trained(BatchNorm(manifold, 3))
    x = torch.stack([cloud(manifold, 8, spread=s) for s in (0.2, 0.4, 0.6)], 1)
    one = BatchNorm(manifold).double()
    for channel in range(3):
        with torch.no_grad():
            one.scale.copy_(layer.scale[channel])
            one.bias.copy_(layer.bias[channel])
        assert_close_points(manifold, layer(x)[:, channel], one(x[:, channel]), atol=1e-12)


@pytest.mark.parametrize("manifold", [Sphere(3), Lorentz(3), SPDAffineInvariant(3), SPDBuresWasserstein(3)], ids=repr)
def test_steps_lead_to_the_frechet_mean(manifold: Manifold) -> None:
    x = cloud(manifold, 20, spread=1.0)
    exact = manifold.frechet_mean(x)
    distances = []
    for steps in (0, 1, 2, 8):
        layer = trained(BatchNorm(manifold, mean_steps=steps, momentum=1.0))
        layer(x)
        distances.append(float(manifold.dist(layer.running_mean, exact)))
    assert distances[1] < distances[0] / 2
    assert distances[2] < distances[1] / 2
    assert distances[3] < 1e-5


def test_on_flat_metrics_it_is_the_flat_one_of_the_coordinates() -> None:
    def coordinates(x: Tensor) -> Tensor:
        return spectral(x, torch.log)

    layer = trained(BatchNorm(SPDLogEuclidean(3)))
    x = cloud(layer.manifold, 12)
    flat = BatchNorm(Euclidean(9)).double()
    with torch.no_grad():
        flat.scale.copy_(layer.scale)
        flat.bias.copy_(coordinates(layer.bias).flatten())
    torch.testing.assert_close(coordinates(layer(x)).flatten(1), flat(coordinates(x).flatten(1)), rtol=0, atol=1e-13)


def test_on_the_affine_invariant_metric_it_is_congruence_and_power() -> None:
    """Brooks et al. 2019, algorithm 1, with the power of Kobler et al. 2022."""
    layer = trained(BatchNorm(SPDAffineInvariant(3), mean_steps=None))
    x = cloud(layer.manifold, 12)
    mean = layer.manifold.frechet_mean(x)
    whitening, bias = spectral(mean, lambda v: v**-0.5), spectral(layer.bias.detach(), torch.sqrt)
    centred = whitening @ x @ whitening
    var = spectral(centred, torch.log).square().sum((-2, -1)).mean()
    power = layer.scale.detach() / (var + 1e-5).sqrt()
    expected = bias @ spectral(centred, lambda v: v**power) @ bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dispersion", ["mean", "origin"])
def test_gbwbn_is_the_papers(dispersion: str) -> None:
    """In the order of its code: power and congruence, centring, scaling, bias, and back; the mean to convergence."""
    bw, theta, layer = BuresWasserstein, 0.5, trained(BatchNorm(GBWBN, mean_steps=None, dispersion=dispersion))
    x, eye = cloud(GBWBN, 10, spread=0.3), torch.eye(3, dtype=torch.float64)
    metric = GBWBN.manifold.M.detach().double()
    root, back = spectral(metric, torch.sqrt), spectral(metric, lambda v: v**-0.5)

    def enter(x: Tensor) -> Tensor:
        return back @ spectral(x, lambda v: v**theta) @ back

    images = enter(x)
    mean = bw.mean(images)
    centred = bw.exp(eye, bw.transport(mean, bw.log(mean, images), True))
    v = 2 * (spectral(images if dispersion == "origin" else centred, torch.sqrt) - eye)
    var = v.square().sum((-2, -1)).mean() / 4 / theta**2
    scaled = layer.scale.detach() / (var + 1e-5).sqrt() * 2 * (spectral(centred, torch.sqrt) - eye)
    bias = enter(layer.bias.detach())
    biased = bw.exp(bias, bw.transport(bias, scaled, False))
    expected = spectral(root @ biased @ root, lambda v: v ** (1 / theta))
    torch.testing.assert_close(layer(x).detach(), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(layer.running_var, (0.9 + 0.1 * var).view_as(layer.running_var), rtol=0, atol=1e-12)


def test_where_geodesics_end_samples_are_stopped_and_reported() -> None:
    manifold = SPDBuresWasserstein(3)
    layer, x = BatchNorm(manifold).double(), cloud(manifold, 12).requires_grad_()
    with torch.no_grad():
        layer.scale.fill_(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
    assert layer.num_stopped == 0
    with torch.no_grad():
        layer.scale.fill_(10)
    with pytest.warns(UserWarning, match=r"12 of 12 points would have left SPDBuresWasserstein.*were stopped"):
        y = layer(x)
    assert layer.num_stopped == 12
    assert_on_manifold(manifold, y, atol=1e-12)
    # 1 + L, the root of y at the identity, has its least eigenvalue at a hundredth
    torch.testing.assert_close(torch.linalg.eigvalsh(y)[:, 0].sqrt(), torch.full((12,), 0.01, dtype=y.dtype))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    layer.eval().num_stopped.zero_()
    y = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    assert layer.num_stopped > 6
    assert_on_manifold(manifold, y, atol=1e-12)


@pytest.mark.parametrize("mean_steps", [1, None])
def test_domains_have_statistics_of_their_own_and_share_the_parameters(mean_steps: int | None) -> None:
    manifold = SPDAffineInvariant(3)
    layer = trained(BatchNorm(manifold, 2, mean_steps=mean_steps, num_domains=3))
    domain = torch.tensor([2, 0, 2, 2, 0, 0, 2])
    x = cloud(manifold, 7, 2)
    y = layer(x, domain)
    evaluated = copy.deepcopy(layer).eval()(x, domain)
    for index in (0, 2):
        one = BatchNorm(manifold, 2, mean_steps=mean_steps).double()
        one.load_state_dict({**one.state_dict(), "scale": layer.scale, "bias": layer.bias})
        assert_close_points(manifold, y[domain == index], one(x[domain == index]), atol=1e-12)
        assert_close_points(manifold, layer.running_mean[index], one.running_mean, atol=1e-12)
        torch.testing.assert_close(layer.running_var[index], one.running_var)
        assert_close_points(manifold, evaluated[domain == index], one.eval()(x[domain == index]), atol=1e-12)
    assert torch.equal(layer.running_mean[1], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert torch.equal(layer.running_var[1], torch.ones(2, dtype=torch.float64))


def joint_batch() -> tuple[BatchNorm, Tensor, Tensor]:
    torch.manual_seed(0)
    manifold = SPDAffineInvariant(3)
    layer = trained(BatchNorm(manifold, 2, mean_steps=2, num_domains=2, synchronise=True))
    return layer, cloud(manifold, 7, 2), torch.tensor([0, 1, 1, 0, 0, 0, 1])


def results(layer: BatchNorm, x: Tensor, domain: Tensor) -> dict[str, Tensor]:
    x = x.requires_grad_()
    y = layer(x, domain)
    weights = torch.linspace(1, 2, y[0].numel(), dtype=y.dtype).view_as(y[0])
    (y.sin() * weights).sum().backward()
    grads = {name: p.grad for name, p in layer.named_parameters()}
    return {"y": y.detach(), "x.grad": x.grad, "mean": layer.running_mean, "var": layer.running_var, **grads}


def one_of_two_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    layer, x, domain = joint_batch()
    mine = slice(0, 5) if rank == 0 else slice(5, 7)
    torch.save(results(layer, x[mine], domain[mine]), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_are_one_process_on_the_joint_batch(tmp_path: Path) -> None:
    """Shares of five and two samples; the parameters' gradients are the sums of the processes'."""
    torch.multiprocessing.spawn(one_of_two_processes, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, expected in results(*joint_batch()).items():
        if name in ("y", "x.grad"):
            value = torch.cat([first[name], second[name]])
        elif name in ("mean", "var"):
            assert torch.equal(first[name], second[name])
            value = first[name]
        else:
            value = first[name] + second[name]
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_parameters_stay_on_the_manifold_in_training() -> None:
    manifold = PowerDeformed(SPDGeneralizedBuresWasserstein(3, M), 0.5)
    layer = trained(BatchNorm(manifold, 2))
    assert set(named_manifolds(layer)) == {"bias"}
    x, target = cloud(manifold, 10, 2), cloud(manifold, 10, 2, seed=5)
    optimizer = RiemannianSGD(layer, lr=0.05)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = manifold.dist2(layer(x), target).mean()
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert_on_manifold(manifold, layer.bias, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_channels": 0}, "num_channels >= 1, or None, but got 0"),
        ({"mean_steps": -1}, "mean_steps >= 0, or None, but got -1"),
        ({"num_domains": 0}, "num_domains >= 1, or None, but got 0"),
        ({"dispersion": "median"}, 'dispersion "mean" or "origin", but got \'median\''),
        ({"momentum": 0.0}, "0 < momentum <= 1"),
        ({"eps": 0.0}, "eps > 0"),
        ({"synchronise": True, "mean_steps": None}, "synchronise needs a number of mean_steps"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(Euclidean(3), **arguments)


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match=r"expected points \[b, 2, 3\], got \[5, 3\]"):
        BatchNorm(Euclidean(3), 2)(torch.randn(5, 3))
    with pytest.raises(ValueError, match="num_domains=None, but got domain=tensor"):
        BatchNorm(Euclidean(3))(torch.randn(5, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="num_domains=2, but got domain=None"):
        BatchNorm(Euclidean(3), num_domains=2)(torch.randn(5, 3))
