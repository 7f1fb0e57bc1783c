"""Classes as fixed points, by which targets are encoded and outputs decoded."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.cosine_classifier import direction
from isometry.manifolds import Manifold


def simplex_codes(num_classes: int, dtype: torch.dtype | None = None) -> Float[Tensor, "k n"]:
    r"""Return K unit vectors of ``K - 1`` coordinates with all cosines ``-1/(K - 1)``: the most separated codes.

    They are the columns of Helmert's matrix, an orthonormal basis of the vectors of sum 0, at length 1.

    Args:
        num_classes: K, at least 2.
        dtype: Of the codes.

    Raises:
        ValueError: If there are fewer than two classes.

    Source: Kasarla et al. 2022, Maximum class separation as inductive bias in one matrix.
    """
    if num_classes < 2:
        raise ValueError(f"simplex_codes: expected at least 2 classes, but got {num_classes}.")
    row = torch.arange(1, num_classes, dtype=torch.float64).unsqueeze(-1)
    column = torch.arange(num_classes, dtype=torch.float64)
    helmert = torch.where(column < row, 1.0, torch.where(column == row, -row, 0)) / (row * (row + 1)).sqrt()
    return direction(helmert.mT).to(dtype or torch.get_default_dtype())


def eigen_codes(similarity: Float[Tensor, "k k"], dim: int) -> Float[Tensor, "k n"]:
    r"""Return codes of ``dim`` coordinates in which similar classes are near each other.

    Columns are the eigenvectors of the least eigenvalues of the normalised Laplacian ``I - D^(-1/2) A D^(-1/2)``, D the
    row sums of A, without the first, which does not tell classes apart; their largest entries are positive. Rows
    are then brought to length 1.

    Args:
        similarity: A, symmetric and non-negative, such as a symmetrised confusion matrix; its diagonal is not read.
            Chains of similar classes join any two.
        dim: Coordinates of a code, between 1 and ``K - 1``.

    Raises:
        ValueError: If A or ``dim`` is not as above, or a class's code is 0.

    Source: Rodriguez, Bautista, Gonzalez & Escalera 2018, Beyond one-hot encoding; Ng, Jordan & Weiss 2001.
    """
    count = len(similarity)
    if not 1 <= dim < count:
        raise ValueError(f"eigen_codes: expected 1 <= dim < num_classes = {count}, but got dim={dim}.")
    if not torch.allclose(similarity, similarity.mT) or (similarity < 0).any():
        raise ValueError("eigen_codes: expected a symmetric, non-negative similarity of the classes.")
    noise = 4 * count * torch.finfo(similarity.dtype).eps
    similarity = similarity - similarity.diagonal().diag()
    degree = similarity.sum(-1)
    if (degree == 0).any():
        raise ValueError(
            f"eigen_codes: class {int(degree.argmin())} is similar to no other; add a little to all of them."
        )
    root = degree.rsqrt()
    values, vectors = torch.linalg.eigh(-root * similarity * root.unsqueeze(-1))
    if values[1] + 1 < noise:
        raise ValueError("eigen_codes: the classes fall into groups without similarity; add a little to all of them.")
    vectors = vectors[:, 1 : dim + 1]
    length = torch.linalg.vector_norm(vectors, dim=-1)
    if (length < noise).any():
        raise ValueError(f"eigen_codes: the code of class {int(length.argmin())} is 0 in {dim} coordinates; take more.")
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return direction(vectors * largest.sign())


class ClassCodebook(nn.Module):
    r"""Logits ``-d(x, code_k)^2``: an output is decoded as the class of the nearest code, ``argmax``.

    A network is trained to hit its class's code, ``manifold.dist2(output, codebook.codes[target]).mean()``, in far
    fewer dimensions than there are classes. The codes are fixed: random, ``Sphere(n).random(num_classes, n + 1)``;
    ``eigen_codes``, which know which classes are similar; ``simplex_codes``, as far apart as can be;
    ``torch.eye(num_classes)`` on ``Euclidean``, which is the one-hot encoding.

    Args:
        manifold: Where outputs and codes lie.
        codes: One point per class, ``[num_classes, *point_shape]``.

    Raises:
        ShapeError: If the codes do not have the shape of points.
        OffManifoldError: If a code is not on the manifold.

    Source: Rodriguez, Bautista, Gonzalez & Escalera 2018, Beyond one-hot encoding: lower dimensional target embedding.
    """

    codes: Tensor

    def __init__(self, manifold: Manifold, codes: Float[Tensor, "k *point"]) -> None:
        super().__init__()
        manifold.assert_check_point_on_manifold(codes)
        self.manifold = manifold
        self.register_buffer("codes", codes)

    def forward(self, x: Float[Tensor, "*point"]) -> Float[Tensor, "*b k"]:
        """Return the logits of points ``[*b, *point_shape]``."""
        return -self.manifold.dist2(x.unsqueeze(-1 - self.manifold.ndim), self.codes)

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return f"num_classes={len(self.codes)}"
