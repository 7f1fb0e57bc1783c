"""Matrix product states: dense contraction, long chains, canonical form, and sweeps that solve least squares."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import MPSClassifier, linear_features, trigonometric_features, two_site_sweep
from isometry.models.mps_classifier import matrix_product


class TestMPSClassifier(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda options=options: MPSClassifier(9, 3, 4, **options),
            lambda count: torch.rand(count, 3, 3),
            (3,),
            cond=4096.0,
            name=str(sorted(options)),
        )
        for options in (
            {},
            {"label_site": 0, "feature_map": trigonometric_features},
            {"label_site": 8, "output": "probabilities"},
        )
    )


def dense(model: MPSClassifier) -> Tensor:
    """``W [p, ..., p, num_classes]`` of a model of six sites, by one einsum."""
    left, center, right = model.trains()
    m = len(left)
    operands: list[object] = []
    for k, core in enumerate([*left, center, *right]):
        operands += [core, [k, 20 + k, 40, k + 1] if k == m else [k, 20 + k, k + 1]]
    w = torch.einsum(*operands, [0, *range(20, 26), 40, 6])
    return model.log_scale.exp() * w[0, ..., 0]


def features(x: Tensor) -> Tensor:
    """The products of all sites' features, ``[b, 2^6]``."""
    phi = linear_features(x)
    return torch.einsum("na,nb,nc,nd,ne,nf->nabcdef", *phi.unbind(1)).flatten(1)


def example(bond: int, label_site: int | None = None, seed: int = 0) -> tuple[MPSClassifier, Tensor, Tensor]:
    torch.manual_seed(seed)
    model = MPSClassifier(6, 3, bond, label_site=label_site).double()
    return model, torch.rand(150, 6, dtype=torch.float64), torch.randint(3, (150,))


@pytest.mark.parametrize("label_site", [0, 2, 5])
def test_it_is_the_dense_contraction_and_canonical_form_is_the_same(label_site: int) -> None:
    model, x, _ = example(4, label_site)
    expected = features(x) @ dense(model).flatten(0, 5)
    assert torch.allclose(model(x), expected, atol=1e-13)
    norm = dense(model).norm()
    model.canonicalize()
    assert torch.allclose(model(x), expected, atol=1e-13)
    assert torch.allclose(model.log_scale.exp(), norm, rtol=1e-13)
    assert torch.allclose(model.center.norm(), torch.ones((), dtype=torch.float64))
    left, _, right = model.trains()
    for core in [*left, *(core.transpose(0, 2) for core in right)]:
        gram = core.flatten(0, 1).mT @ core.flatten(0, 1)
        kept = gram.diagonal().abs() > 1e-12  # columns that pad a smaller bond are zero
        assert torch.allclose(gram, kept.double().diag(), atol=1e-13)


