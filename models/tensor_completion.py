"""Tensors from some of their entries."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.manifolds.low_rank import LowRankManifold, register_low_rank
from isometry.manifolds.low_rank.base import Ranks

_HALVINGS = 20


def observed_entries(w: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the places ``[k, d]`` and the values ``[k]`` of a tensor's known entries.

    Args:
        w: The tensor ``[n_1, ..., n_d]``.
        mask: True where an entry is known, ``[n_1, ..., n_d]``; by default where it is not NaN.

    Raises:
        ValueError: The mask has another shape or type, nothing is known, or a known entry is NaN or infinite.
    """
    if mask is None:
        mask = ~w.isnan()
    if mask.dtype != torch.bool or mask.shape != w.shape:
        raise ValueError(
            f"observed_entries: expected a mask of bool {list(w.shape)}, but got {mask.dtype} {list(mask.shape)}; "
            "a mask of numbers hides NaN, so compare it first (mask > 0)."
        )
    indices, values = mask.nonzero(), w[mask]
    bad = int((~values.isfinite()).sum())
    if bad or not len(values):
        raise ValueError(
            f"observed_entries: expected finite values where the mask is True, but {bad} of {len(values)} are NaN or "
            "infinite; set the mask to False there."
        )
    return indices, values


class TensorCompletion(nn.Module):
    r"""A tensor of low rank that is fitted to some entries by Riemannian conjugate gradients.

    It minimizes ``f(x) = |P_Omega(x) - values|^2/2 + weight_decay |x|^2/2`` over tensors of the given ranks in any
    format, ``P_Omega`` the entries at the places Omega. With g the Riemannian gradient and T the transport::

        d = -g + max(0, <g, g - T g'> / <g', g'>) T d'          (Polak & Ribiere; -g where that does not descend)
        s = -<g, d> / (|P_Omega d|^2 + weight_decay |d|^2)      (exact: f is quadratic along x + s d)
        x <- retract(x, s d), s halved where the retraction leads up

    The memory and the cost of a step are those of a few dense
    tensors: the format saves numbers to fit, not memory to fit them.

    Args:
        manifold: The format and the shape, such as ``FixedRankTucker((30, 30, 30))``.
        ranks: The ranks.
        weight_decay: Weight of the squared norm of the tensor, at least 0.
        centered: Whether the mean of the values is subtracted before and added after; a tensor of low rank has in
            general one rank more without its mean.
        dtype: Of the factors.

    Raises:
        ValueError: ``weight_decay`` is negative, or the ranks are impossible.

    Source: Vandereycken 2013, Low-rank matrix completion by Riemannian optimization; Kressner, Steinlechner &
        Vandereycken 2014 (Tucker); Steinlechner 2016 (tensor trains).
    """

    mean: Tensor

    def __init__(
        self,
        manifold: LowRankManifold[Any, Any],
        ranks: Ranks,
        *,
        weight_decay: float = 0.0,
        centered: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if weight_decay < 0:
            raise ValueError(f"TensorCompletion: expected weight_decay >= 0, but got {weight_decay}.")
        self.manifold, self.weight_decay, self.centered = manifold, weight_decay, centered
        self.factors = nn.ParameterList(torch.zeros(s, dtype=dtype) for s in manifold.leaf_shapes(ranks))
        self.register_buffer("mean", torch.zeros((), dtype=dtype))
        self._names = [f"factors.{k}" for k in range(len(self.factors))]
        register_low_rank(self, self._names, manifold)
        self._before: tuple[Any, Any, Tensor] | None = None  # the last gradient and direction, transported to here

    @property
    def point(self) -> Any:
        """The tensor in factors, without the mean."""
        return self.manifold.point(list(self.factors))

    def forward(self, indices: Int[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
        """Return the entries at places ``[*b, d]``."""
        return self.mean + self.manifold.to_dense(self.point)[indices.unbind(-1)]

    def to_dense(self) -> Tensor:
        """Return the completed tensor."""
        return self.mean + self.manifold.to_dense(self.point)

    def _check(self, indices: Tensor, values: Tensor) -> None:
        shape = self.manifold.shape
        if indices.shape != (len(values), len(shape)) or not len(values):
            raise ValueError(
                f"TensorCompletion: expected places [k, {len(shape)}] and as many values, but got "
                f"{list(indices.shape)} and {list(values.shape)}."
            )
        if int(indices.min()) < 0 or (indices >= indices.new_tensor(shape)).any():
            raise ValueError(f"TensorCompletion: expected places in a tensor {shape}, but some are outside.")
        if not values.isfinite().all():
            raise ValueError(
                f"TensorCompletion: expected finite values, but {int((~values.isfinite()).sum())} of {len(values)} are "
                "NaN or infinite; leave out what is not known (observed_entries)."
            )

    @torch.no_grad()
    def start(self, indices: Int[Tensor, "k d"], values: Float[Tensor, "values"]) -> None:
        """Begin at the truncation of the zero-filled, rescaled tensor; forget earlier steps.

        Raises:
            ValueError: Places and values do not fit each other or the tensor, or values are not finite.
        """
        self._check(indices, values)
        m, density = self.manifold, len(values) / self.manifold.to_dense(self.point).numel()
        if self.centered:
            self.mean.copy_(values.mean())
        filled = self._scattered(indices, (values.to(self.mean) - self.mean) / density)
        ranks = m.ranks(self.point)
        self._write(m.from_dense(filled, ranks=ranks))
        self._before = None

    def _write(self, x: Any) -> None:
        for parameter, leaf in zip(self.factors, self.manifold.leaves(x), strict=True):
            parameter.copy_(leaf)

    def _scattered(self, indices: Tensor, values: Tensor) -> Tensor:
        zeros = torch.zeros(self.manifold.shape, dtype=values.dtype, device=values.device)
        return zeros.index_put(indices.unbind(-1), values, accumulate=True)

    def _loss(self, x: Any, dense: Tensor, places: Any, target: Tensor) -> Tensor:
        core = self.manifold.leaves(x)[self.manifold.core]
        return ((dense[places] - target).square().sum() + self.weight_decay * core.square().sum()) / 2

    @torch.no_grad()
    def step(self, indices: Int[Tensor, "k d"], values: Float[Tensor, "values"]) -> Tensor:
        """Take one step on the entries; return the root mean square of the residual before it."""
        m, x, places = self.manifold, self.point, indices.unbind(-1)
        target = values.to(self.mean) - self.mean
        dense = m.to_dense(x)
        residual = dense[places] - target
        blocks = m.leaves(m.project(x, self._scattered(indices, residual)))
        blocks[m.core] = blocks[m.core] + self.weight_decay * m.leaves(x)[m.core]
        g = m.tangent(blocks)
        d = self._direction(g)
        slope = m.inner(g, d)
        if slope < 0:  # else the gradient is 0, to rounding
            scale = m.leaves(x)[m.core].norm() / m.norm(d)  # or the sum with x would round a short d away
            along = (m.to_dense(m.embed(x, m.combine(scale, d, 0.0, d))) - dense)[places] / scale
            size = -slope / (along.square().sum() + self.weight_decay * m.inner(d, d))
            y = self._descended(x, d, size, self._loss(x, dense, places, target), places, target)
            self._before = m.transport(x, g, y), m.transport(x, d, y), m.inner(g, g)
            self._write(y)
        return residual.square().mean().sqrt()

    def _direction(self, g: Any) -> Any:
        m = self.manifold
        steepest = m.combine(-1.0, g, 0.0, g)
        if self._before is None:
            return steepest
        gradient, direction, square = self._before
        beta = (m.inner(g, m.combine(1.0, g, -1.0, gradient)) / square).clamp(min=0)
        d = m.combine(-1.0, g, beta, direction)
        return d if m.inner(g, d) < 0 else steepest

    def _descended(self, x: Any, d: Any, size: Tensor, loss: Tensor, places: Any, target: Tensor) -> Any:
        """Return the retracted step, halved until it does not lead up."""
        m = self.manifold
        for _ in range(_HALVINGS):
            y = m.retract(x, m.combine(size, d, 0.0, d))
            if self._loss(y, m.to_dense(y), places, target) <= loss:
                return y
            size = size / 2
        return x

    def fit(
        self, indices: Int[Tensor, "k d"], values: Float[Tensor, "values"], steps: int = 100, tol: float = 1e-12
    ) -> list[float]:
        """Start and step until the residual is below ``tol`` of the values' spread; return its root mean squares."""
        self.start(indices, values)
        spread, history = float((values - values.mean()).square().mean().sqrt()), []
        for _ in range(steps):
            history.append(float(self.step(indices, values)))
            if history[-1] <= tol * spread:
                break
        return history
