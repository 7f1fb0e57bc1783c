import pytest
import torch

from isometry.manifolds import OffManifoldError
from isometry.trainers.callbacks import ManifoldMonitor
from tests.trainers.callbacks.toy import StatefulLoader, Toy, trainer


def test_the_worst_residual_is_logged(tmp_path):
    run = trainer(tmp_path, ManifoldMonitor())
    run.fit(Toy(), StatefulLoader(), [torch.arange(4)])
    assert run.callback_metrics.keys() == {"residual/points"}
    assert 0 <= run.callback_metrics["residual/points"] < 1e-6


@pytest.mark.parametrize(("value", "found"), [(1.5, r"points has residual 5\.0e-01"), (float("nan"), "residual nan")])
def test_a_parameter_off_its_manifold_is_named(tmp_path, value, found):
    class Leaves(Toy):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.points.data[3] *= value

    with pytest.raises(OffManifoldError, match=found):
        trainer(tmp_path, ManifoldMonitor()).fit(Leaves(), StatefulLoader())


def test_validation_alone_checks_too(tmp_path):
    toy = Toy()
    toy.points.data *= 2
    with pytest.raises(OffManifoldError, match="points has residual"):
        trainer(tmp_path, ManifoldMonitor()).validate(toy, [torch.arange(4)])
