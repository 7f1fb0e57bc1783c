"""The divergence of normals against torch, 120 digits and quadrature, and its inner-product form."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from isometry.manifolds import (
    DiagonalGaussian,
    gaussian_kl,
    kl_to_inner_product_document,
    kl_to_inner_product_query,
)
from tests.manifolds import reference_gaussian as reference
from tests.manifolds.reference import vector

M = DiagonalGaussian(6)


def normals(*batch: int) -> Tensor:
    return M.random(*batch, 2, 6, dtype=torch.float64)


def test_it_is_torchs() -> None:
    p, q = normals(30), normals(5, 1)
    theirs = kl_divergence(*(Independent(Normal(x[..., 0, :], x[..., 1, :]), 1) for x in (p, q)))
    torch.testing.assert_close(gaussian_kl(p, q), theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("gap", [1e-12, 1e-8, 1e-4, 0.1, 0.5, 2.0, 1e3])
def test_close_and_far_pairs_are_right_to_the_last_places(gap: float) -> None:
    for mean, ratio in [(0.0, 1 + gap), (0.0, 1 / (1 + gap)), (gap, 1.0), (gap, 1 + gap), (gap**2, 1 / (1 + gap))]:
        p = torch.tensor([[0.7], [1.3]], dtype=torch.float64)
        q = torch.tensor([[0.7 + mean], [1.3 * ratio]], dtype=torch.float64)
        expected = reference.kl(vector(p[:, 0]), vector(q[:, 0]))
        value = vector([gaussian_kl(p, q).item()])[0]
        assert abs(value / expected - 1) < 8 * torch.finfo(torch.float64).eps


def test_it_is_the_integral() -> None:
    p, q = [0.3, 0.8], [-0.4, 1.5]
    value = gaussian_kl(*(torch.tensor(x, dtype=torch.float64).unsqueeze(-1) for x in (p, q))).item()
    assert value == pytest.approx(float(reference.kl_by_quadrature(vector(p), vector(q))), rel=1e-12)


def test_close_pairs_are_half_the_squared_fisher_rao_distance() -> None:
    x = normals(20)
    y = M.expmap(x, 1e-5 * torch.randn_like(x))
    torch.testing.assert_close(2 * gaussian_kl(x, y), M.dist2(x, y), rtol=1e-3, atol=0)


def test_equal_normals_have_divergence_and_gradient_zero() -> None:
    p = normals(10).requires_grad_()
    q = p.detach().clone().requires_grad_()
    value = gaussian_kl(p, q)
    assert not value.any()
    for gradient in torch.autograd.grad(value.sum(), (p, q)):
        assert not gradient.any()


def test_derivatives() -> None:
    p = normals(3)
    for q in (normals(3), p.clone(), p * 1.01):
        inputs = (p.clone().requires_grad_(), q.requires_grad_())
        assert torch.autograd.gradcheck(gaussian_kl, inputs)
        assert torch.autograd.gradgradcheck(gaussian_kl, inputs)


def test_inner_products_rank_as_the_divergence() -> None:
    queries, documents = normals(50), normals(400)
    divergence = gaussian_kl(queries.unsqueeze(1), documents)
    product = kl_to_inner_product_query(queries) @ kl_to_inner_product_document(documents).mT
    # up to a number that depends on the query alone it is the divergence
    constant = product + 2 * divergence
    torch.testing.assert_close(constant, constant[:, :1].expand_as(constant), rtol=1e-12, atol=1e-8)
    assert torch.equal(product.argsort(1, descending=True), divergence.argsort(1))


def test_the_inner_product_form_is_the_papers() -> None:
    """With shared factors joined: its terms of variance and squared mean have the same document's side."""
    q, d = normals(1)[0], normals(1)[0]
    mq, vq, md, vd = q[0], q[1] ** 2, d[0], d[1] ** 2
    longer = (
        torch.cat([torch.ones(1), vq, mq**2, mq]),
        torch.cat([-(vd.log() + md**2 / vd).sum(0, keepdim=True), -1 / vd, -1 / vd, 2 * md / vd]),
    )
    ours = kl_to_inner_product_query(q) @ kl_to_inner_product_document(d)
    torch.testing.assert_close(ours, longer[0] @ longer[1])
    assert kl_to_inner_product_query(q).shape == kl_to_inner_product_document(d).shape == (13,)
