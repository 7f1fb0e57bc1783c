"""The tests of the layers' suite."""

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import functional_call

from isometry.layers.testing.case import LayerCase
from isometry.manifolds import named_manifolds
from isometry.manifolds.testing import assert_on_manifold, assert_small

if TYPE_CHECKING:
    import pytest


class LayerSuite:
    """Every test of the kit; subclass it as a pytest class and list the ``cases``."""

    cases: ClassVar[Sequence[LayerCase]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not getattr(cls, "cases", None):
            raise ValueError(f"{cls.__name__}: expected at least one LayerCase in `cases`.")

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """Give a test its cases, and both formats where it asks for them."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=str)
        if "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", [torch.float32, torch.float64], ids=str)

    def test_output_has_its_shape_and_format_and_is_on_the_manifold(self, case: LayerCase, dtype: torch.dtype) -> None:
        layer = case.layer(dtype)
        assert all(p.dtype == dtype for p in layer.parameters())
        for module, count in ((layer, 4), (copy.deepcopy(layer).eval(), 1)):
            output = evaluate(module, case.inputs(count, dtype))
            assert output.shape == (count, *case.out_shape)
            assert output.dtype == dtype
            assert output.isfinite().all()
            if case.manifold_out is not None:
                assert_on_manifold(case.manifold_out, output, atol=case.bound(dtype))

    def test_a_batch_is_a_loop_over_samples(self, case: LayerCase) -> None:
        """In eval mode: while it is trained, a layer may use statistics of the batch."""
        layer, inputs = case.layer().eval(), case.inputs()
        single = torch.cat([evaluate(layer, tuple(x[i : i + 1] for x in inputs)) for i in range(4)])
        assert_close(evaluate(layer, inputs), single, case.bound(torch.float64), "batch - loop")

    def test_derivatives_are_those_of_finite_differences(self, case: LayerCase) -> None:
        """In the inputs and the parameters, each moved back to its manifold; first and second derivatives."""
        function, values = differentiable(case, case.layer(), case.inputs())
        gradcheck(function, values, fast_mode=True)
        gradgradcheck(function, values, fast_mode=True)

    def test_derivatives_are_finite_where_points_coincide(self, case: LayerCase) -> None:
        """For equal samples, and at the origin, where all eigenvalues are equal and all tangent vectors are 0."""
        inputs = case.inputs()
        equal = [x[:1].expand_as(x).clone() for x in inputs]
        origins = [
            x if m is None else m.origin(*x.shape, dtype=x.dtype)
            for x, m in zip(inputs, case.manifolds(inputs), strict=True)
        ]
        for at in (inputs, equal, origins):
            function, values = differentiable(case, case.layer(), at)
            first = grad(weighted(function(*values)), values, create_graph=True)
            # The last term: a layer may be linear.
            second = grad(
                torch.stack([weighted(d) + 0 * v.sum() for d, v in zip(first, values, strict=True)]).sum(), values
            )
            for derivative in (*first, *second):
                assert derivative.isfinite().all(), f"{case}: a derivative is not finite"

    def test_compiles_as_one_graph(self, case: LayerCase) -> None:
        torch.compiler.reset()
        results = []
        for compiled in (False, True):
            layer = case.layer()
            call = torch.compile(layer, backend="aot_eager", fullgraph=True) if compiled else layer
            inputs = case.inputs()
            output = evaluate(call, tuple(x.requires_grad_(x.is_floating_point()) for x in inputs))
            variables = [v for v in (*inputs, *layer.parameters()) if v.requires_grad]
            results.append([output, *grad(weighted(output), variables), *layer.buffers()])
        for eager, fast in zip(*results, strict=True):
            assert_close(fast, eager, case.bound(torch.float64), "compiled - eager")

    def test_copies_compute_the_same(self, case: LayerCase) -> None:
        layer, inputs = case.layer(), case.inputs()
        expected = evaluate(copy.deepcopy(layer), inputs)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(evaluate(other, inputs), expected)
            assert named_manifolds(other).keys() == named_manifolds(layer).keys()
            assert repr(other) == repr(layer)

    def test_a_saved_state_restores_the_layer(self, case: LayerCase) -> None:
        """A state that differs in every parameter from the receiver's, and in the buffers that training changes."""
        layer, inputs = case.layer(), case.inputs()
        on = named_manifolds(layer)
        with torch.no_grad():
            for name, p in layer.named_parameters():
                p.copy_(on[name].random(*p.shape, dtype=p.dtype) if name in on else p + 0.1 * torch.rand_like(p))
        evaluate(layer, inputs)
        layer.eval()
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        for assign in (False, True):
            file.seek(0)
            other = case.layer().eval()
            other.load_state_dict(torch.load(file), assign=assign)
            assert torch.equal(evaluate(other, inputs), evaluate(layer, inputs))

    def test_float32_is_float64_rounded(self, case: LayerCase) -> None:
        """Values and gradients of the same function at the same numbers."""
        single = case.layer(torch.float32)
        results = []
        for layer, dtype in ((single, torch.float32), (copy.deepcopy(single).double(), torch.float64)):
            function, values = differentiable(case, layer, case.inputs(4, torch.float32), dtype)
            output = function(*values)
            results.append([output, *grad(weighted(output), values)])
        for narrow, wide in zip(*results, strict=True):
            assert_close(narrow.double(), wide, case.bound(torch.float32), "float32 - float64")

    def test_repr_names_the_layer(self, case: LayerCase) -> None:
        layer = case.layer()
        assert repr(layer).startswith(type(layer).__name__)
        assert " object at 0x" not in repr(layer)


def evaluate(layer: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """Return the output, with the same random numbers each time."""
    torch.manual_seed(0)
    return layer(*inputs)


def weighted(x: Tensor) -> Tensor:
    """Return a sum to which every entry contributes differently."""
    return (x * torch.linspace(1, 2, x.numel(), dtype=x.dtype).view_as(x)).sum()


def assert_close(a: Tensor, b: Tensor, bound: float, what: str) -> None:
    """Raise ``AssertionError`` unless the tensors agree, relative to the largest entry."""
    assert a.shape == b.shape
    scale = float(b.detach().abs().max()) or 1.0
    assert_small((a.to(b.dtype) - b) / scale, bound, what)


def differentiable(
    case: LayerCase, layer: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype = torch.float64
) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Return the layer as a function of its floating-point inputs and its parameters, and their values.

    The function first moves each argument to its manifold, so that it is defined around the values.
    """
    manifolds = case.manifolds(inputs)
    places = [i for i, x in enumerate(inputs) if x.is_floating_point()]
    parameters = dict(layer.named_parameters())
    on = named_manifolds(layer)

    def function(*values: Tensor) -> Tensor:
        arguments = list(inputs)
        for place, x in zip(places, values, strict=False):
            m = manifolds[place]
            arguments[place] = x if m is None else m.projx(x)
        moved = {
            name: on[name].projx(p) if name in on else p
            for name, p in zip(parameters, values[len(places) :], strict=True)
        }
        torch.manual_seed(0)
        return functional_call(layer, moved, tuple(arguments))

    variables = [inputs[i] for i in places] + list(parameters.values())
    return function, [v.detach().to(dtype).clone().requires_grad_() for v in variables]
