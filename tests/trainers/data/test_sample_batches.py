import pytest
import torch

from isometry.trainers.data import OrderedSamples, ShuffledSamples

X, LABELS = torch.arange(50).view(25, 2), torch.arange(25)


def shuffled(**kwargs: int) -> ShuffledSamples:
    return ShuffledSamples((X, LABELS), **{"batch_size": 6, **kwargs})


def test_an_epoch_is_every_sample_once_and_rows_stay_together() -> None:
    epoch = list(shuffled())
    assert len(shuffled()) == len(epoch) == 5
    assert [len(labels) for _, labels in epoch] == [6, 6, 6, 6, 1]
    labels = torch.cat([labels for _, labels in epoch])
    assert torch.equal(torch.cat([x for x, _ in epoch]), X[labels])
    assert torch.equal(labels.sort().values, LABELS)
    assert not torch.equal(labels, LABELS)


def test_epochs_differ_and_seeds_fix_them() -> None:
    loader, again, other = shuffled(), shuffled(), shuffled(seed=1)
    first, second = (torch.cat([labels for _, labels in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([labels for _, labels in [*again, *again]]), torch.cat([first, second]))
    assert not torch.equal(torch.cat([labels for _, labels in other]), first)


def test_it_goes_on_from_a_saved_place() -> None:
    loader = shuffled()
    whole = [labels for _, labels in [*loader, *loader]]
    loader = shuffled()
    batches = iter(loader)
    next(batches), next(batches)
    resumed = shuffled()
    resumed.load_state_dict(loader.state_dict())
    rest = [labels for _, labels in [*resumed, *resumed]]
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    with pytest.raises(ValueError, match=r"it has {'batch_size': 6}, but here is {'batch_size': 5}"):
        shuffled(batch_size=5).load_state_dict(loader.state_dict())


def test_processes_share_the_batches_of_one() -> None:
    """Of 25 samples, two processes leave out one, at the end of the epoch."""
    alone = [labels for _, labels in shuffled()]
    shares = [[labels for _, labels in shuffled(rank=rank, world_size=2)] for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == 4
    for whole, *parts in zip(alone, *shares, strict=False):
        assert torch.equal(torch.stack(parts, 1).flatten(), whole)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_sample_is_evaluated_once_by_one_process(world_size: int) -> None:
    parts = [OrderedSamples((X, LABELS), 6, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [labels for part in parts for _, labels in part]
    assert torch.equal(torch.cat(seen).sort().values, LABELS)
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]
    assert all(0 < len(labels) <= 6 // world_size for labels in seen)


@pytest.mark.parametrize("loader", [ShuffledSamples, OrderedSamples])
def test_sizes_that_do_not_fit_are_refused(loader: type) -> None:
    with pytest.raises(ValueError, match="expected a batch_size that divides by the 4 processes, but got 6"):
        loader((X, LABELS), 6, world_size=4)
    with pytest.raises(ValueError, match="expected a batch_size that divides by the 1 processes, but got 0"):
        loader((X, LABELS), 0)
    with pytest.raises(ValueError, match="expected at least 30 samples, one for each process, but got 25"):
        loader((X, LABELS), 30, world_size=30)
