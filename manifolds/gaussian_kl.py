"""The Kullback-Leibler divergence of diagonal normal distributions, and the same as an inner product for search."""

import torch
from jaxtyping import Float
from torch import Tensor

_TERMS = 16


def _log_gap(ratio: Float[Tensor, "*b"], excess: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    r"""Return ``e - log(r)`` of a ratio ``r > 0`` and its excess ``e = r - 1``, to full relative accuracy.

    Near 1, with ``t = e/(2 + e)``, ``log(r) = 2 artanh(t)`` and ``e = 2t/(1 - t)``: what is left of the series
    ``2t^2/(1 - t) - 2 t^3 (1/3 + t^2/5 + ...)`` does not cancel.
    """
    near = excess.abs() < 0.5
    t = torch.where(near, excess, 0)
    t = t / (2 + t)
    square, series = t.square(), torch.zeros_like(t)
    for n in reversed(range(_TERMS)):
        series = series * square + 1 / (2 * n + 3)
    below = 2 * square * (1 / (1 - t) - t * series)
    return torch.where(near, below, excess - torch.where(near, 1, ratio).log())


def gaussian_kl(p: Float[Tensor, "*#b 2 k"], q: Float[Tensor, "*#b 2 k"]) -> Float[Tensor, "*b"]:
    r"""Return ``KL(p || q) = sum_i [log(s_q/s_p) + (s_p^2 + (m_p - m_q)^2)/(2 s_q^2) - 1/2]``.

    Evaluated as ``sum_i [(m_p - m_q)^2/s_q^2 + e^2]/2 + (e - log(s_p/s_q))`` with ``e = (s_p - s_q)/s_q``: no term is
    negative, so that close pairs keep full relative accuracy.

    Args:
        p: Points of ``DiagonalGaussian(k)``: means m, standard deviations s.
        q: Points that broadcast with ``p``.

    Returns:
        Divergences in nats, 0 exactly if ``p = q``.

    Source: Kullback & Leibler 1951; as a retrieval score Zamani & Bendersky 2023.
    """
    mean, excess = ((p - q) / q[..., 1:, :]).unbind(-2)
    ratio = p[..., 1, :] / q[..., 1, :]
    return ((mean.square() + excess.square()) / 2 + _log_gap(ratio, excess)).sum(-1)


def kl_to_inner_product_query(q: Float[Tensor, "*b 2 k"]) -> Float[Tensor, "*b m"]:
    r"""Return ``(1, s^2 + m^2, m)``, the query's side of ``<Q, D> = -2 KL(q || d) + const(q)``.

    So a search for the largest inner product finds the document of least divergence.

    Args:
        q: Queries: means m, standard deviations s.

    Returns:
        Vectors of ``2k + 1`` numbers.

    Source: Zamani & Bendersky 2023; terms that share a factor are joined here.
    """
    mean, std = q.unbind(-2)
    return torch.cat([torch.ones_like(mean[..., :1]), std.square() + mean.square(), mean], -1)


def kl_to_inner_product_document(d: Float[Tensor, "*b 2 k"]) -> Float[Tensor, "*b m"]:
    r"""Return ``(-sum_i (log s_i^2 + m_i^2/s_i^2), -1/s^2, 2 m/s^2)``, the document's side (see the query's).

    Args:
        d: Documents: means m, standard deviations s.

    Returns:
        Vectors of ``2k + 1`` numbers.

    Source: Zamani & Bendersky 2023.
    """
    mean, std = d.unbind(-2)
    precision = std.square().reciprocal()
    prior = -(2 * std.log() + mean.square() * precision).sum(-1, keepdim=True)
    return torch.cat([prior, -precision, 2 * mean * precision], -1)
