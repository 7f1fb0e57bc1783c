"""The conformance suite of layers: what every layer must satisfy, for this library's layers and for a user's own.

Subclass the suite in a test module and give a case for each way of building the layer; pytest (the extra ``test``)
collects the rest::

    from isometry.layers.testing import LayerCase, LayerSuite

    class TestMyLayer(LayerSuite):
        cases = (
            LayerCase(lambda: MyLayer(sphere, 4), lambda n: sphere.random(n, 3), out_shape=(4,), manifold_in=sphere),
        )

A test that cannot hold for a layer is taken out by ``test_name = None``. The suite checks what all layers share; that
a layer computes the right numbers is for a test of its own.
"""

from isometry.layers.testing.case import LayerCase
from isometry.layers.testing.suite import LayerSuite

__all__ = ["LayerCase", "LayerSuite"]
