"""What is asked of a matrix of distances."""

from jaxtyping import Float
from torch import Tensor


def check_distances(name: str, distances: Float[Tensor, "n n"]) -> None:
    """Raise ``ValueError`` unless a matrix is finite, non-negative, symmetric (to six digits), 0 on the diagonal."""
    if not distances.isfinite().all():
        i, j = (~distances.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"{name}: expected finite distances, but that of {i} and {j} is {float(distances[i, j])}; where they are "
            "of a graph, take a connected component."
        )
    if (distances < 0).any():
        i, j = (distances < 0).nonzero()[0].tolist()
        raise ValueError(f"{name}: expected distances >= 0, but that of {i} and {j} is {float(distances[i, j])}.")
    if distances.diagonal().any():
        raise ValueError(f"{name}: expected 0 on the diagonal, but got {float(distances.diagonal().max())}.")
    if (other := (distances - distances.mT).abs() > 1e-6 * distances).any():
        i, j = other.nonzero()[0].tolist()
        raise ValueError(
            f"{name}: expected a symmetric matrix, but from {i} to {j} it is {float(distances[i, j])} and back "
            f"{float(distances[j, i])}; take (d + d.T)/2."
        )
