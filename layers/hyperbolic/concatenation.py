"""Points made of several points, and taken apart."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import Space, SpaceLayer, curvature, exp_spatial, log_spatial
from isometry.manifolds._precision import full_precision


def beta_ratio(whole: int, part: int) -> float:
    r"""Return ``B(n/2, 1/2) / B(m/2, 1/2)``: so much shorter are n coordinates than m of the same variance."""

    def log_beta(n: int) -> float:
        return math.lgamma(n / 2) + math.lgamma(0.5) - math.lgamma((n + 1) / 2)

    return math.exp(log_beta(whole) - log_beta(part))


class _Parts(SpaceLayer):
    def __init__(self, manifold: Space, dims: Sequence[int]) -> None:
        if not dims or sum(dims) != manifold.dim:
            raise ValueError(
                f"{type(self).__name__}: expected dimensions of the parts that add up to {manifold.dim}, those of "
                f"{manifold!r}, but got {list(dims)}."
            )
        super().__init__(manifold)
        self.dims = list(dims)
        self.parts: Sequence[Space] = nn.ModuleList(manifold.with_dim(d) for d in dims)  # type: ignore[assignment]
        self._ratios = [beta_ratio(manifold.dim, d) for d in dims]

    def extra_repr(self) -> str:
        """Return the dimensions."""
        return f"dims={self.dims}"


class Concatenation(_Parts):
    r"""One point of several: ``exp_o`` of the coordinates ``B(n/2, 1/2)/B(n_i/2, 1/2) log_o x_i`` side by side.

    The factors keep the distance from the origin what it is for one part, in expectation. On ``Euclidean(n)``
    it is the concatenation of the scaled parts.

    Args:
        manifold: Where the output lies; the parts lie on the same geometry in fewer dimensions.
        dims: Dimensions of the parts, which add up to the output's.

    Raises:
        ValueError: If they do not, or the manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++, section 3.3.
    """

    def __init__(self, manifold: Space, dims: Sequence[int]) -> None:
        super().__init__(manifold, dims)

    def forward(self, *points: Float[Tensor, "*b _"]) -> Float[Tensor, "*b n"]:
        """Return points of the manifold for points of the parts."""
        for part, x in zip(self.parts, points, strict=True):
            part.check_shape(x)
        spatial = [part.spatial(x) for part, x in zip(self.parts, points, strict=True)]
        return self.manifold.from_spatial(self._joined(*spatial))

    @full_precision
    def _joined(self, *spatial: Tensor) -> Tensor:
        c = curvature(self.manifold)
        logs = [ratio * log_spatial(s, c) for ratio, s in zip(self._ratios, spatial, strict=True)]
        return exp_spatial(torch.cat(logs, -1), c)


class Split(_Parts):
    r"""Several points of one, the inverse of ``Concatenation``: ``exp_o`` of scaled coordinates of ``log_o x``.

    Args:
        manifold: Where the input lies; the parts lie on the same geometry in fewer dimensions.
        dims: Dimensions of the parts, which add up to the input's.

    Raises:
        ValueError: If they do not, or the manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++, section 3.3.
    """

    def __init__(self, manifold: Space, dims: Sequence[int]) -> None:
        super().__init__(manifold, dims)

    def forward(self, x: Float[Tensor, "*b n"]) -> tuple[Float[Tensor, "*b _"], ...]:
        """Return points of the parts for points of the manifold."""
        logs = self._logs(self._spatial(x)).split(self.dims, -1)
        parts = zip(self.parts, self._ratios, logs, strict=True)
        return tuple(part.from_spatial(self._image(u / ratio)) for part, ratio, u in parts)

    @full_precision
    def _logs(self, s: Tensor) -> Tensor:
        return log_spatial(s, curvature(self.manifold))

    @full_precision
    def _image(self, u: Tensor) -> Tensor:
        return exp_spatial(u, curvature(self.manifold))
