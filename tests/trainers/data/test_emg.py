from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import EMG

GESTURES = ("rest", "rock", "paper", "scissors", "ok")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two persons, two sessions, six repetitions of five gestures, each 27 times long: numbered from 0 in channel 0."""
    rows, time = ["time,c0,c1,c2,c3,c4,c5,c6,c7,label,exp"], 0
    for session in ("mg_s1", "mg_s2", "rr_s1", "rr_s2"):
        for _ in range(6):
            for gesture in GESTURES:
                for _ in range(27):
                    rows.append(
                        f"{4 * time},{time},{','.join(str(time * k % 251) for k in range(1, 8))},{gesture},{session}"
                    )
                    time += 1
    (tmp_path / "emg.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "emg.csv"


def test_windows_lie_within_gestures_and_sessions_make_the_parts(path: Path) -> None:
    data = EMG(path, window=5, margin=3)
    seen = {}
    for part, (x, labels) in data.parts.items():
        assert x.shape[1:] == (8, 5)
        seen[part] = first = x[:, 0, 0].long()
        assert torch.equal(x[:, 0], first.unsqueeze(1) + torch.arange(5.0))
        assert torch.equal(labels, first // 27 % 5)
        assert set((first % 27).tolist()) == {3, 8, 13, 18}  # the next one, 23, would end 2 before the change
        assert len(first.unique()) == len(first)
    session, repetition = (
        {part: set((first // size % n).tolist()) for part, first in seen.items()}
        for size, n in ((27 * 30, 4), (27 * 5, 6))
    )
    assert session == {"train": {0, 2}, "val": {0, 2}, "test": {1, 3}}
    assert repetition == {"train": set(range(5)), "val": {5}, "test": set(range(6))}
    assert [len(first) for first in seen.values()] == [2 * 5 * 5 * 4, 2 * 5 * 4, 2 * 6 * 5 * 4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("time,c0", "t,c0", r"emg\.csv:1: expected the header time,c0,.*, but got 't,c0"),
        ("rest,mg_s1", "wave,mg_s1", r"expected the gestures .* but got \['wave'\]"),
        ("\n4,1,", "\n4,one,", "expected nine numbers, a gesture and a session a line: .*one"),
    ],
)
def test_a_malformed_table_is_told(path: Path, old: str, new: str, message: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        EMG(path, window=5, margin=3).setup("fit")


def test_bad_arguments_and_a_missing_package_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected window >= 2 and margin >= 0, but got 1 and 0"):
        EMG(window=1, margin=0)
    with pytest.raises(FileNotFoundError, match=r"no\.csv: no such file; expected a table with the header time,c0"):
        EMG(tmp_path / "no.csv").setup("fit")
    monkeypatch.setattr("isometry.trainers.data.installed.find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match="package geomstats, which is not installed: pip install geomstats"):
        EMG().setup("fit")


@pytest.mark.peers
def test_it_is_the_data_of_geomstats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    from geomstats.datasets.utils import load_emg

    table = load_emg()
    channels = torch.tensor(table[[f"c{i}" for i in range(8)]].to_numpy())
    x, labels = EMG().parts["test"]
    begin = int(np.flatnonzero(table["exp"] == "mg_s2")[0]) + 1000
    assert torch.equal(x[0].long(), channels[begin : begin + 100].mT)
    assert (table["label"][begin], int(labels[0])) == ("rest", 0)
    assert [len(part[1]) for part in EMG().parts.values()] == [2020, 408, 2436]
