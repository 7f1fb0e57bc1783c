"""Functions of a distance that split where the distance is a sum."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ExponentialKernel(nn.Module):
    r"""Exponential weights, ``f(d) = exp(-rate d)``, for which ``f(a + b) = f(a) f(b)``.

    Args:
        rate: The positive rate at the start; its logarithm is a parameter.

    Source: Choromanski et al. 2024, Fast tree-field integrators.
    """

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        if not rate > 0:
            raise ValueError(f"ExponentialKernel: expected a positive rate, but got {rate}.")
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))

    def forward(self, d: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return f of distances."""
        return torch.exp(-self.log_rate.exp() * d)

    def factors(self, d: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b r"], Float[Tensor, "*b r"]]:
        """Return u(d) and v(d) with ``f(a + b) = u(a) . v(b)``."""
        u = self(d).unsqueeze(-1)
        return u, u


class PolynomialKernel(nn.Module):
    r"""A polynomial, ``f(d) = sum_k c_k d^k``, for which ``f(a + b) = sum_k a^k/k! f^(k)(b)``.

    Args:
        coefficients: ``c_0, c_1, ...`` at the start; they are a parameter.

    Source: Choromanski et al. 2024, Fast tree-field integrators.
    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        super().__init__()
        if not coefficients:
            raise ValueError("PolynomialKernel: expected at least one coefficient.")
        self.coefficients = nn.Parameter(torch.tensor(coefficients, dtype=torch.get_default_dtype()))

    def forward(self, d: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return f of distances."""
        return _powers(d, len(self.coefficients)) @ self.coefficients

    def factors(self, d: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b r"], Float[Tensor, "*b r"]]:
        """Return u(d) and v(d) with ``f(a + b) = u(a) . v(b)``."""
        rank = len(self.coefficients)
        powers = _powers(d, rank)
        taylor = [
            sum(math.comb(k + m, k) * self.coefficients[k + m] * powers[..., m] for m in range(rank - k))
            for k in range(rank)
        ]
        return powers, torch.stack([term for term in taylor if isinstance(term, Tensor)], -1)


class CosineKernel(nn.Module):
    r"""A wave, ``f(d) = cos(frequency d)``, for which ``f(a + b) = cos a cos b - sin a sin b`` at frequency 1.

    Args:
        frequency: At the start; it is a parameter.

    Source: Choromanski et al. 2024, Fast tree-field integrators.
    """

    def __init__(self, frequency: float = 1.0) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.tensor(frequency))

    def forward(self, d: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return f of distances."""
        return torch.cos(self.frequency * d)

    def factors(self, d: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b r"], Float[Tensor, "*b r"]]:
        """Return u(d) and v(d) with ``f(a + b) = u(a) . v(b)``."""
        angle = self.frequency * d
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([cos, -sin], -1), torch.stack([cos, sin], -1)


def _powers(d: Tensor, count: int) -> Tensor:
    """Return ``1, d, d^2, ...``; by products, whose derivatives at 0 are exact."""
    powers = [torch.ones_like(d)]
    for _ in range(count - 1):
        powers.append(powers[-1] * d)
    return torch.stack(powers, -1)
