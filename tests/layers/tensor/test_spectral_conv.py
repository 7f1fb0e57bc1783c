import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.layers.tensor.spectral_conv import SpectralConv
from isometry.layers.tensor.truncated_fourier import (
    _analyse_by_fft,
    _analyse_by_products,
    _synthesise_by_fft,
    _synthesise_by_products,
    analyse,
    kept_modes,
    synthesise,
)
from isometry.layers.testing import LayerCase, LayerSuite

FORMATS: list[dict[str, Any]] = [
    {},
    {"format": "tucker", "rank": 3},
    {"format": "cp", "rank": 5},
    {"format": "tt", "rank": 3},
]
MODES = {1: (6,), 2: (4, 6), 3: (4, 3, 4)}
SIZES = {1: (16,), 2: (8, 12), 3: (6, 8, 6)}


def grid(dimension: int, channels: int = 2) -> Any:
    return lambda count: torch.randn(count, channels, *SIZES[dimension])


class TestSpectralConv(LayerSuite):
    cases = (
        *(
            LayerCase(
                lambda d=d, options=options: SpectralConv(2, 3, MODES[d], **options),
                grid(d),
                (3, *SIZES[d]),
                name=f"{d}-d, {options.get('format', 'dense')}",
            )
            for d, options in [(1, FORMATS[0]), *((2, options) for options in FORMATS), (3, FORMATS[2])]
        ),
        LayerCase(
            lambda: SpectralConv(2, 3, (64, 40)),
            lambda count: torch.randn(count, 2, 5, 32),
            (3, 5, 32),
            name="coarse grid",
        ),
    )


