"""Attention to pairs of tokens."""

import math
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor, nn


def tensor_attention(
    q: Float[Tensor, "*b n d"],
    k1: Float[Tensor, "*b m d"],
    k2: Float[Tensor, "*b l d"],
    v1: Float[Tensor, "*b m e"],
    v2: Float[Tensor, "*b l e"],
) -> Float[Tensor, "*b n e"]:
    r"""Return ``y_i = sum_jk p_ijk (v1_j * v2_k)`` with ``p_i = softmax_jk (sum_c q_ic k1_jc k2_kc / d)``.

    This is attention with the row-wise Kronecker products of keys and of values; it takes ``n m l d`` operations, and
    memory for ``n m l`` scores.

    Source: Alman & Song 2024, How to capture higher-order correlations? Generalizing matrix softmax attention to
    Kronecker computation.
    """
    n, m = q.shape[-2], k1.shape[-2]
    pairs = (q / q.shape[-1]).unsqueeze(-2) * k1.unsqueeze(-3)  # [*b, n, m, d]
    scores = (pairs.flatten(-3, -2) @ k2.mT).unflatten(-2, (n, m))
    p = scores.flatten(-2).softmax(-1).unflatten(-1, (m, -1))
    return ((p @ v2.unsqueeze(-3)) * v1.unsqueeze(-3)).sum(-2)


class Monomials(nn.Module):
    r"""The monomials ``x^a`` of d variables up to a degree g, ``binom(d + g, g)`` of them, the constant first.

    Args:
        d: Number of variables.
        degree: g, at least 1.

    Source: Alman & Song 2023, Fast attention requires bounded entries (the polynomial method).
    """

    coefficients: Tensor
    """``d^-|a| / a!``, such that ``sum_a coefficients_a x^a y^a`` is the Taylor polynomial of ``exp(<x, y> / d)``."""

    def __init__(self, d: int, degree: int) -> None:
        super().__init__()
        if min(d, degree) < 1:
            raise ValueError(f"Monomials: expected a positive dimension and degree, but got {d} and {degree}.")
        self.degree = degree
        before: dict[tuple[int, ...], int] = {(): 0}
        coefficients = [1.0]
        for g in range(1, degree + 1):  # each is one of the degree below, times its last variable
            words = [*combinations_with_replacement(range(d), g)]
            places = torch.tensor([before[word[:-1]] for word in words])
            self.register_buffer(f"places{g}", places, persistent=False)
            self.register_buffer(f"variables{g}", torch.tensor([word[-1] for word in words]), persistent=False)
            before = {word: place for place, word in enumerate(words)}
            coefficients += [1 / (d**g * math.prod(math.factorial(word.count(c)) for c in {*word})) for word in words]
        self.register_buffer("coefficients", torch.tensor(coefficients, dtype=torch.float64), persistent=False)

    def forward(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n r"]:
        """Return the monomials of each row."""
        powers = [x.new_ones(*x.shape[:-1], 1)]
        for g in range(1, self.degree + 1):
            before = powers[-1].index_select(-1, self.get_buffer(f"places{g}"))
            powers.append(before * x.index_select(-1, self.get_buffer(f"variables{g}")))
        return torch.cat(powers, -1)


def polynomial_tensor_attention(
    q: Float[Tensor, "*b n d"],
    k1: Float[Tensor, "*b m d"],
    k2: Float[Tensor, "*b l d"],
    v1: Float[Tensor, "*b m e"],
    v2: Float[Tensor, "*b l e"],
    monomials: Monomials,
) -> Float[Tensor, "*b n e"]:
    r"""Return ``tensor_attention`` with ``exp(s)`` replaced by its Taylor polynomial, in time linear in the tokens.

    With the coefficients c of the R monomials

    ``sum_jk exp_g(s_ijk) v1_j * v2_k = sum_a c_a q_i^a (sum_j k1_j^a v1_j) * (sum_k k2_k^a v2_k)``,

    which takes ``(n + m + l) R e`` operations. The error of a weight is about ``|s|^(g+1) / (g+1)!``: small while the
    scores s are, which needs entries of at most about ``(log n)^(1/3)``. Weights are positive if the degree is even.

    Source: Alman & Song 2024, as ``tensor_attention``; monomials instead of all ``d^g`` products are ours.
    """
    query, first, second = (monomials(x) for x in (q, k1, k2))
    query = query * monomials.coefficients.to(query.dtype)
    numerator = query @ ((first.mT @ v1) * (second.mT @ v2))
    return numerator / (query @ (first.sum(-2) * second.sum(-2)).unsqueeze(-1))


class TensorAttention(nn.Module):
    r"""Self-attention of order 3: each token attends to pairs of tokens, in several heads.

    Queries, two sorts of keys and two sorts of values are linear in the tokens; see ``tensor_attention``. It finds
    what three tokens have together, such as a sum of 0, which ordinary attention does not.

    Args:
        dim: Features of a token.
        heads: Number of heads, which divides ``dim``.
        method: "exact", with time and memory cubic in the tokens; or "polynomial", linear in them, with
            ``binom(dim / heads + degree, degree)`` monomials, so for small heads (see ``polynomial_tensor_attention``
            for its error).
        degree: Of the polynomial; even ones have positive weights.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the method is another one, ``heads`` does not divide ``dim``, or the degree is below 1.

    Source: Alman & Song 2024, How to capture higher-order correlations?; the same operator is the order-3 attention of
    deep tensor networks.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        method: str = "exact",
        degree: int = 4,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if method not in ("exact", "polynomial"):
            raise ValueError(f"TensorAttention: expected the method 'exact' or 'polynomial', but got {method!r}.")
        if heads < 1 or dim % heads:
            raise ValueError(f"TensorAttention: expected heads that divide dim={dim}, but got heads={heads}.")
        self.heads, self.method = heads, method
        self.monomials = Monomials(dim // heads, degree).to(device) if method == "polynomial" else None
        self.projection = nn.Linear(dim, 5 * dim, dtype=dtype, device=device)
        self.out = nn.Linear(dim, dim, dtype=dtype, device=device)

    def forward(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Return the new tokens."""
        q, k1, k2, v1, v2 = self.projection(x).unflatten(-1, (5, self.heads, -1)).movedim((-3, -2), (0, -3)).unbind(0)
        if self.monomials is None:
            y = tensor_attention(q, k1, k2, v1, v2)
        else:
            y = polynomial_tensor_attention(q, k1, k2, v1, v2, self.monomials)
        return self.out(y.movedim(-3, -2).flatten(-2))

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"heads={self.heads}, method={self.method!r}"
