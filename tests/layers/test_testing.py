"""The layers' suite itself: it passes a sound layer and catches faulty ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Sphere, register_manifold

SPHERE = Sphere(2)


class Sound(nn.Module):
    """The geodesic step ``exp_x(scale log_x(weight))``."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.weight = nn.Parameter(SPHERE.random(3))
        register_manifold(self, "weight", SPHERE)

    def forward(self, x: Tensor) -> Tensor:
        return SPHERE.expmap(x, self.scale * SPHERE.logmap(x, self.weight))


class Mixing(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(1, 0))


class OffManifold(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * (self.weight - x)


class Detached(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * super().forward(x).detach()


class NaNWhereEqual(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * (x - x.mean(0)).norm(dim=-1, keepdim=True).sqrt()


class Branching(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.detach().sum()) > -100 else x


class Cancelling(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x + 1e4) - 1e4)


class FixedFormat(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class Unpicklable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.function = lambda x: x


class HiddenState(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.shift = [0.0]

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x) + self.shift[0]
        self.shift[0] += 1.0 if self.training else 0.0
        return y


class UnnamedRepr(Sound):
    def __repr__(self) -> str:
        return object.__repr__(self)


def suite_of(layer: Callable[[], nn.Module]) -> LayerSuite:
    case = LayerCase(layer, lambda n: SPHERE.random(n, 3), out_shape=(3,), manifold_in=SPHERE, manifold_out=SPHERE)
    return type("Suite", (LayerSuite,), {"cases": (case,)})()


SHAPE = "test_output_has_its_shape_and_format_and_is_on_the_manifold"
F64 = {"dtype": torch.float64}
TESTS = {name: F64 if name == SHAPE else {} for name in dir(LayerSuite) if name.startswith("test_")}


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_layer_passes(test: str) -> None:
    suite = suite_of(Sound)
    getattr(suite, test)(suite.cases[0], **TESTS[test])


@pytest.mark.parametrize(
    ("layer", "test"),
    [
        (Mixing, "test_a_batch_is_a_loop_over_samples"),
        (OffManifold, SHAPE),
        (FixedFormat, SHAPE),
        (Detached, "test_derivatives_are_those_of_finite_differences"),
        (NaNWhereEqual, "test_derivatives_are_finite_where_points_coincide"),
        (Branching, "test_compiles_as_one_graph"),
        (Cancelling, "test_float32_is_float64_rounded"),
        (Unpicklable, "test_copies_compute_the_same"),
        (HiddenState, "test_a_saved_state_restores_the_layer"),
        (UnnamedRepr, "test_repr_names_the_layer"),
    ],
)
def test_a_fault_is_found(layer: type[nn.Module], test: str) -> None:
    suite: Any = suite_of(layer)
    with pytest.raises(Exception):  # noqa: B017, PT011
        getattr(suite, test)(suite.cases[0], **TESTS[test])


def test_a_suite_without_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one LayerCase"):
        type("Suite", (LayerSuite,), {})
