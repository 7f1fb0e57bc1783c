import sys
from pathlib import Path

import pytest

from isometry.trainers.data.installed import installed_file


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that cannot be imported."""
    folder = tmp_path / "a_package_with_data"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('was imported')")
    (folder / "data" / "file.csv").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_file_is_found_without_importing_its_package(package: Path) -> None:
    names = ["not_installed", package.name]
    assert installed_file(names, "data/file.csv", "pip install it") == package / "data" / "file.csv"
    assert package.name not in sys.modules


def test_what_is_missing_is_told(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"a\.csv: expected this file inside the package not_installed or "):
        installed_file(["not_installed", "neither"], "a.csv", "pip install it")
    with pytest.raises(ModuleNotFoundError, match="which is not installed: pip install it"):
        installed_file(["not_installed"], "a.csv", "pip install it")
    with pytest.raises(FileNotFoundError, match=rf"a\.csv: no such file; {package.name} does not come with it"):
        installed_file([package.name], "a.csv", "pip install it")
