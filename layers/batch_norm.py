"""Batch normalisation of points of a manifold."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from isometry.layers._batch_average import BatchAverage
from isometry.layers._translation import Departure, Translation, origin_like, view
from isometry.manifolds import Manifold, ShapeError, register_manifold
from isometry.manifolds._precision import captured, full_precision

_MARGIN = 0.01


def karcher_mean(manifold: Manifold, maps: Translation, x: Tensor, average: BatchAverage, steps: int) -> Tensor:
    """Return the tangent mean at the origin, moved by ``steps`` steps ``mu <- exp_mu(average of log_mu(x))``."""
    mean = manifold.expmap(origin_like(manifold, x), average(maps.log(manifold, x)))
    for _ in range(steps):
        mean = manifold.expmap(mean, average(manifold.logmap(average.at_samples(mean), x)))
    return mean


class BatchNorm(nn.Module):
    r"""Points moved to zero mean and unit dispersion, then scaled and moved to a learned point.

    ``y = exp_G(T_(E->G) s / sqrt(v^2 + eps) T_(B->E) log_B x)`` with the mean B of the batch, its dispersion ``v^2``,
    the origin E, the transport T, and per channel the learned scale s and point G. On ``Euclidean(n)`` it is
    ``G + s (x - mean) / sqrt(v^2 + eps)`` with one variance ``v^2 = mean |x - mean|^2`` for all coordinates. The batch
    norm of GBWBN is that of ``PowerDeformed(SPDGeneralizedBuresWasserstein(n, learnable=True), theta)``.

    In eval mode B and ``v^2`` are the running ones: a point that follows the means along geodesics, and an average.
    With ``num_domains`` each domain (a subject, a session) has statistics of its own and all share s and G.

    Where geodesics end (Bures-Wasserstein), a sample whose last geodesic would leave the manifold is stopped
    where a hundredth of the way to the boundary is left, with a warning, and counted in the buffer ``num_stopped``. The
    compiled layer only counts. The factor of the vector is a constant for autograd.

    Args:
        manifold: Where the points lie.
        num_channels: Number of channels C of inputs ``[b, C, *point_shape]``, each normalised by itself; None for
            inputs ``[b, *point_shape]``.
        mean_steps: Steps of Karcher's iteration for the mean (0: the tangent mean at the origin); None for the Frechet
            mean itself. Gradients flow through it.
        dispersion: "mean": ``v^2`` is the mean squared distance from B. "origin", as in the code of GBWBN: that of the
            uncentred points from the origin.
        num_domains: Number of domains; ``forward`` then takes the domain of each sample.
        synchronise: Compute the statistics of the joint batch of all processes (needs a number of ``mean_steps``).
        momentum: Weight of a batch in the running statistics, in (0, 1].
        eps: Added to ``v^2``, positive.
        dtype: Of the parameters and buffers.
        device: Of the parameters and buffers.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Brooks et al. 2019, Riemannian batch normalization for SPD neural networks; dispersion: Kobler et al. 2022,
    SPD domain-specific batch normalization; Wang et al. 2025, Learning to normalize on the SPD manifold under
    Bures-Wasserstein geometry.
    """

    running_mean: Tensor
    running_var: Tensor
    num_stopped: Tensor

    def __init__(
        self,
        manifold: Manifold,
        num_channels: int | None = None,
        *,
        mean_steps: int | None = 1,
        dispersion: str = "mean",
        num_domains: int | None = None,
        synchronise: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        for name, count, least in (
            ("num_channels", num_channels, 1),
            ("mean_steps", mean_steps, 0),
            ("num_domains", num_domains, 1),
        ):
            if count is not None and count < least:
                raise ValueError(f"BatchNorm: expected {name} >= {least}, or None, but got {count}.")
        if dispersion not in ("mean", "origin"):
            raise ValueError(f'BatchNorm: expected dispersion "mean" or "origin", but got {dispersion!r}.')
        if not (0 < momentum <= 1 and eps > 0):
            raise ValueError(
                f"BatchNorm: expected 0 < momentum <= 1 and eps > 0, but got momentum={momentum}, eps={eps}."
            )
        if synchronise and mean_steps is None:
            raise ValueError(
                "BatchNorm: synchronise needs a number of mean_steps, but got None; the mean after 8 steps is the "
                "Frechet mean to about five digits."
            )
        self.manifold, self.num_channels, self.num_domains = manifold, num_channels, num_domains
        self.mean_steps, self.dispersion, self.synchronise = mean_steps, dispersion, synchronise
        self.momentum, self.eps = momentum, eps
        self._view = view(manifold)
        channels = () if num_channels is None else (num_channels,)
        domains = () if num_domains is None else (num_domains,)
        # Not scalars: sharding refuses such parameters, and compiled code loses updates of such buffers (torch 2.13).
        self.scale = nn.Parameter(torch.ones(channels or (1,), dtype=dtype, device=device))
        self.bias = nn.Parameter(manifold.origin(*channels, *manifold.point_shape, dtype=dtype, device=device).detach())
        register_manifold(self, "bias", manifold)
        shape = (*domains, *channels, *manifold.point_shape)
        self.register_buffer("running_mean", manifold.origin(*shape, dtype=dtype, device=device).detach())
        self.register_buffer("running_var", torch.ones((*domains, *channels) or (1,), dtype=dtype, device=device))
        self.register_buffer("num_stopped", torch.zeros((), dtype=torch.int64, device=device), persistent=False)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(
        self, x: Float[Tensor, "b *point"], domain: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b *point"]:
        """Return the normalised points.

        Args:
            x: Points ``[b, *point_shape]``, or ``[b, C, *point_shape]`` with channels.
            domain: The domain of each sample, 0 to ``num_domains - 1``; required with ``num_domains``.

        Raises:
            ShapeError: If ``x`` has another shape.
            ValueError: If domains are missing, or not expected.
        """
        expected = self.bias.shape
        if x.shape[1:] != expected:
            raise ShapeError(f"BatchNorm: expected points [b, {', '.join(map(str, expected))}], got {list(x.shape)}.")
        if (domain is None) != (self.num_domains is None):
            raise ValueError(
                f"BatchNorm: the layer has num_domains={self.num_domains}, but got domain={domain}; give the domain of "
                "each sample exactly if the layer has domains."
            )
        member = x.new_ones(len(x), 1) if domain is None else one_hot(domain, self.num_domains or 1).to(x.dtype)
        return self._normalised(x, member)

    @full_precision
    def _normalised(self, x: Tensor, member: Tensor) -> Tensor:
        m, x = self._view.manifold, self._view.points(x)
        average = BatchAverage(member, self.synchronise and self.training)
        if self.training:
            mean = self._batch_mean(x, average)
        else:
            mean = self._view.points(self._by_domain(self.running_mean).to(x.dtype))
        u, departed = self._view.translation.seen(m, average.at_samples(mean), x)
        if self.training:
            origin = origin_like(m, x)
            squares = m.inner(origin, u) if self.dispersion == "mean" else m.dist2(origin, x)
            var = self._view.scale**2 * average(squares)
            self._update(self._view.back(mean.detach()), var.detach(), average.present)
        else:
            var = self._running_variances().to(x.dtype)
        rate = average.at_samples(self.scale.to(x.dtype) / (var + self.eps).sqrt())
        return self._view.back(self._departed(self._view.points(self.bias.to(x.dtype)), u, rate, departed))

    def _batch_mean(self, x: Tensor, average: BatchAverage) -> Tensor:
        m, maps = self._view.manifold, self._view.translation
        if self.mean_steps is not None:
            # The tangent mean at the origin is the mean on a flat manifold.
            return karcher_mean(m, maps, x, average, 0 if maps.flat else self.mean_steps)
        points = x.movedim(0, -1 - m.ndim)
        points = points.expand(len(average.share), *points.shape)
        weights = torch.where(average.present.unsqueeze(-1), average.share, 1)
        return m.frechet_mean(points, weights if self.num_channels is None else weights.unsqueeze(1))

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor, present: Tensor) -> None:
        """Move the running statistics of the domains that are present towards those of the batch."""
        m = self.manifold
        # A learnable curvature may have moved since the mean was stored.
        old_mean = m.projx(self._by_domain(self.running_mean).to(mean.dtype))
        old_var = self._running_variances().to(var.dtype)
        there = present.reshape(-1, *(1,) * (old_var.ndim - 1))
        new_mean = torch.where(self._like_point(there), m.geodesic(self.momentum, old_mean, mean), old_mean)
        self.running_mean.copy_(new_mean.view_as(self.running_mean))
        self.running_var.copy_(torch.where(there, old_var.lerp(var, self.momentum), old_var).view_as(self.running_var))

    def _departed(self, x: Tensor, u: Tensor, rate: Tensor, departed: Departure) -> Tensor:
        """Return ``exp_x(T_(E->x) rate u)``, the vectors shortened where that does not exist."""
        m = self._view.manifold
        if not hasattr(m, "domain_margin"):
            return departed(x, rate)
        v = m.transp_from_origin(x, self._like_point(rate) * u)
        with torch.no_grad():
            margin = m.domain_margin(x, v)
            outside = margin < _MARGIN
            factor = torch.where(outside, (1 - _MARGIN) / (1 - margin), 1)
            self.num_stopped.copy_(outside.sum())
        if not captured() and bool(outside.any()):
            warnings.warn(
                f"BatchNorm: {int(self.num_stopped)} of {outside.numel()} points would have left {self.manifold!r} and "
                "were stopped at its boundary. Start with a smaller `scale`, or choose a complete metric.",
                stacklevel=2,
            )
        return m.expmap(x, self._like_point(factor) * v)

    def _by_domain(self, statistic: Tensor) -> Tensor:
        return statistic.unsqueeze(0) if self.num_domains is None else statistic

    def _running_variances(self) -> Tensor:
        """Return the running variances ``[domains]`` or ``[domains, C]``."""
        return self.running_var.view(-1, *self.bias.shape[: self.bias.ndim - self.manifold.ndim])

    def _like_point(self, value: Tensor) -> Tensor:
        return value.reshape(value.shape + (1,) * self.manifold.ndim)

    def extra_repr(self) -> str:
        """Return the arguments other than the manifold."""
        names = ("num_channels", "mean_steps", "dispersion", "num_domains", "synchronise", "momentum", "eps")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
