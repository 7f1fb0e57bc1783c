import pytest
import torch
from torch import Tensor
from torch.autograd import grad

from isometry.layers.equivariant import edge_vectors, matrix_from_spherical, radius_graph
from isometry.layers.equivariant.testing import Group
from isometry.models import TensorNet
from tests.models.equivariant_suite import CELL, POS, AtomisticCase, AtomisticSuite, Z


class TestTensorNet(AtomisticSuite):
    cases = (
        AtomisticCase(lambda: TensorNet([1, 6, 8], cutoff=3.0, channels=8, radial=6), "O(3)"),
        AtomisticCase(
            lambda: TensorNet([8, 1, 6], cutoff=3.5, channels=4, layers=1, radial=5, group="SO(3)"),
            "SO(3)",
            group="SO(3)",
        ),
    )


def test_edges_without_a_reverse_are_refused() -> None:
    network = TensorNet([1, 6, 8])
    with pytest.raises(ValueError, match="expected edges in both directions"):
        network(Z[:2], POS[:2].float(), edge_index=torch.tensor([[0], [1]]))
    with pytest.raises(RuntimeError, match="must be the first one reversed"):
        network.encode(torch.tensor([0, 1]), torch.tensor([[0, 0], [1, 1]]), torch.ones(2, 3))


def test_forces_by_torch_func_and_by_autograd_agree() -> None:
    network = TensorNet([1, 6, 8], cutoff=3.0, channels=8, radial=6).double()

    def energy(pos: Tensor) -> Tensor:
        return network(Z, pos, cell=CELL, edge_index=edge_index, shift=shift).square().sum()

    edge_index, shift = radius_graph(POS, 3.0, cell=CELL)
    pos = POS.clone().requires_grad_()
    (expected,) = grad(energy(pos), pos)
    assert torch.allclose(torch.func.grad(energy)(POS), expected, rtol=1e-12, atol=0)
    hessian = torch.func.jacrev(torch.func.grad(energy))(POS)
    assert torch.allclose(hessian, hessian.permute(2, 3, 0, 1), rtol=1e-10, atol=1e-10)


def test_compiled_forces_train_the_parameters_as_eager_ones_do() -> None:
    """The gradients of a loss of forces, which torch.func takes inside the graph."""
    network = TensorNet([1, 6, 8], cutoff=3.0, channels=4, layers=1, radial=5).double()
    edge_index, shift = radius_graph(POS, 3.0, cell=CELL)
    species = network.index_of(Z)

    def forces(pos: Tensor) -> Tensor:
        def energy(pos: Tensor) -> Tensor:
            return network.encode(species, edge_index, edge_vectors(pos, edge_index, shift, CELL)).square().sum()

        return torch.func.grad(energy)(pos)

    results = []
    for call in (forces, torch.compile(forces, backend="aot_eager", fullgraph=True)):
        loss = call(POS).square().sum()
        results.append([loss.detach(), *grad(loss, list(network.parameters()))])
    for eager, compiled in zip(*results, strict=True):
        assert eager.abs().max() > 0
        assert torch.allclose(compiled, eager, rtol=0, atol=1e-11 * eager.abs().max().item())


def torchmd_state(theirs: dict[str, Tensor], species: list[int], layers: int) -> dict[str, Tensor]:
    """Return the state of a ``TensorNet`` from that of torchmd-net's.

    Its edges point from the neighbour to the atom, which gives the antisymmetric part of the embedding the other sign.
    """
    embedding = {name.removeprefix("tensor_embedding."): value for name, value in theirs.items()}
    ours = {
        "embedding.embedding.weight": embedding["emb.weight"][species],
        "embedding.mix.weight": torch.stack([embedding[f"linears_tensor.{k}.weight"].T for k in range(3)]),
    }
    for p in ("weight", "bias"):
        ours[f"embedding.pair.{p}"] = embedding[f"emb2.{p}"]
        filters = [embedding[f"distance_proj{k + 1}.{p}"] for k in range(3)]
        ours[f"embedding.filter.{p}"] = torch.cat([filters[0], -filters[1], filters[2]])
        ours[f"embedding.norm.{p}"] = embedding[f"init_norm.{p}"]
        ours |= {f"embedding.gate.{2 * k}.{p}": embedding[f"linears_scalar.{k}.{p}"] for k in range(2)}
        for n in range(layers):
            ours |= {
                f"interactions.{n}.filters.{k}.{p}": theirs[f"layers.{n}.linears_scalar.{k}.{p}"] for k in range(3)
            }
    for n in range(layers):
        mix = [theirs[f"layers.{n}.linears_tensor.{k}.weight"].T for k in range(6)]
        ours |= {f"interactions.{n}.mix_in.weight": torch.stack(mix[:3])}
        ours |= {f"interactions.{n}.mix_out.weight": torch.stack(mix[3:])}
    return ours


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_torchmd_net_agrees(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its path in pure torch: its kernels compute the mirror image under SO(3)."""
    from torchmdnet.models import tensornet as peer

    monkeypatch.setattr(peer, "OPT", False)
    for name in ("compose_tensor", "decompose_tensor", "tensor_matmul_o3", "tensor_matmul_so3"):
        monkeypatch.setattr(peer, name, getattr(peer, f"_{name}"))
    cutoff, channels, radial, species = 3.2, 16, 8, [1, 6, 8]
    ours = TensorNet(species, cutoff, channels, 2, radial, group).double()
    theirs = peer.TensorNet(
        channels, 2, radial, cutoff_upper=cutoff, equivariance_invariance_group=group, static_shapes=False, max_z=10
    ).double()
    theirs.distance_expansion.means = ours.basis.centers.clone()  # which it computes in float32
    theirs.distance_expansion.betas = torch.full_like(ours.basis.centers, ours.basis._width**-2)
    ours.load_state_dict(torchmd_state(theirs.state_dict(), species, 2), strict=False)
    cell = 2 * CELL  # its normalisation of edges takes an atom's own image for a self loop
    edge_index, shift = radius_graph(POS, cutoff, cell=cell)

    def features_of_peer(pos: Tensor) -> Tensor:
        source, target = edge_index
        vec = torch.cat([pos[target] - pos[source] - shift.double() @ cell, torch.zeros(len(Z), 3).double()])
        own = torch.arange(len(Z)).repeat(2, 1)
        graph = (torch.cat([edge_index.flip(0), own], 1), (vec.square().sum(1) + 1e-300).sqrt(), vec)
        monkeypatch.setattr(theirs.distance, "forward", lambda *_: graph)
        seen = []
        hook = theirs.layers[-1].register_forward_hook(lambda *arguments: seen.append(arguments[2]))
        theirs(Z, pos, torch.zeros_like(Z))
        hook.remove()
        return seen[0]

    weight = torch.randn(3, 3, channels, dtype=torch.float64)
    results = []
    for features in (lambda pos: matrix_from_spherical(ours(Z, pos, cell=cell)), features_of_peer):
        pos = POS.clone().requires_grad_()
        X = features(pos)
        results.append((X.detach(), *grad((X * weight).sum(), pos)))
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())
