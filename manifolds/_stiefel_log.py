r"""The Riemannian logarithm of the Stiefel manifold, for the metrics of ``_stiefel_geodesics``.

``x`` and ``y`` span at most 2k dimensions. In an orthonormal basis ``[x, q]`` of ``m <= 2k`` vectors the problem is to
find ``c = [a; b]``, a skew, such that

    exp(s) [1; 0] exp((1 - 2 beta) a) = [x, q]^T y        s = [[2 beta a, -b^T], [b, 0]]

1. For the canonical metric the solution belongs to that completion of ``[x, q]^T y`` to a rotation whose log has no
   lower right block; the iteration of Zimmermann & Hueper turns a completion until it has none.
2. Newton's method, along a path of metrics from the canonical one to the one wanted.
3. Two steps with the inverse of the derivative as a constant, recorded by autograd: each is one order better as a
   function of ``x`` and ``y``, so the first and second derivatives are exact.

Source: Zimmermann & Hueper 2022, Computing the Riemannian logarithm on the Stiefel manifold (arXiv 2103.12046).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._stiefel_geodesics import displacement, proju
from isometry.manifolds._unitary import above, rotation_log, skew, skew_from

_TURNS = 8  # of the completion
_NEWTON = 32  # steps at the end, at most
_LONGEST = 0.3  # step of Newton's: longer ones lead past the conjugate locus, to a longer geodesic
_FAR = 1e-3  # a residual above this says that the iteration has not converged


def logmap(x: Float[Tensor, "*#b n k"], y: Float[Tensor, "*#b n k"], beta: float) -> Float[Tensor, "*b n k"]:
    """Return ``u`` with ``exp_x(u) = y``: the shortest one if ``y`` is within the injectivity radius.

    NaN where the iteration does not converge, which happens only beyond that.
    """
    difference = y - x
    with torch.no_grad():
        basis, core, *chord = _linearised(x.detach().expand_as(difference), difference.detach(), beta)
    u = basis @ core
    for _ in range(2):
        u = proju(x, u)
        u = u + _step(difference - displacement(x, u, beta), basis, *chord)
    return proju(x, u)


def _step(w: Tensor, basis: Tensor, g: Tensor, h: Tensor, inverse: Tensor, across: Tensor) -> Tensor:
    """Return the inverse of the derivative of exp, the constants of ``_linearised``, applied to an ambient ``w``."""
    w = w @ h.mT
    inside = basis.mT @ w
    coordinates = inverse @ _coordinates(g.mT @ inside).unsqueeze(-1)
    step = basis @ _vectors(coordinates.squeeze(-1), *inside.shape[-2:])
    return step if basis.shape[-1] == w.shape[-2] else step + (w - basis @ inside) @ across


@torch.library.custom_op("isometry::stiefel_log", mutates_args=())
def _linearised(x: Tensor, difference: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the basis ``[x, q]``, ``c``, ``exp(s)``, ``exp((1 - 2 beta) a)`` and the inverse of the derivative of exp.

    The inverse is a matrix on the coordinates of ``c``, and one by which vectors across the basis are multiplied. As an
    operation of its own, this looks at values (how many steps to take) also where torch compiles or maps its callers.
    """
    basis, target = _reduced(x, difference)
    core = _solution(target, beta)
    k = core.shape[-1]
    clean = torch.nan_to_num(core)
    inverse = torch.linalg.inv_ex(_derivative(clean, beta)).inverse
    values, vectors = torch.linalg.eigh(-1j * _rotation(clean, beta))
    across = ((vectors * _phi(values).unsqueeze(-2)) @ vectors.mH).real[..., :k, :k]
    g, h = _ends(clean, beta)
    results = (basis, core, g, h, inverse, torch.linalg.inv_ex(across).inverse)
    basis, core, g, h, inverse, across = (t.contiguous() for t in results)  # as a compiler is told
    return basis, core, g, h, inverse, across


@_linearised.register_fake
def _shapes(x: Tensor, difference: Tensor, beta: float) -> tuple[Tensor, ...]:
    n, k = x.shape[-2:]
    m = min(n, 2 * k)
    size = k * (k - 1) // 2 + (m - k) * k
    shapes = [(n, m), (m, k), (m, m), (k, k), (size, size), (k, k)]
    return tuple(x.new_empty(*x.shape[:-2], *shape) for shape in shapes)


