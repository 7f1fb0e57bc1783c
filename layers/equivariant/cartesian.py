"""Tensors of rank 2 as spherical features: the layers of TensorNet."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from isometry.layers.equivariant.spherical_linear import SphericalLinear
from isometry.manifolds._precision import captured

Group = Literal["O(3)", "SO(3)"]
_SIZES = (1, 3, 5)  # rows of each degree
_BLOCK = 512  # pairs
_HALF, _THIRD, _SIXTH = math.sqrt(1 / 2), math.sqrt(1 / 3), math.sqrt(1 / 6)


def matrix_from_spherical(x: Float[Tensor, "*n 9 channels"]) -> Float[Tensor, "*n 3 3 channels"]:
    r"""Return ``X = sum_lm x_lm B_lm``, the matrices whose orthonormal decomposition is ``x``.

    Degree 0 is the trace, ``X = x 1 / sqrt(3)``; degree 1 the antisymmetric part, ``X u = x cross u / sqrt(2)``; degree
    2 the symmetric part of trace 0. The Frobenius norm of ``X`` is the norm of ``x``. A rotation acts as ``R X R^T``,
    and the inversion, by natural parity, as ``X -> X^T``.

    Source: Simeon & De Fabritiis 2023, TensorNet, equation 2.
    """
    trace, ax, ay, az, xz, xy, yy, yz, difference = x.unbind(-2)
    trace, ax, ay, az, xz, xy, yz = (
        trace * _THIRD,
        ax * _HALF,
        ay * _HALF,
        az * _HALF,
        xz * _HALF,
        xy * _HALF,
        yz * _HALF,
    )
    rest, difference = trace - yy * _SIXTH, difference * _HALF
    rows = (
        (rest - difference, xy - az, xz + ay),
        (xy + az, trace + yy * (2 * _SIXTH), yz - ax),
        (xz - ay, yz + ax, rest + difference),
    )
    return torch.stack([torch.stack(row, -2) for row in rows], -3)


def spherical_from_matrix(X: Float[Tensor, "*n 3 3 channels"]) -> Float[Tensor, "*n 9 channels"]:
    """Return the orthonormal decomposition ``x_lm = tr(B_lm^T X)``, the inverse of ``matrix_from_spherical``.

    Source: Simeon & De Fabritiis 2023, TensorNet, equation 2.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = X.flatten(-3, -2).unbind(-2)
    rows = (
        (xx + yy + zz) * _THIRD,
        *((zy - yz) * _HALF, (xz - zx) * _HALF, (yx - xy) * _HALF),
        *((xz + zx) * _HALF, (xy + yx) * _HALF, (2 * yy - xx - zz) * _SIXTH, (yz + zy) * _HALF, (zz - xx) * _HALF),
    )
    return torch.stack(rows, -2)


def direction_tensors(u: Float[Tensor, "e 3"]) -> Float[Tensor, "e 9"]:
    """Return the decompositions of the unit matrix, of ``u cross`` and of ``u u^T``, each in the rows of its degree."""
    symmetric = spherical_from_matrix((u.unsqueeze(2) * u.unsqueeze(1)).unsqueeze(3)).squeeze(2)
    return torch.cat([torch.full_like(u[:, :1], math.sqrt(3)), math.sqrt(2) * u, symmetric[:, 4:]], 1)


def matrix_product(
    x: Float[Tensor, "*n 9 channels"], y: Float[Tensor, "*n 9 channels"], group: Group
) -> Float[Tensor, "*n 9 channels"]:
    """Return ``X Y + Y X`` for O(3), which obeys the inversion as well, or ``2 X Y`` for SO(3), channel by channel.

    Source: Simeon & De Fabritiis 2023, TensorNet, section 3.3.
    """
    X, Y = matrix_from_spherical(x), matrix_from_spherical(y)
    product = _matmul(X, Y) + _matmul(Y, X) if group == "O(3)" else 2 * _matmul(X, Y)
    return spherical_from_matrix(product)


def _matmul(X: Tensor, Y: Tensor) -> Tensor:
    """Return the products of 3 x 3 matrices whose last dimension is a batch."""
    terms = [X[..., :, k, None, :] * Y[..., None, k, :, :] for k in range(3)]
    return terms[0] + terms[1] + terms[2]


def _by_degree(weight: Float[Tensor, "*n 3 channels"]) -> Float[Tensor, "*n 9 channels"]:
    """Return the weight of each degree for each of its rows."""
    return torch.cat([weight[..., k : k + 1, :].expand(*weight.shape[:-2], n, -1) for k, n in enumerate(_SIZES)], -2)


