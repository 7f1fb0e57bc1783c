"""The errors that a manifold raises for a user's mistake."""


class ShapeError(ValueError):
    """A tensor's trailing dimensions are not those of the manifold's points."""


class OffManifoldError(ValueError):
    """A point does not satisfy the manifold's equation, or a vector is not tangent, beyond the tolerance."""
