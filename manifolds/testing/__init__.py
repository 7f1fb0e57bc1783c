"""The conformance suite: what every manifold must satisfy, for this library's manifolds and for a user's own.

Subclass the suite in a test module and name the manifolds; pytest (the extra ``test``) collects the rest::

    from isometry.manifolds.testing import Case, ManifoldSuite

    class TestMyManifold(ManifoldSuite):
        manifolds = [MyManifold(3), Case(MyManifold(3, c=2.0), radius=1.0, cond=64.0)]

Tests of a capability (isometries, heat kernels, learnable parameters) exist only for the manifolds that have it. The
suite checks identities; that the numbers are right to the last digits is for a comparison with a reference.
"""

from isometry.manifolds.testing.assertions import (
    assert_close_points,
    assert_isometry,
    assert_on_manifold,
    assert_small,
    assert_tangent,
)
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.suite import ManifoldSuite

__all__ = [
    "Case",
    "ManifoldSuite",
    "assert_close_points",
    "assert_isometry",
    "assert_on_manifold",
    "assert_small",
    "assert_tangent",
]