def _by_block(pairs: Tensor, *values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield sources, targets and values of pairs in blocks whose messages fit into the cache."""
    size = pairs.shape[1]
    # make_fx stands for any number of pairs: they stay in one block
    block = _BLOCK if isinstance(size, int) and not captured() else size
    return zip(*(x.split(block) for x in (*pairs, *values)), strict=True)


def _pair_sum(weight: Tensor, x: Tensor, pairs: Tensor) -> Tensor:
    """Return ``out_i = sum_j w_ij x_j`` over pairs in both directions, with a weight per degree and channel."""
    # Dynamo loses a part of the second derivative of a Function inside torch.func.grad (torch 2.13).
    return _plain_pair_sum(weight, x, pairs) if torch.compiler.is_compiling() else _PairSum.apply(weight, x, pairs)


def _plain_pair_sum(weight: Tensor, x: Tensor, pairs: Tensor) -> Tensor:
    (j, i), rows = pairs, _by_degree(weight)
    out = torch.zeros_like(x).index_add(0, i, x.index_select(0, j) * rows)
    return out.index_add(0, j, x.index_select(0, i) * rows)


class _PairSum(torch.autograd.Function):
    """``_pair_sum``, several times faster and smaller: nothing of the size of the pairs times the rows is kept.

    The operator is symmetric: its derivative in ``x`` is itself.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, x: Tensor, pairs: Tensor) -> Tensor:
        if captured():  # vmap
            return _plain_pair_sum(weight, x, pairs)
        out = torch.zeros_like(x)
        for j, i, block in _by_block(pairs, weight):
            rows = _by_degree(block)
            out.index_add_(0, i, x.index_select(0, j).mul_(rows)).index_add_(0, j, x.index_select(0, i).mul_(rows))
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weight, x, pairs = ctx.saved_tensors
        return (
            _PairDot.apply(grad, x, pairs) if ctx.needs_input_grad[0] else None,
            _PairSum.apply(weight, grad, pairs) if ctx.needs_input_grad[1] else None,
            None,
        )


