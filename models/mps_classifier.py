"""Classifiers that are linear in the product of features of every site: matrix product states."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

FeatureMap = Callable[[Tensor], Tensor]
_FLOOR = 1e-7  # of squares next to the largest, 1; a value of 0 had an infinite logarithm


def linear_features(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b 2"]:
    """Return ``[1 - x, x]``."""
    return torch.stack([1 - x, x], -1)


def trigonometric_features(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b 2"]:
    """Return ``[cos(pi x/2), sin(pi x/2)]``, of norm 1."""
    return torch.stack([(math.pi / 2 * x).cos(), (math.pi / 2 * x).sin()], -1)


def matrix_product(matrices: Float[Tensor, "b n D D"]) -> tuple[Float[Tensor, "b D D"], Float[Tensor, "b"]]:
    """Return ``P`` and ``s`` of the product ``M_1 ... M_n = exp(s) P``, neighbours first, in ``log2 n`` rounds.

    Each product is divided by its largest entry, so that nothing over- or underflows, however long the chain. The
    divisors are constants to the gradient, which they do not change.
    """
    log = matrices.new_zeros(len(matrices))
    while True:
        size = _largest(matrices, (-2, -1))
        log = log + size.log().sum((1, 2, 3))
        matrices = matrices / size
        n = matrices.shape[1]
        if n == 1:
            return matrices[:, 0], log
        pairs = matrices[:, 0 : n - n % 2 : 2] @ matrices[:, 1::2]
        matrices = torch.cat([pairs, matrices[:, n - n % 2 :]], 1)


def _largest(a: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Return the largest entries, as constants, and 1 for 0."""
    size = a.detach().abs().amax(axes, keepdim=True)
    return torch.where(size == 0, 1, size)


