"""e3nn's tensor product with spherical harmonics, and its weights as those of an SO(2) layer."""

from collections.abc import Iterable, Iterator

import torch
from e3nn import o3
from torch import Tensor, nn

from isometry.layers.equivariant import SO2Frame, SO2Linear
from isometry.layers.testing.case import float64_by_default

Path = tuple[int, int, int]  # degrees of the input, of the spherical harmonic, of the output


POLES = torch.tensor([[0.0, 1, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
NEAR_POLES = torch.tensor(
    [[sign * tilt, pole, -tilt / 3] for tilt in (1e-2, 1e-5, 1e-9) for pole in (1, -1) for sign in (1, -1)],
    dtype=torch.float64,
)


def paths(lmax: int, filter_lmax: int) -> list[Path]:
    """Return all products of an input and a harmonic that reach an output."""
    degrees = range(lmax + 1)
    return [(a, f, b) for a in degrees for f in range(filter_lmax + 1) for b in degrees if abs(a - b) <= f <= a + b]


def e3nn_product(lmax: int, filter_lmax: int, channels: int, mode: str, **options: bool) -> o3.TensorProduct:
    """Return e3nn's product of mode "uvw" or "uvu" along all paths, in float64, for features without parity."""
    features = o3.Irreps([(channels, (degree, 1)) for degree in range(lmax + 1)])
    harmonics = o3.Irreps([(1, (degree, 1)) for degree in range(filter_lmax + 1)])
    instructions = [(a, f, b, mode, True) for a, f, b in paths(lmax, filter_lmax)]
    with float64_by_default():
        return o3.TensorProduct(
            features,
            harmonics,
            features,
            instructions,
            irrep_normalization="component",
            path_normalization="none",
            **options,
        )


def so2_weights(lmax: int, weights: dict[Path, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each order m the matrices V and W that act as the paths do, ``[output, input, *shape of a weight]``.

    ``V_m = sum_f h sqrt((2 f + 1) (2 b + 1)) w3j[(a, m), (f, 0), (b, m)]`` over the even products and
    ``W_m = -sum_f h sqrt((2 f + 1) (2 b + 1)) w3j[(a, -m), (f, 0), (b, m)]`` over the odd ones.
    """
    like = next(iter(weights.values()))
    for m in range(lmax + 1):
        even, odd = like.new_zeros(2, lmax + 1 - m, lmax + 1 - m, *like.shape).unbind()
        for (a, f, b), weight in weights.items():
            if min(a, b) < m:
                continue
            scale = ((2 * f + 1) * (2 * b + 1)) ** 0.5
            product = scale * o3.wigner_3j(a, f, b, dtype=torch.float64)[:, f, b + m]
            even[b - m, a - m] += weight * product[a + m]
            if m:
                odd[b - m, a - m] -= weight * product[a - m]
        yield even, odd


def harmonics(vec: Tensor, lmax: int) -> Tensor:
    """Return e3nn's spherical harmonics."""
    with float64_by_default():
        return o3.spherical_harmonics(list(range(lmax + 1)), vec, True, "component")


class OnEdges(nn.Module):
    """A layer in the frames of edges, seen from space: it takes the features and the vectors of edges."""

    def __init__(self, layer: nn.Module, lmax: int, mmax: int) -> None:
        super().__init__()
        self.frame, self.layer = SO2Frame(lmax, mmax), layer

    def forward(self, x: Tensor, vec: Tensor, *scalars: Tensor, roll: Tensor | None = None) -> Tensor:
        frame = self.frame(vec, roll)
        return frame.mT @ self.layer(frame @ x, *scalars)


def rows_of_weights(matrices: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the weights ``[edges, rows, channels]`` of ``SO2Depthwise`` from those of shape [edges, channels]."""
    rows = []
    for m, (even, odd) in enumerate(matrices):
        rows += [even.flatten(0, 1)] + ([odd.flatten(0, 1)] if m else [])
    return torch.cat(rows).transpose(0, 1)


def load_weights(layer: SO2Linear, matrices: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set the weights of the layer from matrices ``[output, input, channels_in, channels_out]``."""
    for parameter, (even, odd) in zip(layer.weights, matrices, strict=True):
        both = torch.stack([even, odd])[: len(parameter)]
        parameter.data.copy_(both.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2))
