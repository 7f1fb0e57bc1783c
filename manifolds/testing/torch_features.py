"""What torch does to a manifold: vmap, forward mode, compilation, copies, formats."""

import contextlib
import copy
import importlib
import json
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from isometry.manifolds.base import Manifold
from isometry.manifolds.euclidean import Euclidean
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.collection import GeneratedTests, where
from isometry.manifolds.testing.derivatives import arguments, on_the_manifold
from isometry.manifolds.testing.operations import NOT_SMOOTH, OPERATIONS


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    """Raise ``AssertionError`` unless the tensors agree, with their formats."""
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def resized(manifold: Manifold) -> Manifold | None:
    """Return the same geometry in the next dimension in which it exists (a matrix has few); None if in no other."""
    for dim in range(manifold.dim + 1, 4 * manifold.dim + 8):
        try:
            return manifold.with_dim(dim)
        except ValueError:
            continue
    return None


def another(manifold: Manifold) -> Manifold:
    """Return a manifold that differs from the given one as little as can be."""
    return resized(manifold) or Euclidean(manifold.dim + 1)


class TorchTests(GeneratedTests):
    """Transformations and conversions."""

    def test_vmap_is_the_batch(self, case: Case, operation: str) -> None:
        m, inputs = case.manifold, arguments(case, count=3)
        batched = OPERATIONS[operation](m, *inputs)
        close(vmap(lambda *z: OPERATIONS[operation](m, *z))(*inputs), batched, case.bound(torch.float64))

    def test_forward_mode_is_reverse_mode(self, case: Case, operation: str) -> None:
        m, inputs = case.manifold, [z[0] for z in arguments(case)]
        forward, reverse = (
            jac(lambda *z: OPERATIONS[operation](m, *z), argnums=(0, 1, 2, 3))(*inputs) for jac in (jacfwd, jacrev)
        )
        for a, b in zip(forward, reverse, strict=True):
            close(a, b, case.bound(torch.float64))

    def test_forward_mode_nests(self, case: Case, operation: str) -> None:
        inputs = torch.stack([z[0] for z in arguments(case)])
        direction, start = torch.linspace(-1, 1, inputs.numel(), dtype=inputs.dtype).sin(), inputs.new_zeros(())
        direction = 0.1 * direction.view_as(inputs)

        def along(t: Tensor) -> Tensor:
            return OPERATIONS[operation](case.manifold, *(inputs + t * direction)).sum()

        def slope(t: Tensor) -> Tensor:
            return jvp(along, (t,), (torch.ones_like(t),))[1]

        twice = jvp(slope, (start,), (torch.ones_like(start),))[1]
        close(twice, grad(grad(along))(start), case.bound(torch.float64))

    def test_hessians_are_finite_and_symmetric(self, case: Case, operation: str) -> None:
        for coincident in {False, operation not in NOT_SMOOTH}:
            inputs = torch.stack([z[0] for z in arguments(case, coincident=coincident)])
            second = hessian(lambda z: OPERATIONS[operation](case.manifold, *z).sum())(inputs)
            matrix = second.reshape(inputs.numel(), inputs.numel())
            close(matrix, matrix.mT, case.bound(torch.float64))

    def test_compiles_as_one_graph(self, case: Case) -> None:
        m = case.manifold

        def everything(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> list[Tensor]:
            return [operation(m, x, y, u, v) for operation in OPERATIONS.values()]

        compiled = torch.compile(everything, backend="aot_eager", fullgraph=True)
        results = []
        for f in (everything, compiled):
            inputs = [z.float().requires_grad_() for z in arguments(case)]
            values = f(*inputs)
            gradients = torch.autograd.grad(torch.stack([value.sum() for value in values]).sum(), inputs)
            results.append([*values, *gradients])
        for eager, fast in zip(*results, strict=True):
            close(fast, eager, case.bound(torch.float32))

    def test_inductor_compiles_the_distance(self, case: Case) -> None:
        compiled = torch.compile(case.manifold.dist, fullgraph=True)
        x, y = case.pair(torch.float32)
        close(compiled(x, y), case.manifold.dist(x, y), case.bound(torch.float32))

    def test_autocast_changes_nothing(self, case: Case, operation: str) -> None:
        inputs = [z.float() for z in arguments(case)]
        expected = OPERATIONS[operation](case.manifold, *inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(OPERATIONS[operation](case.manifold, *inputs), expected)

    def test_half_precision_inputs_are_computed_in_full(self, case: Case, operation: str) -> None:
        """Rounded points are off the manifold by eps, so the exact result is defined up to a few eps."""
        m, inputs = case.manifold, [z.bfloat16() for z in arguments(case)]
        exact = on_the_manifold(m, operation, *(z.double() for z in inputs))
        close(OPERATIONS[operation](m, *inputs), exact.bfloat16(), 8 * torch.finfo(torch.bfloat16).eps)

    def test_copies_compute_the_same(self, case: Case) -> None:
        m, inputs = case.manifold, arguments(case)
        for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m)), copy.deepcopy(m).to(torch.float64)):
            assert other.spec == m.spec
            for operation in OPERATIONS.values():
                close(operation(other, *inputs), operation(m, *inputs), case.bound(torch.float64))

    def test_equality_is_by_value_unless_parameters_are_held(self, case: Case) -> None:
        m, other = case.manifold, copy.deepcopy(case.manifold)
        assert m == m
        assert (m == other) == (not any(True for _ in m.parameters()))
        assert m != another(m)
        assert hash(m) == hash(other)

    def test_spec_is_plain_data_that_rebuilds_the_manifold(self, case: Case) -> None:
        spec = json.loads(json.dumps(case.manifold.spec))
        assert built(spec).spec == case.manifold.spec == spec

    def test_state_dict_round_trips_and_refuses_another_manifold(self, case: Case) -> None:
        m = case.manifold
        state = copy.deepcopy(m.state_dict())
        copy.deepcopy(m).load_state_dict(state)
        with pytest.raises(ValueError, match="checkpoint was written for the manifold"):
            another(m).load_state_dict(state)

    @where(lambda manifold: resized(manifold) is not None)
    def test_with_dim_keeps_the_geometry(self, case: Case) -> None:
        m, other = case.manifold, another(case.manifold)
        assert other.dim > m.dim
        assert type(other) is type(m)
        assert m.with_dim(m.dim).spec == m.spec
        assert [id(p) for p in other.parameters()] == [id(p) for p in m.parameters()]

    def test_with_dim_has_the_dimension_asked_for_or_refuses(self, case: Case) -> None:
        for dim in range(case.manifold.dim, 4 * case.manifold.dim):
            with contextlib.suppress(ValueError):
                assert case.manifold.with_dim(dim).dim == dim


def built(spec: Any) -> Any:
    """Return what a spec describes, nested specs first."""
    if isinstance(spec, list):
        return [built(s) for s in spec]
    if not isinstance(spec, dict):
        return spec
    module, _, name = spec["class_path"].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    return cls(**{key: built(value) for key, value in spec["init_args"].items()})
