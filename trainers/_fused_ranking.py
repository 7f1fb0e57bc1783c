"""One step of Poincare embeddings in closed form: the ranking loss, its gradient and the update, without autograd."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.manifolds import PoincareBall


class FusedRankingStep:
    r"""``NodeEmbedding`` on a ``PoincareBall``, ``RankingLoss``, sparse ``RiemannianSGD``: the same step, only faster.

    Everything is a rational function of ``q = c|x-y|^2/(ab)`` (``a, b`` as in the ball's ``dist``) and one square root:
    ``exp(-sqrt(c) d) = 1/(1 + 2q + 2r)`` with ``r = sqrt(q (1 + q)) = sinh(sqrt(c) d)/2``. Points are gathered
    coordinate-first, so that sums over the few coordinates run along memory. A row that occurs several times in a batch
    takes the sum of its gradients, collected in one of its places.

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
        self.place = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)

    @torch.inference_mode()
    def __call__(self, index: Int[Tensor, "b m"], lr: float) -> Float[Tensor, ""]:
        """Update the rows of ``index`` (subject, relation, negatives) with step ``lr``; return the loss before it."""
        table = self.weight.t()
        rows = index.t().reshape(-1)
        columns = rows.expand(len(table), -1)
        points = table.gather(1, columns)
        room = (points * points).sum(0).mul_(-self.c).add_(1)
        shape = (index.shape[1], index.shape[0])
        loss, gradient = self._loss_and_gradient(points.view(-1, *shape), room.view(shape))
        # All places of a row learn of the one that was written last.
        self.place.scatter_(0, rows, torch.arange(len(rows), device=rows.device))
        place = self.place.gather(0, rows).expand_as(points)
        total = torch.zeros_like(points).scatter_add_(1, place, gradient.view(points.shape))
        table.scatter_(1, columns, self._retract(points, room, total.gather(1, place), lr))
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
        # d loss / d d_j = [j = 0] - p_j, and d d_j / d q = 1/(sqrt(c) r); a distance of 0 has gradient 0
        p.neg_()[0].add_(1)
        slope = p.div_(r).mul_(2 * self.root_c / points.shape[-1]).masked_fill_(r == 0, 0)
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
