"""Every operation of the interface as a function of two points and two tangent vectors at the first."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Operation = Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]

OPERATIONS: dict[str, Operation] = {
    "dist": lambda m, x, y, u, v: m.dist(x, y),
    "dist2": lambda m, x, y, u, v: m.dist2(x, y),
    "egrad2rgrad": lambda m, x, y, u, v: m.egrad2rgrad(x, u),
    "expmap": lambda m, x, y, u, v: m.expmap(x, u),
    "geodesic": lambda m, x, y, u, v: m.geodesic(0.3, x, y),
    "inner": lambda m, x, y, u, v: m.inner(x, u, v),
    "logmap": lambda m, x, y, u, v: m.logmap(x, y),
    "norm": lambda m, x, y, u, v: m.norm(x, u),
    "proju": lambda m, x, y, u, v: m.proju(x, u),
    "projx": lambda m, x, y, u, v: m.projx(x),
    "retr": lambda m, x, y, u, v: m.retr(x, u),
    "transp": lambda m, x, y, u, v: m.transp(x, y, v),
}

NOT_SMOOTH = {"dist", "norm"}
"""Operations without a derivative at ``y = x`` or ``u = 0``; their gradient there is 0, the symmetric subgradient."""
