"""Representations by how similar samples are to some anchors, which other networks share."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.cosine_classifier import direction
from isometry.manifolds import Manifold


class RelativeCosines(nn.Module):
    r"""Cosines ``r_k = cos(x, a_k)``: how similar features are to anchors', whatever rotation and scale they share.

    Two networks that differ by a rotation of their features have the same relative representations, if the anchors
    are the same samples: what is trained on those of one works on those of the other.

    Source: Moschella et al. 2023, Relative representations enable zero-shot latent space communication, equation 2.
    """

    def forward(self, x: Float[Tensor, "*b n"], anchors: Float[Tensor, "k n"]) -> Float[Tensor, "*b k"]:
        """Return the representations ``[*b, k]`` of features by those of the anchors; features of 0 have cosine 0."""
        return direction(x) @ direction(anchors).mT


class RelativeDistances(nn.Module):
    r"""Distances ``r_k = d(x, a_k)``: how far points are from anchors, which no isometry of the manifold changes.

    Args:
        manifold: Where the points lie.
        to_points: What makes the anchors' and the samples' features points, such as ``ToHyperbolic``; None where they
            are points already. The distances are invariant under that which it carries into isometries.

    Source: Moschella et al. 2023, Relative representations, with the geodesic distance of any manifold.
    """

    def __init__(self, manifold: Manifold, to_points: nn.Module | None = None) -> None:
        super().__init__()
        self.manifold = manifold
        self.to_points = nn.Identity() if to_points is None else to_points

    def forward(self, x: Float[Tensor, "*point"], anchors: Float[Tensor, "k *anchor"]) -> Float[Tensor, "*b k"]:
        """Return the representations ``[*b, k]`` of points or features by those of the anchors."""
        points, anchors = self.to_points(x), self.to_points(anchors)
        self.manifold.check_shape(points)
        self.manifold.check_shape(anchors, "anchors")
        return self.manifold.dist(points.unsqueeze(-1 - self.manifold.ndim), anchors)


class RelativeProduct(nn.Module):
    r"""Several relative representations as one: ``sum_i tanh(W_i layer_norm(r_i) + b_i)``.

    What is invariant under one network's change may not be so under another's; the sum learns which parts to use. It
    belongs to what is trained on the representation, not to the encoder.

    Args:
        parts: Such as ``RelativeCosines()`` and ``RelativeDistances(manifold)``.
        num_anchors: k.
        features: Of the sum.

    Raises:
        ValueError: If there is no part.

    Source: Cannistraci et al. 2024, From bricks to bridges: product of invariances to enhance latent space
    communication, its aggregation by sum.
    """

    def __init__(self, parts: Sequence[nn.Module], num_anchors: int, features: int) -> None:
        super().__init__()
        if not parts:
            raise ValueError("RelativeProduct: expected at least one relative representation, but got none.")
        self.parts = nn.ModuleList(parts)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(num_anchors), nn.Linear(num_anchors, features), nn.Tanh()) for _ in parts
        )

    def forward(self, x: Float[Tensor, "*point"], anchors: Float[Tensor, "k *anchor"]) -> Float[Tensor, "*b features"]:
        """Return the features ``[*b, features]`` of points by those of the anchors."""
        return torch.stack([head(part(x, anchors)) for head, part in zip(self.heads, self.parts, strict=True)]).sum(0)