def test_products_of_any_number() -> None:
    for n in (1, 2, 5, 8, 13):
        matrices = torch.randn(3, n, 4, 4, dtype=torch.float64, requires_grad=True)
        product, log = matrix_product(matrices)
        expected = torch.eye(4, dtype=torch.float64)
        for k in range(n):
            expected = expected @ matrices[:, k]
        value = product * log.exp()[:, None, None]
        assert torch.allclose(value, expected, rtol=1e-10)
        weights = torch.randn(3, 4, 4, dtype=torch.float64)
        grads = [torch.autograd.grad((y * weights).sum(), matrices, retain_graph=True)[0] for y in (value, expected)]
        assert torch.allclose(*grads, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_784_sites_neither_over_nor_underflow(scale: float) -> None:
    model = MPSClassifier(784, 10, 5, feature_map=trigonometric_features, output="probabilities", noise=20.0)
    model.cores.data.mul_(scale)  # the product of 783 cores is 1e-2349 or 1e1157
    x = torch.rand(4, 784)
    g, log = model.scaled(x)
    assert (log.abs() > 1000).all()
    exact_g, exact_log = model.double().scaled(x.double())
    ratio = g.double() / exact_g * (log.double() - exact_log).exp().unsqueeze(1)
    assert torch.allclose(ratio, torch.ones_like(ratio), rtol=2e-2)
    probabilities = model.float()(x)
    assert torch.allclose(probabilities.exp().sum(1), torch.ones(4), atol=1e-4)
    torch.nn.functional.cross_entropy(probabilities, torch.arange(4)).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0
    model.canonicalize()
    assert torch.allclose(model(x), probabilities, atol=1e-2)


def test_a_model_starts_with_values_of_size_1_on_784_sites() -> None:
    y = MPSClassifier(784, 10, 10)(torch.rand(8, 784)).detach()
    assert 0.01 < y.abs().mean() < 100


def test_a_step_is_the_minimum_of_the_two_site_problem() -> None:
    """Against dense gradients: two sites, the loss by all 2^6 features, its gradient by the merged tensor zero."""
    model, x, labels = example(16, 3)
    model.canonicalize()
    left, center, right = model.trains()
    targets, ridge = torch.nn.functional.one_hot(labels, 3).double(), 1e-2

    def loss(merged: Tensor) -> Tensor:
        w = torch.einsum("xay,ybz,zcw,wdelu,ufv->abcdefl", *left, merged, right[1]).flatten(0, 5)
        return (scale * features(x) @ w - targets).square().sum(1).mean() + ridge * w.square().sum()

    sides = torch.einsum("nabc,abcw->nw", torch.einsum("na,nb,nc->nabc", *linear_features(x)[:, :3].unbind(1)),
                         torch.einsum("xay,ybz,zcw->abcw", *left))  # fmt: skip
    other = torch.einsum("nab,sab->ns", torch.einsum("na,nb->nab", *linear_features(x)[:, 4:].unbind(1)),
                         torch.einsum("saw,wbv->sab", *right))  # fmt: skip
    scale = 1 / (sides.norm(dim=1) * other.norm(dim=1)).max()
    merged = torch.einsum("wdls,seu->wdelu", center, right[0]).contiguous()
    merged.requires_grad_()
    optimizer = torch.optim.LBFGS([merged], max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, history_size=50,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(merged)
        value.backward()
        return value

    optimizer.step(closure)
    least = loss(merged).item()
    (first, *_) = two_site_sweep(model, x, labels, ridge=ridge)
    assert first == pytest.approx(least, rel=1e-9)


def test_without_truncation_a_sweep_falls_to_the_minimum_over_all_tensors() -> None:
    model, x, labels = example(24)
    losses = two_site_sweep(model, x, labels, ridge=1e-2)
    assert len(losses) == 10
    assert all(b <= a + 1e-12 for a, b in pairwise(losses))
    phi, targets = features(x), torch.nn.functional.one_hot(labels, 3).double()
    phi = phi * model.log_scale.exp()
    gram = phi.mT @ phi / 150 + 1e-2 * torch.eye(64, dtype=torch.float64)
    w = torch.linalg.solve(gram, phi.mT @ targets / 150)
    assert torch.allclose(model(x), phi @ w, atol=1e-10)
    least = (phi @ w - targets).square().sum(1).mean() + 1e-2 * w.square().sum()
    assert losses[-1] == pytest.approx(least.item(), rel=1e-10)


@pytest.mark.parametrize("label_site", [0, 2, 5])
def test_a_truncated_sweep_lowers_the_loss_that_it_reports(label_site: int) -> None:
    model, x, labels = example(4, label_site)
    targets, ridge = torch.nn.functional.one_hot(labels, 3).double(), 1e-3
    before = (model(x) - targets).square().sum(1).mean()
    losses = two_site_sweep(model, x, labels, ridge=ridge)
    after = (model(x) - targets).square().sum(1).mean()
    assert after < before
    assert losses[-1] == pytest.approx((after + ridge * model.center.square().sum()).item(), rel=1e-10)
    model, *_ = example(4, label_site)
    again = two_site_sweep(model, x, labels, sweeps=3, ridge=ridge)
    assert again[:10] == losses
    assert again[-1] <= losses[-1] + 1e-9


def test_a_tolerance_shrinks_the_bonds() -> None:
    torch.manual_seed(0)
    x = torch.rand(300, 6, dtype=torch.float64)
    labels = (x[:, 0] > 0.5).long()
    ranks = []
    for tol in (None, 0.3):
        model = MPSClassifier(6, 2, 8).double()
        two_site_sweep(model, x, labels, tol=tol)
        left, _, right = model.trains()
        ranks.append(sum(int((core.flatten(0, 1).norm(dim=0) > 0).sum()) for core in [*left, *right]))
    assert ranks[1] < ranks[0]


def test_a_long_chain_is_swept_in_float32() -> None:
    model = MPSClassifier(784, 2, 2, feature_map=trigonometric_features, output="probabilities")
    x = torch.rand(40, 784)
    labels = (x[:, 400] > 0.5).long()
    losses = two_site_sweep(model, x, labels)
    assert all(0 <= loss <= 1.001 for loss in losses)
    assert losses[-1] < losses[0]
    assert model(x).isfinite().all()


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected two sites or more.*label_site=7"):
        MPSClassifier(6, 3, label_site=7)
    with pytest.raises(ValueError, match=r"expected output 'amplitudes' or 'probabilities', but got 'logits'"):
        MPSClassifier(6, 3, output="logits")
    model, x, labels = example(4)
    with pytest.raises(ValueError, match=r"expected inputs \[b, 6\], but got \[150, 5\]"):
        model(x[:, :5])
    with pytest.raises(ValueError, match=r"two_site_sweep: expected a positive ridge and a label for each input"):
        two_site_sweep(model, x, labels, ridge=0.0)
    left, center, right = example(6)[0].trains()
    with pytest.raises(ValueError, match=r"expected 3 cores left of the label, 2 right of it and bonds up to 4"):
        model.load_trains(left, center, right)
