"""What a network does that a layer need not."""

import copy
from typing import Any

import pytest
import torch
from torch.autograd import grad
from torch.nn.functional import cross_entropy

from isometry.layers.testing import LayerCase
from isometry.layers.testing.suite import assert_close, differentiable, weighted
from isometry.manifolds import named_manifolds
from isometry.manifolds.testing import assert_on_manifold
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD


class ModelTests:
    """Tests of classifiers, to be mixed into a ``LayerSuite``, whose cases they share."""

    @pytest.mark.parametrize(
        ("optimizer", "options"), [(RiemannianAdam, {"lr": 0.05}), (RiemannianSGD, {"lr": 0.1, "momentum": 0.9})]
    )
    def test_it_learns_eight_samples_by_heart_and_stays_on_its_manifolds(
        self, case: LayerCase, optimizer: Any, options: dict[str, float]
    ) -> None:
        model = case.layer(torch.float32).train()
        inputs = case.inputs(8, torch.float32)
        labels = torch.arange(8) % case.out_shape[0]
        steps = optimizer(model, **options)
        for _ in range(100):
            steps.zero_grad()
            loss = cross_entropy(model(*inputs), labels)
            loss.backward()
            steps.step()
            if loss < 0.1:
                break
        assert loss < 0.1
        assert (model(*inputs).argmax(-1) == labels).all()
        for name, manifold in named_manifolds(model).items():
            assert_on_manifold(manifold, model.get_parameter(name).detach(), atol=1e-5)

    def test_float32_is_float64_rounded(self, case: LayerCase) -> None:
        """Values, and gradients relative to the largest of all, as that of a shift before a centring is 0."""
        single = case.layer(torch.float32)
        results = []
        for model, dtype in ((single, torch.float32), (copy.deepcopy(single).double(), torch.float64)):
            function, values = differentiable(case, model, case.inputs(4, torch.float32), dtype)
            output = function(*values)
            results.append([output, torch.cat([g.flatten() for g in grad(weighted(output), values)])])
        for narrow, wide in zip(*results, strict=True):
            assert_close(narrow.double(), wide, case.bound(torch.float32), "float32 - float64")
