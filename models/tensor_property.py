"""Symmetric tensors of structures, such as polarizabilities."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.equivariant import edge_vectors
from isometry.layers.equivariant.cartesian import matrix_from_spherical
from isometry.manifolds.spectral import sym_exp
from isometry.models._atomistic import AtomisticNetwork
from isometry.models._invariant_readout import InvariantReadout
from isometry.models._structure_model import StructureModel


class TensorProperty(StructureModel):
    r"""A symmetric tensor ``[B, 3, 3]`` of each structure, which turns with it: the sum of tensors of its atoms.

    .. math:: T = s \sum_i \bigl(1 + A_i\bigr) \quad\text{or}\quad T = s \sum_i \exp A_i, \qquad
        A_i = a(x_i)\, 1 + \sum_c g_c(x_i)\, B(x_{i, 2, c})

    ``a`` and ``g`` are read out of the invariants of the features ``x_i``, and B makes the symmetric matrix of trace 0
    of a feature of degree 2. A rotation or reflection acts as :math:`R A R^\top` and commutes with the exponential of
    symmetric matrices; so the second form is equivariant, too, and positive definite whatever the weights are, as
    a polarizability is. Both are additive over far structures, and are about s times the number of atoms at first.

    Args:
        network: Maps atoms to features of degree 2 or more.
        scale: s, positive: about the mean eigenvalue of the tensors for each atom.
        positive: Take the exponential.

    Raises:
        ValueError: If the features have no degree 2, or the scale is not positive.

    Source: Schuett et al. 2021, PaiNN (polarizabilities as sums of atomic tensors, the first form); Arsigny et al. 2007
    (the exponential as a chart of positive definite matrices).
    """

    scale: Tensor

    def __init__(self, network: AtomisticNetwork, *, scale: float = 1.0, positive: bool = False) -> None:
        super().__init__(network)
        if network.layout.lmax < 2:
            raise ValueError(f"TensorProperty: expected features of degree 2, but got lmax={network.layout.lmax}.")
        if not 0 < scale < float("inf"):
            raise ValueError(f"TensorProperty: expected a positive scale, but got {scale}.")
        self.positive = positive
        self.readout = InvariantReadout(network.layout, network.channels, 1 + network.channels)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def evaluate(
        self,
        species: Int[Tensor, " n"],
        pos: Float[Tensor, "n 3"],
        batch: Int[Tensor, " n"],
        cell: Float[Tensor, "b 3 3"] | None,
        edge_index: Int[Tensor, "2 e"],
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None,
        count: int,
    ) -> Float[Tensor, "count 3 3"]:
        """Return the tensor of each structure, in the format of the positions."""
        vec = edge_vectors(pos, edge_index, shift, cell, batch)
        x = self.network.encode(species, edge_index, vec.to(self.network.dtype), batch)
        y = self.readout(x)
        second = torch.einsum("nmc,nc->nm", x[:, 4:9], y[:, 1:])
        rows = torch.cat([3**0.5 * y[:, :1], torch.zeros_like(second[:, :3]), second], 1)
        A = matrix_from_spherical(rows.unsqueeze(2)).squeeze(3)
        atomic = sym_exp(A) if self.positive else A + torch.eye(3, dtype=A.dtype, device=A.device)
        total = atomic.new_zeros(count, 3, 3).index_add(0, batch, atomic)
        return (self.scale.to(total.dtype) * total).to(pos.dtype)