def by_full_fft(x: Tensor, conv: SpectralConv) -> np.ndarray:
    """All frequencies of numpy's full transform, those of the layer multiplied one by one, the others 0."""
    weight, sizes = conv.dense_weight().numpy(), x.shape[2:]
    axes = tuple(range(2, x.ndim))
    z = np.fft.rfftn(x.numpy(), axes=axes, norm="forward")
    y = np.zeros((x.shape[0], conv.out_channels, *z.shape[2:]), complex)
    *before, last = (range(m) for m in weight.shape[:-2])
    for place in itertools.product(*before, last):
        k = [index - m // 2 for index, m in zip(place[:-1], weight.shape, strict=False)]
        if any(not -(n // 2) <= f <= (n - 1) // 2 for f, n in zip(k, sizes, strict=False)) or place[-1] > sizes[-1] / 2:
            continue
        at = (slice(None), slice(None), *k, place[-1])
        y[at] = z[at] @ weight[place]
    return np.fft.irfftn(y, s=sizes, axes=axes, norm="forward") + conv.bias.detach().numpy().reshape(
        -1, *[1] * len(k), 1
    )


@pytest.mark.parametrize("options", FORMATS, ids=lambda options: options.get("format", "dense"))
@pytest.mark.parametrize(
    ("modes", "sizes"),
    [
        ((6,), (16,)),
        ((16,), (16,)),
        ((7,), (9,)),
        ((40,), (9,)),
        ((4, 6), (8, 12)),
        ((8, 8), (8, 8)),
        ((5, 4), (7, 5)),
        ((8, 8), (5, 6)),
        ((60, 60), (128, 128)),
        ((4, 3, 4), (6, 5, 4)),
        ((6, 6, 6), (5, 4, 5)),
    ],
)
def test_it_is_numpys_transform_cut(modes: tuple[int, ...], sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    conv = SpectralConv(2, 3, modes, **options, dtype=torch.float64)
    x = torch.randn(2, 2, *sizes, dtype=torch.float64)
    assert np.allclose(conv(x).detach().numpy(), by_full_fft(x, conv), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("modes", "sizes"),
    [((5,), (8,)), ((5,), (9,)), ((4, 5), (7, 8)), ((7, 4), (7, 6)), ((3, 4, 3), (5, 4, 6)), ((20, 33), (64, 64))],
)
def test_products_and_fft_agree_and_are_adjoint(modes: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    x = torch.randn(3, *sizes, dtype=torch.float64)
    z = torch.randn(*modes, 3, dtype=torch.complex128)
    first, second = _analyse_by_products(x, modes), _analyse_by_fft(x, modes)
    assert torch.allclose(first, second, rtol=0, atol=1e-13)
    back = _synthesise_by_products(z, sizes)
    assert torch.allclose(back, _synthesise_by_fft(z, sizes), rtol=0, atol=1e-13)
    left, right = (z.conj() * first).sum().real, (x * back).sum()
    assert torch.allclose(left, right, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: analyse(x, modes), x.clone().requires_grad_(), fast_mode=True)
    assert torch.autograd.gradcheck(lambda z: synthesise(z, sizes), z.clone().requires_grad_(), fast_mode=True)


def test_few_modes_of_a_fine_function_come_back() -> None:
    """A function of low frequency is its own synthesis, on any grid that has the frequencies."""
    z = torch.randn(3, 3, 1, dtype=torch.complex128)
    z[1, 0].imag = 0
    z[2, 0] = z[0, 0].conj()
    for sizes in ((7, 8), (64, 130)):
        assert torch.allclose(analyse(synthesise(z, sizes), (3, 3)), z, rtol=0, atol=1e-12)
    assert kept_modes((8, 5), (5, 6)) == (5, 4)


def test_it_is_the_same_operator_on_finer_grids() -> None:
    conv = SpectralConv(1, 2, (5, 5), dtype=torch.float64)
    coarse, fine = (torch.arange(n, dtype=torch.float64) * (2 * torch.pi / n) for n in (8, 24))

    def wave(t: Tensor) -> Tensor:
        return (torch.cos(t[:, None] - 2 * t) + torch.sin(2 * t[:, None])).expand(1, 1, -1, -1)

    assert torch.allclose(conv(wave(fine))[..., ::3, ::3], conv(wave(coarse)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", FORMATS[1:], ids=lambda options: options["format"])
def test_both_contractions_are_those_of_the_dense_weight(options: dict[str, Any]) -> None:
    """One sample is contracted factor by factor, many meet the reconstructed matrices."""
    conv = SpectralConv(6, 5, (4, 6), **options, dtype=torch.float64)
    dense = conv.to_dense()
    for count in (1, 400):
        x = torch.randn(count, 6, 8, 8, dtype=torch.float64)
        assert torch.allclose(conv(x), dense(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", FORMATS[1:], ids=lambda options: options["format"])
def test_outputs_start_with_the_variance_of_the_dense_layer(options: dict[str, Any]) -> None:
    variances = []
    for chosen in ({}, {**options, "rank": 8}):
        x = torch.randn(8, 16, 16, 16)
        outputs = [SpectralConv(16, 16, (8, 8), **chosen, bias=False)(x) for _ in range(40)]
        variances.append(torch.stack(outputs).var().item())
    assert variances[1] == pytest.approx(variances[0], rel=0.25)


def test_a_trained_layer_converts_within_its_tolerance() -> None:
    conv = SpectralConv(6, 5, (4, 6), dtype=torch.float64)
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64)
    assert torch.allclose(SpectralConv.from_dense(conv)(x), conv(x), rtol=0, atol=1e-12)
    for options in ({"tol": 0.3}, {"ranks": 3}, {"budget": 400}):
        factored = SpectralConv.from_dense(conv, **options)
        error = (factored.dense_weight() - conv.dense_weight()).norm() / conv.dense_weight().norm()
        assert error < (0.3 if "tol" in options else 1)
        assert factored.bias is not conv.bias
    assert sum(p.numel() for p in factored.weight.parameters()) <= 400
    back = factored.to_dense()
    assert torch.allclose(back(x), factored(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("format", ["tucker", "cp", "tt"])
@pytest.mark.parametrize("share", [1, 10, 40])
def test_a_budget_is_kept_and_used(format: Any, share: int) -> None:
    dense = 2 * 16 * 9 * 32 * 32
    conv = SpectralConv(32, 32, (16, 16), format=format, budget=dense // share)
    used = sum(p.numel() for p in conv.weight.parameters())
    assert 0.8 * dense / share < used <= dense / share


def test_autocast_computes_in_single_precision() -> None:
    conv, x = SpectralConv(2, 3, (4, 4)), torch.randn(2, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(conv(x), conv(x.float()))
        y = conv(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), conv(x), atol=0.02)


def test_per_sample_gradients() -> None:
    conv, x = SpectralConv(2, 3, (3, 4), dtype=torch.float64), torch.randn(4, 2, 6, 6, dtype=torch.float64)
    parameters = dict(conv.named_parameters())

    def loss(values: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(conv, values, (row[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    together = torch.func.grad(lambda values: torch.func.functional_call(conv, values, (x,)).square().sum())(parameters)
    for name, gradient in together.items():
        assert torch.allclose(each[name].sum(0), gradient, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((2, 3, ()), {}, "one to three positive numbers of modes"),
        ((2, 3, (4, 0)), {}, "one to three positive numbers of modes"),
        ((0, 3, (4,)), {}, "expected positive channels"),
        ((2, 3, (4,)), {"rank": 2}, "a dense weight has no rank"),
        ((2, 3, (4,)), {"format": "ring", "rank": 2}, "expected a format of tucker, cp, tt or None, but got 'ring'"),
        ((2, 3, (4,)), {"format": "cp"}, "expected a rank or a budget"),
        ((2, 3, (4,)), {"format": "cp", "rank": 2, "budget": 100}, "and not both"),
        ((2, 3, (4,)), {"format": "tucker", "rank": (3, 3, 3)}, r"expected ranks between 1 and \(3, 2, 3\)"),
        ((2, 3, (4,)), {"format": "tt", "rank": (1, 1, 1)}, r"expected ranks between 1 and \(2, 3\)"),
        ((2, 3, (4,)), {"format": "cp", "budget": 15}, "expected a budget of at least 16 real numbers"),
        ((2, 3, (4,)), {"dtype": torch.complex64}, "expected dtype torch.float32 or torch.float64"),
    ],
)
def test_bad_settings_are_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectralConv(*arguments, **options)


def test_bad_inputs_are_refused() -> None:
    conv = SpectralConv(2, 3, (4, 4))
    for shape in ((1, 3, 8, 8), (1, 2, 8)):
        with pytest.raises(ValueError, match=r"expected \[b, 2, \.\.\.\] with 2 dimensions of a grid, but got"):
            conv(torch.randn(shape))


@pytest.mark.peers
@pytest.mark.parametrize("factorization", [None, "tucker", "cp"])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("sizes", ["fine", "coarse"])
def test_neuraloperator_agrees(d: int, factorization: Any, sizes: str) -> None:
    """The same weights, outputs and gradients, on grids of even sizes.

    Where a size is odd, but the last one, theirs leaves frequencies in other places (a second fftshift, where the
    inverse is due); where a grid lacks an odd number of frequencies, the weights move along. Numpy agrees with us.
    """
    from neuralop.layers.spectral_convolution import SpectralConv as Peer

    peer = Peer(2, 3, MODES[d], factorization=factorization, rank=0.5, implementation="factorized")
    options = {"format": factorization, "rank": 1} if factorization else {}
    ours = SpectralConv(2, 3, MODES[d], **options)
    order = [*range(2, 2 + d), 0, 1]  # theirs: in, out, modes
    if factorization is None:
        factors = [peer.weight.to_tensor().permute(order)]
        ours.weight.weight = torch.nn.Parameter(torch.view_as_real(factors[0].detach().resolve_conj().contiguous()))
    else:
        factors = [peer.weight.factors[k] for k in order]
        if factorization == "tucker":
            factors.insert(0, peer.weight.core.permute(order))
        else:
            factors[-1] = factors[-1] * peer.weight.weights
        kind = type(ours.weight)
        ours.weight = kind(ours.weight.shape, [f.detach() for f in factors])
    ours.bias.data = peer.bias.detach().flatten().clone()
    shape = SIZES[d] if sizes == "fine" else tuple(m + 1 if m % 2 else m - 2 for m in MODES[d])
    x = torch.randn(2, 2, *shape)
    results = []
    for layer in (ours, peer):
        x.requires_grad_().grad = None
        y = layer(x)
        y.square().sum().backward()
        results.append((y, x.grad))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * b.detach().abs().max().item())
