"""isometry.models"""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.models, not models")
