"""The bilinear map of covariance matrices."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import SpecialOrthogonal, StiefelEuclidean, register_manifold
from isometry.manifolds._precision import full_precision


def bi_map(x: Float[Tensor, "*b n n"], weight: Float[Tensor, "n k"]) -> Float[Tensor, "*b k k"]:
    """Return ``W^T X W``: the covariance of ``W^T s`` where X is that of the signals s."""
    return weight.mT @ (x @ weight)


def multi_channel_bi_map(x: Float[Tensor, "*b i n n"], weight: Float[Tensor, "o i n k"]) -> Float[Tensor, "*b o k k"]:
    """Return ``Y_o = sum_i W_oi^T X_i W_oi``."""
    return (weight.mT @ (x.unsqueeze(-4) @ weight)).sum(-3)


class BiMap(FullPrecision):
    r"""The linear layer of covariance matrices, ``Y = W^T X W`` with orthonormal columns in W.

    W is a point of the Stiefel manifold (a rotation if it is square), so that Y is positive definite where X is, with
    eigenvalues between the extreme ones of X.

    Args:
        in_features: n, the rows of X.
        out_features: k <= n, the rows of Y.
        channels: None for one W that all matrices of the batch share, or the numbers of channels in and out: then
            ``[*b, in, n, n] -> [*b, out, k, k]`` with a W for each pair, ``Y_o = sum_i W_oi^T X_i W_oi``.
        dtype: Of the weight.
        device: Of the weight.

    Raises:
        ValueError: If ``out_features`` is not between 1 and ``in_features``.

    Source: Huang & Van Gool 2017, A Riemannian network for SPD matrix learning, equation 1; channels: Brooks et
    al. 2019, Riemannian batch normalization for SPD neural networks.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        channels: tuple[int, int] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= out_features <= in_features:
            raise ValueError(
                f"BiMap: expected 1 <= out_features <= in_features, but got out_features={out_features} and "
                f"in_features={in_features}; W has orthonormal columns, so it cannot have more columns than rows."
            )
        self.in_features, self.out_features, self.channels = in_features, out_features, channels
        square = out_features == in_features
        manifold = SpecialOrthogonal(in_features) if square else StiefelEuclidean(in_features, out_features)
        shape = (*(channels or ())[::-1], in_features, out_features)
        self.weight = torch.nn.Parameter(manifold.random(*shape, dtype=dtype, device=device))
        register_manifold(self, "weight", manifold)

    @full_precision
    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*d k k"]:
        """Return ``W^T X W``."""
        mapping = bi_map if self.channels is None else multi_channel_bi_map
        return mapping(x, self.weight.to(x.dtype))

    def extra_repr(self) -> str:
        """Return the sizes."""
        channels = "" if self.channels is None else f", channels={self.channels}"
        return f"{self.in_features}, {self.out_features}{channels}"
