"""The record of a parameter's manifold survives what torch does to modules; checkpoints know their manifold."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator

import geoopt
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    OffManifoldError,
    PoincareBall,
    Product,
    ShapeError,
    Sphere,
    named_manifolds,
    register_manifold,
)


class Embedding(nn.Module):
    """A table of points of a manifold."""

    def __init__(self, manifold: Manifold, device: str | None = None) -> None:
        super().__init__()
        size = (5, *manifold.point_shape)
        self.weight = nn.Parameter(torch.empty(size, device=device) if device else manifold.random(*size))
        register_manifold(self, "weight", manifold)

    def forward(self, i: int) -> Tensor:
        """The distances of row i to all rows."""
        return self.weight_manifold.dist(self.weight[i], self.weight)


def net(manifold: Manifold | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), Embedding(manifold or PoincareBall(3, c=0.5, learnable=True)))


def assign(model: nn.Module) -> nn.Module:
    other = net()
    other.load_state_dict(model.state_dict(), assign=True)
    return other


def load(model: nn.Module) -> nn.Module:
    other = net()
    other.load_state_dict(model.state_dict())
    return other


def through_meta(model: nn.Module) -> nn.Module:
    empty = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    return empty


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = net()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def swapped(model: nn.Module) -> nn.Module:
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return copy.deepcopy(model).to(torch.float64)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


CONVERSIONS: list[Callable[[nn.Module], nn.Module]] = [
    copy.deepcopy,
    lambda model: pickle.loads(pickle.dumps(model)),
    load,
    assign,
    through_meta,
    saved_and_loaded,
    swapped,
    lambda model: copy.deepcopy(model).double(),
    lambda model: copy.deepcopy(model).to(torch.bfloat16),
]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_record_survives(convert: Callable[[nn.Module], nn.Module]) -> None:
    model = net()
    other = convert(model)
    (name, manifold), *rest = named_manifolds(other).items()
    assert (name, rest) == ("1.weight", [])
    assert manifold is other[1].weight_manifold
    assert manifold is not model[1].weight_manifold
    assert type(manifold) is PoincareBall
    dtype = other[1].weight.dtype
    torch.testing.assert_close(other[1](2), model[1](2).to(dtype), rtol=0.05, atol=0.05)
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_record_survives_compilation() -> None:
    model = torch.compile(net(Sphere(2)), backend="eager")
    assert named_manifolds(model) == {"_orig_mod.1.weight": Sphere(2)}
    compiled = torch.compile(Embedding(Sphere(2)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(0), compiled._orig_mod(0))


@pytest.fixture
def one_process() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_record_survives_ddp() -> None:
    model = DistributedDataParallel(net())
    assert list(named_manifolds(model)) == ["module.1.weight"]
    assert "module.1.weight_manifold.log_c" in dict(model.named_parameters())


def test_functional_call_sees_the_curvature_given() -> None:
    model = Embedding(PoincareBall(3, c=0.5, learnable=True))
    log_c = model.weight_manifold.log_c.detach().requires_grad_()
    distances = functional_call(model, {"weight_manifold.log_c": log_c}, (0,))
    torch.testing.assert_close(distances, model(0))
    assert torch.autograd.grad(distances.sum(), log_c)[0].abs() > 0


@pytest.mark.parametrize("kind", [PoincareBall, Lorentz])
def test_learnable_curvature_is_a_parameter_shared_by_dimensions(kind: type[PoincareBall] | type[Lorentz]) -> None:
    manifold = kind(3, c=0.5, learnable=True)
    assert [(n, p.shape) for n, p in manifold.named_parameters()] == [("log_c", (1,))]
    torch.testing.assert_close(manifold.c, torch.tensor([0.5]), check_dtype=False)
    wider = manifold.with_dim(7)
    assert wider.dim == 7
    assert wider.log_c is manifold.log_c
    layer = nn.Module()
    layer.inner, layer.outer = manifold, wider
    assert len(list(layer.parameters())) == 1
    assert not list(kind(3, c=0.5).parameters())


@pytest.mark.parametrize("kind", [PoincareBall, Lorentz])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_points_follow_a_changed_curvature(kind: type[PoincareBall] | type[Lorentz], dtype: torch.dtype) -> None:
    """``rescale`` keeps distances in units of the curvature radius."""
    manifold = kind(3, c=0.5, learnable=True)
    x = manifold.random(6, *manifold.point_shape, dtype=dtype).detach()
    with torch.no_grad():
        c_old, before = manifold.c.clone(), manifold.dist(x[:3], x[3:])
        manifold.log_c += 1.3
        moved = manifold.rescale(x, c_old)
        manifold.assert_check_point_on_manifold(moved)
        after = manifold.dist(moved[:3], moved[3:])
    assert moved.dtype == dtype
    tolerance = 200 * torch.finfo(dtype).eps  # cosh of the radius of these points
    torch.testing.assert_close(
        after * manifold.c.to(dtype).sqrt(), before * c_old.to(dtype).sqrt(), rtol=tolerance, atol=tolerance
    )


def test_the_manifold_is_registered_once() -> None:
    module = Embedding(PoincareBall(3, learnable=True))
    module.bias = nn.Parameter(torch.zeros(3))
    register_manifold(module, "bias", module.weight_manifold)
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias", "weight_manifold.log_c"]
    assert set(map(id, named_manifolds(module).values())) == {id(module.weight_manifold)}


def test_shared_modules_and_geoopt_parameters_are_found() -> None:
    model = nn.Module()
    model.a = model.b = Embedding(Sphere(2))
    theirs = geoopt.Sphere()
    model.c = geoopt.ManifoldParameter(theirs.random(4, 3), manifold=theirs)
    found = named_manifolds(model)
    assert set(found) == {"a.weight", "b.weight", "c"}
    assert found["c"] is theirs


@pytest.mark.parametrize(
    ("manifold", "other"),
    [
        (Sphere(2), Euclidean(3)),
        (PoincareBall(3), PoincareBall(3, c=4.0)),
        (PoincareBall(3), Euclidean(3)),
        (Lorentz(2), Sphere(2)),
        (Product([Sphere(2), Euclidean(2)]), Product([Euclidean(3), Euclidean(2)])),
    ],
    ids=repr,
)
def test_checkpoint_of_another_manifold_is_refused(manifold: Manifold, other: Manifold) -> None:
    state = net(manifold).state_dict()
    with pytest.raises(ValueError, match="checkpoint was written for the manifold") as error:
        net(other).load_state_dict(state)
    assert type(manifold).__name__ in str(error.value)
    assert type(other).__name__ in str(error.value)


def test_checkpoint_of_a_trained_curvature_is_accepted() -> None:
    model, other = net(), net(PoincareBall(3, c=2.0, learnable=True))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other[1].weight_manifold.c, model[1].weight_manifold.c)


def test_bad_input() -> None:
    module = nn.Linear(3, 4)
    with pytest.raises(OffManifoldError, match=r"point residual .* > atol"):
        register_manifold(module, "weight", Sphere(2))
    with pytest.raises(ShapeError, match=r"point ends in dimensions \(7,\), but the tensor has shape \(4, 3\)"):
        register_manifold(module, "weight", Sphere(6))
    with pytest.raises(AttributeError, match="no attribute"):
        register_manifold(module, "weights", Sphere(2))
    module.register_buffer("table", torch.zeros(3))
    with pytest.raises(ShapeError, match="expected 'table' to be"):
        register_manifold(module, "table", Euclidean(3))


def test_a_meta_parameter_is_checked_by_shape() -> None:
    assert list(named_manifolds(Embedding(Sphere(2), device="meta"))) == ["weight"]
    module = nn.Linear(3, 4, device="meta")
    with pytest.raises(ShapeError):
        register_manifold(module, "weight", Sphere(6))
