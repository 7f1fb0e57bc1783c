"""Scalar functions with their divided differences, from which the functions of symmetric matrices are made.

``f[a, b] = (f(a) - f(b)) / (a - b)`` and ``f[a, b, c] = (f[a, b] - f[b, c]) / (a - c)`` extend continuously to equal
arguments (``f'`` and ``f''/2``). Each class gives them without cancellation: in closed form where there is one, else by
Taylor's series about the mean where the points are close and by the quotient where they are not.
"""

import functools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def _quotient(numerator: Tensor, denominator: Tensor, limit: Tensor | float) -> Tensor:
    """Return ``numerator / denominator``, and ``limit`` where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, limit, numerator / torch.where(zero, 1, denominator))


def _product(factors: list[Tensor]) -> Tensor:
    return functools.reduce(operator.mul, factors)


def _sorted(points: list[Tensor]) -> list[Tensor]:
    """Return the points in ascending order, element by element."""
    points = list(torch.broadcast_tensors(*points))
    for end in range(len(points) - 1, 0, -1):
        for i in range(end):
            low, high = points[i], points[i + 1]
            points[i], points[i + 1] = torch.minimum(low, high), torch.maximum(low, high)
    return points


class ScalarFunction(ABC):
    """A function of one variable, applied to the eigenvalues of symmetric matrices."""

    @abstractmethod
    def value(self, a: Tensor) -> Tensor:
        """Return ``f(a)``."""

    @abstractmethod
    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``f[a, b]``; the arguments broadcast."""

    @abstractmethod
    def higher(self, points: list[Tensor]) -> Tensor:
        """Return ``f[a, b, c, ...]`` on three points or more, which broadcast."""

    def divided(self, points: list[Tensor]) -> Tensor:
        """Return the divided difference on any number of points."""
        if len(points) > 2:
            return self.higher(points)
        return self.first(*points) if len(points) == 2 else self.value(*points)


class _Analytic(ScalarFunction):
    """A function with a Taylor series, from which its higher divided differences follow."""

    relative = True
    """Whether points are close by their ratio (functions on the positive axis) or by their difference."""
    reach, degree = 0.03, 8
    """The spread within which the series is used, and its last power: 0.02^9 = 5e-16."""

    @abstractmethod
    def taylor(self, a: Tensor, k: int) -> Tensor:
        """Return the k-th coefficient of Taylor's series at ``a``: the k-th derivative over k!."""

    def higher(self, points: list[Tensor]) -> Tensor:
        """Return Taylor's series about the mean where the points are close, else the quotient over the widest gap.

        The series of ``f[a_0, ..., a_n]`` is the sum over k of ``taylor(m, n + k) h_k(a - m)``, with the complete
        homogeneous polynomials h. The quotient loses two digits at the edge of the series.
        """
        points = _sorted(points)
        order = len(points) - 1
        mean, spread = torch.stack(points).mean(0), points[-1] - points[0]
        near = spread < self.reach * (mean if self.relative else 1.0)
        centre = torch.where(near, mean, 1)
        homogeneous = [torch.ones_like(mean), *[torch.zeros_like(mean)] * self.degree]
        for point in points:
            deviation = torch.where(near, point - mean, 0)
            for k in range(1, self.degree + 1):
                homogeneous[k] = homogeneous[k] + deviation * homogeneous[k - 1]
        series = torch.stack([self.taylor(centre, order + k) * h for k, h in enumerate(homogeneous)]).sum(0)
        rise = self.divided(points[1:]) - self.divided(points[:-1])
        return torch.where(near, series, rise / torch.where(near, 1, spread))


@dataclass(frozen=True)
class _Log(_Analytic):
    def value(self, a: Tensor) -> Tensor:
        return a.log()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        low = torch.minimum(a, b)
        ratio = (a - b).abs() / low
        return _quotient(ratio.log1p(), ratio, 1.0) / low

    def taylor(self, a: Tensor, k: int) -> Tensor:
        return (-1) ** (k - 1) / k * a**-k


@dataclass(frozen=True)
class _Exp(_Analytic):
    relative = False

    def value(self, a: Tensor) -> Tensor:
        return a.exp()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        gap = (a - b).abs()
        return _quotient(-(-gap).expm1(), gap, 1.0) * torch.maximum(a, b).exp()

    def taylor(self, a: Tensor, k: int) -> Tensor:
        return a.exp() / math.factorial(k)


