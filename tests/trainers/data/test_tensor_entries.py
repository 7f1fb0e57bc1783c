from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import BeijingPM25, USTemperature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Archives of the right names, with forty entries in each fold."""
    generator = np.random.default_rng(0)
    for source in (BeijingPM25, USTemperature):
        data = source(tmp_path)
        arrays = {"shape": np.array(data.shape)}
        for fold in range(5):
            for part, size in (("tr", 30), ("te", 10)):
                arrays[f"{part}_ind{fold}"] = generator.integers(0, data.shape, (size, 3)).astype(np.int16)
                arrays[f"{part}_y{fold}"] = (fold + generator.random(size)).astype(np.float32)
        np.savez(tmp_path / f"{source.name}.npz", **arrays)
    return tmp_path


@pytest.mark.parametrize("source", [BeijingPM25, USTemperature])
def test_parts(folder: Path, source: type[BeijingPM25]) -> None:
    data = source(folder, fold=3, val_share=0.2)
    sizes = {name: len(values) for name, (_, values) in data.parts.items()}
    assert sizes == {"train": 24, "val": 6, "test": 10}
    for places, values in data.parts.values():
        assert places.dtype == torch.int64
        assert places.shape == (len(values), 3)
        assert 3 <= values.min() <= values.max() < 4
    whole = np.load(folder / f"{source.name}.npz")["tr_y3"]
    joined = torch.cat([data.parts["train"][1], data.parts["val"][1]])
    assert np.array_equal(np.sort(joined.numpy()), np.sort(whole))


def test_one_batch_has_all(folder: Path) -> None:
    data = USTemperature(folder)
    ((places, values),) = data.train_dataloader()
    assert torch.equal(values, data.parts["train"][1])
    assert len(places) == 27
    assert sum(len(v) for _, v in data.test_dataloader()) == 10
    assert USTemperature(folder, val_share=0).val_dataloader() == []


def test_refusals(folder: Path) -> None:
    with pytest.raises(ValueError, match="a fold from 0 to 4, but got 5"):
        BeijingPM25(folder, 5)
    with pytest.raises(ValueError, match=r"val_share in \[0, 1\), but got 1"):
        BeijingPM25(folder, val_share=1)
    with pytest.raises(FileNotFoundError, match=r"beijing_pm25_100x100x300.npz: no such file"):
        _ = BeijingPM25(folder / "elsewhere").parts
    archive = dict(np.load(path := folder / f"{USTemperature.name}.npz"))
    np.savez(path, **archive | {"shape": np.array([15, 95, 268])})
    with pytest.raises(ValueError, match=r"expected a tensor \(15, 95, 267\), but got"):
        _ = USTemperature(folder).parts
    np.savez(path, **archive | {"te_y0": np.full(10, np.nan, np.float32)})
    with pytest.raises(ValueError, match="expected finite values at places in"):
        _ = USTemperature(folder).parts
    np.savez(path, **archive | {"te_ind0": np.full((10, 3), 95, np.int16)})
    with pytest.raises(ValueError, match="expected finite values at places in"):
        _ = USTemperature(folder).parts
