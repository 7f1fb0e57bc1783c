"""Linear layers of hyperbolic space."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.hyperbolic._hyperboloid import (
    Space,
    SpaceLayer,
    curvature,
    exp_spatial,
    linear_weight,
    log_spatial,
    sinh_c,
    time_of,
)
from isometry.layers.hyperbolic._hyperplanes import Hyperplanes
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot


class Linear(Hyperplanes):
    r"""The point at given distances ``v_k(x)`` from the coordinate hyperplanes: Poincare's fully connected layer.

    Its spatial part is ``sinh(sqrt(c) v_k)/sqrt(c)``, v as in ``Classifier``. It is one layer in both models, and
    ``nn.Linear`` with the bias ``|a| b`` on ``Euclidean(n)``.

    Args:
        manifold: Where the points lie.
        out: Where the output lies; it may have another dimension, curvature or model.
        bias: Whether hyperplanes may miss the origin.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++, section 3.2.
    """

    def __init__(
        self,
        manifold: Space,
        out: Space,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold, out)
        self._make_planes(out.dim, manifold.dim, bias, dtype, device)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return points of ``out`` for points of ``manifold``."""
        return self.out.from_spatial(self._image(self._spatial(x)))

    @full_precision
    def _image(self, s: Tensor) -> Tensor:
        return sinh_c(self._distances(s, curvature(self.manifold)), curvature(self.out))


class LorentzLinear(SpaceLayer):
    r"""A linear map of the hyperboloid's coordinates: the spatial part ``W s + t b``, of which time is derived.

    It is one layer in both models, without a transcendental function, and ``nn.Linear`` on ``Euclidean(n)``, where
    ``t = 1``. ``W`` orthogonal and ``b = 0`` is a rotation.

    Args:
        manifold: Where the points lie.
        out: Where the output lies; it may have another dimension, curvature or model.
        bias: Whether time enters.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a manifold has no constant curvature of at most 0.

    Source: Chen et al. 2022, Fully hyperbolic neural networks, without its bound on the output's time.
    """

    def __init__(
        self,
        manifold: Space,
        out: Space,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold, out)
        self.weight = linear_weight(out.dim, manifold.dim, dtype, device)
        self.bias = nn.Parameter(torch.zeros(out.dim, dtype=dtype, device=device)) if bias else None

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return points of ``out`` for points of ``manifold``."""
        return self.out.from_spatial(self.image(self._spatial(x)))

    @full_precision
    def image(self, s: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return the spatial parts of the output for those of points."""
        y = F.linear(s, self.weight.to(s.dtype))
        if self.bias is None:
            return y
        return torch.addcmul(y, time_of(s, curvature(self.manifold)), self.bias.to(s.dtype))


class TangentLinear(SpaceLayer):
    r"""A linear map of the tangent space, and a translation: ``exp_y(T_(o->y) b)`` with ``y = exp_o(W log_o x)``.

    On the ball it is the Moebius product with the Moebius sum of the bias; it is ``nn.Linear`` on ``Euclidean(n)``.

    Args:
        manifold: Where the points lie.
        out: Where the output lies; it may have another dimension, curvature or model.
        bias: Whether to translate.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a manifold has no constant curvature of at most 0.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic neural networks, section 3.2; Chami et al. 2019.
    """

    def __init__(
        self,
        manifold: Space,
        out: Space,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold, out)
        self.weight = linear_weight(out.dim, manifold.dim, dtype, device)
        self.bias = nn.Parameter(torch.zeros(out.dim, dtype=dtype, device=device)) if bias else None

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return points of ``out`` for points of ``manifold``."""
        return self.out.from_spatial(self._image(self._spatial(x)))

    @full_precision
    def _image(self, s: Tensor) -> Tensor:
        u = log_spatial(s, curvature(self.manifold))
        c = curvature(self.out)
        y = exp_spatial(F.linear(u, self.weight.to(s.dtype)), c)
        if self.bias is None:
            return y
        p = exp_spatial(self.bias.to(s.dtype), c)
        # The boost that carries the origin to y, of p.
        return p + (time_of(p, c) + c / (1 + time_of(y, c)) * dot(y, p)) * y
