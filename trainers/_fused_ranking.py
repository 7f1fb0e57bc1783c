"""One step of Poincare embeddings in closed form: the ranking loss, its gradient and the update, without autograd."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.manifolds import PoincareBall


class FusedRankingStep:
    r"""``NodeEmbedding`` on a ``PoincareBall``, ``RankingLoss``, sparse ``RiemannianSGD``: the same step, four to five times faster.

    Everything is a rational function of ``q = c|x-y|^2/(ab)`` (``a, b`` as in the ball's ``dist``) and one square root:
    ``exp(-sqrt(c) d) = 1/(1 + 2q + 2r)`` with ``r = sqrt(q (1 + q)) = sinh(sqrt(c) d)/2``. Work is laid out
    coordinate-first, so that sums over the few coordinates run along memory. A row that occurs several times in a batch
    takes the sum of its gradients, collected in a buffer that is zero between steps.

    Rows stay within ``1 - 4 eps`` of the boundary (radius 15.9 in float32). Arithmetic is the table's own: it is the
    optimization that is inexact here, not the geometry that reports its result.

    Args:
        weight: The table; changed in place.
        manifold: The ball, of fixed curvature.
    """

    def __init__(self, weight: Float[Tensor, "nodes n"], manifold: PoincareBall) -> None:
        self.weight = weight
        self.c = float(manifold.c)
        self.root_c = self.c**0.5
        self.limit = (1 - 4 * torch.finfo(weight.dtype).eps) / self.root_c
        self.total = torch.zeros_like(weight)

    @torch.no_grad()
    def __call__(self, index: Int[Tensor, "b m"], lr: float) -> Float[Tensor, ""]:
        """Update the rows of ``index`` (subject, relation, negatives) with step ``lr``; return the loss before the step."""
        rows = index.t().reshape(-1)
        points = self.weight.index_select(0, rows).t().contiguous()
        room = (points * points).sum(0).mul_(-self.c).add_(1)
        shape = (index.shape[1], index.shape[0])
        loss, gradient = self._loss_and_gradient(points.view(-1, *shape), room.view(shape))
        self.total.index_add_(0, rows, gradient.view(points.shape).t())
        gradient = self.total.index_select(0, rows).t()
        self.total.index_fill_(0, rows, 0)
        self.weight.index_copy_(0, rows, self._retract(points, room, gradient, lr).t())
        return loss

    def _loss_and_gradient(self, points: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and its Euclidean gradient for points [n, 1 + m, b] with ``room = 1 - c|x|^2``."""
        x, y, a, b = points[:, :1], points[:, 1:], room[:1], room[1:]
        delta, ab = y - x, a * b
        q = (delta * delta).sum(0).mul_(self.c).div_(ab)
        r = torch.addcmul(q, q, q).sqrt_()
        p = (q + r).mul_(2).add_(1).reciprocal_()
        if self.root_c != 1:
            p = p.pow_(1 / self.root_c)
        p = p.div_(p.sum(0, keepdim=True))
        loss = p[0].log().mean().neg_()
        # d loss / d d_j = [j = 0] - p_j, and d d_j / d q = 1/(sqrt(c) r)
        p.neg_()[0].add_(1)
        slope = p.div_(r.clamp_min_(torch.finfo(r.dtype).tiny)).mul_(2 * self.root_c / points.shape[-1])
        outward, pull = q.mul_(slope), delta.mul_(slope / ab)
        gradient = torch.empty_like(points)
        torch.addcmul(pull, y, outward / b, out=gradient[:, 1:])
        torch.sub(x * (outward.sum(0, keepdim=True) / a), pull.sum(1, keepdim=True), out=gradient[:, :1])
        return loss, gradient

    def _retract(self, x: Tensor, a: Tensor, gradient: Tensor, lr: float) -> Tensor:
        """Return ``PoincareBall.retr(x, -lr a^2/4 gradient)``, column by column."""
        u = gradient * (a * (-lr / 4))
        shrink = (u * u).sum(0).mul_(self.c).add_(1).reciprocal_()
        u.mul_(shrink.sqrt())
        total = x + u
        t2 = (total * total).sum(0).mul_(self.c)
        y = (x * (t2 + a)).addcmul_(u, a).div_(t2.addcmul_(a, shrink))
        return y.mul_((y * y).sum(0).rsqrt_().mul_(self.limit).clamp_max_(1))
