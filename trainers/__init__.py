"""isometry.trainers"""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.trainers, not trainers")
