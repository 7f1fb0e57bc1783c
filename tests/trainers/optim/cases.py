"""Parameters, gradients and slow optimizers for the tests of this folder."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds import Euclidean, Lorentz, Manifold, PoincareBall, Product, Sphere

MANIFOLDS = [
    Sphere(3),
    PoincareBall(4),
    PoincareBall(4, c=1.7),
    Lorentz(3, c=0.6),
    Product([PoincareBall(2), Sphere(2), Euclidean(3), Lorentz(2)]),
]


def parameters(manifold: Manifold | None, count: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return tables of five points each (of R^4 for ``None``)."""
    shape = (5, 4) if manifold is None else (5, *manifold.point_shape)
    return [
        torch.randn(shape, dtype=dtype) if manifold is None else manifold.random(*shape, dtype=dtype)
        for _ in range(count)
    ]


def run(optimizer: torch.optim.Optimizer, params: list[Any], steps: int = 20, seed: int = 1) -> list[Tensor]:
    """Take steps down ``sum (p - target)^2``, with fixed random targets; return the parameters' values."""
    generator = torch.Generator().manual_seed(seed)
    targets = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack([(p - t).square().sum() for p, t in zip(params, targets, strict=True)]).sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in params]


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    """Return the largest difference between two lists of tensors."""
    return max(float((x - y).detach().abs().max()) for x, y in zip(a, b, strict=True))


class SlowGeometry:
    """One manifold at one point at a time, by textbook formulas: metric, retraction along the geodesic, transport."""

    def __repr__(self) -> str:  # without an address: test processes compare the names of tests
        return type(self).__name__

    def factor(self, x: Tensor) -> float:
        raise NotImplementedError

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        raise NotImplementedError

    def move(self, x: Tensor, u: Tensor) -> Tensor:
        raise NotImplementedError

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError


class SlowSphere(SlowGeometry):
    """The sphere: transport is the rotation, as a matrix, that takes x to y in their plane."""

    def factor(self, x: Tensor) -> float:
        return 1.0

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return (torch.eye(len(x), dtype=x.dtype) - torch.outer(x, x)) @ g

    def move(self, x: Tensor, u: Tensor) -> Tensor:
        return (x + u) / torch.linalg.norm(x + u)

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        turn = torch.outer(y, x) - torch.outer(x, y)
        return (torch.eye(len(x), dtype=x.dtype) + turn + turn @ turn / (1 + x @ y)) @ v


class SlowBall(SlowGeometry):
    """The ball of curvature -1: transport is a ratio of conformal factors times a gyration of Moebius sums."""

    def factor(self, x: Tensor) -> float:
        return 2 / (1 - float(x @ x))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        xy, x2, y2 = x @ y, x @ x, y @ y
        return ((1 + 2 * xy + y2) * x + (1 - x2) * y) / (1 + 2 * xy + x2 * y2)

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return g / self.factor(x) ** 2

    def move(self, x: Tensor, u: Tensor) -> Tensor:
        length = float(torch.linalg.norm(u))
        if length == 0:
            return x
        hyperbolic = 2 * math.asinh(self.factor(x) * length / 2)
        return self.add(x, math.tanh(hyperbolic / 2) * u / length)

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        # A gyration is linear; its formula by sums, left to right, takes vectors inside the ball.
        inside = v / (2 * max(1.0, float(torch.linalg.norm(v))))
        gyrated = self.add(-self.add(y, -x), self.add(y, self.add(-x, inside)))
        return self.factor(x) / self.factor(y) * gyrated * 2 * max(1.0, float(torch.linalg.norm(v)))


def slow_sgd(
    geometry: SlowGeometry,
    x: Tensor,
    gradient: Callable[[Tensor], Tensor],
    steps: int,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> Tensor:
    """Gradient descent with a momentum that starts as the first Riemannian gradient and is carried along."""
    b = None
    for _ in range(steps):
        r = geometry.gradient(x, gradient(x))
        b = r if b is None else momentum * b + (1 - dampening) * r
        y = geometry.move(x, -lr * (r + momentum * b if nesterov else b))
        b = geometry.transport(x, y, b)
        x = y
    return x


def slow_adam(
    geometry: SlowGeometry,
    x: Tensor,
    gradient: Callable[[Tensor], Tensor],
    steps: int,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    amsgrad: bool = False,
) -> Tensor:
    """Becigneul & Ganea 2019, algorithm 1a, on one factor of the product of manifolds, with Adam's bias corrections."""
    m, v, largest = torch.zeros_like(x), 0.0, 0.0
    for t in range(1, steps + 1):
        r = geometry.gradient(x, gradient(x))
        m = betas[0] * m + (1 - betas[0]) * r
        v = betas[1] * v + (1 - betas[1]) * geometry.factor(x) ** 2 * float(r @ r)
        largest = max(largest, v)
        scale = math.sqrt((largest if amsgrad else v) / (1 - betas[1] ** t)) + eps
        y = geometry.move(x, -lr * m / (1 - betas[0] ** t) / scale)
        m = geometry.transport(x, y, m)
        x = y
    return x
