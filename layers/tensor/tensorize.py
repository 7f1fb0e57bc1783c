"""Trained models with their dense layers replaced by layers on tensors."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from isometry.layers.tensor.conv import Conv1d, Conv2d, Conv3d
from isometry.layers.tensor.embedding import Embedding
from isometry.layers.tensor.linear import Linear

_TWINS: dict[type[nn.Module], Any] = {
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.Embedding: Embedding,
}


def tensorize(module: nn.Module, layers: Mapping[str, Mapping[str, Any] | None] | None = None, **options: Any) -> Any:
    r"""Replace the dense layers of a model by approximations in factors, ``W -> U S V^T`` or as their options say.

    The layers are those of exactly the classes Linear, Conv1d, Conv2d, Conv3d and Embedding of ``torch.nn``; subclasses
    stay, for what they add would be lost, and so do layers whose factors would not have fewer parameters than the
    weight. A module that is used in several places is replaced in all of them::

        tensorize(model, {"head": None, "stem.*": {"tol": 0.05}}, budget=0.1, tangent_grad=True)

    Args:
        module: The model; it is changed in place. If it is such a layer itself, only the result is.
        layers: Options by names of layers, in which ``*`` and ``?`` stand for anything; they are added to the common
            ones, and their rank, tolerance or budget replaces the common one. The first pattern that fits counts; None
            keeps a layer as it is.
        options: The common options, those of ``from_dense``: one of ``ranks``, ``tol`` and ``budget``, where the
            budget is a share of the parameters of each layer's weight, in (0, 1]; ``format``, ``tangent_grad``, ...

    Returns:
        The model.

    Raises:
        ValueError: Two layers share one weight, a budget is no share or less than the parameters of rank 1, or a name
            in ``layers`` fits no layer.

    Source: Phan et al. 2020 and Kim et al. 2016 for convolutions; Hrinchuk et al. 2020 for embeddings.
    """
    patterns = layers or {}
    found = {name: child for name, child in module.named_modules(remove_duplicate=False) if type(child) in _TWINS}
    _check_names(found, patterns)
    _check_unshared(set(found.values()))
    twins: dict[nn.Module, nn.Module] = {}
    for name, child in found.items():
        if child not in twins:
            twins[child] = _twin(name, child, dict(options), patterns)
        parent, _, last = name.rpartition(".")
        if name:
            setattr(module.get_submodule(parent), last, twins[child])
    return twins.get(module, module)


def _twin(name: str, child: Any, options: dict[str, Any], patterns: Mapping[str, Mapping[str, Any] | None]) -> Any:
    """Return the layer that takes the place of a dense one: in factors, if these are fewer numbers."""
    for pattern, own in patterns.items():
        if fnmatchcase(name, pattern):
            if own is None:
                return child
            common = options if not own.keys() & {"ranks", "tol", "budget"} else _without_size(options)
            options = {**common, **own}
            break
    size = child.weight.numel()
    share = options.get("budget")
    if share is not None:
        if not 0 < share <= 1:
            raise ValueError(f"tensorize: expected a budget in (0, 1], a share of the weight, but got {share}.")
        options["budget"] = int(share * size)
    twin = _TWINS[type(child)].from_dense(child, **options)
    return twin if sum(p.numel() for p in twin.factors.parameters()) < size else child


def _without_size(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("ranks", "tol", "budget")}


def _check_names(found: Mapping[str, nn.Module], patterns: Mapping[str, Any]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise ValueError(f"tensorize: expected names of layers, one of {sorted(found)}, but got {pattern!r}.")


def _check_unshared(layers: set[nn.Module]) -> None:
    weights = [layer.get_parameter("weight") for layer in layers]
    if len(set(weights)) < len(weights):
        raise ValueError(
            "tensorize: two layers share one weight, and factors of each would part them; expected layers with weights "
            "of their own. Keep such layers dense by giving the other parts of the model one by one."
        )
