import torch

from isometry.manifolds import SpecialOrthogonal
from isometry.trainers.data import RotatedClouds


def test_the_second_view_is_the_first_one_turned() -> None:
    """Without noise both are on the same curve: their second moments, exact for equal steps, turn with R."""
    data = RotatedClouds((20, 5, 5), points=16, noise=0.0)
    x, y, z, labels = data.parts["train"]
    assert x.shape == y.shape == (20, 16, 3)
    assert SpecialOrthogonal(3).point_residual(z.double()).max() < 1e-6
    assert torch.allclose(x.mean(1), torch.zeros(20, 3), atol=1e-6)
    assert torch.allclose(z @ (x.mT @ x) @ z.mT, y.mT @ y, rtol=0, atol=1e-4)
    assert not torch.allclose(x.mT @ x, y.mT @ y, rtol=0, atol=1e-1)
    assert labels.dtype == torch.int64


def test_things_of_a_class_are_alike_up_to_rotation() -> None:
    """Eigenvalues of the second moments are invariant: within a class they vary less than between classes."""
    data = RotatedClouds((400, 5, 5), points=16)
    x, _, _, labels = data.parts["train"]
    values = torch.linalg.eigvalsh(x.mT @ x / 16)
    within = torch.stack([values[labels == c].var(0) for c in range(10)]).mean(0)
    assert (within < 0.3 * values.var(0)).all()


def test_everything_follows_from_the_seed() -> None:
    first, again, other = (RotatedClouds((8, 4, 4), points=6, seed=seed).parts for seed in (1, 1, 2))
    for part in ("train", "val", "test"):
        for a, b in zip(first[part], again[part], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(first["train"][0], other["train"][0])
    assert [len(first[part][0]) for part in ("train", "val", "test")] == [8, 4, 4]


def test_the_noise_has_its_deviation() -> None:
    quiet, loud = (RotatedClouds((500, 5, 5), points=8, noise=noise).parts["train"][0] for noise in (0.0, 0.1))
    assert abs((loud - quiet).std().item() - 0.1) < 0.01
