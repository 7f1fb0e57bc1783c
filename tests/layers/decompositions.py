"""How many matrices are decomposed."""

from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import Self

EIGH, SVD = torch.ops.aten._linalg_eigh.default, torch.ops.aten._linalg_svd.default


class CountDecompositions(TorchDispatchMode):
    """Counts the matrices that are decomposed inside the block, on this thread.

    Attributes:
        vectors: Symmetric matrices whose eigenvectors were computed.
        values: Symmetric matrices of which only eigenvalues were computed.
        singular: Matrices whose singular values were computed, with or without vectors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.vectors = self.values = self.singular = 0

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Count, and go on."""
        kwargs = kwargs or {}
        if func in (EIGH, SVD):
            matrices = args[0].shape[:-2].numel()
            if func is SVD:
                self.singular += matrices
            elif args[2] if len(args) > 2 else kwargs.get("compute_v", True):
                self.vectors += matrices
            else:
                self.values += matrices
        return func(*args, **kwargs)
