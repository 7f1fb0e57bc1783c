"""Assertions about points, vectors and maps, with the numbers in their messages."""

from collections.abc import Callable

import torch
from torch import Tensor

from isometry.manifolds.base import Manifold


def assert_small(error: Tensor, bound: float, what: str) -> None:
    """Raise ``AssertionError`` unless every ``|error| <= bound`` (a NaN is not)."""
    worst = float(error.detach().abs().max())
    if not worst <= bound:
        raise AssertionError(f"{what}: error {worst:.2e} > bound {bound:.2e}")


def assert_on_manifold(manifold: Manifold, x: Tensor, atol: float = 1e-5) -> None:
    """Raise ``AssertionError`` unless the points ``x`` are on the manifold, ``point_residual(x) <= atol``."""
    manifold.check_shape(x)
    assert_small(manifold.point_residual(x), atol, f"{manifold!r}: point residual")


def assert_tangent(manifold: Manifold, x: Tensor, u: Tensor, atol: float = 1e-5) -> None:
    """Raise ``AssertionError`` unless ``u`` is tangent at ``x``, ``tangent_residual(x, u) <= atol``."""
    manifold.check_shape(u, "vector")
    assert_small(manifold.tangent_residual(x, u), atol, f"{manifold!r}: tangent residual")


def assert_close_points(manifold: Manifold, x: Tensor, y: Tensor, atol: float = 1e-5) -> None:
    """Raise ``AssertionError`` unless the points agree, ``d(x, y) <= atol``."""
    assert_small(manifold.dist(x, y), atol, f"{manifold!r}: distance of points that should agree")


def assert_isometry(
    manifold: Manifold,
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    target: Manifold | None = None,
    atol: float = 1e-5,
) -> None:
    """Raise ``AssertionError`` unless ``f`` keeps the distances of these points, ``d(f(x), f(y)) = d(x, y)``.

    Args:
        manifold: Where ``x`` and ``y`` are.
        f: A map from ``manifold`` to ``target``.
        x: Points ``[*b, *point_shape]``.
        y: Points that broadcast with ``x``.
        target: Where ``f`` leads; ``manifold`` if omitted.
        atol: The largest admissible change of a distance.
    """
    target = manifold if target is None else target
    image_x, image_y = f(x), f(y)
    for image in (image_x, image_y):
        assert_on_manifold(target, image, atol=max(atol, 8 * torch.finfo(image.dtype).eps))
    change = target.dist(image_x, image_y) - manifold.dist(x, y)
    assert_small(change, atol, f"{manifold!r}: change of the distance under the map")
