"""The command line on the shipped config of a force field, with made-up frames in an extended XYZ file."""

import sys
from pathlib import Path

import ase.io
import pytest
import torch
import yaml

from isometry.trainers.cli import main
from tests.trainers.test_cli import CONFIGS, QUIET
from tests.trainers.test_force_field import frames


def arguments(folder: Path, epochs: int) -> list[str]:
    """Return arguments for the shipped config on a few frames, with all output in ``folder``."""
    folder.mkdir(exist_ok=True)
    ase.io.write(folder / "train.xyz", frames(8))
    ase.io.write(folder / "test.xyz", frames(2, seed=1))
    shipped = yaml.safe_load((CONFIGS / "force_field.yaml").read_text())
    checkpoint, *callbacks = shipped["trainer"]["callbacks"]
    checkpoint["init_args"]["dirpath"] = str(folder)
    trainer = {**QUIET, "max_epochs": epochs, "default_root_dir": str(folder), "callbacks": [checkpoint, *callbacks]}
    data = {"train": str(folder / "train.xyz"), "test": str(folder / "test.xyz"), "val_size": 2}
    (folder / "small.yaml").write_text(yaml.safe_dump({"trainer": trainer, "data": {"init_args": data}}))
    return [f"--config={CONFIGS / 'force_field.yaml'}", f"--config={folder / 'small.yaml'}"]


def test_the_shipped_config_fits_goes_on_and_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["isometry"])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    main(["fit", *arguments(whole, epochs=2)])
    main(["fit", *arguments(parts, epochs=1)])
    main(["fit", *arguments(parts, epochs=2), "--ckpt_path=last"])
    first, second = (torch.load(path / "last.ckpt", weights_only=True) for path in (whole, parts))
    assert first["global_step"] == second["global_step"] == 4
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    capsys.readouterr()
    main(["test", *arguments(whole, epochs=2), f"--ckpt_path={whole / 'last.ckpt'}"])
    assert "test/forces_rmse" in capsys.readouterr().out