class _PairDot(torch.autograd.Function):
    """``<x_i, y_j> + <x_j, y_i>`` for each pair, degree and channel: the derivative of ``_PairSum`` in the weight."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, pairs: Tensor) -> Tensor:
        parts = []
        for j, i in _by_block(pairs):
            rows = x.index_select(0, i) * y.index_select(0, j) + x.index_select(0, j) * y.index_select(0, i)
            parts.append(torch.stack([part.sum(1) for part in rows.split(_SIZES, 1)], 1))
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y, pairs = ctx.saved_tensors
        return (
            _PairSum.apply(grad, y, pairs) if ctx.needs_input_grad[0] else None,
            _PairSum.apply(grad, x, pairs) if ctx.needs_input_grad[1] else None,
            None,
        )


class TensorEmbedding(nn.Module):
    r"""Tensors of rank 2 from the species and places of an atom's neighbours.

    ``X_i = sum_j phi_ij Z_ij (f_0 1 + f_1 [u_ij]_x + f_2 (u_ij u_ij^T - 1/3))`` with ``f = W e(r_ij) + b``, ``Z_ij =
    W_z [z_i, z_j] + b_z`` and j = i (r = 0, u = 0) among the terms; then the channels of each degree are mixed and
    scaled by ``MLP(LayerNorm(|X_i|^2))``. As f is linear, ``phi e`` is summed over the neighbours of each species
    before ``W`` widens it to the channels: no array of the size of the edges times the channels is formed.

    Args:
        species: Number of species.
        channels: Channels of the tensors.
        radial: Number of radial functions.

    Source: Simeon & De Fabritiis 2023, TensorNet, equations 6 to 8.
    """

    def __init__(self, species: int, channels: int, radial: int) -> None:
        super().__init__()
        self.species, self.channels, self.radial = species, channels, radial
        self.embedding = nn.Embedding(species, channels)
        self.pair = nn.Linear(2 * channels, channels)
        self.filter = nn.Linear(radial, 3 * channels)
        self.norm = nn.LayerNorm(channels)
        self.gate = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, 3 * channels), nn.SiLU()
        )
        self.mix = SphericalLinear(channels, channels, 2, bias=False)

    def forward(
        self,
        species: Int[Tensor, " n"],
        pairs: Int[Tensor, "2 p"],
        direction: Float[Tensor, "p 3"],
        radial: Float[Tensor, "p_and_1 radial"],
        envelope: Float[Tensor, " p_and_1"],
    ) -> Float[Tensor, "n 9 channels"]:
        """Return the tensors of each atom.

        Args:
            species: The species of each atom, from 0.
            pairs: Atoms ``(j, i)``, each pair once.
            direction: Unit vectors from i to j, or 0 for atoms at one place.
            radial: Radial functions of each pair and then, in the last row, of distance 0.
            envelope: The same for the envelope.
        """
        x = self._density(species, pairs, direction, radial, envelope)
        x = self._widen(species, x)
        gate = self.gate(self.norm(x.square().sum(1))).unflatten(-1, (3, -1))
        return self.mix(x) * _by_degree(gate)

    def _density(self, species: Tensor, pairs: Tensor, direction: Tensor, radial: Tensor, envelope: Tensor) -> Tensor:
        """Return ``sum_j phi T(u_ij) [e(r_ij), 1]`` over the neighbours of each species, the atom itself among them."""
        j, i = pairs
        e = torch.cat([radial, torch.ones_like(radial[:, :1])], 1) * envelope.unsqueeze(1)
        terms = direction_tensors(direction).unsqueeze(2) * e[:-1].unsqueeze(1)
        back = torch.cat([terms[:, :1], -terms[:, 1:4], terms[:, 4:]], 1)
        own = torch.arange(species.shape[0], device=species.device) * self.species
        x = terms.new_zeros(species.shape[0] * self.species, 9, e.shape[1])
        x = x.index_add(0, own[i] + species[j], terms).index_add(0, own[j] + species[i], back)
        alone = direction_tensors(e.new_zeros(1, 3)).mT * e[-1:]
        x = x.index_add(0, own + species, alone.expand(species.shape[0], -1, -1))
        return x.unflatten(0, (species.shape[0], self.species))

    def _widen(self, species: Tensor, density: Tensor) -> Tensor:
        """Return ``sum_s Z_is W density_is``, a weight per degree and species."""
        centre, neighbour = self.pair.weight.chunk(2, 1)
        z = self.embedding.weight
        Z = (z @ centre.T + self.pair.bias).unsqueeze(1) + z @ neighbour.T  # [species, species, channels]
        W = torch.cat([self.filter.weight, self.filter.bias.unsqueeze(1)], 1).view(3, self.channels, -1)
        parts = [part @ w.T for part, w in zip(density.split(_SIZES, 2), W, strict=True)]
        return (torch.cat(parts, 2) * Z[species].unsqueeze(2)).sum(1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.species}, {self.channels}, {self.radial}"


class TensorInteraction(nn.Module):
    r"""Exchange messages between tensors of rank 2, and multiply them as matrices.

    With ``X <- X / (|X|^2 + 1)``, ``Y = W_1 X``, ``M_i = sum_j phi_ij f(r_ij) Y_j`` (j = i among the terms) and ``f =
    MLP(e(r_ij))``, both with a number per degree and channel,

        ``B = Y M + M Y`` (O(3)) or ``2 Y M`` (SO(3)),  ``D = W_2 B / (|B|^2 + 1)``,  ``X + D + D^2``.

    Args:
        channels: Channels of the tensors.
        radial: Number of radial functions.
        group: "O(3)", under whose inversion ``X -> X^T``; or "SO(3)", which tells mirror images apart.

    Source: Simeon & De Fabritiis 2023, TensorNet, equations 9 to 11.
    """

    def __init__(self, channels: int, radial: int, group: Group = "O(3)") -> None:
        super().__init__()
        if group not in ("O(3)", "SO(3)"):
            raise ValueError(f"TensorInteraction: expected the group 'O(3)' or 'SO(3)', but got {group!r}.")
        self.channels, self.radial, self.group = channels, radial, group
        sizes = (radial, channels, 2 * channels, 3 * channels)
        self.filters = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.mix_in = SphericalLinear(channels, channels, 2, bias=False)
        self.mix_out = SphericalLinear(channels, channels, 2, bias=False)

    def forward(
        self,
        x: Float[Tensor, "n 9 channels"],
        pairs: Int[Tensor, "2 p"],
        radial: Float[Tensor, "p_and_1 radial"],
        envelope: Float[Tensor, " p_and_1"],
    ) -> Float[Tensor, "n 9 channels"]:
        """Return the new tensors; arguments as for ``TensorEmbedding``."""
        f = radial
        for linear in self.filters:
            f = silu(linear(f))
        f = (f * envelope.unsqueeze(1)).unflatten(1, (3, -1))
        x = x / (x.square().sum(1, keepdim=True) + 1)
        y = self.mix_in(x)
        message = _pair_sum(f[:-1], y, pairs) + _by_degree(f[-1]) * y
        b = matrix_product(y, message, self.group)
        d = self.mix_out(b / (b.square().sum(1, keepdim=True) + 1))
        return x + d + matrix_product(d, d, "SO(3)") / 2

    def extra_repr(self) -> str:
        """Return the sizes and the group."""
        return f"{self.channels}, {self.radial}, group={self.group!r}"
