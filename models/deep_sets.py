"""A network of sets."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers import LEAggregation, LPAggregation


class DeepSets(nn.Module):
    r"""Any continuous function of a set, ``rho(sum_i phi(x_i))``, or of an element and its set.

    ``phi`` is that of ``LPAggregation`` or ``LEAggregation``, whose sums tell sets apart at a width polynomial in
    their size; ``rho`` is a perceptron with two hidden layers, the first one
    normalised.

    Args:
        in_features: d, features of an element, the same as the aggregation's.
        aggregation: Sums of an element's features over a set.
        hidden_features: Width of ``rho``.
        out_features: Features of the output.
        equivariant: Whether the output is one of each element, ``rho(x_i, sum_j phi(x_j))``, and not of the set.

    Source: Zaheer et al. 2017, Deep sets; Wang et al. 2023, Polynomial width is sufficient for set representation with
    high-dimensional features.
    """

    def __init__(
        self,
        in_features: int,
        aggregation: LPAggregation | LEAggregation,
        hidden_features: int,
        out_features: int,
        equivariant: bool = False,
    ) -> None:
        super().__init__()
        if aggregation.weight.shape[1] != in_features:
            raise ValueError(
                f"DeepSets: expected an aggregation of {in_features} features, but got {aggregation.weight.shape[1]}."
            )
        self.aggregation = aggregation
        self.equivariant = equivariant
        self.rho = nn.Sequential(
            nn.Linear(aggregation.out_features + (in_features if equivariant else 0), hidden_features),
            nn.LayerNorm(hidden_features),  # sums grow with the set
            nn.SiLU(),
            nn.Linear(hidden_features, hidden_features),
            nn.SiLU(),
            nn.Linear(hidden_features, out_features),
        )

    def forward(
        self, x: Float[Tensor, "*b n d"], index: Int[Tensor, " n"] | None = None, num_sets: int | None = None
    ) -> Float[Tensor, "*c o"]:
        """Return the function of each set.

        Args:
            x: Elements.
            index: The set of each element; without it, all n elements of a row of the batch are one set.
            num_sets: Number of sets of an index, where the last ones may be empty.

        Returns:
            ``[*b, o]``, with an index ``[*b, num_sets, o]``; of an equivariant network ``[*b, n, o]``.
        """
        one_set = index is None
        if index is None:
            index, num_sets = x.new_zeros(x.shape[-2], dtype=torch.int64), 1
        sums = self.aggregation(x, index, dim_size=num_sets)
        if self.equivariant:
            return self.rho(torch.cat([x, sums.index_select(-2, index)], -1))
        return self.rho(sums.squeeze(-2) if one_set else sums)
