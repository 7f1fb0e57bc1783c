import pytest
import torch

from isometry.layers.equivariant import SO2Attention, SO2Frame
from isometry.layers.equivariant.attention import smooth_softmax
from isometry.layers.equivariant.testing import assert_roll_invariant


def test_the_smooth_softmax_is_a_softmax_with_one_more_logit() -> None:
    logits, envelope = torch.randn(7, 2, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    target = torch.tensor([0, 0, 0, 2, 2, 3, 2])
    found = smooth_softmax(logits, envelope, target, 5)
    for node in (0, 2, 3):
        mine = target == node
        biased = torch.cat([logits[mine] + envelope[mine].log().unsqueeze(1), torch.zeros(1, 2, dtype=torch.float64)])
        assert torch.allclose(found[mine], torch.softmax(biased, 0)[:-1], rtol=0, atol=1e-15)


def test_large_logits_do_not_overflow() -> None:
    for size in (1e4, -1e4):
        logits = torch.tensor([[size], [size + 1], [0.0]], requires_grad=True)
        alpha = smooth_softmax(logits, torch.ones(3), torch.tensor([0, 0, 1]), 2)
        (slope,) = torch.autograd.grad(alpha.square().sum(), logits)
        assert alpha.isfinite().all()
        assert slope.isfinite().all()
        if size > 0:
            assert torch.allclose(alpha[:2, 0], torch.softmax(torch.tensor([0.0, 1.0]), 0))


def attention(
    x: torch.Tensor, vec: torch.Tensor, envelope: torch.Tensor, roll: torch.Tensor | None = None
) -> torch.Tensor:
    torch.manual_seed(0)
    layer, frame = SO2Attention(4, 6, 2, 2, heads=2).double(), SO2Frame(2, 2).double()
    edges = torch.tensor([[1, 2, 0, 2], [0, 0, 1, 1]])
    return layer(x, edges, frame(vec, roll), None, envelope)


def test_an_edge_fades_with_its_envelope_even_if_it_is_the_last() -> None:
    x, vec = torch.randn(3, 9, 4).double(), torch.randn(4, 3).double()
    without = attention(x, vec, torch.tensor([0.0, 0, 1, 1]).double())
    assert torch.equal(without[0], torch.zeros(9, 4).double())
    sizes = [float(attention(x, vec, torch.tensor([e, 0.0, 1, 1]).double())[0].abs().max()) for e in (1e-2, 1e-4, 1e-6)]
    assert sizes[0] > 50 * sizes[1] > 2500 * sizes[2] > 0


def test_a_turn_about_the_edge_changes_nothing() -> None:
    x, vec, envelope = torch.randn(3, 9, 4).double(), torch.randn(4, 3).double(), torch.rand(4).double()
    assert_roll_invariant(lambda roll: attention(x, vec, envelope, roll), 4, 1e-13)


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected channels that 3 heads divide, but got 4"):
        SO2Attention(4, 6, 2, 2, heads=3)
