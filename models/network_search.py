"""Which cores of a tensor network are to share a bond, found by growing one bond at a time."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Bonds = dict[tuple[int, int], int]


class TensorNetwork(nn.Module):
    r"""A tensor ``[n_1, ..., n_d]`` as a network of one core per mode, with a bond between any two cores.

    ``W[i_1, ..., i_d] = sum over all bonds of prod_k G_k[i_k, bonds of k]``. With bonds of 1, which are none, except in
    a chain or a circle, it is a train or a ring.

    Args:
        shape: ``n_1, ..., n_d``.
        bonds: Size of the bond of cores j < k; 1 where there is none.
        generator: For the cores, which are normal, such that entries of W have variance 1.
        dtype: Of the cores.

    Raises:
        ValueError: There are less than two modes, or a bond is not between two of them or less than 1.

    Source: of all such networks, Ye & Lim 2018, Tensor network ranks.
    """

    def __init__(
        self,
        shape: Sequence[int],
        bonds: Mapping[tuple[int, int], int] | None = None,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.shape, given = tuple(shape), dict(bonds or {})
        pairs = list(itertools.combinations(range(len(self.shape)), 2))
        if len(self.shape) < 2 or not set(given) <= set(pairs) or any(r < 1 for r in given.values()):
            raise ValueError(
                f"TensorNetwork: expected two modes or more and bonds of at least 1 by pairs (j, k), "
                f"j < k < {len(self.shape)}, but got the shape {self.shape} and {given}."
            )
        self.bonds: Bonds = {pair: given.get(pair, 1) for pair in pairs}
        scale = math.prod(self.bonds.values()) ** (-0.5 / len(self.shape))
        self.cores = nn.ParameterList(
            scale * torch.randn(n, *self._sizes(k), generator=generator, dtype=dtype) for k, n in enumerate(self.shape)
        )

    def _sizes(self, k: int) -> list[int]:
        return [r for pair, r in self.bonds.items() if k in pair]

    def _indices(self, k: int) -> list[int]:
        """Return the names of a core's indices: modes are the first numbers, bonds the next."""
        return [k, *(len(self.shape) + i for i, pair in enumerate(self.bonds) if k in pair)]

    @property
    def num_parameters(self) -> int:
        """Number of the cores' entries."""
        return sum(core.numel() for core in self.cores)

    def forward(self) -> Float[Tensor, "..."]:
        """Return the dense tensor."""
        operands = [part for k, core in enumerate(self.cores) for part in (core, self._indices(k))]
        return torch.einsum(*operands, list(range(len(self.shape))))

    @torch.no_grad()
    def fit(self, w: Float[Tensor, "..."], sweeps: int = 100, tol: float = 1e-10) -> float:
        """Fit the cores by alternating least squares; return the error relative to ``|w|``.

        Args:
            w: The tensor.
            sweeps: Largest number of sweeps over all cores.
            tol: Stop when the error is below, or a sweep lowers it by less than a thousandth of itself.
        """
        error = math.inf
        for _ in range(sweeps):
            for k in range(len(self.shape)):
                self._solve(w, k)
            before, error = error, float((self() - w).norm() / w.norm())
            if error < tol or before - error < 1e-3 * error:
                break
        return error

    def _solve(self, w: Tensor, k: int) -> None:
        """Make core k the least-squares solution given the others."""
        others = [j for j in range(len(self.shape)) if j != k]
        operands = [part for j in others for part in (self.cores[j], self._indices(j))]
        rest = torch.einsum(*operands, others + self._indices(k)[1:]).flatten(0, len(others) - 1).flatten(1)
        # With the pseudoinverse, as a new slice may be a multiple of an old one.
        solution = torch.linalg.lstsq(rest, w.movedim(k, -1).flatten(0, -2), driver="gelsd").solution
        self.cores[k].copy_(solution.mT.view_as(self.cores[k]))

    @torch.no_grad()
    def resized(
        self, pair: tuple[int, int], size: int, noise: float = 0.0, generator: torch.Generator | None = None
    ) -> "TensorNetwork":
        """Return the network with another bond: without its last slices, or with normal ones, ``noise`` as large."""
        other = TensorNetwork(self.shape, self.bonds | {pair: size}, generator=generator, dtype=self.cores[0].dtype)
        for new, old in zip(other.cores, self.cores, strict=True):
            new.mul_(noise * old.square().mean().sqrt() / new.square().mean().sqrt())
            common = tuple(slice(min(n, m)) for n, m in zip(new.shape, old.shape, strict=True))
            new[common] = old[common]
        return other


class SearchStep(NamedTuple):
    """A network that the search has passed.

    Args:
        network: The fitted network.
        error: ``|w - W| / |w|``.
        pair: The bond that has grown or shrunk; None at the start.
    """

    network: TensorNetwork
    error: float
    pair: tuple[int, int] | None


def search_network(
    w: Float[Tensor, "..."],
    *,
    tol: float = 1e-6,
    max_parameters: int | None = None,
    probe_sweeps: int = 10,
    sweeps: int = 300,
    noise: float = 0.1,
    generator: torch.Generator | None = None,
) -> list[SearchStep]:
    r"""Grow a network towards a tensor, at each step by the bond that helps most.

    From all bonds 1 on: for each bond, one slice more, beside what was fitted, and a few sweeps of least squares; the
    one with the least error is then fitted to the end. Where the tolerance is reached, slices without which it
    still is are taken back. Greedy as it is, the structure found need not be the smallest.

    Args:
        w: One dense tensor, not zero.
        tol: Stop at this relative error.
        max_parameters: No network has more.
        probe_sweeps: Sweeps for each candidate.
        sweeps: Largest number of sweeps for the one taken.
        noise: Size of a new slice relative to the core.
        generator: For the cores.

    Returns:
        The networks in order; the last is the result.

    Raises:
        ValueError: The tensor has less than two modes, or is zero or not finite.

    Source: Hashemizadeh, Liu, Miller & Rabusseau 2020, Adaptive learning of tensor network structures.
    """
    length = float(torch.linalg.vector_norm(w))
    if w.ndim < 2 or not 0 < length < math.inf:
        raise ValueError(
            f"search_network: expected a finite tensor, not zero, of two modes or more, but got the shape "
            f"{list(w.shape)} and norm {length}."
        )
    network = TensorNetwork(w.shape, generator=generator, dtype=w.dtype)
    steps = [SearchStep(network, network.fit(w, sweeps, tol / 10), None)]
    while steps[-1].error > tol:
        probes = []
        for pair in network.bonds:
            probe = network.resized(pair, network.bonds[pair] + 1, noise, generator)
            if max_parameters is None or probe.num_parameters <= max_parameters:
                probes.append(SearchStep(probe, probe.fit(w, probe_sweeps, tol / 10), pair))
        if not probes:
            return steps
        best = min(probes, key=lambda step: step.error)
        network = best.network
        steps.append(SearchStep(network, network.fit(w, sweeps, tol / 10), best.pair))
    return steps + _pruned(w, network, sweeps, tol)


def _pruned(w: Tensor, network: TensorNetwork, sweeps: int, tol: float) -> list[SearchStep]:
    """Return the networks with fewer and fewer slices that still reach the tolerance."""
    steps: list[SearchStep] = []
    for pair in network.bonds:
        while network.bonds[pair] > 1:
            probe = network.resized(pair, network.bonds[pair] - 1)
            error = probe.fit(w, sweeps, tol / 10)
            if error > tol:
                break
            network = probe
            steps.append(SearchStep(network, error, pair))
    return steps
