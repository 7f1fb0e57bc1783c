"""fairchem's SO(2) layers and Wigner matrices, without the packages that the rest of fairchem needs."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

COMMON = ".models.uma.common"


def _module(name: str) -> Any:
    """Import a module of fairchem's UMA model; the packages around it stay empty, as their own imports may fail.

    The empty packages remain, so that Dynamo finds the modules again.
    """
    if "fairchem.core" not in sys.modules:
        spec = importlib.util.find_spec("fairchem")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("fairchem is missing: pip install --no-deps fairchem-core")
        root = Path(next(iter(spec.submodule_search_locations)))
        for inner in ("", ".models", ".models.uma", ".models.uma.nn", ".models.uma.common", f"{COMMON}.quaternion"):
            stub = ModuleType(f"fairchem.core{inner}")
            stub.__path__ = [str(root.joinpath("core", *inner.split(".")))]
            sys.modules[stub.__name__] = stub
    return importlib.import_module(f"fairchem.core{name}")


def layer_norms() -> Any:
    """Return fairchem's module of equivariant norms."""
    return _module(".models.uma.nn.layer_norm")


def so2_convolution(channels_in: int, channels_out: int, lmax: int, mmax: int) -> Any:
    """Return fairchem's layer with weights of its own, for features in the frames of edges, by order."""
    mapping = _module(f"{COMMON}.so3").CoefficientMapping(lmax, mmax)
    layer = _module(".models.uma.nn.so2_layers").SO2_Convolution
    return layer(channels_in, channels_out, lmax, mmax, mapping, internal_weights=True)


def wigner_of_edges(lmax: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return fairchem's function from vectors to the matrices that turn them to the polar axis."""
    folder = f"{COMMON}.quaternion"
    tables = _module(f"{folder}.quaternion_wigner_utils").create_wigner_data_module(lmax).to(dtype)
    kernels = _module(f"{folder}.wigner_d_custom_kernels").CustomKernelModule().to(dtype)
    hybrid = _module(f"{folder}.wigner_d_hybrid").axis_angle_wigner_hybrid

    def matrices(vec: Tensor) -> Tensor:
        return hybrid(vec, lmax, vec.new_zeros(len(vec)), tables.coeffs, tables.U_blocks, kernels)[0]

    return matrices


def euler_wigner_of_edges(lmax: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return fairchem's older function, by Euler angles; the turn about the axis is random, as they have it."""
    rotation = _module(f"{COMMON}.rotation")
    halves = [half.to(dtype) for half in torch.load(Path(rotation.__file__).parents[1] / "Jd.pt")]

    def matrices(vec: Tensor) -> Tensor:
        return rotation.eulers_to_wigner(rotation.init_edge_rot_euler_angles(vec), 0, lmax, halves)

    return matrices
