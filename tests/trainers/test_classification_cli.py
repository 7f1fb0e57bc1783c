"""The command line on the shipped configs of classifiers, with generated data in the formats of the real ones."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from isometry.trainers.cli import main
from tests.trainers.test_cli import CONFIGS, QUIET


@pytest.fixture(autouse=True)
def _no_other_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["isometry"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    x = generator.normal(size=(24, 93, 200))
    subjects = np.repeat(["bd", "bk", "dg", "mm"], 6)
    np.savez(folder / "cov93.npz", cov=x @ x.transpose(0, 2, 1) / 200, y=np.arange(24) % 11, subject=subjects)
    np.savez(folder / "U001.npz", x=generator.normal(size=(500, 8, 125)), y=np.arange(500) % 5)
    return folder


def arguments(name: str, folder: Path, output: Path, epochs: int) -> list[str]:
    """Return arguments for a shipped config on a few samples, with all output in ``output``."""
    shipped = yaml.safe_load((CONFIGS / name).read_text())
    checkpoint, *callbacks = shipped["trainer"]["callbacks"]
    checkpoint["init_args"] = {"dirpath": str(output), "save_last": True, "every_n_epochs": 1}
    batches = {f"limit_{part}_batches": 2 for part in ("train", "val", "test")}
    trainer = {**QUIET, **batches, "max_epochs": epochs, "default_root_dir": str(output)}
    output.mkdir(exist_ok=True)
    small = output / "small.yaml"
    data = {"init_args": {"folder": str(folder), "batch_size": 6}}
    small.write_text(yaml.safe_dump({"trainer": {**trainer, "callbacks": [checkpoint, *callbacks]}, "data": data}))
    return [f"--config={CONFIGS / name}", f"--config={small}"]


@pytest.mark.parametrize("name", ["hdm05.yaml", "mamem.yaml"])
def test_shipped_configs_fit_go_on_and_test(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    main(["fit", *arguments(name, folder, whole, epochs=2)])
    main(["fit", *arguments(name, folder, parts, epochs=1)])
    main(["fit", *arguments(name, folder, parts, epochs=2), "--ckpt_path=last"])
    first, second = (torch.load(path / "last.ckpt", weights_only=True) for path in (whole, parts))
    assert first["global_step"] == second["global_step"] == 4
    for key, value in first["state_dict"].items():
        other = second["state_dict"][key]
        assert value == other if isinstance(value, dict) else torch.equal(value, other), key
    capsys.readouterr()
    main(["test", *arguments(name, folder, whole, epochs=2), f"--ckpt_path={whole / 'last.ckpt'}"])
    assert "test/balanced_accuracy" in capsys.readouterr().out


def test_missing_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"cov93\.npz: no such file; expected a numpy archive of cov \[n, 93, 93\]"
    ):
        main(["fit", *arguments("hdm05.yaml", tmp_path, tmp_path, epochs=1)])
