import pytest
import torch

from isometry.trainers.data import DistanceBatches, DistanceDataModule, Graph, balanced_tree

TREE = balanced_tree(2, 3)


def batches(**kwargs: object) -> DistanceBatches:
    return DistanceBatches(**{"graph": TREE, "batch_size": 4, "num_others": 6, **kwargs})


def ancestors(node: int) -> list[int]:
    return [node, *ancestors((node - 1) // 2)] if node else [0]


def hops(u: int, v: int) -> int:
    """The number of edges of the way up and down again."""
    above, below = ancestors(u), ancestors(v)
    return min(above.index(w) + below.index(w) for w in set(above) & set(below))


def test_an_epoch_is_every_node_once_with_others_and_their_distances() -> None:
    epoch = list(batches())
    assert len(batches()) == len(epoch) == 4
    assert [tuple(index.shape) for index, _ in epoch] == [(4, 7)] * 3 + [(3, 7)]
    assert sorted(torch.cat([index[:, 0] for index, _ in epoch]).tolist()) == list(range(15))
    for index, target in epoch:
        assert target.tolist() == [[hops(u, v) for v in others] for u, *others in index.tolist()]
        assert (target > 0).all()


def test_others_are_uniform_among_the_nodes_that_a_path_joins() -> None:
    graph = Graph(torch.tensor([[0, 1], [1, 2], [3, 4]]), 6)
    counts = torch.zeros(6, 6)
    for index, _ in batches(graph=graph, num_others=3000):
        counts[index[:, 0]] += torch.nn.functional.one_hot(index[:, 1:], 6).sum(1)
    law = torch.zeros(6, 6)
    law[:3, :3] = 0.5
    law[3:5, 3:5] = 1.0
    law.fill_diagonal_(0)
    assert ((counts / 3000 - law).abs() <= 4.5 * (law * (1 - law) / 3000).sqrt()).all()


def test_epochs_differ_and_seeds_fix_them() -> None:
    loader, again, other = batches(), batches(), batches(seed=1)
    first, second = (torch.cat([index for index, _ in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([index for _ in range(2) for index, _ in again]), torch.cat([first, second]))
    assert not torch.equal(torch.cat([index for index, _ in other]), first)


@pytest.mark.parametrize("taken", range(8))
def test_a_saved_place_goes_on_exactly(taken: int) -> None:
    loader, whole = batches(), batches()
    items = (item for _ in range(2) for item in loader)
    for _ in range(taken):
        next(items)
    resumed = batches()
    resumed.load_state_dict(loader.state_dict())
    rest = [*resumed, *resumed][: 8 - taken]
    expected = [*whole, *whole][taken:]
    assert all(torch.equal(a, b) for x, y in zip(rest, expected, strict=True) for a, b in zip(x, y, strict=True))


def test_processes_share_the_batches_of_one() -> None:
    shares = [list(batches(rank=rank, world_size=2)) for rank in range(2)]
    for whole, *parts in zip(batches(), *shares, strict=True):
        for k in range(2):
            together = torch.stack([part[k] for part in parts], 1).flatten(0, 1)
            assert torch.equal(together, whole[k][: len(together)])


def test_another_state_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"DistanceBatches: .* it has {'num_others': 5}, but here is {'num_others': 6}"
    ):
        batches().load_state_dict(batches(num_others=5).state_dict())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "but got 6 and 0"),
        ({"batch_size": 3, "world_size": 2}, "divides by the 2 processes, but got 6 and 3"),
        ({"num_others": 0}, "but got 0 and 4"),
        (
            {"graph": Graph(torch.empty(0, 2, dtype=torch.int64), 3)},
            r"expected nodes that edges join, but got Graph\(3 nodes",
        ),
    ],
)
def test_sizes_that_do_not_fit(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(**kwargs)


def test_the_data_module_gives_them_and_the_nodes_to_evaluate() -> None:
    data = DistanceDataModule(TREE, batch_size=4, num_others=6)
    for (index, target), (other_index, other_target) in zip(data.train_dataloader(), batches(), strict=True):
        assert torch.equal(index, other_index)
        assert torch.equal(target, other_target)
    assert torch.equal(torch.cat(list(data.val_dataloader())), torch.arange(15))
    assert data.num_nodes == 15


def test_a_balanced_tree() -> None:
    assert TREE.num_nodes == 15
    assert TREE.edges.tolist() == [[i, (i - 1) // 2] for i in range(1, 15)]
    assert balanced_tree(1, 3).edges.tolist() == [[1, 0], [2, 1], [3, 2]]
    with pytest.raises(ValueError, match="at least 1, but got 0, 2"):
        balanced_tree(0, 2)
