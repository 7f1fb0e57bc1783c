import numpy as np
import pytest
import torch

from isometry.trainers.losses import RelativeError, relative_errors


@pytest.mark.parametrize("shape", [(5,), (5, 7), (4, 5, 6)])
def test_they_are_numpys(shape: tuple[int, ...]) -> None:
    u, v = torch.randn(2, 3, 2, *shape, dtype=torch.float64)
    spacing = [1 / n for n in shape]

    def squares(f: np.ndarray, h1: bool) -> float:
        total = (f**2).mean()
        for channel in f if h1 else ():
            slopes = np.gradient(channel, *spacing, edge_order=2)
            total += sum((slope**2).mean() for slope in (slopes if len(shape) > 1 else [slopes])) / len(f)
        return total

    for norm in ("l2", "h1"):
        errors = relative_errors(u, v, norm)
        for k in range(3):
            e, t = (u[k] - v[k]).numpy(), v[k].numpy()
            expected = (squares(e, norm == "h1") / squares(t, norm == "h1")) ** 0.5
            assert errors[k].item() == pytest.approx(expected, rel=1e-12)
        assert RelativeError(norm)(u, v).item() == pytest.approx(errors.mean().item(), rel=1e-12)


def test_they_are_relative_and_independent_of_the_grid() -> None:
    grids = [torch.arange(n, dtype=torch.float64) / n for n in (200, 400)]
    errors = []
    for t in grids:
        v = torch.sin(2 * torch.pi * t).view(1, 1, -1)
        u = v + 0.1 * torch.sin(4 * torch.pi * t)
        assert torch.allclose(relative_errors(7 * u, 7 * v, "h1"), relative_errors(u, v, "h1"), rtol=1e-12)
        errors.append(relative_errors(u, v, "h1").item())
    exact = 0.1 * ((1 + 16 * np.pi**2) / (1 + 4 * np.pi**2)) ** 0.5
    assert errors == pytest.approx([exact, exact], rel=2e-3)


def test_another_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the norm 'l2' or 'h1', but got 'h2'"):
        RelativeError("h2")  # type: ignore[arg-type]


@pytest.mark.peers
@pytest.mark.parametrize("d", [1, 2])
def test_neuraloperator_agrees(d: int) -> None:
    from neuralop.losses import H1Loss, LpLoss

    u, v = torch.randn(2, 3, 1, *(8,) * d, dtype=torch.float64)
    theirs = LpLoss(d=d, p=2, reduction="mean").rel(u, v)
    assert relative_errors(u, v).mean().item() == pytest.approx(theirs.item(), rel=1e-6)
    sides = {f"periodic_in_{axis}": False for axis in "xyz"[:d]}
    theirs = H1Loss(d=d, reduction="mean", **sides).rel(u, v)
    assert relative_errors(u, v, "h1").mean().item() == pytest.approx(theirs.item(), rel=0.1)
