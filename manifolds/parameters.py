"""How a module's parameters know their manifold."""

import geoopt
from torch import Tensor, nn

from isometry.manifolds.base import Manifold
from isometry.manifolds.errors import ShapeError

_RECORD = "_manifold_of"
MARK = "_on_registered_manifold"


def register_manifold(module: nn.Module, name: str, manifold: Manifold) -> None:
    """Declare that ``module``'s parameter ``name`` holds points of ``manifold``.

    The manifold becomes a submodule (unless it already is one), so that a learnable curvature is found by
    ``parameters()`` and the state dict refuses another manifold's points. The record lives on the module, not on
    the tensor: it survives deepcopy, pickle, ``to``, ``load_state_dict(assign=True)``, DDP, sharding and compilation,
    which a tensor subclass does not.

    Raises:
        AttributeError: The module has no such parameter.
        ShapeError: The parameter does not end in the manifold's ``point_shape``.
        OffManifoldError: The parameter's values are not points of the manifold.
    """
    parameter = getattr(module, name)
    if not isinstance(parameter, nn.Parameter):
        raise ShapeError(
            f"register_manifold: expected {name!r} to be an nn.Parameter, but it is a {type(parameter).__name__}."
        )
    if parameter.is_meta:
        manifold.assert_check_point(parameter)
    else:
        manifold.assert_check_point_on_manifold(parameter.detach())
    child = next((key for key, value in module.named_children() if value is manifold), None)
    if child is None:
        child = f"{name}_manifold"
        module.add_module(child, manifold)
    module.__dict__.setdefault(_RECORD, {})[name] = child
    setattr(parameter, MARK, True)


def named_manifolds(root: nn.Module) -> dict[str, geoopt.manifolds.Manifold]:
    """Return the manifolds of the registered parameters (and geoopt ManifoldParameters) of ``root``, by full name."""
    found: dict[str, geoopt.manifolds.Manifold] = {}
    for prefix, module in root.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, geoopt.ManifoldParameter):
                found[dot + name] = parameter.manifold
        for name, child in module.__dict__.get(_RECORD, {}).items():
            found[dot + name] = module.get_submodule(child)
    return found


def is_marked(parameter: Tensor) -> bool:
    """Return whether ``parameter`` was registered on a manifold; best effort: conversions drop the mark."""
    return hasattr(parameter, MARK)
