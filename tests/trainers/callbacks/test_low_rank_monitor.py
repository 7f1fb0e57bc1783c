import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from isometry.manifolds.low_rank import named_low_rank
from isometry.trainers.callbacks import LowRankMonitor
from tests.trainers.callbacks.test_poincare_disk import TensorBoard, WeightsAndBiases
from tests.trainers.callbacks.toy import StatefulLoader, Toy, trainer
from tests.trainers.low_rank_toy import AUGMENTED, PARALLEL, Blobs, task


def fit(folder: Path, module: Any, *, epochs: int = 3, patience: int = 5, **options: Any) -> tuple[Any, list[str]]:
    """The trainer with its monitor, and the monitor's warnings."""
    monitor = LowRankMonitor(patience)
    run = trainer(folder, monitor, max_epochs=epochs, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(module, Blobs())
    return run, [str(w.message) for w in caught if str(w.message).startswith("LowRankMonitor")]


def test_ranks_parameters_and_spectra_are_logged(tmp_path: Path) -> None:
    module = task()
    run, _ = fit(tmp_path, module)
    monitor, name = run.callbacks[0], "model.body.factors"
    tensor = named_low_rank(module)[name]
    r, logged = tensor.ranks[0], run.callback_metrics
    assert r < 6
    assert [float(logged[f"rank/{name}/{k}"]) for k in range(2)] == [r, r]
    assert float(logged[f"parameters/{name}"]) == r * (12 + 16 + r)
    assert float(logged["parameters/all"]) == r * (28 + r) + 16 + 16 * 3 + 3 + 3
    s = torch.linalg.svdvals(tensor.manifold.to_dense(tensor.point()))[:r]
    assert float(logged[f"condition/{name}"]) == pytest.approx(float(s[0] / s[-1]), rel=1e-5)
    assert len(monitor.history) == 3
    assert monitor.history[-1][name]["spectra"] == [pytest.approx(s.tolist(), rel=1e-5)]


def test_the_picture_goes_to_folder_and_loggers(tmp_path: Path) -> None:
    board, wandb = TensorBoard(), WeightsAndBiases()
    fit(tmp_path, task(), epochs=1, logger=[board, wandb])
    assert [name for name, _, _ in board.figures] == ["low_rank"]
    assert len(board.figures[0][1].axes) == 3
    ((key, (path,), _),) = wandb.images
    assert key == "low_rank"
    assert Path(path).is_file()


def test_a_collapse_is_warned_of_once(tmp_path: Path) -> None:
    module = task(**{**PARALLEL, "lr": 0.01})
    tensor = named_low_rank(module)["model.body.factors"]
    x = tensor.point()
    tensor.write(x._replace(S=torch.diag(4.0 ** -torch.arange(6, dtype=torch.float64))))
    _, messages = fit(tmp_path, module)
    assert len(messages) == 1
    assert "cut model.body.factors from ranks (6, 6) to ranks"[:-6] in messages[0]
    assert "do not come back" in messages[0]


@pytest.mark.parametrize("options", [PARALLEL, AUGMENTED], ids=["parallel", "augmented"])
def test_gradual_changes_are_no_collapse(tmp_path: Path, options: Any) -> None:
    assert fit(tmp_path, task(**options))[1] == []


@pytest.mark.parametrize(("epochs", "patience"), [(4, 2), (2, 5)])
def test_a_run_that_never_adapts_is_warned_of_once(tmp_path: Path, epochs: int, patience: int) -> None:
    module = task(integrator="parallel_bug", tol=1e-12, lr=1e-3, max_rank=6)
    _, messages = fit(tmp_path, module, epochs=epochs, patience=patience)
    assert len(messages) == 1
    assert f"no rank has changed in {min(epochs, patience)} epochs" in messages[0]


def test_fixed_ranks_are_as_asked(tmp_path: Path) -> None:
    assert fit(tmp_path, task(integrator="rgd", lr=0.05))[1] == []


def test_history_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    run, _ = fit(tmp_path, task())
    other = LowRankMonitor()
    torch.save(run.callbacks[0].state_dict(), tmp_path / "state")
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert other.history == run.callbacks[0].history


def test_a_vanishing_core_has_no_condition(tmp_path: Path) -> None:
    module = task(integrator="rgd", lr=0.0)
    tensor = named_low_rank(module)["model.body.factors"]
    tensor.write(tensor.point()._replace(S=torch.zeros(6, 6, dtype=torch.float64)))
    run, _ = fit(tmp_path, module, epochs=1)
    assert math.isinf(run.callback_metrics["condition/model.body.factors"])


def test_modules_without_low_rank_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a module with low-rank tensors"):
        trainer(tmp_path, LowRankMonitor()).fit(Toy(), StatefulLoader())