@dataclass(frozen=True)
class Power(_Analytic):
    """``a^p`` on the positive axis.

    Args:
        p: Any exponent.
    """

    p: float

    def value(self, a: Tensor) -> Tensor:
        """Return ``a^p``."""
        return a**self.p

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``low^(p-1) ((1 + r)^p - 1) / r`` with ``r = (high - low) / low``."""
        low = torch.minimum(a, b)
        r = (a - b).abs() / low
        return _quotient((self.p * r.log1p()).expm1(), r, self.p) * low ** (self.p - 1)

    def taylor(self, a: Tensor, k: int) -> Tensor:
        """Return ``binomial(p, k) a^(p-k)``."""
        binomial = 1.0
        for j in range(k):  # torch.compile knows no math.prod
            binomial *= (self.p - j) / (j + 1)
        return binomial * a ** (self.p - k)


@dataclass(frozen=True)
class _Sqrt(Power):
    p: float = 0.5

    def value(self, a: Tensor) -> Tensor:
        return a.sqrt()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 / (a.sqrt() + b.sqrt())

    def higher(self, points: list[Tensor]) -> Tensor:
        if len(points) > 4:
            return super().higher(points)
        roots = [a.sqrt() for a in points]
        pairs = _product([a + b for i, a in enumerate(roots) for b in roots[:i]])
        return -1 / pairs if len(points) == 3 else sum(roots) / pairs


@dataclass(frozen=True)
class _InverseSqrt(Power):
    p: float = -0.5

    def value(self, a: Tensor) -> Tensor:
        return a.rsqrt()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = a.sqrt(), b.sqrt()
        return -1 / (a * b * (a + b))

    def higher(self, points: list[Tensor]) -> Tensor:
        if len(points) > 3:
            return super().higher(points)
        a, b, c = (p.sqrt() for p in points)
        return (a + b + c) / (a * b * c) / ((a + b) * (b + c) * (c + a))


@dataclass(frozen=True)
class _Inverse(Power):
    p: float = -1.0

    def value(self, a: Tensor) -> Tensor:
        return 1 / a

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        return -1 / (a * b)

    def higher(self, points: list[Tensor]) -> Tensor:
        return (-1) ** (len(points) - 1) / _product(points)


@dataclass(frozen=True)
class Rectifier(ScalarFunction):
    """``max(a, eps)``; its derivative at ``a = eps`` is taken from below (0).

    Args:
        eps: The threshold.
    """

    eps: float

    def value(self, a: Tensor) -> Tensor:
        """Return ``max(a, eps)``."""
        return a.clamp(min=self.eps)

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the slope of the chord."""
        return _quotient(self.value(a) - self.value(b), a - b, (a > self.eps).to(a.dtype))

    def higher(self, points: list[Tensor]) -> Tensor:
        """Return the divided difference of the chords, 0 where all points lie on one side."""
        points = _sorted(points)
        return _quotient(self.divided(points[1:]) - self.divided(points[:-1]), points[-1] - points[0], 0.0)


@dataclass(frozen=True)
class Smooth(_Analytic):
    """Any smooth elementwise function of a tensor, on the positive axis.

    Its derivatives are taken by autograd. The first derivative of the matrix function is exact to 1e-13, the second
    to 1e-10; the named functions do better.

    Args:
        f: A function of a tensor that acts on each element, with four derivatives.
    """

    f: Callable[[Tensor], Tensor]
    reach, degree = 0.003, 3

    def value(self, a: Tensor) -> Tensor:
        """Return ``f(a)``."""
        return self.f(a)

    def taylor(self, a: Tensor, k: int) -> Tensor:
        """Return the k-th derivative over k!."""
        g = self.f
        for _ in range(k):
            g = _derivative(g)
        return g(a) / math.factorial(k)

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the quotient, and within 1 % Taylor's series about the middle."""
        a, b = torch.broadcast_tensors(a, b)
        middle, half = (a + b) / 2, (a - b) / 2
        near = half.abs() < 0.005 * middle.abs()
        centre, h2 = torch.where(near, middle, 1), torch.where(near, half * half, 0)
        series = self.taylor(centre, 1) + h2 * (self.taylor(centre, 3) + h2 * self.taylor(centre, 5))
        return torch.where(near, series, (self.value(a) - self.value(b)) / torch.where(near, 1, a - b))


def _derivative(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda a: torch.func.jvp(f, (a,), (torch.ones_like(a),))[1]


@dataclass(frozen=True)
class Compose(ScalarFunction):
    """``outer(inner(a))``, as ``Compose(LOG, Rectifier(eps))``, with one eigendecomposition.

    Args:
        outer: A function on the range of ``inner``.
        inner: The function applied first.
    """

    outer: ScalarFunction
    inner: ScalarFunction

    def value(self, a: Tensor) -> Tensor:
        """Return ``outer(inner(a))``."""
        return self.outer.value(self.inner.value(a))

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``outer[inner(a), inner(b)] inner[a, b]``."""
        return self.outer.first(self.inner.value(a), self.inner.value(b)) * self.inner.first(a, b)

    def higher(self, points: list[Tensor]) -> Tensor:
        """Return the chain rule of second divided differences; there is none of higher order here."""
        if len(points) > 3:
            raise NotImplementedError("Compose: expected at most two derivatives of a matrix function, not three.")
        a, b, c = points
        u, v, w = (self.inner.value(p) for p in points)
        curved = self.outer.divided([u, v, w]) * self.inner.first(a, c) * self.inner.first(b, c)
        return self.outer.first(u, v) * self.inner.divided(points) + curved


LOG = _Log()
EXP = _Exp()
SQRT = _Sqrt()
INV_SQRT = _InverseSqrt()
INVERSE = _Inverse()
