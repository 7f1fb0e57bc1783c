"""Products of features with the directions of edges: reduced to SO(2), beside e3nn's, cuEquivariance's, fairchem's.

2,000 edges, float32, features on the edges. The frames (isometry, fairchem) and the spherical harmonics (e3nn,
cuEquivariance) are given, as all layers of a network share them, but for the cases "with positions", where they are
computed and differentiated by the vectors. e3nn's paths go up to harmonics of degree L; the SO(2) layers cover those up
to degree 2 L, with as many weights more. Weights are mapped, and equal outputs are checked, against e3nn and fairchem.
cuEquivariance's product leaves its paths apart, which saves it their sum.
"""

from collections.abc import Callable, Iterator

import cuequivariance as cue
import cuequivariance_torch as cuet
import torch
from e3nn import o3
from torch import Tensor, nn

from benchmarks.equivariant_gaunt import check, step
from benchmarks.race import Step
from isometry.layers.equivariant import SO2Depthwise, SO2Frame, SO2Linear, SphericalLayout
from tests.layers.equivariant.fairchem_modules import euler_wigner_of_edges, so2_convolution, wigner_of_edges
from tests.layers.equivariant.so2_oracles import e3nn_product, load_weights, paths, rows_of_weights, so2_weights

EDGES = 2000
DEGREES = (1, 2, 3, 4, 6)
COMPILED_DEGREES = (1, 2, 3)  # of e3nn: above, Inductor takes many minutes
SINGLE = torch.float32


class InFrames(nn.Module):
    """A layer in frames that are given, or that are computed from the vectors, the last input."""

    def __init__(self, layer: nn.Module, frame: Tensor | nn.Module) -> None:
        super().__init__()
        self.layer, self.frame = layer, frame

    def forward(self, x: Tensor, *inputs: Tensor) -> Tensor:
        """Return the product."""
        if isinstance(self.frame, Tensor):
            frame = self.frame
        else:
            frame, inputs = self.frame(inputs[-1]), inputs[:-1]
        return frame.mT @ self.layer(frame @ x, *inputs)


class WithHarmonics(nn.Module):
    """A product with spherical harmonics that are given, or that are computed from the vectors, the last input."""

    def __init__(self, product: nn.Module, harmonics: Tensor | nn.Module) -> None:
        super().__init__()
        self.product, self.harmonics = product, harmonics

    def forward(self, x: Tensor, *inputs: Tensor) -> Tensor:
        """Return the product, in the flat order."""
        if isinstance(self.harmonics, Tensor):
            harmonics = self.harmonics
        else:
            harmonics, inputs = self.harmonics(inputs[-1]), inputs[:-1]
        return self.product(x, harmonics, *inputs)


def compiled(f: nn.Module) -> nn.Module:
    """Return the module as Inductor compiles it, in one graph; a fall back to eager is an error."""
    result: nn.Module = torch.compile(f, fullgraph=True, dynamic=False)  # type: ignore[assignment]
    return result


def spherical_harmonics(lmax: int) -> nn.Module:
    """Return e3nn's harmonics of directions."""
    return o3.SphericalHarmonics(list(range(lmax + 1)), True, "component")


def cue_product(lmax: int, channels: int) -> cuet.ChannelWiseTensorProduct:
    """Return cuEquivariance's product of each channel, by its only method for CPUs, in its fastest layout: ours."""
    features, harmonics = (
        cue.Irreps("SO3", "+".join(f"{count}x{degree}" for degree in range(lmax + 1))) for count in (channels, 1)
    )
    options = {"shared_weights": False, "internal_weights": False, "layout": cue.ir_mul, "method": "naive"}
    return cuet.ChannelWiseTensorProduct(features, harmonics, harmonics, **options)


