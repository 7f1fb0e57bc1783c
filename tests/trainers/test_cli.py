"""The command line, run in this process on the shipped configs with tiny sizes."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from isometry.trainers.cli import main

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"
TREE = {"class_path": "isometry.trainers.data.balanced_tree", "init_args": {"branching": 2, "height": 4}}
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "check_val_every_n_epoch": 1}


@pytest.fixture(autouse=True)
def _no_other_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["isometry"])  # Lightning warns if there are two sources of arguments


def config(folder: Path, *names: str, **trainer: object) -> list[str]:
    """Return arguments for shipped configs on a tree of 31 nodes, with all output in ``folder``."""
    checkpoint = {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint"}
    checkpoint["init_args"] = {"dirpath": str(folder), "save_last": True, "every_n_epochs": 1}
    shipped = [yaml.safe_load((CONFIGS / name).read_text()) for name in names]
    callbacks = [entry["trainer"]["callbacks"] for entry in shipped if "callbacks" in entry["trainer"]][-1]
    (metric,) = shipped[0]["model"]["init_args"]["metrics"]
    overrides = {
        "trainer": {
            **QUIET,
            "max_epochs": 2,
            "default_root_dir": str(folder),
            "callbacks": [checkpoint, *callbacks[1:]],
            **trainer,
        },
        "model": {
            "init_args": {
                "model": {"init_args": {"num_nodes": 31}},
                "metrics": [{"class_path": metric["class_path"], "init_args": {"graph": TREE}}],
            }
        },
        "data": {"init_args": {"graph": TREE, "batch_size": 10, "eval_nodes": None}},
    }
    small = folder / "small.yaml"
    small.write_text(yaml.safe_dump(overrides))
    return [f"--config={path}" for path in (*(CONFIGS / name for name in names), small)]


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        (("mammals.yaml",), "map"),
        (("mammals.yaml", "mammals_disk.yaml"), "map"),
        (("mammals.yaml", "nouns.yaml"), "map"),
        (("tree.yaml",), "distortion"),
    ],
    ids="+".join,
)
def test_shipped_configs_fit_validate_and_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], metric: str
) -> None:
    arguments = config(tmp_path, *names)
    main(["fit", *arguments])
    checkpoint = tmp_path / "last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["epoch"] == 1
    capsys.readouterr()
    for command, stage in (("validate", "val"), ("test", "test")):
        main([command, *arguments, f"--ckpt_path={checkpoint}"])
        assert f"{stage}/{metric}" in capsys.readouterr().out
    assert (tmp_path / "poincare_disk.png").exists() is ("mammals_disk.yaml" in names)


def test_a_fit_that_goes_on_is_the_fit_that_was_not_interrupted(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    main(["fit", *config(whole, "mammals.yaml", max_epochs=4)])
    main(["fit", *config(parts, "mammals.yaml", max_epochs=2)])
    main(["fit", *config(parts, "mammals.yaml", max_epochs=4), "--ckpt_path=last"])
    first, second = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (whole, parts))
    assert first["global_step"] == second["global_step"] > 0
    assert torch.equal(first["state_dict"]["model.nodes.weight"], second["state_dict"]["model.nodes.weight"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    main(["fit", *config(folder, "mammals.yaml", max_epochs=1)])
    return folder / "last.ckpt"


NODES, MANIFOLD = "--model.init_args.model.init_args.num_nodes", "--model.init_args.model.init_args.manifold"


@pytest.mark.parametrize("command", ["fit", "validate"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([f"{NODES}=32"], r"the model has 32 nodes, but the data 31; build the model with num_nodes=31"),
        (
            [f"{MANIFOLD}.init_args.dim=3"],
            r"written for the manifold .*'dim': 5.* this module has .*'dim': 3.* Build the",
        ),
        ([f"{MANIFOLD}.init_args.c=2.0"], r"written for the manifold .*'c': 1\.0.* this module has .*'c': 2\.0"),
        (
            [f"{MANIFOLD}=isometry.manifolds.Euclidean", f"{MANIFOLD}.dim=5"],
            r"manifold .*PoincareBall.* has .*Euclidean",
        ),
        (
            [f"{NODES}=7", "--data.graph.init_args.height=2"],
            r"the model has 7 nodes, but the checkpoint 31; build the model with num_nodes=31",
        ),
    ],
)
def test_a_checkpoint_of_another_manifold_or_size_is_refused(
    tmp_path: Path, checkpoint: Path, command: str, other: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        main([command, *config(tmp_path, "mammals.yaml"), *other, f"--ckpt_path={checkpoint}"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([f"{MANIFOLD}.init_args.c=-1.0"], "expected a positive curvature parameter c .* but got c=-1.0"),
        ([f"{MANIFOLD}.init_args.dim=0"], "expected an intrinsic dimension >= 1, but got dim=0"),
        ([f"{NODES}=0"], "expected at least one node, but got num_nodes=0"),
        (["--data.init_args.num_negatives=0"], "expected num_negatives >= 1, but got 0"),
    ],
)
def test_bad_arguments_are_told(tmp_path: Path, other: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(["fit", *config(tmp_path, "mammals.yaml"), *other])


def test_missing_data_are_told(tmp_path: Path) -> None:
    names = ("mammals.yaml", "nouns.yaml")
    arguments = [*config(tmp_path, *names), "--data.init_args.graph=isometry.trainers.data.read_graph"]
    with pytest.raises(ValueError, match=r"missing\.npz: no such file; expected a numpy archive"):
        main(["fit", *arguments, f"--data.init_args.graph.init_args.path={tmp_path / 'missing.npz'}"])
