from itertools import permutations

import pytest
import torch

from isometry.trainers.metrics import ClusterAccuracy


def test_it_is_the_best_of_all_maps() -> None:
    labels, clusters = torch.randint(5, (60,)), torch.randint(5, (60,))
    clusters[::2] = (labels[::2] + 2) % 5
    metric = ClusterAccuracy(5, 2)
    for rows in torch.arange(60).split(25):
        metric.update(clusters[rows], labels[rows])
    best = max((torch.tensor(p)[clusters] == labels for p in permutations(range(5))), key=lambda right: right.sum())
    values = metric.compute()
    assert values["all"].item() == pytest.approx(best.double().mean().item())
    for part, rows in (("old", labels < 2), ("new", labels >= 2)):
        assert values[part].item() == pytest.approx(best[rows].double().mean().item())


def test_renamed_classes_are_perfect() -> None:
    labels = torch.arange(12) % 4
    metric = ClusterAccuracy(4, 4)
    metric.update((labels + 1) % 4, labels)
    values = metric.compute()
    assert values["all"] == values["old"] == 1
    assert values["new"].isnan()


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="ClusterAccuracy: expected num_old between 0 and 3, but got 4"):
        ClusterAccuracy(3, 4)
    with pytest.raises(ValueError, match="ClusterAccuracy: no sample was given"):
        ClusterAccuracy(3, 1).compute()
    with pytest.raises(ValueError, match="expected classes 0 to 2, but got 0 to 3"):
        ClusterAccuracy(3, 1).update(torch.tensor([0]), torch.tensor([0, 3]))
