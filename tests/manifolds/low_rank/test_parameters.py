"""Factors as parameters: rooms, ranks, and what becomes of them when modules are copied."""

import copy
import pickle

import pytest
import torch
from torch import nn

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker, named_low_rank, register_low_rank
from isometry.manifolds.low_rank.parameters import is_low_rank

M = FixedRankMatrix(7, 5)


def layer(room: int = 4) -> nn.Module:
    module = nn.Module()
    for name, shape in zip("USV", M.leaf_shapes(room), strict=True):
        module.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    register_low_rank(module, "USV", M)
    return module


def test_a_point_is_written_and_read_at_every_rank() -> None:
    module = layer()
    tensor = named_low_rank(module)[""]
    assert tensor.max_ranks == tensor.ranks == (4, 4)
    for r in (4, 2, 3, 1):
        x = M.random(r)
        tensor.write(x)
        assert tensor.ranks == (r, r)
        assert all(torch.equal(a, b) for a, b in zip(tensor.point(), x, strict=True))
        torch.testing.assert_close(module.U @ module.S @ module.V.mT, M.to_dense(x))  # the rest is zero
    with pytest.raises(ValueError, match="have room, but got"):
        tensor.write(M.random(5))


def test_the_record_survives_copies_and_the_ranks_are_state() -> None:
    root = nn.Sequential(nn.Linear(2, 2), layer())
    named_low_rank(root)["1"].write(M.random(2))
    for other in (copy.deepcopy(root), pickle.loads(pickle.dumps(root)), copy.deepcopy(root).double()):
        (name, tensor), *rest = named_low_rank(other).items()
        assert (name, rest, tensor.ranks, tensor.manifold) == ("1", [], (2, 2), M)
        assert tensor.module is other[1]
    fresh = nn.Sequential(nn.Linear(2, 2), layer())
    fresh.load_state_dict(root.state_dict())
    assert named_low_rank(fresh)["1"].ranks == (2, 2)


def test_factors_in_lists_and_batches() -> None:
    m = FixedRankTucker((4, 3, 5))
    module = nn.Module()
    module.factors = nn.ParameterList(torch.zeros(2, *shape) for shape in m.leaf_shapes((2, 2, 3)))
    tensor = register_low_rank(module, [f"factors.{k}" for k in range(4)], m, ranks=(2, 1, 2))
    x = m.random((2, 1, 2), batch=(2,))
    tensor.write(x)
    torch.testing.assert_close(m.to_dense(tensor.point()), m.to_dense(x))
    assert all(is_low_rank(p) for p in tensor.parameters)


def test_wrong_registrations_are_refused() -> None:
    with pytest.raises(ValueError, match="has a low-rank tensor already"):
        register_low_rank(layer(), "USV", M)
    module = nn.Module()
    module.A, module.B, module.C = (nn.Parameter(torch.zeros(s)) for s in [(7, 2), (2, 2), (5, 3)])
    for names in ("ABC", "AB", "BAC"):
        with pytest.raises(ShapeError, match="expected the factors of a point"):
            register_low_rank(module, names, M)
    with pytest.raises(AttributeError):
        register_low_rank(module, "ABD", M)


def test_gradients_are_cut_to_the_ranks() -> None:
    module = layer()
    tensor = named_low_rank(module)[""]
    tensor.write(M.random(2))
    assert not tensor.tangent_grad
    module.tangent_grad = True
    assert tensor.tangent_grad
    for p in tensor.parameters:
        p.grad = torch.ones_like(p)
    assert [tuple(z.shape) for z in M.leaves(tensor.grad())] == [(7, 2), (2, 2), (5, 2)]
