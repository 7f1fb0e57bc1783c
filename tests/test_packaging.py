"""What a user installs: links, wheel and sdist are complete, names import, the floors stay apart."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["layers", "manifolds", "models", "trainers"]
METADATA = ["pyproject.toml", "README.md", "LICENSE", "NOTICE"]

IMPORT_EVERY_PUBLIC_NAME = """
import importlib, pkgutil, isometry
print(isometry.__file__)
for module in pkgutil.walk_packages(isometry.__path__, "isometry."):
    loaded = importlib.import_module(module.name)
    for name in getattr(loaded, "__all__", []):
        assert hasattr(loaded, name), f"{module.name}.__all__ names {name}, which it lacks"
"""


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def build(kind: str, source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))"
    result = run("-c", code, cwd=source)
    assert result.returncode == 0, result.stderr
    return target / result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, links kept, since a build writes into its source."""
    copy = tmp_path_factory.mktemp("packaging") / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ["src", *PACKAGES]:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignore)
    for file in METADATA:
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build("wheel", source, source.parent / "dist")


def expected_files() -> set[str]:
    """Every module in the four folders, the type marker and the shipped data, by their names in a wheel."""
    modules = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]
    data = (ROOT / "trainers" / "data" / "wordnet_mammals").iterdir()
    files = {f"isometry/{p.relative_to(ROOT).as_posix()}" for p in [*modules, *data]}
    return files | {"isometry/__init__.py", "isometry/py.typed"}


def packaged_files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("isometry/")}


def test_every_package_folder_has_its_link() -> None:
    folders = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))
    links = {p.name: os.readlink(p) for p in (ROOT / "src" / "isometry").iterdir() if p.is_symlink()}
    assert folders == PACKAGES
    assert links == {name: f"../../{name}" for name in PACKAGES}


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    assert packaged_files(wheel) == expected_files()


def test_a_wheel_from_the_sdist_holds_every_file(source: Path, tmp_path: Path) -> None:
    sdist = build("sdist", source, tmp_path / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert packaged_files(build("wheel", unpacked, tmp_path / "dist")) == expected_files()


def test_every_public_name_imports_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    result = run("-c", IMPORT_EVERY_PUBLIC_NAME, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == str(tmp_path / "isometry" / "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_bare_import_is_refused(package: str) -> None:
    result = run("-c", f"import {package}", cwd=ROOT)
    assert f"ImportError: import isometry.{package}, not {package}" in result.stderr


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        ("manifolds", ["e3nn", "torch_geometric", "pytorch_lightning", "torchmetrics", "torchdata"]),
        ("layers", ["pytorch_lightning", "torchdata"]),
        ("models", ["pytorch_lightning", "torchdata"]),
    ],
)
def test_a_floor_does_not_load_what_belongs_above_it(package: str, foreign: list[str]) -> None:
    code = f"import isometry.{package}, sys; print(sorted(sys.modules.keys() & {set(foreign)!r}))"
    result = run("-c", code, cwd=ROOT)
    assert result.stdout == "[]\n", result.stderr


def test_the_command_starts_the_cli() -> None:
    (command,) = entry_points(group="console_scripts", name="isometry")
    assert callable(command.load())
