"""Multinomial logistic regression on a manifold."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._translation import origin_like, view
from isometry.manifolds import Manifold, register_manifold
from isometry.manifolds._precision import full_precision


class Classifier(nn.Module):
    r"""Logits ``<log_(P_k) x, T_(E->P_k) A_k>_(P_k)``: how far ``x`` lies from the point ``P_k`` along a direction.

    ``P_k`` is a learned point and ``A_k`` a learned vector at the origin E, carried to the point by the transport T.
    As T is isometric the layer computes ``<T_(P_k->E) log_(P_k) x, A_k>_E``. On ``Euclidean(n)`` it is ``nn.Linear``
    with the weight A and the bias ``-<P_k, A_k>``; on the log-Euclidean matrices, that of their logarithms; on the
    affine-invariant ones the logit is ``tr(log(P^(-1/2) X P^(-1/2)) A)``.

    Args:
        manifold: Where the points lie.
        num_classes: Number of classes K.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If there is no class.

    Source: Chen, Song, Liu, Kotagiri & Sebe 2024, RMLR: extending multinomial logistic regression into general
    geometries, equation 8; on matrices also Nguyen & Yang 2023, Building neural networks on matrix manifolds.
    """

    def __init__(
        self,
        manifold: Manifold,
        num_classes: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"Classifier: expected at least one class, but got num_classes={num_classes}.")
        self.manifold, self.num_classes = manifold, num_classes
        self._view = view(manifold)
        shape = (num_classes, *manifold.point_shape)
        bound = manifold.dim**-0.5  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device=device).uniform_(-bound, bound))
        self.points = nn.Parameter(manifold.origin(*shape, dtype=dtype, device=device).detach())
        register_manifold(self, "points", manifold)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    @full_precision
    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*c"]:
        """Return the logits ``[*b, num_classes]`` of points ``[*b, *point_shape]``."""
        self.manifold.check_shape(x)
        m, points = self._view.manifold, self._view.points
        u = self._view.translation.centred(m, points(self.points.to(x.dtype)), points(x).unsqueeze(-1 - m.ndim))
        vectors = self.manifold.proju(origin_like(self.manifold, x), self.weight.to(x.dtype))
        return self._view.scale**2 * m.inner(origin_like(m, x), self._view.vectors(vectors), u)

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return f"num_classes={self.num_classes}"
