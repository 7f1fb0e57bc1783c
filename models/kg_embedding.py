"""Knowledge graphs in hyperbolic space: a relation is an isometry."""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isometry.layers.hyperbolic._hyperboloid import (
    Space,
    SpaceLayer,
    curvature,
    exp_spatial,
    is_flat,
    time_of,
)
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot, sinhc_sqrt


class _SquaredArcosh(torch.autograd.Function):
    """``arcosh(1 + z)^2``, 0 where rounding made z negative, with a first derivative only."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        """Return ``log(1 + z + w)^2`` with ``w = sqrt(z (z + 2))``."""
        z = z.clamp_min(0)
        w = (z * (z + 2)).sqrt_()
        d = (z + w).log1p_()
        ctx.save_for_backward(d, w)
        return d * d

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return ``2 d/w``, and its limit 2 at ``z = 0``."""
        d, w = ctx.saved_tensors
        return 2 * gradient * torch.where(w > 0, d / w, 1)


class KGEmbedding(SpaceLayer):
    r"""Scores of facts (head, relation, tail): ``-d(r + Q h, t)^2 + b_h + b_t``, ``r +`` the translation from o to r.

    Q turns ("rotation", RotH) or mirrors ("reflection", RefH) planes of two coordinates, or is a mean of both with
    learned weights ("attention", AttH). Entities are tangent vectors at the origin o, and a relation has a curvature
    ``-c s^2`` of its own, s learned, so that distances are those of ``exp_o(s u)`` in the manifold, divided by s. Both
    models of hyperbolic space give the same numbers; ``Euclidean`` has no curvature to learn, and is RotE, RefE, AttE.

    Args:
        num_entities: Number of entities.
        num_relations: Number of relations; inverse ones, which ask for a head, count.
        manifold: Of even dimension.
        isometry: "rotation", "reflection" or "attention".

    Raises:
        ValueError: If the dimension is odd, the isometry another one, or the manifold has no constant curvature of at
            most 0.

    Source: Chami, Wolf, Juan, Sala, Ravi & Re 2020, Low-dimensional hyperbolic knowledge graph embeddings, section 4.
    """

    def __init__(self, num_entities: int, num_relations: int, manifold: Space, isometry: str = "rotation") -> None:
        super().__init__(manifold)
        if manifold.dim % 2:
            raise ValueError(f"KGEmbedding: expected a manifold of even dimension, but got {manifold!r}.")
        if isometry not in ("rotation", "reflection", "attention"):
            raise ValueError(f'KGEmbedding: expected "rotation", "reflection" or "attention", but got {isometry!r}.')
        self.isometry = isometry
        self.num_entities, self.num_relations = num_entities, num_relations
        self.entities = nn.Parameter(1e-3 * torch.randn(num_entities, manifold.dim))
        self.translations = nn.Parameter(1e-3 * torch.randn(num_relations, manifold.dim))
        self.biases = nn.Parameter(torch.zeros(num_entities))
        self.log_scales = nn.Parameter(torch.zeros(num_relations))
        angles = 2 * torch.pi * torch.rand(2, num_relations, manifold.dim // 2)
        self.turns = nn.Parameter(angles[0]) if isometry != "reflection" else None
        self.mirrors = nn.Parameter(angles[1]) if isometry != "rotation" else None
        self.preferences = nn.Parameter(torch.zeros(num_relations, manifold.dim)) if isometry == "attention" else None

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for parameters of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(
        self, head: Int[Tensor, " b"], relation: Int[Tensor, " b"], tail: Int[Tensor, " m"]
    ) -> Float[Tensor, "b m"]:
        """Return the scores of the same possible tails for each head and relation."""
        relations, row = relation.unique(return_inverse=True)
        scale = self.log_scales.exp().unsqueeze(-1)
        moved = self._moved(self.entities[head], relation)
        d2 = self._dist2(
            moved, self.translations[relation], self.entities[tail], scale[relation], scale[relations], row
        )
        return self.biases[head].unsqueeze(-1) + self.biases[tail] - d2

    def _moved(self, u: Tensor, relation: Tensor) -> Tensor:
        """Return Q u."""
        images = []
        pairs = u.unflatten(-1, (-1, 2))
        x, y = pairs.unbind(-1)
        if self.turns is not None:
            cos, sin = self.turns[relation].cos(), self.turns[relation].sin()
            images.append(torch.stack([cos * x - sin * y, sin * x + cos * y], -1).flatten(-2))
        if self.mirrors is not None:
            cos, sin = self.mirrors[relation].cos(), self.mirrors[relation].sin()
            images.append(torch.stack([cos * x + sin * y, sin * x - cos * y], -1).flatten(-2))
        if self.preferences is None:
            return images[0]
        both = torch.stack(images, -2)
        weights = (both * self.preferences[relation].unsqueeze(-2)).sum(-1, keepdim=True).softmax(-2)
        return (weights * both).sum(-2)

    @full_precision
    def _dist2(self, u: Tensor, r: Tensor, v: Tensor, scale: Tensor, scales: Tensor, row: Tensor) -> Tensor:
        """Return the squared distances ``[b, m]`` of ``r + exp_o u`` from ``exp_o v``, in the relations' curvatures.

        With ``a = |s|^2 / (1 + t)``, ``(t t' - 1)/c - s.s' = a + a' + c a a' - s.s'``: a product of matrices. What
        depends on a tail and a relation only is computed once for each relation, of which a batch has few.
        """
        c = curvature(self.manifold)
        y, p = exp_spatial(scale * r, c), exp_spatial(scale * u, c)
        q = p + (time_of(p, c) + c / (1 + time_of(y, c)) * dot(y, p)) * y  # p, carried as y is from the origin
        a = dot(q, q) / (1 + time_of(q, c))
        length2 = dot(v, v).squeeze(-1)
        stretch = scales * sinhc_sqrt(c * scales.square() * length2)
        square = stretch.square() * length2
        b = (square / (1 + (1 + c * square).sqrt()))[row.long()]
        product = torch.addcmul(a, 1 + c * a, b) - stretch[row.long()] * (q @ v.mT)
        # Many pairs: not dist2_from_product, whose every derivative is right at the price of many passes.
        d2 = 2 * product if is_flat(c) else cast(Tensor, _SquaredArcosh.apply(c * product)) / c
        return d2 / scale.square()

    def extra_repr(self) -> str:
        """Return the isometry."""
        return f"isometry={self.isometry!r}"
