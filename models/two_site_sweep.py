"""Training of matrix product states two sites at a time, each step a least-squares problem solved exactly."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from isometry.manifolds.low_rank._linalg import truncated_svd
from isometry.models.mps_classifier import MPSClassifier

_ALTERNATIONS = 2


@torch.no_grad()
def two_site_sweep(
    model: MPSClassifier,
    x: Float[Tensor, "b *n"],
    labels: Int[Tensor, "b"],
    *,
    sweeps: int = 1,
    ridge: float = 1e-3,
    tol: float | None = None,
) -> list[float]:
    r"""Sweep the label from its site to the right end, to the left end and back; return the loss of each step.

    The loss is ``mean_x |f(x) - e_label|^2 + ridge |W'|^2``, where ``W = c W'`` with a constant c such that at the
    start the largest features of the sites beside the label have norm 1. Two neighbouring cores and the label make one
    tensor B, in which f is linear; as the other cores are orthonormal, ``|W'| = |B|``, and B minimizes the loss
    exactly. A truncated singular value decomposition, weighted by the second moments of the features on both sides,
    gives a left factor with orthonormal columns and a right one, which takes the label; where something was cut off,
    both are then replaced in turn by their exact minima. So the loss rises only where the bond or the tolerance cuts:
    a bond that is not well above the number of classes lets it rise on the label's way, and fall again.

    Features of the sites beyond the two are kept with their logarithms, so that chains may be long. It is amplitudes
    that are fitted to the labels, even where the model gives probabilities.

    Args:
        model: The classifier; its cores become canonical.
        x: All inputs to train on; memory is that of a few times ``b n bond`` numbers.
        labels: Their classes.
        sweeps: How often.
        ridge: Weight of the squared norm, positive.
        tol: Largest error of a truncation relative to B, so weighted, as far as the model's bond allows.

    Raises:
        ValueError: ``ridge`` is not positive, or there are not as many labels as inputs.

    Source: Stoudenmire & Schwab 2016, Supervised learning with tensor networks, section 5, with the exact minimum in
        place of a gradient step.
    """
    if ridge <= 0 or len(labels) != len(x):
        raise ValueError(
            f"two_site_sweep: expected a positive ridge and a label for each input, but got ridge={ridge}, "
            f"{len(x)} inputs and {len(labels)} labels."
        )
    model.canonicalize()
    chain = _Chain(model, x.flatten(1), labels, ridge, tol)
    n, m = model.num_sites, model.label_site
    losses = []
    for _ in range(sweeps):
        losses += [chain.step(j) for j in range(m, n - 1)]
        chain.flip()
        losses += [chain.step(j) for j in range(n - 1)]
        chain.flip()
        losses += [chain.step(j) for j in range(m)]
    model.load_trains(chain.cores[:m], chain.cores[m], chain.cores[m + 1 :])
    model.log_scale.copy_(chain.log_scale)
    return losses


class _Chain:
    """The cores, of which that of the label has one more index, and the features of all sites left or right of each.

    Features are rows of norm 1 and the logarithms of what they were divided by.
    """

    def __init__(self, model: MPSClassifier, x: Tensor, labels: Tensor, ridge: float, tol: float | None) -> None:
        left, center, right = model.trains()
        self.cores = [*left, center, *right]
        self.bond, self.ridge, self.tol = model.center.shape[-1], ridge, tol
        self.targets = F.one_hot(labels, center.shape[2]).double()
        self.phi = list(model.feature_map(x).unbind(1))
        one = _Features(torch.ones_like(x[:, :1]), torch.zeros_like(x[:, 0]))
        self.lefts, self.rights = [one] * model.num_sites, [one] * model.num_sites
        self._read(len(left))
        self.flip()
        self._read(len(right))
        self.flip()
        self.log_scale = -(self.lefts[len(left)].log + self.rights[len(left)].log).max()

    def _read(self, end: int) -> None:
        """Compute the features left of the sites up to ``end``."""
        for k in range(end):
            self.lefts[k + 1] = self.lefts[k].joined(self.phi[k], self.cores[k])

    def flip(self) -> None:
        """Count sites from the other end."""
        self.cores = [core.transpose(0, -1) for core in reversed(self.cores)]
        self.phi.reverse()
        self.lefts, self.rights = self.rights[::-1], self.lefts[::-1]

    def step(self, j: int) -> float:
        """Move the label from site j to the next, both cores replaced by their minimum; return the loss there."""
        center, following = self.cores[j], self.cores[j + 1]
        a, p = center.shape[:2]
        q, b = following.shape[1:]
        left, right = self.lefts[j], self.rights[j + 1]
        rows = (left.unit.unsqueeze(-1) * self.phi[j].unsqueeze(1)).flatten(1)
        columns = (self.phi[j + 1].unsqueeze(-1) * right.unit.unsqueeze(1)).flatten(1)
        weights = (left.log + right.log + self.log_scale).exp()
        features = (weights[:, None, None] * rows.unsqueeze(-1) * columns.unsqueeze(1)).flatten(1).double()
        gram = features.mT @ features / len(features)
        gram.diagonal().add_(self.ridge)
        moment = features.mT @ self.targets / len(features)
        best = torch.cholesky_solve(moment, torch.linalg.cholesky(gram)).reshape(a * p, q * b, -1)
        U = self._subspace(best, *(self._root(weights.unsqueeze(1) * side) for side in (rows, columns)))
        gram, moment = gram.view(a * p, q * b, a * p, q * b), moment.view(a * p, q * b, -1)
        V, loss = _right_factor(U, gram, moment)
        for _ in range(_ALTERNATIONS if len(U) > U.shape[1] else 0):
            U = _left_factor(V, gram, moment)
            V, loss = _right_factor(U, gram, moment)
        self.cores[j] = U.view(a, p, -1).to(center)
        self.cores[j + 1] = V.unflatten(1, (q, b)).transpose(2, 3).to(center)
        self.lefts[j + 1] = left.joined(self.phi[j], self.cores[j])
        return loss

    def _root(self, side: Tensor) -> Tensor:
        """Return the Cholesky factor of a side's second moments and the ridge."""
        moments = side.double().mT @ side.double() / len(side)
        moments.diagonal().add_(self.ridge)
        return torch.linalg.cholesky(moments)

    def _subspace(self, best: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return an orthonormal left factor of the tensor ``[rows, columns, labels]`` that changes f least.

        The change of f is taken as ``|rows^T dB columns|``, its mean square if the two sides were independent.
        """
        moved = torch.einsum("ra,rcl,cb->abl", rows, best, columns).flatten(1)
        P = truncated_svd(moved, self.bond, self.tol)[0]
        return torch.linalg.qr(torch.linalg.solve_triangular(rows.mT, P, upper=True)).Q


def _right_factor(U: Tensor, gram: Tensor, moment: Tensor) -> tuple[Tensor, float]:
    """Return the minimum ``V [s, columns, labels]`` over ``U V``, from the moments of the features, and the loss."""
    small = torch.einsum("ai,abcd,cj->ibjd", U, gram, U).flatten(2).flatten(0, 1)
    right = torch.einsum("ai,abl->ibl", U, moment)
    V = torch.cholesky_solve(right.flatten(0, 1), torch.linalg.cholesky(small)).view_as(right)
    return V, float(1 - (right * V).sum())


def _left_factor(V: Tensor, gram: Tensor, moment: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns of the minimum U over ``U V``, the rows of V made orthonormal."""
    V = torch.linalg.qr(V.flatten(1).mT).Q.mT.view_as(V)
    small = torch.einsum("sbl,abcd,tdl->asct", V, gram, V).flatten(2).flatten(0, 1)
    right = torch.einsum("abl,sbl->as", moment, V)
    U = torch.cholesky_solve(right.reshape(-1, 1), torch.linalg.cholesky(small)).view_as(right)
    return torch.linalg.qr(U).Q


class _Features(NamedTuple):
    unit: Tensor
    log: Tensor

    def joined(self, phi: Tensor, core: Tensor) -> "_Features":
        """Return the features with one site more."""
        product = torch.einsum("na,np,aps->ns", self.unit, phi, core.to(phi))
        norm = torch.linalg.vector_norm(product, dim=1, keepdim=True).clamp(min=torch.finfo(phi.dtype).tiny)
        return _Features(product / norm, self.log + norm.squeeze(1).log())
