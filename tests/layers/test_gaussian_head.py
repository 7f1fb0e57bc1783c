import mpmath
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from isometry.layers import GaussianHead
from isometry.layers.gaussian_head import root_softplus
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    DiagonalGaussian,
    gaussian_kl,
    kl_to_inner_product_document,
    kl_to_inner_product_query,
)

MP = mpmath.mp.clone()
MP.dps = 400


class TestGaussianHead(LayerSuite):
    cases = (
        LayerCase(lambda: GaussianHead(5, 3), lambda n: torch.randn(n, 5), (2, 3), manifold_out=DiagonalGaussian(3)),
        LayerCase(lambda: GaussianHead(5, 3, beta=4.0), lambda n: torch.randn(n, 2, 5), (2, 2, 3)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_root_of_softplus_is_right_to_the_last_places(dtype: torch.dtype) -> None:
    x = torch.tensor([-170.0, -90.0, -41.0, -40.0, -39.0, -1.0, 0.0, 1.0, 25.0, 1e4], dtype=dtype, requires_grad=True)
    value = root_softplus(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    eps = torch.finfo(dtype).eps
    for a, v, s in zip(x.tolist(), value.tolist(), slope.tolist(), strict=True):
        exact = MP.sqrt(MP.log1p(MP.exp(a)))
        assert abs(v / exact - 1) < 4 * (1 + abs(a)) * eps
        assert abs(s / (1 / (1 + MP.exp(-MP.mpf(a))) / (2 * exact)) - 1) < 4 * (1 + abs(a)) * eps


def test_variances_are_the_papers() -> None:
    head, h = GaussianHead(5, 3, beta=2.5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    mean, std = head(h).unbind(-2)
    torch.testing.assert_close(mean, h @ head.mean.weight.mT + head.mean.bias)
    raw = h @ head.variance.weight.mT + head.variance.bias
    torch.testing.assert_close(std.square(), (1 + (2.5 * raw).exp()).log() / 2.5)


def collection(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Documents and queries, normals around true topics; of the documents some are much more uncertain than others."""
    topics = normalize(torch.randn(count, 16, generator=generator, dtype=torch.float64), dim=-1)
    std = 0.05 * 8 ** torch.rand(count, 16, generator=generator, dtype=torch.float64)
    documents = torch.stack([topics + std * torch.randn(count, 16, generator=generator, dtype=torch.float64), std], 1)
    queries = torch.stack([topics, torch.full_like(topics, 0.02)], 1)
    return queries, documents


def recall(scores: Tensor) -> float:
    return float((scores.argmax(1) == torch.arange(len(scores))).double().mean())


def test_the_divergence_finds_uncertain_documents_better_than_inner_products_and_distances() -> None:
    queries, documents = collection(400, torch.Generator().manual_seed(0))
    (q, _), (d, _) = queries.unbind(1), documents.unbind(1)
    by_divergence = recall(-gaussian_kl(queries.unsqueeze(1), documents))
    by_search = recall(kl_to_inner_product_query(queries) @ kl_to_inner_product_document(documents).mT)
    assert by_search == by_divergence
    assert by_divergence > recall(-torch.cdist(q, d)) + 0.1
    assert by_divergence > recall(q @ d.mT) + 0.1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="positive beta, but got 0"):
        GaussianHead(5, 3, beta=0.0)
    with pytest.raises(ValueError, match="at least one variable, but got k=0"):
        GaussianHead(5, 0)
