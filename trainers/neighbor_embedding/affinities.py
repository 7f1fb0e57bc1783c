"""How near points of a manifold are: probabilities of a Brownian motion from one to another."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds import HomogeneousManifold, Manifold

_PAIRS = 2**18  # of a chunk, whose geometry is computed at once
_BISECTIONS = 60  # of an interval of e^100: to float64's last digits


def heat_kernel_terms(
    manifold: Manifold, x: Float[Tensor, "b *p"], y: Float[Tensor, "n *p"]
) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    r"""Return ``d^2(x, y)`` and ``log H_0(x, y)`` of the heat kernel's expansion at short times, in float64.

    .. math:: p_t(y \mid x) = (2 \pi t)^{-n/2} e^{-d^2(x, y) / 2t} (H_0(x, y) + O(t)), \qquad
        H_0 = \det(d \exp_x)^{-1/2}

    ``H_0`` is 1 in flat space, ``(d/sin d)^((n-1)/2)`` on the sphere and ``(d/sinh d)^((n-1)/2)`` in hyperbolic
    space. Here it is 1, too, where the manifold does not know it, and at most ``e^n``: it is infinite at conjugate
    points (antipodes of the sphere), where the expansion ends.

    Args:
        manifold: Of the points.
        x: Points to start from.
        y: Points to arrive at.

    Source: Berline, Getzler & Vergne, Heat Kernels and Dirac Operators, chapter 2; Bergsson & Hauberg 2022.
    """
    rows = [_terms(manifold, chunk, y) for chunk in x.double().split(max(1, _PAIRS // len(y)))]
    dist2, log_h0 = zip(*rows, strict=True)
    return torch.cat(dist2), torch.cat(log_h0)


def _terms(manifold: Manifold, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = x.unsqueeze(1), y.double()
    dist2 = manifold.dist2(x, y)
    if not manifold.supports(HomogeneousManifold):
        return dist2, torch.zeros_like(dist2)
    log_det = manifold.log_det_exp(x, manifold.logmap(x, y)).expand(dist2.shape)
    return dist2, (-log_det / 2).clamp_max(manifold.dim)


def conditional_affinities(
    dist2: Float[Tensor, "b k"], log_h0: Float[Tensor, "b k"], perplexity: float
) -> Float[Tensor, "b k"]:
    r"""Return ``p_j|i``, proportional to ``H_0 exp(-d_ij^2/2t_i)``, with ``t_i`` such that each row has the perplexity.

    Args:
        dist2: Squared distances, inf for pairs that are to have probability 0.
        log_h0: See ``heat_kernel_terms``.
        perplexity: 2 to the row's entropy in bits: about the number of neighbours that count. Below that of the others.

    Raises:
        ValueError: If the perplexity is out of range, or a number is NaN.
    """
    if dist2.isnan().any() or log_h0.isnan().any():
        raise ValueError(
            "conditional_affinities: a squared distance or log H_0 is NaN; are the points on the manifold?"
        )
    others = dist2.isfinite().sum(1)
    if not 1 < perplexity < int(others.min()):
        raise ValueError(
            f"conditional_affinities: expected a perplexity between 1 and the number of others, {int(others.min())}, "
            f"but got {perplexity}."
        )
    # in units of each row's mean, from where 100 units are far apart to where 1/e^45 of one is
    unit = dist2.masked_fill(dist2.isinf(), 0).sum(1, keepdim=True) / others.unsqueeze(1)
    scaled = dist2 / torch.where(unit > 0, unit, 1)
    low, high = torch.full_like(unit, -50.0), torch.full_like(unit, 50.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        log_p = (log_h0 - middle.exp() * scaled).log_softmax(1)
        entropy = -torch.special.xlogy(log_p.exp(), log_p.exp()).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return (log_h0 - low.exp() * scaled).softmax(1)


def joint_affinities(
    dist2: Float[Tensor, "n n"], log_h0: Float[Tensor, "n n"], perplexity: float
) -> Float[Tensor, "n n"]:
    """Return ``(p_j|i + p_i|j) / 2n``, 0 on the diagonal, of sum 1 (see ``conditional_affinities``).

    Source: van der Maaten & Hinton 2008, section 3.1.
    """
    p = conditional_affinities(dist2.double().clone().fill_diagonal_(torch.inf), log_h0.double(), perplexity)
    return (p + p.mT) / (2 * len(p))
