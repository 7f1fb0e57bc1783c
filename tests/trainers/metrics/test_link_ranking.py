import pytest
import torch

from isometry.trainers.metrics import LinkRanking, filtered_ranks


def brute_force(scores: list[float], tail: int, known: set[int]) -> float:
    """The mean rank over all orders of ties, one answer after the other."""
    rank = 1.0
    for answer, score in enumerate(scores):
        if answer == tail or answer in known:
            continue
        rank += 1.0 if score > scores[tail] else 0.5 if score == scores[tail] else 0.0
    return rank


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(6, (20, 15), generator=generator).double()  # with ties
    tail = torch.randint(15, (20,), generator=generator)
    known = torch.stack([torch.arange(20).repeat(4), torch.randint(15, (80,), generator=generator)], 1)
    return scores, tail, torch.cat([known, torch.stack([torch.arange(20), tail], 1)])


def test_ranks_are_those_of_a_loop() -> None:
    scores, tail, known = example()
    expected = [
        brute_force(scores[i].tolist(), int(tail[i]), {int(t) for row, t in known if row == i}) for i in range(20)
    ]
    assert filtered_ranks(scores, tail, known).tolist() == expected


def test_the_metric_over_batches() -> None:
    scores, tail, known = example()
    metric = LinkRanking()
    for rows in torch.arange(20).split(7):
        pairs = known[torch.isin(known[:, 0], rows)] - torch.tensor([int(rows[0]), 0])
        metric.update(scores[rows], tail[rows], pairs)
    ranks = filtered_ranks(scores, tail, known).double()
    found = metric.compute()
    assert found["mrr"].item() == pytest.approx((1 / ranks).mean().item())
    for k in (1, 3, 10):
        assert found[f"hits@{k}"].item() == pytest.approx((ranks <= k).double().mean().item())


def test_no_number_and_all_alike_score_badly() -> None:
    tail, known = torch.tensor([0]), torch.empty(0, 2, dtype=torch.int64)
    assert filtered_ranks(torch.full((1, 9), torch.nan), tail, known).item() == 9
    assert filtered_ranks(torch.zeros(1, 9), tail, known).item() == 5
