"""Sequences of different lengths in one tensor."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad(sequences: Sequence[Float[Tensor, "c _"]]) -> tuple[Float[Tensor, "s c t"], Int[Tensor, " s"]]:
    """Return sequences of c channels as one tensor, zero after the end of each, and their lengths."""
    lengths = torch.tensor([x.shape[-1] for x in sequences])
    return pad_sequence([x.mT for x in sequences], batch_first=True).mT.contiguous(), lengths
