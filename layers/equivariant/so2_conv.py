"""Convolution over the edges of a graph, in the frames of the edges."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class SO2Conv(nn.Module):
    r"""The sum of messages that are computed in the frames of edges.

        ``y_i = sum_j e_ij F_ij^T product(F_ij x_j, s_ij)``

    over the edges from j to i, with the matrices F of ``SO2Frame``, an envelope e and scalars s.

    Args:
        product: ``SO2Linear``, ``SO2Depthwise``, ``SO2Message``, or another module that takes features in the frames
            and scalars, returns features in the frames and commutes with turns about the edges.
        both_ends: Whether the product sees the channels of ``x_j`` and those of ``x_i`` after them.

    Source: Passaro & Zitnick 2023, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs.
    """

    def __init__(self, product: nn.Module, both_ends: bool = False) -> None:
        super().__init__()
        self.product, self.both_ends = product, both_ends

    def forward(
        self,
        x: Float[Tensor, "nodes size channels_in"],
        edge_index: Int[Tensor, "2 edges"],
        frame: Float[Tensor, "edges rows size"],
        scalars: Float[Tensor, "edges num_scalars channels_s"] | None = None,
        envelope: Float[Tensor, " edges"] | None = None,
    ) -> Float[Tensor, "nodes size channels_out"]:
        """Return the sums at the nodes.

        Args:
            x: The features of the nodes.
            edge_index: The neighbour j and the centre i of each edge.
            frame: From ``SO2Frame``.
            scalars: What the product takes.
            envelope: A factor of each message, 0 at the cutoff; 1 if None.
        """
        messages = self.product(into_frames(x, edge_index, frame, self.both_ends), scalars)
        return sum_at_targets(
            messages, edge_index, frame if envelope is None else frame * envelope[:, None, None], x.shape[0]
        )


def into_frames(x: Tensor, edge_index: Tensor, frame: Tensor, both_ends: bool) -> Tensor:
    """Return the features of the sources of edges, with those of the targets beside them or not, in the frames."""
    ends = [x.index_select(0, end) for end in edge_index[: 2 if both_ends else 1]]
    return frame @ (torch.cat(ends, -1) if both_ends else ends[0])


def sum_at_targets(messages: Tensor, edge_index: Tensor, frame: Tensor, nodes: int) -> Tensor:
    """Return the sums ``F^T messages`` over the edges to each node."""
    back = frame.mT @ messages
    return back.new_zeros(nodes, *back.shape[1:]).index_add(0, edge_index[1], back)
