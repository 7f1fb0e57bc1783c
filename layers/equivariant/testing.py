"""The test kit of equivariant functions and layers, for this library's and for a user's own.

An action says how a rotation or reflection ``R`` moves a tensor. ``assert_equivariant`` holds a function to
``f(R x) = R f(x)``; ``EquivariantTests``, mixed into the layers' suite, hold a layer to that and more::

    from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
    from isometry.layers.testing import LayerSuite

    class TestMyLayer(EquivariantTests, LayerSuite):
        cases = (
            EquivariantCase(
                lambda: MyLayer(lmax=2), lambda n: torch.randn(n, 9, 4), (9, 4),
                actions_in=(spherical(2),), action_out=spherical(2),
            ),
        )
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from e3nn import o3
from torch import Tensor
from torch.autograd import grad

from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.testing import LayerCase
from isometry.layers.testing.case import float64_by_default
from isometry.layers.testing.suite import assert_close, differentiable, evaluate, weighted

__all__ = [
    "EquivariantCase",
    "EquivariantTests",
    "assert_equivariant",
    "assert_roll_invariant",
    "invariant",
    "irreps",
    "matrices",
    "random_rotations",
    "spherical",
    "vectors",
]

Action = Callable[[Tensor, Tensor], Tensor]
Group = Literal["O(3)", "SO(3)"]


def invariant(x: Tensor, rotation: Tensor) -> Tensor:
    """Return ``x``: what no rotation moves, such as scalars, indices and batches."""
    return x


def vectors(x: Tensor, rotation: Tensor) -> Tensor:
    """Return the polar vectors ``x [..., 3]`` moved, ``R x``."""
    return x @ rotation.T


def matrices(x: Tensor, rotation: Tensor) -> Tensor:
    """Return the tensors ``x [..., 3, 3]`` of rank 2 moved, ``R x R^T``."""
    return rotation @ x @ rotation.T


def irreps(name: str | o3.Irreps) -> Action:
    """Return the action on features in e3nn's flat order, ``x [..., dim]``."""
    return lambda x, rotation: x @ _representation(name, rotation).T


def spherical(lmax: int, pseudo: bool = False) -> Action:
    """Return the action on dense features ``x [..., (lmax + 1)^2, channels]``, of natural parity or of the opposite."""
    return lambda x, rotation: _representation(SphericalLayout(lmax).irreps(1, pseudo), rotation) @ x


def _representation(name: str | o3.Irreps, rotation: Tensor) -> Tensor:
    """Return e3nn's matrix in float64; e3nn computes in the default format."""
    with torch.random.fork_rng(devices=[]), float64_by_default():
        return o3.Irreps(name).D_from_matrix(rotation)


def random_rotations(group: Group, count: int = 3) -> list[Tensor]:
    """Return random elements of the group in float64; of O(3), the inversion and reflections are among them."""
    with torch.random.fork_rng(devices=[]), float64_by_default():
        rotations = list(o3.rand_matrix(count))
    if group == "SO(3)":
        return rotations
    return [*rotations, -torch.eye(3, dtype=torch.float64), *(-r for r in rotations)]


def assert_equivariant(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    actions_in: Sequence[Action],
    action_out: Action,
    group: Group = "O(3)",
    atol: float = 1e-10,
) -> None:
    """Raise ``AssertionError`` unless ``f(R x) = R f(x)`` for random elements R of the group.

    Args:
        function: Maps the inputs to a tensor, the same each time.
        inputs: Tensors in float64, or of integers.
        actions_in: How R moves each input: ``invariant``, ``vectors``, ``matrices``, ``irreps(...)``,
            ``spherical(lmax)`` or a function of the tensor and R.
        action_out: How R moves the output.
        group: ``"SO(3)"`` for rotations, ``"O(3)"`` for reflections, too.
        atol: The largest error allowed, relative to the largest entry of the output.
    """
    output = function(*inputs)
    for rotation in random_rotations(group):
        moved = function(*(act(x, rotation) for act, x in zip(actions_in, inputs, strict=True)))
        kind = "a rotation" if torch.det(rotation) > 0 else "a reflection"
        assert_close(moved, action_out(output, rotation), atol, f"f(R x) - R f(x) for {kind} R")


def assert_roll_invariant(function: Callable[[Tensor], Tensor], edges: int, atol: float = 1e-10) -> None:
    """Raise ``AssertionError`` unless the output is the same however the edges' frames are turned about the edges.

    Args:
        function: Maps ``roll``, an angle in float64 for each edge, to a tensor.
        edges: Number of edges.
        atol: The largest error allowed, relative to the largest entry of the output.
    """
    output = function(torch.zeros(edges, dtype=torch.float64))
    for seed in range(3):
        roll = torch.rand(edges, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 * torch.pi
        assert_close(function(roll), output, atol, "f(roll) - f(0)")


@dataclass(frozen=True, kw_only=True)
class EquivariantCase(LayerCase):
    """An equivariant layer under test: a ``LayerCase``, and how rotations move its inputs and its output.

    Args:
        actions_in: The action on each input, as for ``assert_equivariant``.
        action_out: The action on the output.
        group: ``"O(3)"``, or ``"SO(3)"`` where reflections are not respected.
    """

    actions_in: Sequence[Action]
    action_out: Action
    group: Group = "O(3)"


class EquivariantTests:
    """What equivariant layers owe beyond other layers: tests to be mixed into a ``LayerSuite``, whose cases they share.

    The cases are of the class ``EquivariantCase``.
    """

    def test_it_commutes_with_rotations(self, case: EquivariantCase) -> None:
        """And with reflections, where the group is O(3)."""
        layer = case.layer().eval()
        assert_equivariant(
            lambda *inputs: evaluate(layer, inputs), case.inputs(), case.actions_in, case.action_out, case.group
        )

    def test_no_samples_give_no_output(self, case: EquivariantCase) -> None:
        """And no gradient."""
        layer = case.layer()
        output = evaluate(layer, case.inputs(0))
        assert output.shape == (0, *case.out_shape)
        parameters = list(layer.parameters())
        if parameters:
            assert all(g.abs().sum() == 0 for g in grad(output.sum(), parameters, materialize_grads=True))

    def test_the_default_format_plays_no_part(self, case: EquivariantCase, dtype: torch.dtype) -> None:
        """Built under one and moved to another format, a layer computes what it does if built in that."""
        outputs = []
        state = case.layer().state_dict()
        for default in (torch.float64, torch.float32):
            with float64_by_default():
                torch.set_default_dtype(default)
                layer = case.make_layer().to(dtype)
                layer.load_state_dict(state)
                outputs.append(evaluate(layer, case.inputs(4, dtype)))
        assert torch.equal(*outputs), f"{case}: the output depends on the default format"

    def test_derivatives_are_finite_at_zero(self, case: EquivariantCase) -> None:
        """First and second ones, where all floating-point inputs are 0."""
        inputs = [torch.zeros_like(x) for x in case.inputs()]
        function, values = differentiable(case, case.layer(), inputs)
        first = grad(weighted(function(*values)), values, create_graph=True, materialize_grads=True)
        total = torch.stack([weighted(d) + 0 * v.sum() for d, v in zip(first, values, strict=True)]).sum()
        for derivative in (*first, *grad(total, values, materialize_grads=True)):
            assert derivative.isfinite().all(), f"{case}: a derivative is not finite at 0"
