"""The suite as one class."""

from isometry.manifolds.testing.capabilities import FrechetMeanTests, HeatKernelTests, HomogeneousTests
from isometry.manifolds.testing.derivatives import DerivativeTests
from isometry.manifolds.testing.geodesics import GeodesicTests
from isometry.manifolds.testing.points import PointTests
from isometry.manifolds.testing.torch_features import TorchTests


class ManifoldSuite(
    PointTests, GeodesicTests, DerivativeTests, TorchTests, FrechetMeanTests, HomogeneousTests, HeatKernelTests
):
    """Every test of the kit; subclass it as a pytest class and list the ``manifolds``, each bare or as a ``Case``."""
