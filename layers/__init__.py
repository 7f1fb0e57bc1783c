"""isometry.layers"""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.layers, not layers")
