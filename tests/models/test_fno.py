from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import FNO, MultigridPatching

SIZES = {1: (12,), 2: (6, 8), 3: (4, 6, 4)}
MODES = {1: (6,), 2: (4, 4), 3: (2, 4, 4)}


class TestFNO(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda d=d, options=options: FNO(MODES[d], 2, 1, 4, 2, **options),
            lambda count, d=d: torch.randn(count, 2, *SIZES[d]),
            (1, *SIZES[d]),
            cond=512.0,  # some twenty linear maps in a row
            name=f"{d}-d, {options}",
        )
        for d, options in [
            (1, {}),
            (2, {"format": "tucker", "rank": 2, "padding": 0.25}),
            (3, {"format": "cp", "budget": 100}),
        ]
    )


class TestMultigridPatching(LayerSuite):
    cases = (
        LayerCase(
            lambda: MultigridPatching(FNO((2, 4), 4, 1, 4, 1), levels=1, padding=1),
            lambda count: torch.randn(count, 2, 4, 8),
            (1, 4, 8),
            cond=512.0,
            name="fno",
        ),
        LayerCase(
            lambda: MultigridPatching(FNO((4,), 3, 2, 4, 1), levels=2),
            lambda count: torch.randn(count, 1, 16),
            (2, 16),
            cond=512.0,
            name="two levels",
        ),
    )


def test_it_is_written_out() -> None:
    """Two blocks, by the transforms and matrices one by one, with padding."""
    model = FNO((4, 6), 2, 3, 5, 2, padding=0.25).double()
    x = torch.randn(2, 2, 8, 12, dtype=torch.float64)

    def pointwise(net: nn.Sequential, y: Tensor) -> Tensor:
        first, second = (net[k] for k in (0, 2))
        for layer in (first, second):
            y = torch.einsum("oi,bixy->boxy", layer.weight[:, :, 0], y) + layer.bias[:, None, None]
            y = nn.functional.gelu(y) if layer is first else y
        return y

    i, j = torch.meshgrid(*(torch.arange(n).double() / n for n in (8, 12)), indexing="ij")
    y = pointwise(model.lifting, torch.cat([x, torch.stack([i, j]).expand(2, -1, -1, -1)], 1))
    y = torch.cat([y, torch.zeros(2, 5, 2, 12).double()], 2)
    y = torch.cat([y, torch.zeros(2, 5, 10, 3).double()], 3)
    for number, block in enumerate(model.blocks):
        z = torch.fft.rfftn(y, dim=(2, 3))
        w = torch.view_as_complex(block.conv.weight.weight)
        out = torch.zeros_like(z)
        for a, k in enumerate((-2, -1, 0, 1)):
            for m in range(4):
                out[:, :, k, m] = z[:, :, k, m] @ w[a, m]
        out = torch.fft.irfftn(out, s=(10, 15), dim=(2, 3)) + block.conv.bias[:, None, None]
        y = out + torch.einsum("oi,bixy->boxy", block.skip.weight[:, :, 0], y)
        y = nn.functional.gelu(y) if number == 0 else y
    expected = pointwise(model.projection, y[:, :, :8, :12])
    assert torch.allclose(model(x), expected, rtol=0, atol=1e-12)


def test_it_takes_any_grid() -> None:
    """A linear part of the network has the same values at the points that two grids share."""
    model = FNO((5, 5), 1, 1, 6, 1).double()
    model.lifting[1] = nn.Identity()
    with torch.no_grad():
        model.lifting[0].weight[:, 1:] = 0  # coordinates are not periodic
    coarse, fine = (torch.arange(n, dtype=torch.float64) * (2 * torch.pi / n) for n in (8, 24))

    def wave(t: Tensor) -> Tensor:
        return (torch.cos(t[:, None] - 2 * t) + torch.sin(2 * t[:, None])).expand(1, 1, -1, -1)

    assert torch.allclose(model(wave(fine))[..., ::3, ::3], model(wave(coarse)), rtol=0, atol=1e-12)


def test_it_overfits() -> None:
    x, y = torch.randn(4, 1, 16), torch.randn(4, 1, 16)
    for options in ({}, {"format": "tucker", "rank": 8}, {"format": "tt", "rank": 8}):
        model = FNO((16,), 1, 1, 16, 2, **options)
        steps = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(150):
            steps.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            steps.step()
        assert loss < 0.01


def test_identical_patches_are_stitched_exactly() -> None:
    for shape in ((12,), (8, 12), (4, 8, 12)):
        for levels in (0, 1, 2):
            for padding in (0, 1, 3):
                x = torch.randn(3, 2, *shape)
                patching = MultigridPatching(nn.Identity(), levels, padding)
                patches = patching.split(x)
                size = [n // 2**levels + 2 * padding for n in shape]
                assert patches.shape == (3 * 2 ** (levels * len(shape)), 2 * (levels + 1), *size)
                assert torch.equal(patching.stitch(patches[:, :2], 3), x)


def test_views_are_what_they_say() -> None:
    """By numbers of points: patch 3 of 4 of 16 points, at both coarser levels."""
    x = torch.arange(16.0).view(1, 1, 16)
    views = MultigridPatching(nn.Identity(), levels=2, padding=1).split(x)[2]
    assert views[0].tolist() == [7, 8, 9, 10, 11, 12]
    assert views[1].tolist() == [4, 6, 8, 10, 12, 14]
    assert views[2].tolist() == [14, 2, 6, 10, 14, 2]


def test_points_that_are_treated_alone_need_no_patches() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2].sin()

    x = torch.randn(2, 2, 8, 16)
    assert torch.equal(MultigridPatching(First(), 2, 2)(x), x.sin())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FNO((4,), 0, 1), "expected positive channels and layers"),
        (lambda: FNO((4,), 1, 1, layers=0), "expected positive channels and layers"),
        (lambda: FNO((4,), 1, 1, padding=-0.1), "no negative padding"),
        (lambda: FNO((4,), 1, 1)(torch.randn(1, 2, 8)), r"expected \[b, 1, \.\.\.\] with 1 dimensions of a grid"),
        (lambda: FNO((4,), 1, 1)(torch.randn(1, 1, 8, 8)), r"with 1 dimensions of a grid, but got \[1, 1, 8, 8\]"),
        (lambda: MultigridPatching(nn.Identity(), -1), "levels and padding of at least 0"),
        (lambda: MultigridPatching(nn.Identity(), 2)(torch.randn(1, 1, 6)), "divide by 2\\^levels = 4, but got"),
    ],
)
def test_bad_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.peers
@pytest.mark.parametrize("padding", [0, 2])
def test_neuraloperators_patches_are_ours(padding: int) -> None:
    """Level 0, in their order of patches; their coarser views have other centres."""
    from neuralop.training.patching import make_patches

    x = torch.randn(2, 3, 8, 12)
    ours = MultigridPatching(nn.Identity(), 1, padding).split(x)[:, :3]
    theirs = make_patches(x, [2, 2], [padding, padding])
    assert ours.shape == theirs.shape
    matched = [any(torch.equal(patch, other) for other in theirs) for patch in ours]
    assert all(matched)
