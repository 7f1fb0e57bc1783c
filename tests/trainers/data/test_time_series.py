from pathlib import Path

import pytest
import torch

from isometry.trainers.data import TimeSeries, covariances, read_ts

HEADER = """\
# A comment, then tags in any case.
@problemName Toy
@timeStamps false
@classLabel true walk run
@data
"""


def lines(count: int, lengths: tuple[int, ...]) -> str:
    """Series i has the values i, i + .1, i + .2, ... in channel 0 and their squares in channel 1."""
    text = HEADER
    for i in range(count):
        values = [i + t / 10 for t in range(lengths[i % len(lengths)])]
        channels = [",".join(map(str, values)), ",".join(str(v * v) for v in values)]
        text += ":".join([*channels, "walk" if i < count // 2 else "run"]) + "\n"
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, lengths in (("Equal", (4,)), ("Unequal", (4, 6))):
        (tmp_path / f"{name}_TRAIN.ts").write_text(lines(10, lengths))
        (tmp_path / f"{name}_TEST.ts").write_text(lines(3, lengths))
    return tmp_path


def test_a_file_is_read(folder: Path) -> None:
    sequences, labels, classes = read_ts(folder / "Unequal_TRAIN.ts")
    assert [tuple(x.shape) for x in sequences] == [(2, 4), (2, 6)] * 5
    assert torch.allclose(sequences[3][0], torch.tensor([3.0, 3.1, 3.2, 3.3, 3.4, 3.5]))
    assert torch.allclose(sequences[3][1], sequences[3][0].square())
    assert labels.tolist() == [0] * 5 + [1] * 5
    assert classes == ("walk", "run")


def test_every_fifth_is_to_validate_and_the_test_file_to_test(folder: Path) -> None:
    data = TimeSeries("Equal", folder)
    data.setup("fit")
    assert data.num_classes == 2
    assert data.parts["train"][0].shape == (8, 2, 4)
    for part, first in (("train", [0, 1, 2, 3, 5, 6, 7, 8]), ("val", [4, 9]), ("test", [0, 1, 2])):
        x, labels = data.parts[part]
        assert x[:, 0, 0].tolist() == first
        assert len(labels) == len(first)
    assert data.parts["val"][1].tolist() == [0, 1]


def test_series_of_different_lengths_come_padded_with_them(folder: Path) -> None:
    x, lengths, _ = TimeSeries("Unequal", folder).parts["test"]
    assert x.shape == (3, 2, 6)
    assert lengths.tolist() == [4, 6, 4]
    assert not x[0, :, 4:].any()


def test_covariances_are_of_each_series(folder: Path) -> None:
    cov, _ = TimeSeries("Unequal", folder, "covariances", shrinkage=0.1).parts["test"]
    assert torch.equal(cov, covariances(read_ts(folder / "Unequal_TEST.ts")[0], 0.1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@timeStamps false", "@timeStamps true", r"_TRAIN\.ts:3: expected values without time stamps"),
        ("@classLabel true walk run", "", "expected a line '@classLabel true"),
        ("walk\n", "fly\n", r"_TRAIN\.ts:6: expected .* one of the classes \('walk', 'run'\), but got '0\.0,0\.1"),
        ("1.1,", "?,", r"_TRAIN\.ts:7: expected channels of equally many numbers"),
        ("1.1,", "", r"_TRAIN\.ts:7: expected channels of equally many numbers"),
        ("2.0,2.1", "2.0,2.1,2.2,2.3:2.0,2.1", r"_TRAIN\.ts:8: expected 2 channels, but got 3"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "Equal_TRAIN.ts"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        TimeSeries("Equal", folder).setup("fit")


def test_a_missing_file_or_package_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"None_TRAIN\.ts: no such file; .*timeseriesclassification\.com"):
        TimeSeries("None", folder).setup("fit")
    monkeypatch.setattr("isometry.trainers.data.installed.find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match="package sktime or aeon, which is not installed: pip install sktime"):
        TimeSeries("BasicMotions").setup("fit")


CLASSES = {"BasicMotions": ["standing", "running", "walking", "badminton"], "JapaneseVowels": list("123456789")}


@pytest.mark.peers
@pytest.mark.parametrize(("name", "sizes"), [("BasicMotions", [32, 8, 40]), ("JapaneseVowels", [216, 54, 370])])
def test_packaged_sets_are_what_sktime_reads(name: str, sizes: list[int]) -> None:
    from sktime.datasets import load_basic_motions, load_japanese_vowels

    data = TimeSeries(name)
    assert [len(part[-1]) for part in data.parts.values()] == sizes
    load = {"BasicMotions": load_basic_motions, "JapaneseVowels": load_japanese_vowels}[name]
    x, y = load(split="test", return_X_y=True, return_type="nested_univ")
    assert len(x) == sizes[2]
    labels = data.parts["test"][-1]
    assert labels.tolist() == [CLASSES[name].index(label) for label in y]
    for ours, (_, row) in zip(data.parts["test"][0], x.iterrows(), strict=True):
        theirs = torch.tensor([series.tolist() for series in row])
        assert torch.allclose(ours[:, : theirs.shape[1]], theirs)
