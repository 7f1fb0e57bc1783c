import pytest
import torch

from isometry.trainers.data import EdgeBatches, NodeBatches, wordnet_mammals

MAMMALS = wordnet_mammals()


def batches(**kwargs: object) -> EdgeBatches:
    return EdgeBatches(MAMMALS, **{"batch_size": 100, "num_negatives": 10, **kwargs})


def test_an_epoch_is_every_edge_once_with_its_negatives() -> None:
    loader = batches()
    epoch = list(loader)
    assert len(loader) == len(epoch) == 66
    assert {batch.shape for batch in epoch[:-1]} == {(100, 12)}
    assert epoch[-1].shape == (40, 12)
    rows = torch.cat(epoch)
    assert torch.equal((rows[:, 0] * 1180 + rows[:, 1]).sort().values, MAMMALS.keys)
    assert not torch.equal(rows[:, :2], MAMMALS.edges)
    assert not torch.isin(rows[:, :1] * 1180 + rows[:, 2:], MAMMALS.keys).any()


def test_epochs_differ_and_seeds_fix_them() -> None:
    loader, again, other = batches(), batches(), batches(seed=1)
    first, second = (torch.cat(list(loader)) for _ in range(2))
    assert not torch.equal(first[:, :2], second[:, :2])
    assert torch.equal(torch.cat([*again, *again]), torch.cat([first, second]))
    assert not torch.equal(torch.cat(list(other)), first)


def test_chunks_of_negatives_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.trainers.data.batches._CHUNK", 64)
    small = torch.cat(list(batches(batch_size=100)))
    large = torch.cat(list(batches(batch_size=3000)))
    assert torch.equal(small, large)
    assert not torch.equal(small[:64, 2:], small[64:128, 2:])


def test_several_updates_an_item_are_the_same_batches() -> None:
    single, multiple = list(batches()), batches(updates=8)
    items = list(multiple)
    assert len(multiple) == len(items)
    assert [tuple(item.shape) for item in items] == [(8, 100, 12)] * 8 + [(1, 100, 12), (1, 40, 12)]
    joined = [batch for item in items for batch in item]
    assert all(torch.equal(a, b) for a, b in zip(single, joined, strict=True))


def test_drop_last() -> None:
    assert len(batches(drop_last=True)) == 65
    assert {batch.shape for batch in batches(drop_last=True)} == {(100, 12)}
    assert len(batches(drop_last=True, updates=65)) == 1


@pytest.mark.parametrize("updates", [1, 8])
def test_processes_share_the_batches_of_one(updates: int) -> None:
    alone = list(batches(batch_size=120, updates=updates))
    shares = [list(batches(batch_size=120, updates=updates, rank=rank, world_size=3)) for rank in range(3)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert len({part.shape for part in parts}) == 1
        assert torch.equal(torch.stack(parts, dim=-2).flatten(-3, -2), whole)


def test_a_remainder_that_does_not_divide_is_left_out() -> None:
    shares = [list(batches(batch_size=98, rank=rank, world_size=7)) for rank in range(7)]
    assert [len(share[-1]) for share in shares] == [(6540 - 66 * 98) // 7] * 7


def test_burn_in_prefers_nodes_of_high_degree() -> None:
    loader = batches(burn_in_epochs=1)
    degree = MAMMALS.edges[:, 1].bincount(minlength=1180).float()
    during, after, uniform = (degree[torch.cat(list(loader_))[:, 2:]].mean() for loader_ in (loader, loader, batches()))
    assert during > 2 * after
    assert abs(after / uniform - 1) < 0.1


@pytest.mark.parametrize("taken", [0, 1, 65, 66, 67, 100])
@pytest.mark.parametrize("updates", [1, 8])
def test_a_saved_place_goes_on_exactly(taken: int, updates: int) -> None:
    def stream(loader: EdgeBatches) -> list[torch.Tensor]:
        return [*loader, *loader, *loader]

    whole = stream(batches(updates=updates, burn_in_epochs=1))
    taken = min(taken, len(whole) - 1)
    loader = batches(updates=updates, burn_in_epochs=1)
    items = (item for _ in range(3) for item in loader)
    for _ in range(taken):
        next(items)
    resumed = batches(updates=updates, burn_in_epochs=1)
    resumed.load_state_dict(loader.state_dict())
    rest = stream(resumed)[: len(whole) - taken]
    assert all(torch.equal(a, b) for a, b in zip(whole[taken:], rest, strict=True))


def test_a_place_fits_any_number_of_updates_and_processes() -> None:
    whole = torch.cat(list(batches()))
    loader = batches(updates=8)
    next(iter(loader))
    resumed = batches()
    resumed.load_state_dict(loader.state_dict())
    assert torch.equal(torch.cat(list(resumed)), whole[800:])


def test_an_epoch_left_early_is_over() -> None:
    loader, whole = batches(), batches()
    next(iter(loader))
    list(whole)
    assert torch.equal(next(iter(loader)), next(iter(whole)))


def test_another_state_is_refused() -> None:
    state = batches(batch_size=50, seed=3).state_dict()
    with pytest.raises(
        ValueError, match=r"it has {'batch_size': 50, 'seed': 3}, but here is {'batch_size': 100, 'seed'"
    ):
        batches().load_state_dict(state)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "got 0"),
        ({"batch_size": 100, "world_size": 3}, "divides by the 3 processes, but got 100"),
        ({"batch_size": 10_000, "drop_last": True}, "6540 edges make no batch of 10000"),
    ],
)
def test_sizes_that_do_not_fit(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(**kwargs)


def test_nodes_are_shared_out_evenly() -> None:
    shares = [NodeBatches(torch.arange(22), 9, rank=rank, world_size=3) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 3]
    assert [item.tolist() for item in shares[1]] == [[1, 4, 7], [10, 13, 16], [19]]
    assert torch.equal(torch.cat([item for share in shares for item in share]).sort().values, torch.arange(22))