def depthwise(positions: bool = False) -> Iterator[tuple[str, dict[str, Step]]]:
    """The product "uvu": each channel by itself, with weights of each edge."""
    for channels in (32, 64):
        for lmax in DEGREES if not positions else DEGREES[:-1]:
            layout, vec = SphericalLayout(lmax), torch.randn(EDGES, 3)
            x = torch.randn(EDGES, layout.size, channels)
            peer = e3nn_product(lmax, lmax, channels, "uvu", shared_weights=False, internal_weights=False).float()
            weights = torch.randn(EDGES, peer.weight_numel)
            parts = [part.squeeze(-1) for part in peer.weight_views(weights)]
            rows = rows_of_weights(so2_weights(lmax, dict(zip(paths(lmax, lmax), parts, strict=True)))).contiguous()
            flat = layout.to_irreps(x).contiguous()
            frame, harmonics = SO2Frame(lmax, lmax), spherical_harmonics(lmax)
            ours = InFrames(SO2Depthwise(lmax, lmax), frame if positions else frame(vec))
            theirs = WithHarmonics(peer, harmonics if positions else harmonics(vec))
            own, other = ((x, rows), (flat, weights)) if not positions else ((x, rows, vec), (flat, weights, vec))
            check(ours(*own), layout.from_irreps(theirs(*other), channels))

            steps = {"isometry": step(ours, own, True), "isometry, compiled": step(compiled(ours), own, True)}
            steps["e3nn"] = step(theirs, other, True)
            if lmax in COMPILED_DEGREES:
                steps["e3nn, compiled"] = step(compiled(theirs), other, True)
            if not positions:
                third = cue_product(lmax, channels)
                free = torch.randn(EDGES, third.weight_numel)
                steps["cuequivariance"] = step(WithHarmonics(third, harmonics(vec)), (x.flatten(1), free), True)
            what = "uvu with positions" if positions else "uvu"
            yield f"{what} forward+backward, L={lmax}, {channels} channels", steps


def with_positions() -> Iterator[tuple[str, dict[str, Step]]]:
    """The same, with frames and harmonics computed from the vectors, and gradients to these."""
    return depthwise(positions=True)


def fully_connected() -> Iterator[tuple[str, dict[str, Step]]]:
    """The product "uvw": all channels with each other, with weights that all edges share."""
    for channels in (32, 64):
        for lmax in DEGREES:
            layout, vec = SphericalLayout(lmax), torch.randn(EDGES, 3)
            x = torch.randn(EDGES, layout.size, channels)
            frame = SO2Frame(lmax, lmax)(vec)
            ours = SO2Linear(channels, channels, lmax, lmax, bias=False)
            peer = e3nn_product(lmax, lmax, channels, "uvw", shared_weights=True, internal_weights=True).float()
            parts = [weight.detach().squeeze(1) for weight in peer.weight_views()]
            load_weights(ours, so2_weights(lmax, dict(zip(paths(lmax, lmax), parts, strict=True))))
            fairchem = so2_convolution(channels, channels, lmax, lmax)
            fairchem.fc_m0.weight.data = ours.weights[0].data[0].T.clone()
            for weight, order in zip(list(ours.weights)[1:], fairchem.so2_m_conv, strict=True):
                order.fc.weight.data = weight.data.mT.reshape(-1, weight.shape[1]).clone()
            fairchem.fc_m0.bias = None
            own, best = InFrames(ours, frame), InFrames(fairchem, frame)
            theirs = WithHarmonics(peer, spherical_harmonics(lmax)(vec))
            flat = layout.to_irreps(x).contiguous()
            check(own(x), layout.from_irreps(theirs(flat), channels))
            check(own(x), best(x))
            steps = {
                "isometry": step(own, (x,), True),
                "isometry, compiled": step(compiled(own), (x,), True),
                "e3nn": step(theirs, (flat,), True),
                "fairchem": step(best, (x,), True),
                "fairchem, compiled": step(compiled(best), (x,), True),
            }
            yield f"uvw forward+backward, L={lmax}, {channels} channels", steps


class Matrices(nn.Module):
    """A function of vectors as a module."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, vec: Tensor) -> Tensor:
        """Return the matrices."""
        return self.f(vec)


def e3nn_matrices(lmax: int) -> Callable[[Tensor], Tensor]:
    """Return e3nn's function from vectors to the matrices of all degrees, their entries in a row."""

    def matrices(vec: Tensor) -> Tensor:
        alpha, beta = o3.xyz_to_angles(vec)
        angles = (torch.zeros_like(alpha), -beta, -alpha)
        return torch.cat([o3.wigner_D(degree, *angles).flatten(1) for degree in range(lmax + 1)], 1)

    return matrices


def wigner() -> Iterator[tuple[str, dict[str, Step]]]:
    """The matrices that turn vectors to the axis: all rows and columns, but for e3nn, which has the blocks alone."""
    for lmax in DEGREES[1:]:
        vec = torch.randn(EDGES, 3)
        ours = SO2Frame(lmax, lmax)
        contestants: dict[str, nn.Module] = {
            "isometry": ours,
            "isometry, compiled": compiled(ours),
            "e3nn": Matrices(e3nn_matrices(lmax)),
            "fairchem": Matrices(wigner_of_edges(lmax, SINGLE)),
            "fairchem, Euler angles": Matrices(euler_wigner_of_edges(lmax, SINGLE)),
        }
        for backward in (False, True):
            what = "forward+backward" if backward else "forward"
            yield (
                f"Wigner matrices {what}, L={lmax}",
                {name: step(f, (vec,), backward) for name, f in contestants.items()},
            )