class MPSClassifier(nn.Module):
    r"""Logits ``f_l(x) = W_l . phi(x_1) o ... o phi(x_n)`` with W a train of cores, one of which bears the label.

    ``f = exp(log_scale) e_1^T A_1(x_1) ... A_(m-1)(x_(m-1)) C(x_m) A_(m+1)(x_(m+1)) ... A_n(x_n) e_1``

    ``A_i(x) = sum_p phi_p(x) A_ip`` are ``[bond, bond]`` and C at the label site m has one more index l. A smaller bond
    is one that is padded with zeros. Cores start near the identity and the values, for features that add up
    to 1, near those of a linear map.

    Values of long chains may be numbers that no dtype holds, so that they are computed with their logarithm
    (``scaled``). As "amplitudes", f itself are the logits; as "probabilities", ``log(f_l^2 / |f|^2)``, which are always
    finite.

    Args:
        num_sites: Number n of inputs, each in [0, 1].
        num_classes: Number of logits.
        bond: The largest bond.
        feature_map: Maps inputs ``[*b]`` to features ``[*b, p]``.
        label_site: The site with the label, counted from 0; by default in the middle.
        output: "amplitudes" or "probabilities".
        noise: Standard deviation of the cores at the start, times ``(n bond)^(1/2)``.

    Raises:
        ValueError: A size or the label site is out of its range, or the output is another one.

    Source: Stoudenmire & Schwab 2016, Supervised learning with tensor networks.
    """

    log_scale: Tensor

    def __init__(
        self,
        num_sites: int,
        num_classes: int,
        bond: int = 10,
        *,
        feature_map: FeatureMap = linear_features,
        label_site: int | None = None,
        output: str = "amplitudes",
        noise: float = 1.0,
    ) -> None:
        super().__init__()
        site = num_sites // 2 if label_site is None else label_site
        if num_sites < 2 or num_classes < 1 or bond < 1 or not 0 <= site < num_sites:
            raise ValueError(
                f"MPSClassifier: expected two sites or more, classes and a bond of at least 1, and a label_site from 0 "
                f"to num_sites - 1, but got num_sites={num_sites}, num_classes={num_classes}, bond={bond} and "
                f"label_site={site}."
            )
        if output not in ("amplitudes", "probabilities"):
            raise ValueError(f"MPSClassifier: expected output 'amplitudes' or 'probabilities', but got {output!r}.")
        self.num_sites, self.label_site, self.feature_map, self.output = num_sites, site, feature_map, output
        features = feature_map(torch.zeros(1)).shape[-1]
        std = noise / math.sqrt(num_sites * bond)
        identity = torch.eye(bond).unsqueeze(1)
        self.cores = nn.Parameter(identity + std * torch.randn(num_sites - 1, bond, features, bond))
        self.center = nn.Parameter(torch.randn(bond, features, num_classes, bond) / math.sqrt(bond))
        self.register_buffer("log_scale", torch.zeros(()))

    def scaled(self, x: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b num_classes"], Float[Tensor, "b"]]:
        """Return ``g`` of a size near 1 and ``s`` with ``f = exp(s) g``.

        Raises:
            ValueError: There is another number of inputs.
        """
        if x.shape[1] != self.num_sites:
            raise ValueError(f"MPSClassifier: expected inputs [b, {self.num_sites}], but got {list(x.shape)}.")
        m, phi = self.label_site, self.feature_map(x)
        values = torch.einsum("bp,apls->blas", phi[:, m], self.center)
        log = self.log_scale.to(x.dtype).expand(len(x))
        for side, cores, left in ((phi[:, :m], self.cores[:m], True), (phi[:, m + 1 :], self.cores[m:], False)):
            if cores.shape[0]:
                product, size = matrix_product(torch.einsum("bnp,naps->bnas", side, cores))
                values = (product.unsqueeze(1) @ values) if left else values @ product.unsqueeze(1)
                log = log + size
        g = values[..., 0, 0]
        size = _largest(g, -1)
        return g / size, log + size.squeeze(1).log()

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b num_classes"]:
        """Return the logits; inputs of any shape are sites in their order."""
        g, log = self.scaled(x.flatten(1))
        if self.output == "amplitudes":
            return g * log.exp().unsqueeze(1)
        square = g.square() + _FLOOR
        return (square / square.sum(1, keepdim=True)).log()

    def trains(self) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Return the cores left of the label, the center and the cores to its right, with bond 1 at the ends."""
        center, cores = self.center.detach(), list(self.cores.detach())
        left, right = cores[: self.label_site], cores[self.label_site :]
        if left:
            left[0] = left[0][:1]
        else:
            center = center[:1]
        if right:
            right[-1] = right[-1][..., :1]
        else:
            center = center[..., :1]
        return left, center, right

    @torch.no_grad()
    def load_trains(self, left: list[Tensor], center: Tensor, right: list[Tensor]) -> None:
        """Take cores ``[a, p, s]`` and a center ``[a, p, num_classes, s]``, of bonds up to that of the model.

        Raises:
            ValueError: The numbers of cores are not those of the sites beside the label, or a bond is too large.
        """
        bond, sides = self.center.shape[-1], (len(left), len(right))
        largest = max(n for core in (*left, center, *right) for n in (core.shape[0], core.shape[-1]))
        if sides != (self.label_site, self.num_sites - 1 - self.label_site) or largest > bond:
            raise ValueError(
                f"MPSClassifier: expected {self.label_site} cores left of the label, "
                f"{self.num_sites - 1 - self.label_site} right of it and bonds up to {bond}, but got {sides} cores and "
                f"bonds up to {largest}."
            )
        self.cores.zero_()
        self.center.zero_()
        for target, core in zip(self.cores, (*left, *right), strict=True):
            target[: core.shape[0], :, : core.shape[-1]] = core
        self.center[: center.shape[0], ..., : center.shape[-1]] = center

    @torch.no_grad()
    def canonicalize(self) -> None:
        r"""Make the cores left of the label left- and those right of it right-orthonormal; f stays.

        The center then has norm 1, ``exp(log_scale)`` that of W, and derivatives by the center those by W.
        """
        left, center, right = self.trains()
        log = self.log_scale.double()
        mirrored, center, size = _orthonormal(
            [core.transpose(0, 2).double() for core in reversed(right)], center.double().transpose(0, 3)
        )
        right, log = [core.transpose(0, 2) for core in reversed(mirrored)], log + size
        left, center, size = _orthonormal([core.double() for core in left], center.transpose(0, 3))
        norm = center.norm()
        self.load_trains(left, center / norm, right)
        self.log_scale.copy_(log + size + norm.log())

    def extra_repr(self) -> str:
        """Return the settings."""
        bond, features, classes, _ = self.center.shape
        return (
            f"{self.num_sites}, {classes}, bond={bond}, features={features}, label_site={self.label_site}, "
            f"output={self.output!r}"
        )


def _orthonormal(cores: list[Tensor], last: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return left-orthonormal cores, the last tensor that goes with them, and the log of what they were divided by."""
    log, factor, done = last.new_zeros(()), last.new_ones(1, 1), []
    for core in cores:
        moved = torch.tensordot(factor, core, 1)
        Q, R = torch.linalg.qr(moved.flatten(0, 1))
        done.append(Q.unflatten(0, moved.shape[:2]))
        norm = R.norm()
        factor, log = R / norm, log + norm.log()
    return done, torch.tensordot(factor, last, 1) if cores else last, log
