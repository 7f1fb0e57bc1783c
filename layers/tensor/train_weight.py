"""Weights that are tensor trains."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.tensor._convolve import Geometry, apart, convolve, pointwise, together
from isometry.layers.tensor._modes import digits
from isometry.layers.tensor._tangent import times
from isometry.layers.tensor._train_product import TrainConvolution, TrainProduct, as_kernel, as_matrix, train_frames
from isometry.layers.tensor._work import Size, Work, product
from isometry.layers.tensor.fold import Fold, checked_fold
from isometry.layers.tensor.weight import Frame, Leaves, TensorWeight, plus
from isometry.manifolds import ShapeError
from isometry.manifolds.low_rank import FixedRankTT


class TrainWeight(TensorWeight):
    """``W = G_1 G_2 ... G_d``, a tensor train.

    Mode k of a matrix is the pair of modes k of its outputs and of its inputs (a "TT-matrix"). The modes of a
    convolution are in, each way of the kernel, out, so that it is a chain of filters along one way each.

    For ranks that are not small, contraction has more multiplications than the dense product: ``sum_k r_(k-1) r_k`` of
    the intermediate sizes; the weight is then assembled.

    Source: Novikov, Podoprikhin, Osokin & Vetrov 2015, Tensorizing neural networks; Garipov et al. 2016, Ultimate
        tensorization.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the manifold of the modes."""
        rows, columns = self.shape[:2]
        if self.kernel:
            if fold is not None:
                raise ValueError(f"TrainWeight: expected no fold of a convolution's channels, but got {fold}.")
            self.manifold = FixedRankTT((columns, *self.kernel, rows))
            return
        self.out, self.inp = checked_fold(rows, columns, fold)
        if len(self.out) != len(self.inp) or len(self.out) < 2:
            raise ShapeError(
                "TrainWeight: expected a fold into as many modes of the outputs as of the inputs, at least two, but "
                f"got {self.out} and {self.inp}."
            )
        self.manifold = FixedRankTT([o * i for o, i in zip(self.out, self.inp, strict=True)])

    def leaf_names(self) -> Sequence[str]:
        """Return the names of the cores."""
        return [f"G{k}" for k in range(len(self._manifold.shape))]

    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the weight with its modes apart."""
        if self.kernel:
            return w.movedim(0, -1)
        d = len(self.out)
        pairs = w.reshape(*self.out, *self.inp).movedim(tuple(range(d)), tuple(range(0, 2 * d, 2)))
        return pairs.reshape(self._manifold.shape)

    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the tensor with its modes together."""
        if self.kernel:
            return w.movedim(-1, 0)
        d = len(self.out)
        pairs = w.reshape([n for pair in zip(self.out, self.inp, strict=True) for n in pair])
        return pairs.movedim(tuple(range(0, 2 * d, 2)), tuple(range(d))).reshape(self.shape)

    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return the cores applied in turn; what a core makes is laid out as the next one takes it."""
        z = x
        for k, core in enumerate(leaves):
            matrix = as_matrix(core, self.out[k])
            z = times(matrix, z.reshape(-1, matrix.shape[1], math.prod(self.inp[k + 1 :])))
            z = z.reshape(len(z) * self.out[k], -1)
        return plus(z.reshape(len(x), -1), bias)

    def tangent_linear(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return the same, with the blocks of the gradient made in one backward."""
        leaves = self.leaves
        rights = train_frames([leaf.detach() for leaf in leaves], self.get_buffer("ranks"))
        return plus(TrainProduct.apply(x, self.out, self.inp, *leaves, *rights), bias)

    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return a matrix at each place, convolutions along one way each, a matrix at each place."""
        first, *middle, last = leaves
        z = pointwise(apart(x, geometry.groups), first.squeeze(0).mT)
        for way, core in enumerate(middle):
            z = convolve(z, as_kernel(core, way, len(middle)), geometry.along(way))
        return pointwise(together(z, geometry.groups), last.squeeze(-1).mT, geometry.groups, bias)

    def tangent_convolved(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the same, with the blocks of the gradient made in one backward."""
        leaves = self.leaves
        rights = train_frames([leaf.detach() for leaf in leaves], self.get_buffer("ranks"))
        return TrainConvolution.apply(x, bias, tuple(geometry), *leaves, *rights)

    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return the products of the slices of the cores that belong to the digits of the index."""
        z = leaves[0].new_ones(len(index), 1, 1)
        for k, (core, digit) in enumerate(zip(leaves, digits(index, self.out), strict=True)):
            slices = core.unflatten(1, (self.out[k], self.inp[k])).movedim(1, 0)
            matrix = F.embedding(digit, slices.flatten(1)).unflatten(-1, (slices.shape[1], -1))
            z = (z @ matrix).reshape(len(index), -1, core.shape[-1])
        return z.squeeze(-1)

    def frames(self, leaves: Leaves) -> list[Frame]:
        """Return the train with left-orthonormal cores before and right-orthonormal cores after each."""
        rights = train_frames(list(leaves), self.get_buffer("ranks"))
        return [((*leaves[: k + 1], *rights[k:]), (k,)) for k in range(len(leaves) - 1)]

    def _bonds(self) -> tuple[int, ...]:
        """Return the sizes of the bonds, with those of 1 at the ends."""
        return (1, *self._manifold.ranks(self._manifold.point(self.leaves)), 1)

    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of the cores in turn."""
        r, n = self._bonds(), self._manifold.shape
        if self.kernel:
            ways = sum(product(size.inputs * groups, r[k] * n[k], r[k + 1]) for k in range(len(n) - 1))
            return ways + product(size.outputs, r[-2], n[-1])
        places = [math.prod(self.out[:k]) * math.prod(self.inp[k + 1 :]) for k in range(len(n))]
        return sum(product(size.inputs * places[k], r[k] * self.inp[k], self.out[k] * r[k + 1]) for k in range(len(n)))

    def row_work(self, count: int) -> Work:
        """Return the work of the products of slices."""
        r = self._bonds()
        widths = [math.prod(self.inp[:k]) for k in range(len(self.inp))]
        return sum(count * product(widths[k], r[k], n * r[k + 1]) for k, n in enumerate(self.inp))

    def assembly_work(self) -> Work:
        """Return the work of the products of cores, from the left."""
        r, n = self._bonds(), self._manifold.shape
        return sum(product(math.prod(n[:k]), r[k], n[k] * r[k + 1]) for k in range(1, len(n)))
