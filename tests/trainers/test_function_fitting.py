"""FunctionFitting: grids and points are fitted, PSNR is that of the values, resuming changes nothing."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from isometry.models import SIREN, FunctionalTucker
from isometry.trainers import FunctionFitting
from isometry.trainers.data import GridDataModule
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import trainer


class Waves(GridDataModule):
    """``(1 + sin(3 x) cos(2 y))/2`` on 20 x 30 points."""

    def __init__(self, points: int | None = None) -> None:
        super().__init__(points, batches=20, seed=0)

    def read(self) -> Tensor:
        x, y = torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 30)
        return ((1 + torch.outer((3 * x).sin(), (2 * y).cos())) / 2).unsqueeze(-1)


def task(model: nn.Module) -> FunctionFitting:
    return FunctionFitting(model, partial(RiemannianAdam, lr=1e-2))


@pytest.mark.parametrize(
    ("build", "points"),
    [
        (lambda: FunctionalTucker([3, 3], width=16, depth=1, omega=5.0), None),
        (lambda: SIREN(2, 1, 24, 2, omega=5.0), 100),
    ],
)
def test_it_fits(tmp_path: Path, build: type[nn.Module], points: int | None) -> None:
    torch.manual_seed(0)
    run, data, fitted = trainer(tmp_path, max_epochs=8, limit_val_batches=0), Waves(points), task(build())
    run.fit(fitted, data)
    (tested,) = run.test(fitted, data, verbose=False)
    ((axes, values),) = data.val_dataloader()
    psnr = -10 * (fitted.model.on_grid(axes) - values).square().mean().log10()
    assert tested["test/psnr"] == pytest.approx(psnr.item(), rel=1e-5)
    assert psnr > 30 > -10 * (values - values.mean()).square().mean().log10() + 10
    assert run.callback_metrics["test/psnr"] == tested["test/psnr"]


def test_a_run_that_is_taken_up_ends_where_it_would(tmp_path: Path) -> None:
    ends = []
    for stops in ([4], [2, 4]):
        fitted, path = task(SIREN(2, 1, 8, 1, omega=5.0)), None
        torch.manual_seed(0)
        for parameter in fitted.parameters():
            nn.init.normal_(parameter)
        for stop in stops:
            run = trainer(tmp_path, max_epochs=stop, limit_val_batches=0)
            run.fit(fitted, Waves(50), ckpt_path=path, weights_only=False)
            path = str(tmp_path / "place.ckpt")
            run.save_checkpoint(path)
            fitted = task(SIREN(2, 1, 8, 1, omega=5.0)) if stop != stops[-1] else fitted
        ends.append(torch.cat([p.detach().flatten() for p in fitted.parameters()]))
    assert torch.equal(*ends)


def test_a_model_of_other_components_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected values \[20, 30, 1\].*\[20, 30, 2\]; build it for 2 coordinates"):
        trainer(tmp_path, max_epochs=1).fit(task(FunctionalTucker([2, 2], 2)), Waves())
