"""What simple classifiers of scikit-learn reach on the real data: floors, and proof that the right data are read."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import logm
from scipy.signal import butter, sosfilt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isometry.trainers.data import HDM05, MAMEM

HDM05_FOLDER = Path(os.environ.get("ISOMETRY_HDM05", "hdm05_11"))
MAMEM_FOLDER = Path(os.environ.get("ISOMETRY_MAMEM", "mamem_ssvep2"))
STIMULI = (6.66, 7.5, 8.57, 10.0, 12.0)  # Hz

pytestmark = pytest.mark.slow


def upper(matrices: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(matrices.shape[-1])
    return matrices[:, rows, columns]


def logarithm(matrices: np.ndarray) -> np.ndarray:
    return np.stack([logm(matrix) for matrix in matrices])


def accuracy(parts: dict[str, tuple[np.ndarray, np.ndarray]], c: float) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    return classifier.fit(*parts["train"]).score(*parts["test"])


@pytest.mark.skipif(
    not HDM05_FOLDER.is_dir(), reason=f"no HDM05 in {HDM05_FOLDER}: set ISOMETRY_HDM05 to the folder of cov93.npz"
)
def test_hdm05() -> None:
    """Of 44 sequences, 36 are recognised by their covariances, 42 by the logarithms; with less penalty, all."""
    parts = {name: (x.double().numpy(), y.numpy()) for name, (x, y) in HDM05(HDM05_FOLDER).parts.items() if len(y)}
    flat = {name: (upper(x), y) for name, (x, y) in parts.items()}
    log = {name: (upper(logarithm(x)), y) for name, (x, y) in parts.items()}
    assert [accuracy(flat, 0.01), accuracy(log, 0.01)] == pytest.approx([36 / 44, 42 / 44])
    assert accuracy(log, 1.0) == 1


@pytest.mark.skipif(
    not MAMEM_FOLDER.is_dir(), reason=f"no MAMEM in {MAMEM_FOLDER}: set ISOMETRY_MAMEM to the folder of U001.npz"
)
def test_mamem() -> None:
    """Covariances of the signals around each stimulus' frequency, one above the other; the largest class is 24 %."""
    scores = []
    for subject in range(1, 7):
        flat, log = {}, {}
        for name, (x, y) in MAMEM(MAMEM_FOLDER, subject).parts.items():
            bands = [butter(2, (f - 1, f + 1), "bandpass", fs=125, output="sos") for f in STIMULI]
            stacked = np.concatenate([sosfilt(band, x.double().numpy()) for band in bands], axis=1)
            cov = np.stack([np.cov(signals) for signals in stacked])
            cov += 0.01 * np.trace(cov, axis1=1, axis2=2)[:, None, None] / 40 * np.eye(40)
            flat[name], log[name] = (upper(cov), y.numpy()), (upper(logarithm(cov)), y.numpy())
        scores.append([accuracy(flat, 0.01), accuracy(log, 0.01)])
    assert np.mean(scores, axis=0) == pytest.approx([0.41, 0.43], abs=0.01)
