"""Data files that come inside other packages, found without importing those."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def installed_file(packages: Sequence[str], name: str, command: str) -> Path:
    """Return the path of a file inside the first of ``packages`` that is installed.

    Args:
        packages: Names under which the packages are imported; each has the same file.
        name: The file, relative to the package's folder.
        command: What installs one of the packages.

    Raises:
        ModuleNotFoundError: If none is installed; the message has the command.
        FileNotFoundError: If the package does not hold the file.
    """
    for package in packages:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0], name)
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such file; {package} does not come with it.")
            return path
    raise ModuleNotFoundError(
        f"{name}: expected this file inside the package {' or '.join(packages)}, which is not installed: {command}"
    )
