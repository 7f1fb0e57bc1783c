"""Attention over the edges of a graph, in the frames of the edges."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.equivariant.so2_conv import into_frames, sum_at_targets
from isometry.layers.equivariant.so2_message import SO2Message


def smooth_softmax(
    logits: Float[Tensor, "edges heads"],
    envelope: Float[Tensor, " edges"],
    target: Int[Tensor, " edges"],
    nodes: int,
) -> Float[Tensor, "edges heads"]:
    r"""Return ``e_j exp(a_j) / (1 + sum_k e_k exp(a_k))`` over the edges to each target: they come and go smoothly.

    The 1 stands for attention to nothing. Without it the last edge would keep all of it up to the cutoff.

    Source: Liao et al. 2026, EquiformerV3 (the envelope inside the softmax); the 1 is added here.
    """
    index = target.unsqueeze(1).expand_as(logits)
    # the largest logit at each target or 0, a common shift that cancels
    shift = logits.new_zeros(nodes, logits.shape[1]).scatter_reduce(0, index, logits.detach(), "amax")
    weights = envelope.unsqueeze(1) * torch.exp(logits - shift.index_select(0, target))
    total = torch.exp(-shift).index_add(0, target, weights)
    return weights / total.index_select(0, target)


class SO2Attention(nn.Module):
    r"""The sum of messages in the frames of edges, weighted by attention: ``y_i = sum_j F_ij^T alpha_ij m_ij``.

    The messages ``m_ij`` are those of an ``SO2Message`` of ``x_j`` and ``x_i``, cut into heads along the channels;
    ``alpha`` is the ``smooth_softmax`` of a perceptron of their rows m = 0, which no turn about the edge changes.

    Args:
        channels: Channels of input and output, a multiple of ``heads``.
        hidden: Channels within the messages.
        lmax: The highest degree.
        mmax: The highest order.
        heads: Number of heads.
        o3: Whether reflections are respected, too, by features of natural parity.

    Attributes:
        num_scalars: How many rows the ``scalars`` have, as in ``SO2Linear``.

    Source: Liao et al. 2023, EquiformerV2, section 4.1; smooth at the cutoff as ``smooth_softmax`` says.
    """

    def __init__(self, channels: int, hidden: int, lmax: int, mmax: int, heads: int, o3: bool = False) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(
                f"SO2Attention: expected channels that {heads} heads divide, but got {channels}; change one of them."
            )
        self.lmax, self.heads = lmax, heads
        self.message = SO2Message(2 * channels, hidden, channels, lmax, mmax, o3)
        self.logits = nn.Sequential(nn.Linear((lmax + 1) * channels, hidden), nn.SiLU(), nn.Linear(hidden, heads))
        self.num_scalars = self.message.num_scalars

    def forward(
        self,
        x: Float[Tensor, "nodes size channels"],
        edge_index: Int[Tensor, "2 edges"],
        frame: Float[Tensor, "edges rows size"],
        scalars: Float[Tensor, "edges num_scalars doubled"] | None,
        envelope: Float[Tensor, " edges"],
    ) -> Float[Tensor, "nodes size channels"]:
        """Return the weighted sums at the nodes.

        Args:
            x: The features of the nodes.
            edge_index: The neighbour j and the centre i of each edge.
            frame: From ``SO2Frame``.
            scalars: Factors of the inputs of the messages, or None.
            envelope: A function of the edges' lengths, 0 at the cutoff.
        """
        messages = self.message(into_frames(x, edge_index, frame, both_ends=True), scalars)
        logits = self.logits(messages[:, : self.lmax + 1].flatten(1))
        alpha = smooth_softmax(logits, envelope, edge_index[1], len(x))
        weighted = messages.unflatten(2, (self.heads, -1)) * alpha[:, None, :, None]
        return sum_at_targets(weighted.flatten(2), edge_index, frame, len(x))