@_linearised.register_vmap
def _batched(info: Any, in_dims: tuple[int | None, ...], x: Tensor, difference: Tensor, beta: float) -> Any:
    tensors = [
        t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
        for t, dim in zip((x, difference), in_dims, strict=False)
    ]
    return _linearised(*tensors, beta), (0,) * 6


def _eye(like: Tensor, m: int, k: int) -> Tensor:
    return torch.eye(m, k, dtype=like.dtype, device=like.device)


def _reduced(x: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the basis ``[x, q] [n, m]`` and ``[x, q]^T (y - x)``; what is not finite is read as 0."""
    x, difference = torch.nan_to_num(x), torch.nan_to_num(difference)
    n, k = x.shape[-2:]
    q = torch.linalg.qr(torch.cat([x, difference], -1)).Q[..., k : min(n, 2 * k)]
    basis = torch.cat([x, q - x @ (x.mT @ q)], -1)
    return basis, basis.mT @ difference


def _solution(target: Tensor, beta: float) -> Tensor:
    """Return ``c [m, k]`` to rounding, 0 where ``y = x``, and NaN where there is no convergence."""
    size = torch.linalg.matrix_norm(target)
    core = _canonical(target)
    if beta != 0.5 and size.numel():
        metrics = math.ceil(4 * float(size.max()))
        for step in range(1, metrics):
            core = _newton(core, target, 0.5 + (beta - 0.5) * step / metrics)
    tolerance = 16 * torch.finfo(target.dtype).eps * size
    for _ in range(_NEWTON):
        if bool((torch.linalg.vector_norm(_rest(core, target, beta), dim=-1) <= tolerance).all()):
            break
        core = _newton(core, target, beta)
    residual = torch.linalg.vector_norm(_rest(core, target, beta), dim=-1)
    core = torch.where((size > 0)[..., None, None], core, 0)
    return torch.where((residual < _FAR)[..., None, None], core, torch.nan)


# --- the canonical metric -------------------------------------------------------------------------------------


def _canonical(target: Tensor) -> Tensor:
    """Return the first k columns of the log of the completed rotation, after some turns of the completion."""
    m, k = target.shape[-2:]
    completion = _completion(target + _eye(target, m, k))
    for _ in range(_TURNS):
        log = rotation_log(torch.cat([target, completion - _eye(target, m, m)[..., k:]], -1))
        rest = log[..., k:, k:]
        if bool((torch.linalg.matrix_norm(rest) < torch.finfo(target.dtype).eps ** 0.5).all()):
            break
        completion = completion @ matrix_exp(_turn(log[..., k:, :k], rest))
    return log[..., :k]


def _completion(y: Tensor) -> Tensor:
    """Return columns that complete ``y [m, k]`` to a rotation near the identity.

    Rotations by t of several planes have the blocks ``cos(t)``, ``-sin(t)``, ``sin(t)``, ``cos(t)``. The columns are
    those nearest to ``[-polar(sin(t))^T; 1]``, which points their way up to t = 3 pi/4.
    """
    m, k = y.shape[-2:]
    left, _, right = torch.linalg.svd(y[..., k:, :], full_matrices=False)
    wanted = torch.cat([-(left @ right).mT, _eye(y, m - k, m - k).expand(*y.shape[:-2], m - k, m - k)], -2)
    left, _, right = torch.linalg.svd(wanted - y @ (y.mT @ wanted), full_matrices=False)
    determinant = torch.linalg.det(torch.cat([y, left @ right], -1))
    sign = torch.where(determinant < 0, -1.0, 1.0).to(y.dtype)[..., None, None]
    return torch.cat([left[..., :-1], sign * left[..., -1:]], -1) @ right


def _turn(b: Tensor, rest: Tensor) -> Tensor:
    """Return the skew ``t`` with ``(b b^T/12 - 1/2) t + t (b b^T/12 - 1/2) = rest``, to remove it to third order."""
    values, vectors = torch.linalg.eigh(b @ b.mT)
    half = (values / 12 - 0.5).clamp(max=-0.1)
    quotient = (vectors.mT @ rest @ vectors) / (half.unsqueeze(-1) + half.unsqueeze(-2))
    return skew(vectors @ quotient @ vectors.mT)


# --- Newton's method ------------------------------------------------------------------------------------------


def _newton(core: Tensor, target: Tensor, beta: float) -> Tensor:
    """Return ``c`` after a step of Newton's method, short enough not to pass the conjugate locus."""
    rest = _rest(core, target, beta).unsqueeze(-1)
    step = torch.linalg.solve_ex(_derivative(core, beta), rest).result.squeeze(-1)
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    step = torch.nan_to_num(step / (length / _LONGEST).clamp(min=1), posinf=0.0, neginf=0.0)
    return core + _vectors(step, *core.shape[-2:])


def _rest(core: Tensor, target: Tensor, beta: float) -> Tensor:
    """Return what is missing from the end of the geodesic to the target, in the frame of the end."""
    m, k = core.shape[-2:]
    g, h = _ends(core, beta)
    return _coordinates(g.mT @ (target - (g[..., :k] @ h - _eye(core, m, k))) @ h.mT)


def _ends(core: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Return ``exp(s)`` and ``exp((1 - 2 beta) a)``."""
    return matrix_exp(_rotation(core, beta)), matrix_exp((1 - 2 * beta) * core[..., : core.shape[-1], :])


def _rotation(core: Tensor, beta: float) -> Tensor:
    """Return ``s = [[2 beta a, -b^T], [b, 0]]``."""
    m, k = core.shape[-2:]
    a, b = core[..., :k, :], core[..., k:, :]
    right = torch.cat([-b.mT, b.new_zeros(*b.shape[:-2], m - k, m - k)], -2)
    return torch.cat([torch.cat([2 * beta * a, b], -2), right], -1)


def _coordinates(core: Tensor) -> Tensor:
    """Return the entries above the diagonal of the skew part of a, and those of b."""
    k = core.shape[-1]
    return torch.cat([above(skew(core[..., :k, :])), core[..., k:, :].flatten(-2)], -1)


def _vectors(coordinates: Tensor, m: int, k: int) -> Tensor:
    """Return ``[a; b]`` of the given coordinates."""
    turns, b = coordinates.split([k * (k - 1) // 2, (m - k) * k], -1)
    return torch.cat([skew_from(turns, k), b.unflatten(-1, (m - k, k))], -2)


def _phi(values: Tensor) -> Tensor:
    """Return ``(exp(i t) - 1)/(i t) = exp(i t/2) sinc(t/2)``."""
    return torch.polar(torch.ones_like(values), values / 2) * torch.sinc(values / (2 * math.pi))


def _phi_ad(a: Tensor, direction: Tensor) -> Tensor:
    """Return ``phi(ad_a)``, ``phi(z) = (exp(z) - 1)/z``, of directions ``[*b, d, m, m]`` for skew ``a [*b, m, m]``."""
    values, vectors = torch.linalg.eigh(-1j * a)
    kernel = _phi(values.unsqueeze(-1) - values.unsqueeze(-2)).unsqueeze(-3)
    vectors = vectors.unsqueeze(-3)
    inside = vectors.mH @ direction.to(vectors.dtype) @ vectors
    return (vectors @ (kernel * inside) @ vectors.mH).real


def _derivative(core: Tensor, beta: float) -> Tensor:
    """Return the derivative of exp at ``c``, a matrix on coordinates, in the frame that moves with the geodesic.

    For ``g = exp(s)``, ``h = exp((1 - 2 beta) a)``: ``g^T d(g [1; 0] h) h^T = phi(-ad_s)(ds) [1; 0] + [1; 0] dh h^T``.
    """
    m, k = core.shape[-2:]
    size = k * (k - 1) // 2 + (m - k) * k
    basis = _vectors(_eye(core, size, size), m, k)
    image = _phi_ad(-_rotation(core, beta), _rotation(basis, beta))[..., :k]
    if beta != 0.5:
        factor = 1 - 2 * beta
        top = image[..., :k, :] + _phi_ad(factor * core[..., :k, :], factor * basis[..., :k, :])
        image = torch.cat([top, image[..., k:, :]], -2)
    return _coordinates(image).mT
