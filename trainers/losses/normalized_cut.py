"""The normalised cut of a graph, relaxed to probabilities."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def normalized_cut(
    segments: Float[Tensor, "n k"], edge_index: Int[Tensor, "2 e"], edge_weight: Float[Tensor, " e"]
) -> Float[Tensor, ""]:
    r"""Return ``sum_k cut_k/vol_k = k - sum_k (S^T W S)_kk / (S^T D S)_kk`` of segments, D the diagonal of degrees.

    Of each segment, it is the share of its edges' weight that leaves it.

    Args:
        segments: S, 1 where a node is in a segment and 0 elsewhere; no segment is empty.
        edge_index: Edges, in both directions.
        edge_weight: Their weights, non-negative.

    Source: Shi & Malik 2000, Normalized cuts and image segmentation.
    """
    inside, volume = _inside_and_volume(segments, edge_index, edge_weight)
    return segments.shape[1] - (inside / volume).sum()


class NormalizedCutLoss(nn.Module):
    r"""``-tr(S^T W S)/tr(S^T D S) + |S^T S/|S^T S| - I/sqrt(k)|`` of the softmax S of logits.

    The first term keeps edges within segments, the second one, with Frobenius norms, makes segments equally large, so
    that not all nodes end in one.

    Source: Bianchi, Grattarola & Alippi 2020, Spectral clustering with graph neural networks for graph pooling.
    """

    def forward(
        self, logits: Float[Tensor, "n k"], edge_index: Int[Tensor, "2 e"], edge_weight: Float[Tensor, " e"]
    ) -> Float[Tensor, ""]:
        """Return the loss of the nodes' logits for segments; edges are given in both directions."""
        s = logits.softmax(-1)
        inside, volume = _inside_and_volume(s, edge_index, edge_weight)
        gram = s.mT @ s
        equal = torch.eye(len(gram), dtype=s.dtype, device=s.device) / len(gram) ** 0.5
        return torch.linalg.matrix_norm(gram / torch.linalg.matrix_norm(gram) - equal) - inside.sum() / volume.sum()


def _inside_and_volume(s: Tensor, edge_index: Tensor, edge_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the diagonals of ``S^T W S`` and ``S^T D S``."""
    source, target = edge_index
    weight = edge_weight.unsqueeze(1)
    square = s.square().index_select(0, source)
    return (weight * s.index_select(0, source) * s.index_select(0, target)).sum(0), (weight * square).sum(0)
