"""The parallel BUG integrator with one Euler substep, as its papers state it, is ``x + h P_x(F)`` before truncation."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker, MatrixPoint, TuckerPoint
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
