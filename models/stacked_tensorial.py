"""Networks of tensor trains, stacked: from parameters of an equation to its solution."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.tensor import Linear
from isometry.manifolds.low_rank.base import Ranks


class TensorialNetwork(nn.Module):
    """Linear layers whose weights are tensor trains, on inputs that are folded into tensors, with GELU in between.

    Args:
        shapes: Shapes of the input, after each hidden layer, and of the output; all have equally many modes.
        rank: Of the trains.
        dtype: Of the parameters.

    Raises:
        ValueError: There are less than two shapes, or they have different numbers of modes.

    Source: Novikov et al. 2015, Tensorizing neural networks.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], rank: Ranks, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if len(shapes) < 2 or len({len(shape) for shape in shapes}) != 1:
            raise ValueError(
                f"TensorialNetwork: expected the shapes of input and output, of equally many modes, but got {shapes}."
            )
        self.shapes = [tuple(shape) for shape in shapes]
        self.layers = nn.ModuleList(
            Linear(
                torch.Size(a).numel(), torch.Size(b).numel(), rank, format="tt", fold=(tuple(b), tuple(a)), dtype=dtype
            )
            for a, b in pairwise(shapes)
        )

    def forward(self, x: Float[Tensor, "b *i"]) -> Float[Tensor, "b *o"]:
        """Return tensors of the last shape for tensors of the first."""
        y = x.flatten(1)
        for k, layer in enumerate(self.layers):
            y = layer(F.gelu(y) if k else y)
        return y.unflatten(-1, self.shapes[-1])


class StackedTensorialNetwork(nn.Module):
    r"""Several networks of tensor trains, weighted by gates that parameters set, and one that fuses their outputs.

    ``y = N_fuse(stack_k g_k(p) N_k(T(p)))``, g the softmax of a small network, and ``T(p)`` the parameters,
    mapped linearly to a tensor. Each of the stacked networks can attend to a part of the parameters' domain.

    Args:
        num_parameters: Number of parameters.
        shapes: Shapes of each stacked network, as those of a ``TensorialNetwork``.
        out_shape: Shape of the output, of as many modes.
        rank: Of all trains.
        stack: Number of stacked networks.
        gate_width: Hidden units of the network of the gates.

    Raises:
        ValueError: A size is less than 1, or shapes have different numbers of modes.

    Source: Wagner 2023, Stacked tensorial neural networks for reduced-order modeling of a parametric partial
        differential equation.
    """

    def __init__(
        self,
        num_parameters: int,
        shapes: Sequence[Sequence[int]],
        out_shape: Sequence[int],
        rank: Ranks,
        *,
        stack: int = 4,
        gate_width: int = 32,
    ) -> None:
        super().__init__()
        if min(num_parameters, stack, gate_width) < 1:
            raise ValueError(
                f"StackedTensorialNetwork: expected sizes of at least 1, but got num_parameters={num_parameters}, "
                f"stack={stack} and gate_width={gate_width}."
            )
        self.shape = tuple(shapes[0])
        self.lift = nn.Linear(num_parameters, torch.Size(self.shape).numel())
        self.stacked = nn.ModuleList(TensorialNetwork(shapes, rank) for _ in range(stack))
        first, *others = shapes[-1]
        self.fuse = TensorialNetwork([(stack * first, *others), out_shape], rank)
        self.gate = nn.Sequential(
            nn.Linear(num_parameters, gate_width), nn.GELU(), nn.Linear(gate_width, stack), nn.Softmax(-1)
        )

    def forward(self, parameters: Float[Tensor, "b p"]) -> Float[Tensor, "b *o"]:
        """Return tensors of the output's shape."""
        x = F.gelu(self.lift(parameters)).unflatten(-1, self.shape)
        parts = torch.stack([network(x) for network in self.stacked], 1)
        gates = self.gate(parameters)
        parts = gates.view(*gates.shape, *[1] * len(self.shape)) * parts
        return self.fuse(F.gelu(parts.flatten(1, 2)))
