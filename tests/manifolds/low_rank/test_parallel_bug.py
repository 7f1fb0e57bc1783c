"""The parallel BUG integrator with one Euler substep, as its papers state it, is ``x + h P_x(F)`` before truncation."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import (
    FixedRankMatrix,
    FixedRankTucker,
    MatrixPoint,
    TreePoint,
    TreeTensorNetwork,
    TuckerPoint,
)
from tests.manifolds.low_rank.suite import Case, noise

H = 0.3


def orth(*parts: Tensor) -> Tensor:
    return torch.linalg.qr(torch.cat(parts, -1)).Q


def parallel_bug_matrix(x: MatrixPoint, f: Tensor) -> Tensor:
    """Ceruti, Kusch & Lubich 2024, section 2.1: K-, L- and S-step from the same point, the augmented core assembled."""
    u, s, v = x
    r = s.shape[-1]
    k, el, core = u @ s + H * f @ v, v @ s.mH + H * f.mH @ u, s + H * u.mH @ f @ v
    u_new, v_new = orth(u, k)[:, r:], orth(v, el)[:, r:]
    corner = torch.zeros(u_new.shape[1], v_new.shape[1], dtype=s.dtype)
    top, bottom = torch.cat([core, el.mH @ v_new], 1), torch.cat([u_new.mH @ k, corner], 1)
    return torch.cat([u, u_new], 1) @ torch.cat([top, bottom], 0) @ torch.cat([v, v_new], 1).mH


def parallel_bug_tucker(x: TuckerPoint, f: Tensor) -> Tensor:
    """Ceruti, Kusch, Lubich & Sulz 2024 for three modes, every contraction written out."""
    c, (u1, u2, u3) = x
    b1, b2, b3 = (z.conj() for z in (u1, u2, u3))
    total = torch.einsum("abc,ia,jb,kc->ijk", c + H * torch.einsum("ijk,ia,jb,kc->abc", f, b1, b2, b3), u1, u2, u3)
    forces = [
        torch.einsum("ijk,jb,kc->ibc", f, b2, b3),
        torch.einsum("ijk,ia,kc->jac", f, b1, b3),
        torch.einsum("ijk,ia,jb->kab", f, b1, b2),
    ]
    equations = ["ibc,jb,kc->ijk", "jac,ia,kc->ijk", "kab,ia,jb->ijk"]
    for mode, (u, force, equation) in enumerate(zip(x.factors, forces, equations, strict=True)):
        others = [w for i, w in enumerate(x.factors) if i != mode]
        unfolded = c.movedim(mode, 0).flatten(1)
        q, s = torch.linalg.qr(unfolded.mH)  # Mat_i(C)^H = Q S^H^H
        k = u @ s.mH + H * force.flatten(1) @ q
        new = orth(u, k)[:, u.shape[1] :]
        block = new @ (new.mH @ k @ q.mH)
        total = total + torch.einsum(equation, block.unflatten(1, force.shape[1:]), *others)
    return total


def mode(c: Tensor, a: Tensor, k: int) -> Tensor:
    return torch.tensordot(a, c, dims=([1], [k])).movedim(0, k)


def matricized(c: Tensor, k: int) -> Tensor:
    return c.movedim(k, 0).flatten(1)


class Node:
    """A tensor ``[r_1, ..., r_m, r]`` above children; a leaf is a matrix with none."""

    def __init__(self, tensor: Tensor, children: list["Node"]) -> None:
        self.tensor, self.children = tensor, children

    def basis(self) -> Tensor:
        c = self.tensor
        for k, child in enumerate(self.children):
            c = mode(c, child.basis(), k)
        return c.flatten(0, -2)


def parallel_bug_tree(c: Tensor, children: list[Node], f: Tensor) -> Node:
    """Ceruti, Kusch, Lubich & Sulz 2024, the recursion: ``c`` carries the weights, ``f`` is its force."""
    bases = [child.basis() for child in children]

    def contracted(skip: int | None = None) -> Tensor:
        z = f
        for k, u in enumerate(bases):
            z = z if k == skip else mode(z, u.mH, k)
        return z

    sides, grown = [], []
    for k, child in enumerate(children):
        q, s = torch.linalg.qr(matricized(c, k).mH)  # Mat_k(C) = S^H Q^H
        force = matricized(contracted(skip=k), k) @ q
        if child.children:
            below = [z.basis().shape[0] for z in child.children]
            inner = parallel_bug_tree(child.tensor @ s.mH, child.children, force.reshape(*below, -1))
            old = torch.zeros(*inner.tensor.shape[:-1], s.shape[0], dtype=c.dtype)
            old[tuple(slice(n) for n in child.tensor.shape)] = child.tensor
            u, moved, below_new = old.flatten(0, -2), inner.tensor.flatten(0, -2), inner.children
        else:
            u, moved, below_new = child.tensor, child.tensor @ s.mH + H * force, []
        new = orth(u, moved)[:, u.shape[1] :]
        sides.append(new.mH @ moved @ q.mH)
        wide = torch.cat([u, new], 1)
        sizes = [z.tensor.shape[-1] for z in below_new] or [len(wide)]
        grown.append(Node(wide.reshape(*sizes, -1), below_new))
    total = torch.zeros(*(z.tensor.shape[-1] for z in grown), c.shape[-1], dtype=c.dtype)
    corner = [slice(n) for n in c.shape]
    total[tuple(corner)] = c + H * contracted()
    for k, side in enumerate(sides):
        place = [*corner[:k], slice(c.shape[k], None), *corner[k + 1 :]]
        others = [n for i, n in enumerate(c.shape) if i != k]
        total[tuple(place)] = side.reshape(-1, *others).movedim(0, k)
    return Node(total, grown)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("shape", [(12, 9, 3), (10, 5, 3)])
def test_matrix(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    m = FixedRankMatrix(*shape[:2])
    x = Case(m, shape[2:] * 2, lambda w: [w]).point(dtype)
    f = noise(m.shape, dtype, 4)
    t = m.project(x, f)
    step = m.to_dense(m.embed(x, m.combine(H, t, 0.0, t)))
    assert (parallel_bug_matrix(x, f) - step).abs().max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("ranks", [(2, 3, 2), (4, 2, 2)])
def test_tucker(ranks: tuple[int, ...], dtype: torch.dtype) -> None:
    m = FixedRankTucker((6, 5, 4))
    x = Case(m, ranks, lambda w: [w]).point(dtype)
    f = noise(m.shape, dtype, 4)
    t = m.project(x, f)
    step = m.to_dense(m.embed(x, m.combine(H, t, 0.0, t)))
    assert (parallel_bug_tucker(x, f) - step).abs().max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_tree(dtype: torch.dtype) -> None:
    """Three levels, mixed arity, and ranks that fill modes."""
    m = TreeTensorNetwork((4, 3, 3, 4, 3), (((0,), ((1,), (2,))), (3,), (4,)))
    x = m.random((2, 2, 3, 4, 5, 3, 2), dtype=dtype, generator=torch.Generator().manual_seed(0))
    root = x.nodes[-1] + 0.3 * noise(x.nodes[-1].shape, dtype, 1)
    a, b, c, bc, abc, d, e = x.nodes[:-1]
    pair = Node(bc, [Node(b, []), Node(c, [])])
    children = [Node(abc, [Node(a, []), pair]), Node(d, []), Node(e, [])]
    f = noise(m.shape, dtype, 4)
    x = TreePoint((*x.nodes[:-1], root))
    t = m.project(x, f)
    step = m.to_dense(m.embed(x, m.combine(H, t, 0.0, t)))
    theirs = parallel_bug_tree(root, children, f.reshape(36, 4, 3, 1))
    assert (theirs.basis().reshape(m.shape) - step).abs().max() < 1e-14
