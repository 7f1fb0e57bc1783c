"""Weights of low multilinear rank."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.tensor._convolve import Geometry, apart, convolve, pointwise, together
from isometry.layers.tensor._modes import digits, gathered, mode_work, pull, push
from isometry.layers.tensor._tucker_product import TuckerConvolution, TuckerProduct, tucker_frames
from isometry.layers.tensor._work import Size, Work, product
from isometry.layers.tensor.fold import Fold, checked_fold
from isometry.layers.tensor.weight import Frame, Leaves, TensorWeight, plus
from isometry.manifolds.low_rank import FixedRankTucker


class TuckerWeight(TensorWeight):
    """``W = C x_1 U_1 ... x_d U_d``: factors of the inputs, the core, factors of the outputs.

    The modes of a matrix are those of its fold; those of a convolution are out, in, and the places of the kernel in
    one mode. The convolution is then one over fewer channels, between two matrices at each place.

    Source: Zangrando et al. 2023, Geometry-aware training of factorized layers in tensor Tucker format; Kim et al.
        2016, Compression of deep convolutional neural networks.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the manifold of the modes."""
        rows, columns = self.shape[:2]
        if self.kernel and fold is not None:
            raise ValueError(f"TuckerWeight: expected no fold of a convolution's channels, but got {fold}.")
        self.out, self.inp = ((rows,), (columns,)) if self.kernel else checked_fold(rows, columns, fold)
        places = (math.prod(self.kernel),) if self.kernel else ()
        self.manifold = FixedRankTucker((*self.out, *self.inp, *places))

    def leaf_names(self) -> Sequence[str]:
        """Return the names of the core and of the factors."""
        return ("core", *(f"U{k}" for k in range(len(self._manifold.shape))))

    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the weight with its modes apart."""
        return w.reshape(self._manifold.shape)

    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the tensor with its modes together."""
        return w.reshape(self.shape)

    def _parts(self, leaves: Leaves) -> tuple[Tensor, Leaves, Leaves]:
        """Return the core, the factors of the outputs and those of the inputs."""
        a = 1 + len(self.out)
        return leaves[0], leaves[1:a], leaves[a : a + len(self.inp)]

    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return the factors of the inputs, the core and the factors of the outputs, applied in turn."""
        core, outs, ins = self._parts(leaves)
        a = len(outs)
        z = pull(x.unflatten(-1, self.inp), ins).flatten(1)
        b = F.linear(z, core.flatten(a).flatten(0, a - 1)).unflatten(-1, core.shape[:a])
        y = push(b, outs).reshape(len(x), -1)
        return plus(y, bias)

    def tangent_linear(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return the same, with the blocks of the gradient made in one backward."""
        core, *factors = self.leaves
        frames = tucker_frames(core.detach(), self.get_buffer("ranks"))
        y = TuckerProduct.apply(x.unflatten(-1, self.inp), len(self.out), core, *factors, *frames)
        return plus(y.reshape(len(x), -1), bias)

    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return ``U_in^T`` at each place, the convolution with the core, ``U_out`` at each place."""
        core, U_out, U_in, U_places = leaves
        kernels = (core @ U_places.mT).unflatten(-1, self.kernel)
        z = pointwise(apart(x, geometry.groups), U_in.mT)
        z = convolve(z, kernels, geometry._replace(groups=1))
        return pointwise(together(z, geometry.groups), U_out, geometry.groups, bias)

    def tangent_convolved(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the same, with the blocks of the gradient made in one backward."""
        core, *factors = self.leaves
        frames = tucker_frames(core.detach(), self.get_buffer("ranks"))
        return TuckerConvolution.apply(x, bias, tuple(geometry), self.kernel, core, *factors, *frames)

    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return the core with the rows of the factors that belong to the digits of the index."""
        core, outs, ins = self._parts(leaves)
        z = gathered(core, outs, digits(index, self.out))
        return push(z.unflatten(-1, core.shape[len(outs) :]), ins).reshape(len(index), -1)

    def frames(self, leaves: Leaves) -> list[Frame]:
        """Return the tensor with its core orthonormal along each mode in turn: ``K_k`` in the K-form."""
        core, *factors = leaves
        return [((frame, *factors), (k + 1,)) for k, frame in enumerate(tucker_frames(core, self.get_buffer("ranks")))]

    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of the factors and of the core."""
        r = self._manifold.ranks(self._manifold.point(self.leaves))
        a, b = len(self.out), len(self.inp)
        outs, ins = math.prod(r[:a]), math.prod(r[a : a + b])
        inner = size.outputs * (groups if self.kernel else 1)
        work = product(inner, ins * math.prod(self.kernel), outs)
        return work + mode_work(size.inputs * groups, self.inp, r[a:]) + mode_work(size.outputs, self.out, r)

    def row_work(self, count: int) -> Work:
        """Return the work of the rows' products with the core, then of the factors of the columns."""
        r = self._manifold.ranks(self._manifold.point(self.leaves))
        return product(count, math.prod(r), 1) + mode_work(count, self.inp, r[len(self.out) :])

    def assembly_work(self) -> Work:
        """Return the work of the mode products."""
        r, n = self._manifold.ranks(self._manifold.point(self.leaves)), self._manifold.shape
        return sum(product(n[k], r[k], math.prod(n[:k]) * math.prod(r[k + 1 :])) for k in range(len(n)))
