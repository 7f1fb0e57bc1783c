"""Unit vectors that are far apart, in which a node of a tree sends its edges."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def separated_directions(count: int, dim: int) -> Float[Tensor, "count dim"]:
    r"""Return ``count`` unit vectors in ``R^dim`` that are far apart, float64.

    In the plane the angles ``2 pi k / count``. Else, if they suffice, vertices ``(+-1, ..., +-1)/sqrt(dim)`` of the
    cube: the codewords ``i G mod 2`` of the binary numbers i, where the columns of G are distinct and not zero. If they
    are all ``2^z - 1`` such columns (the simplex code), words differ in ``2^(z-1)`` places and vectors are at right
    angles or more. Else points on circles of latitude, recursively, at the widest angle for which so many fit.

    Args:
        count: Number of directions, at least 1.
        dim: Of the space, at least 2.

    Source: Sala, De Sa, Gu & Re 2018 (circle and simplex code); the latitudes are the apple peeling of El Gamal,
    Hemachandra, Shperling & Wei 1987.
    """
    if count < 1 or dim < 2:
        raise ValueError(f"separated_directions: expected count >= 1 and dim >= 2, but got {count} and {dim}.")
    if dim == 2:
        angle = 2 * math.pi / count * torch.arange(count, dtype=torch.float64)
        return torch.stack([angle.cos(), angle.sin()], 1)
    bits = max(1, (count - 1).bit_length())
    return _codewords(count, dim, bits) if bits <= dim else _latitudes(count, dim)


def least_angle(directions: Float[Tensor, "count dim"]) -> float:
    """Return the least angle between two of at least two unit vectors."""
    chord = torch.cdist(directions, directions, compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * math.asin(min(1.0, float(chord.fill_diagonal_(2).min()) / 2))


def _codewords(count: int, dim: int, bits: int) -> Tensor:
    # Unit columns first, so that words are distinct however few columns there are; heavy ones add most to the distance.
    columns = sorted(range(1, 2**bits), key=lambda column: (column.bit_count() > 1, -column.bit_count()))
    generator = torch.tensor([columns[i % len(columns)] for i in range(dim)])
    digits = torch.arange(bits)
    words = (torch.arange(count).unsqueeze(1) >> digits & 1) @ ((generator.unsqueeze(1) >> digits) & 1).T % 2
    return (1 - 2 * words).double() / math.sqrt(dim)


@lru_cache(maxsize=1024)
def _latitudes(count: int, dim: int) -> Tensor:
    low, high = 0.0, math.pi
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _number(middle, dim) >= count else (low, middle)
    return _points(low, dim)[:count]


def _circles(angle: float) -> list[tuple[float, float]]:
    """Return latitudes that are ``angle`` apart, from a pole, and the angle along each that subtends it."""
    latitudes = [i * angle for i in range(int(math.pi / angle * (1 + 1e-12)) + 1)]
    reach = math.sin(angle / 2)
    return [(t, 2 * math.asin(reach / math.sin(t)) if math.sin(t) > reach else math.inf) for t in latitudes]


def _number(angle: float, dim: int) -> int:
    if angle > math.pi:
        return 1
    if dim == 2:
        return max(1, int(2 * math.pi / angle * (1 + 1e-12)))
    return sum(_number(along, dim - 1) for _, along in _circles(angle))


def _points(angle: float, dim: int) -> Tensor:
    if angle > math.pi:
        return torch.eye(1, dim, dtype=torch.float64)
    if dim == 2:
        return separated_directions(_number(angle, 2), 2)
    parts = []
    for latitude, along in _circles(angle):
        circle = _points(along, dim - 1)
        height = torch.full((len(circle), 1), math.cos(latitude), dtype=torch.float64)
        parts.append(torch.cat([height, math.sin(latitude) * circle], 1))
    return torch.cat(parts)
