import pytest
import torch
from torch import Tensor

from isometry.trainers.data import Collocation, RandomPoints


def sample(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 2, generator=generator)


def loader(**options: int) -> RandomPoints:
    return RandomPoints(sample, **{"batch_size": 6, "batches": 4, **options})


def test_points_are_new_in_every_batch_and_follow_from_the_seed() -> None:
    second = loader()
    points = torch.cat([x for (x,) in [*loader(), *second]])
    assert len(loader()) == 4
    assert torch.equal(points[:24], points[24:])
    later = torch.cat([x for (x,) in second])
    assert len(torch.cat([points[:24], later]).unique(dim=0)) == 48
    assert not torch.equal(torch.cat([x for (x,) in loader(seed=1)]), points[:24])


def test_it_goes_on_from_a_saved_place() -> None:
    one = loader()
    whole = [x for (x,) in [*one, *one]]
    one = loader()
    batches = iter(one)
    next(batches), next(batches)
    resumed = loader()
    resumed.load_state_dict(one.state_dict())
    rest = [x for (x,) in [*resumed, *resumed]]
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    with pytest.raises(ValueError, match="the checkpoint is of other batches"):
        loader(batches=5).load_state_dict(one.state_dict())


def test_processes_share_the_batches_of_one() -> None:
    shares = [[x for (x,) in loader(rank=rank, world_size=2)] for rank in range(2)]
    for (whole,), *parts in zip(loader(), *shares, strict=True):
        assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


@pytest.mark.parametrize("options", [{"batches": 0}, {"batch_size": 0}, {"world_size": 4}])
def test_refusals(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected batches >= 1 and a batch_size that divides"):
        loader(**options)


def test_points_to_test_are_fixed_and_others() -> None:
    data = Collocation(sample, lambda x: x.sum(-1), batch_size=4, batches=3, test_points=10)
    points, values = map(torch.cat, zip(*data.val_dataloader(), strict=True))
    assert points.shape == (10, 2)
    assert torch.equal(values, points.sum(-1))
    again = torch.cat([x for x, _ in data.test_dataloader()])
    assert torch.equal(again, points)
    train = torch.cat([x for (x,) in data.train_dataloader()])
    assert len(torch.cat([train, points]).unique(dim=0)) == 22
    assert Collocation(sample).val_dataloader() == []
