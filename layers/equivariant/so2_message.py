"""The messages of the SO(2) networks."""

from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.gate import Gate
from isometry.layers.equivariant.layout import EdgeLayout
from isometry.layers.equivariant.so2_linear import SO2Linear


class SO2Gate(Gate):
    r"""The gate ``y_l = sigmoid(g_l) x_l``, ``y_0 = silu(x_0)`` of features in the frames of edges.

    Args:
        lmax: The highest degree.
        mmax: The highest order.

    Source: Weiler et al. 2018, 3D steerable CNNs, section 4.3.
    """

    def __init__(self, lmax: int, mmax: int) -> None:
        super().__init__(lmax)
        self.mmax = mmax
        self._degree = EdgeLayout(lmax, mmax).degrees[1:] - 1

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"lmax={self.lmax}, mmax={self.mmax}"


class SO2Message(nn.Module):
    r"""Two linear maps in the frames of edges with a gate between them, ``linear_2(gate(linear_1(x, scalars)))``.

    The gates are a linear function of the rows m = 0, which no turn about the edge changes.

    Args:
        channels_in: Channels of the input.
        hidden: Channels between the maps.
        channels_out: Channels of the output.
        lmax: The highest degree.
        mmax: The highest order.
        o3: Whether reflections are respected, too.

    Attributes:
        num_scalars: How many rows the ``scalars`` have, as in ``SO2Linear``.

    Source: Fu et al. 2025, Learning smooth and expressive interatomic potentials (eSEN).
    """

    def __init__(
        self, channels_in: int, hidden: int, channels_out: int, lmax: int, mmax: int, o3: bool = False
    ) -> None:
        super().__init__()
        self.lmax, self.hidden = lmax, hidden
        self.first = SO2Linear(channels_in, hidden, lmax, mmax, o3)
        self.gates = nn.Linear((lmax + 1) * hidden, lmax * hidden)
        self.gate = SO2Gate(lmax, mmax)
        self.second = SO2Linear(hidden, channels_out, lmax, mmax, o3)
        self.num_scalars = self.first.num_scalars

    def forward(
        self,
        x: Float[Tensor, "edges rows channels_in"],
        scalars: Float[Tensor, "edges num_scalars channels_in"] | None = None,
    ) -> Float[Tensor, "edges rows channels_out"]:
        """Return the messages; ``scalars`` first scale the inputs."""
        hidden = self.first(x, scalars)
        gates = self.gates(hidden[:, : self.lmax + 1].flatten(1)).unflatten(1, (self.lmax, self.hidden))
        return self.second(self.gate(hidden, gates))
