"""Multinomial logistic regression by the distances to hyperplanes."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers.hyperbolic._hyperboloid import Space, curvature
from isometry.layers.hyperbolic._hyperplanes import Hyperplanes
from isometry.manifolds._precision import full_precision


class Classifier(Hyperplanes):
    r"""Logits ``v_k = |a_k| d_k(x)``, the distances of ``x`` from one hyperplane for each class.

    With the spatial part s and the time t of ``x`` on the hyperboloid,
    ``v_k = |a_k|/sqrt(c) asinh(sqrt(c) (s.a_k/|a_k| cosh(sqrt(c) b_k) + t sinh(sqrt(c) b_k)/sqrt(c)))``. The ball and
    the hyperboloid have the same logits; on ``Euclidean(n)`` they are ``s.a_k + |a_k| b_k``, those of ``nn.Linear``.

    ``isometry.layers.Classifier``, which any manifold has, measures ``|a| d(x, p) cos(angle at p)`` instead. It
    separates classes by the same hyperplanes, and agrees to second order near p, but costs a logarithm for each class.

    Args:
        manifold: Where the points lie.
        num_classes: Number of classes K.
        bias: Whether hyperplanes may miss the origin.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If there is no class, or the manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++, section 3.1, with ``a = 2z`` and ``b = -2r``;
    on the hyperboloid Bdeir, Schwethelm & Landwehr 2024, Fully hyperbolic convolutional neural networks for computer
    vision.
    """

    def __init__(
        self,
        manifold: Space,
        num_classes: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold)
        if num_classes < 1:
            raise ValueError(f"Classifier: expected at least one class, but got num_classes={num_classes}.")
        self.num_classes = num_classes
        self._make_planes(num_classes, manifold.dim, bias, dtype, device)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return the logits ``[*b, num_classes]`` of points."""
        return self._logits(self._spatial(x))

    @full_precision
    def _logits(self, s: Tensor) -> Tensor:
        return self._distances(s, curvature(self.manifold))

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return f"num_classes={self.num_classes}, bias={self.bias is not None}"
