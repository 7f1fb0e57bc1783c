"""Features of which one half ignores a transformation and the other half follows it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import LinearAction, RotationAction


class SplitViews(NamedTuple):
    """Embeddings of two views x and y of the same things, where a group element z leads from x to y."""

    x_invariant: Tensor  # [b, e]
    y_invariant: Tensor
    x_equivariant: Tensor  # [b, f]
    y_equivariant: Tensor
    predicted: Tensor  # [b, f], W(z) x_equivariant


class SIE(nn.Module):
    r"""Split invariant and equivariant features: ``[h_inv, h_equi] = backbone(x)``, each with an expander of its own.

    The network is trained so that ``e_inv(x) = e_inv(y)`` and ``W(z) e_equi(x) = e_equi(y)`` for two views x and y of
    one thing, where z leads from x to y, without a collapse (``SIELoss``). What is used afterwards are the features.

    Args:
        backbone: Maps inputs to ``[b, features]``.
        features: Of the backbone.
        invariant_features: How many of them, the first ones, shall be invariant.
        hidden_features: Width of the two expanders, perceptrons with batch norm.
        invariant_embedding: Size of the invariant embedding.
        action: ``W``, which also tells the size of the equivariant embedding.

    Source: Garrido, Najman & LeCun 2023, Self-supervised learning of split invariant equivariant representations.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        invariant_features: int,
        hidden_features: int,
        invariant_embedding: int,
        action: LinearAction | RotationAction,
    ) -> None:
        super().__init__()
        if not 0 < invariant_features < features:
            raise ValueError(
                f"SIE: expected invariant_features between 1 and {features - 1}, but got {invariant_features}."
            )
        self.backbone = backbone
        self.sizes = (invariant_features, features - invariant_features)
        self.invariant_expander = _expander(self.sizes[0], hidden_features, invariant_embedding)
        self.equivariant_expander = _expander(self.sizes[1], hidden_features, action.features)
        self.action = action

    def features(self, x: Float[Tensor, "b *n"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b e"]]:
        """Return the invariant and the equivariant features of inputs."""
        invariant, equivariant = self.backbone(x).split(self.sizes, -1)
        return invariant, equivariant

    def forward(self, x: Float[Tensor, "b *n"], y: Float[Tensor, "b *n"], z: Float[Tensor, "b *g"]) -> SplitViews:
        """Return the embeddings of two views and the prediction of the second one.

        Args:
            x: First views.
            y: Second views.
            z: What leads from each first view to the second one, as the action takes it.
        """
        x_invariant, x_equivariant = self.features(x)
        y_invariant, y_equivariant = self.features(y)
        x_embedded = self.equivariant_expander(x_equivariant)
        return SplitViews(
            self.invariant_expander(x_invariant),
            self.invariant_expander(y_invariant),
            x_embedded,
            self.equivariant_expander(y_equivariant),
            self.action(z, x_embedded),
        )


def _expander(features: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, out, bias=False),
    )
