from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.trainers.data import AirportNodes, DiseaseNodes, LinkDataModule, balanced_tree, hgcn_links

TREE = balanced_tree(2, 5)  # 63 nodes, 62 edges


def data(seed: int = 0, degrees: bool = False) -> LinkDataModule:
    return LinkDataModule(torch.randn(63, 3), TREE.edges, 0.1, 0.2, degrees, seed)


def as_set(pairs: Tensor) -> set[tuple[int, int]]:
    return {(min(u, v), max(u, v)) for u, v in pairs.tolist()}


def test_the_parts_are_a_partition_of_the_links() -> None:
    parts = data().parts
    assert {part: len(pairs) for part, pairs in parts.items()} == {"train": 44, "val": 6, "test": 12}
    assert set().union(*map(as_set, parts.values())) == as_set(TREE.edges)
    assert not torch.equal(parts["test"], data(seed=1).parts["test"])


@pytest.mark.parametrize("part", ["val", "test"])
def test_held_out_pairs_are_half_links_and_the_network_does_not_see_them(part: str) -> None:
    module = data()
    ((x, index, pairs, joined),) = getattr(module, f"{part}_dataloader")()
    assert as_set(pairs[joined]) == as_set(module.parts[part])
    assert not as_set(pairs[~joined]) & as_set(TREE.edges)
    assert as_set(index.mT) == as_set(module.parts["train"])
    assert index.shape == (2, 88)
    assert torch.equal(x, module.features)
    ((*_, again, _),) = getattr(module, f"{part}_dataloader")()
    assert torch.equal(pairs, again)


def test_every_epoch_has_new_pairs_that_are_no_links_to_train_on() -> None:
    loader = data().train_dataloader()
    ((_, _, first, joined),) = loader
    ((_, _, second, _),) = loader
    assert torch.equal(first[joined], second[joined])
    assert not torch.equal(first[~joined], second[~joined])
    assert not as_set(first[~joined]) & as_set(first[joined])
    assert (first[:, 0] != first[:, 1]).all()


def test_degrees_are_those_that_the_network_sees() -> None:
    module = data(degrees=True)
    x, index = module.inputs
    degree = torch.zeros(63).index_add(0, index[0], torch.ones(index.shape[1]))
    assert x.shape == (63, 3 + 6 + 1)
    assert torch.equal(x[:, 3:9].argmax(1), degree.clamp(max=5).long())
    assert (x[:, 3:9].sum(1) == 1).all()


def test_bad_shares_and_complete_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="expected shares of the 62 edges with some to train"):
        LinkDataModule(torch.zeros(63, 1), TREE.edges, 0.01, 0.2)
    complete = torch.combinations(torch.arange(8))
    with pytest.raises(ValueError, match="all nodes are joined"):
        LinkDataModule(torch.zeros(8, 1), complete).setup("fit")


def test_the_published_files(tmp_path: Path) -> None:
    rng, n, edges = np.random.default_rng(0), 63, TREE.edges.numpy()
    loop = np.concatenate([edges, [[3, 3]]])
    np.savez(tmp_path / "disease_nc.npz", edges=edges, y=rng.integers(2, size=n))
    np.savez(tmp_path / "disease_lp.npz", edges=edges, y=rng.integers(2, size=n), x=np.ones((n, 11), np.float32))
    np.savez(tmp_path / "airport.npz", edges=loop, y=rng.integers(4, size=n), x=np.ones((n, 4), np.float32))
    x, index = hgcn_links(tmp_path, "airport").inputs
    assert x.shape == (n, 11)
    assert (index[0] != index[1]).all()
    assert hgcn_links(tmp_path, "disease_lp").inputs[0].shape == (n, 11)
    for module, width, sizes in ((DiseaseNodes(tmp_path), n, (18, 6, 39)), (AirportNodes(tmp_path), 11, (44, 9, 10))):
        module.setup("fit")
        assert module.parts["train"][0].shape == (n, width)
        assert tuple(int((module.parts[part][2] >= 0).sum()) for part in ("train", "val", "test")) == sizes
    with pytest.raises(ValueError, match="expected one of disease_lp, airport, cora, but got 'pubmed'"):
        hgcn_links(tmp_path, "pubmed")
    with pytest.raises(FileNotFoundError, match=r"cora\.npz: no such file"):
        hgcn_links(tmp_path, "cora")
