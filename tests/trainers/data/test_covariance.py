import numpy as np
import pytest
import torch
from sklearn.covariance import shrunk_covariance

from isometry.trainers.data import covariances
from isometry.trainers.data.padding import pad

SEQUENCES = [torch.randn(3, t, dtype=torch.float64, generator=torch.Generator().manual_seed(t)) for t in (4, 9, 6)]


def test_it_is_numpys_covariance() -> None:
    expected = np.stack([np.cov(x) for x in SEQUENCES])
    assert covariances(SEQUENCES).numpy() == pytest.approx(expected, rel=1e-12)


def test_shrinkage_is_scikit_learns() -> None:
    expected = np.stack([shrunk_covariance(np.cov(x), 0.3) for x in SEQUENCES])
    assert covariances(SEQUENCES, 0.3).numpy() == pytest.approx(expected, rel=1e-12)


def test_sequences_too_short_without_shrinkage_are_refused() -> None:
    short = [*SEQUENCES, torch.randn(3, 3)]
    with pytest.raises(ValueError, match="expected at least 4 samples of 3 signals, but got 3"):
        covariances(short)
    assert (torch.linalg.eigvalsh(covariances(short[3:], 0.1)) > 0).all()


def test_padding_is_zero_after_the_end() -> None:
    x, lengths = pad(SEQUENCES)
    assert x.shape == (3, 3, 9)
    assert lengths.tolist() == [4, 9, 6]
    for padded, sequence in zip(x, SEQUENCES, strict=True):
        assert torch.equal(padded[:, : sequence.shape[1]], sequence)
        assert not padded[:, sequence.shape[1] :].any()
