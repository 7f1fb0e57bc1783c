import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from isometry.trainers.metrics import CMC


def test_at_one_it_is_the_accuracy_of_the_nearest_neighbour() -> None:
    queries, gallery = torch.randn(60, 3), torch.randn(200, 3)
    a, b = torch.randint(4, (60,)), torch.randint(4, (200,))
    theirs = KNeighborsClassifier(1).fit(gallery.numpy(), b.numpy()).score(queries.numpy(), a.numpy())
    metric = CMC()
    for rows in torch.arange(60).split(25):
        metric.update(torch.cdist(queries[rows], gallery), a[rows], b)
    assert metric.compute().item() == pytest.approx(theirs)


def test_at_k_one_of_the_k_nearest_is_enough() -> None:
    queries, gallery = torch.randn(50, 3), torch.randn(80, 3)
    a, b = torch.randint(9, (50,)), torch.randint(9, (80,))
    distances = torch.cdist(queries, gallery)
    for k in (1, 3, 10):
        nearest = b[distances.argsort(1)[:, :k]]
        expected = (nearest == a.unsqueeze(1)).any(1).double().mean().item()
        metric = CMC(k)
        metric.update(distances, a, b)
        assert metric.compute().item() == pytest.approx(expected)


def test_ties_and_excluded_items_count_against() -> None:
    metric = CMC()
    labels, gallery = torch.tensor([0, 0, 0]), torch.tensor([0, 1])
    metric.update(torch.tensor([[1.0, 1.0], [math.inf, 2.0], [1.0, math.inf]]), labels, gallery)
    assert metric.compute().item() == pytest.approx(1 / 3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="k >= 1, but got 0"):
        CMC(0)
    metric, labels = CMC(), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"expected distances \(2, 2\), but got \(2, 3\)"):
        metric.update(torch.zeros(2, 3), labels, labels)
    with pytest.raises(ValueError, match="a distance is NaN"):
        metric.update(torch.full((2, 2), math.nan), labels, labels)
    with pytest.raises(ValueError, match="no query was given"):
        metric.compute()
