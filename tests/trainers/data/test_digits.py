import pytest
import torch
from sklearn.datasets import load_digits

from isometry.trainers.data import Digits


def test_they_are_scikit_learns_in_order() -> None:
    parts = Digits().parts
    assert [len(labels) for _, labels in parts.values()] == [1077, 360, 360]
    images, labels = (torch.cat(tensors) for tensors in zip(*parts.values(), strict=True))
    digits = load_digits()
    assert torch.equal(labels, torch.from_numpy(digits.target).long())
    assert torch.equal(images, torch.from_numpy(digits.images / 16).float().unsqueeze(1))
    assert images.max() == 1


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.trainers.data.installed.find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match="package sklearn, which is not installed: pip install scikit-learn"):
        Digits().setup("fit")
