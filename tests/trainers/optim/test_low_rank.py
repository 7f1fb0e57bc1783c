"""Low-rank tensors descend as dense matrices that are projected, and never do what they were not asked."""

import copy
import functools
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.manifolds import Sphere, register_manifold
from isometry.manifolds.low_rank import FixedRankMatrix, named_low_rank
from isometry.trainers.optim import LowRankOptimizer, RiemannianAdam, RiemannianSGD
from tests.trainers.optim.low_rank_cases import LowRankTensor, blocks, descend, matrix, quadratic, truncated, tucker

OPTIONS: list[dict[str, Any]] = [
    {"integrator": "rgd"},
    {"integrator": "rgd", "momentum": 0.9},
    {"integrator": "rgd", "betas": (0.9, 0.99)},
    {"integrator": "parallel_bug", "tol": 0.05, "momentum": 0.5},
    {"integrator": "augmented_bug", "tol": 0.05, "n_local": 2},
]


def target(rank: int = 3, shape: tuple[int, int] = (8, 6)) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    a, b = (torch.randn(n, rank, generator=generator, dtype=torch.float64) for n in shape)
    return a @ b.mT / 2


def gradient(loss: Any, w: Tensor) -> Tensor:
    return torch.func.grad(loss)(w)


class TestSteps:
    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_descent_is_that_of_projected_dense_matrices(self, decay: float) -> None:
        module, loss = matrix(), quadratic(target(5))
        w = module().detach()
        descend(LowRankOptimizer(module, lr=0.2, weight_decay=decay), module, loss, 20)
        for _ in range(20):
            w = truncated(w - 0.2 * sum(blocks(w, gradient(loss, w) + decay * w, 3)), 3)
        assert (module() - w).abs().max() < 1e-12

    def test_momentum_is_projected_from_point_to_point(self) -> None:
        module, loss = matrix(), quadratic(target(5))
        w, b = module().detach(), torch.zeros(8, 6, dtype=torch.float64)
        descend(LowRankOptimizer(module, lr=0.05, momentum=0.8), module, loss, 20)
        for _ in range(20):
            b = sum(blocks(w, 0.8 * b + gradient(loss, w), 3))
            w = truncated(w - 0.05 * b, 3)
        assert (module() - w).abs().max() < 1e-12

    def test_moments_are_one_number_per_block(self) -> None:
        module, loss = matrix(), quadratic(target(5))
        w, m, v = module().detach(), torch.zeros(8, 6, dtype=torch.float64), [0.0] * 3
        descend(LowRankOptimizer(module, lr=0.05, betas=(0.8, 0.9), eps=1e-3), module, loss, 20)
        for t in range(1, 21):
            g = blocks(w, gradient(loss, w), 3)
            v = [0.9 * a + 0.1 * float((z * z).sum()) for a, z in zip(v, g, strict=True)]
            m = [0.8 * a + 0.2 * b for a, b in zip(blocks(w, m, 3), g, strict=True)]
            roots = [(a / (1 - 0.9**t)) ** 0.5 + 1e-3 for a in v]
            w = truncated(w - 0.05 * sum(a / (1 - 0.8**t) / r for a, r in zip(m, roots, strict=True)), 3)
            m = sum(m)
        assert (module() - w).abs().max() < 1e-12

    def test_a_small_spectrum_does_not_slow_the_descent(self) -> None:
        """Factor descent stalls here: its error after 300 steps is 1.3."""
        goal = target(5, (20, 20))
        module = LowRankTensor(FixedRankMatrix(20, 20), 5, 5)
        start = module.handle.point()
        spectrum = torch.diag(10.0 ** -torch.arange(5, dtype=torch.float64))
        module.handle.write(start._replace(S=spectrum))
        losses = descend(LowRankOptimizer(module, lr=1.0), module, lambda w: 0.5 * (w - goal).square().sum(), 60)
        assert losses[-1] < 1e-20

    def test_tucker_descends(self) -> None:
        module, goal = tucker(), tucker(generator=torch.Generator().manual_seed(9))
        losses = descend(LowRankOptimizer(module, lr=0.5), module, quadratic(goal().detach()), 300)
        assert losses[-1] < 1e-12 < losses[0]


class TestRanks:
    def test_parallel_bug_finds_the_rank(self) -> None:
        module, goal = matrix(6), target(3)
        optimizer = LowRankOptimizer(module, lr=0.5, integrator="parallel_bug", tol=1e-6)
        descend(optimizer, module, lambda w: 0.5 * (w - goal).square().sum(), 60)
        assert module.handle.ranks == (3, 3)
        assert (module() - goal).abs().max() < 1e-5

    @pytest.mark.parametrize("n_local", [1, 3])
    def test_augmented_bug_grows_to_the_rank(self, n_local: int) -> None:
        module, goal = matrix(1, room=6), target(3)
        optimizer = LowRankOptimizer(module, lr=0.5, integrator="augmented_bug", tol=1e-6, n_local=n_local)
        descend(optimizer, module, lambda w: 0.5 * (w - goal).square().sum(), 60 * (n_local + 1))
        assert module.handle.ranks == (3, 3)
        assert (module() - goal).abs().max() < 1e-5

    def test_augmentation_changes_no_tensor_and_local_steps_no_basis(self) -> None:
        module, loss = matrix(2, room=4), quadratic(target())
        identity = list(module.leaves)
        optimizer = LowRankOptimizer(module, lr=0.1, integrator="augmented_bug", tol=0.1, n_local=2)
        before = module().detach()
        descend(optimizer, module, loss, 1)
        assert module.handle.ranks == (4, 4)
        assert (module() - before).abs().max() < 1e-14
        bases = [z.detach().clone() for z in (module.leaves[0], module.leaves[2])]
        w = module().detach()
        descend(optimizer, module, loss, 1)
        u, v = bases
        assert (module() - (w - 0.1 * u @ u.mT @ gradient(loss, w) @ v @ v.mT)).abs().max() < 1e-14
        assert all(torch.equal(a, b) for a, b in zip(bases, (module.leaves[0], module.leaves[2]), strict=True))
        descend(optimizer, module, loss, 1)
        assert module.handle.ranks <= (2, 2)
        assert all(a is b for a, b in zip(identity, module.leaves, strict=True))

    def test_what_the_ranks_leave_is_zero(self) -> None:
        module = matrix(6)
        descend(LowRankOptimizer(module, lr=0.5, integrator="parallel_bug", tol=0.3), module, quadratic(target()), 3)
        (r, _), m = module.handle.ranks, module.handle.manifold
        assert r < 6
        u, s, v = module.leaves
        assert not u[:, r:].any()
        assert not s[r:].any()
        assert not s[:, r:].any()
        assert not v[:, r:].any()
        assert (m.to_dense(module.handle.point()) - module()).abs().max() < 1e-15


class Net(nn.Module):
    """Two low-rank tensors, a linear map and a point on a sphere."""

    def __init__(self) -> None:
        super().__init__()
        self.first = matrix(2, room=4, generator=torch.Generator().manual_seed(1))
        self.second = tucker(generator=torch.Generator().manual_seed(2))
        self.linear = nn.Linear(6, 3, dtype=torch.float64)
        self.point = nn.Parameter(Sphere(2).random(3, dtype=torch.float64))
        register_manifold(self, "point", Sphere(2))

    def forward(self) -> Tensor:
        rows = self.linear(self.first()) * self.point
        return (rows - 1).square().sum() + (self.second() - 0.3).square().sum()


def fit(net: Net, optimizer: torch.optim.Optimizer, steps: int) -> Net:
    for _ in range(steps):
        optimizer.zero_grad()
        net().backward()
        optimizer.step()
    return net


def equal(a: Net, b: Net) -> bool:
    return all(
        torch.equal(p, q)
        for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
        if isinstance(p, Tensor)
    )


class TestBeside:
    @pytest.mark.parametrize("adam", [False, True])
    def test_other_parameters_step_as_by_their_own_optimizer(self, adam: bool) -> None:
        torch.manual_seed(0)
        net, other = Net(), Net()
        other.load_state_dict(net.state_dict())
        if adam:
            optimizer = LowRankOptimizer(net, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
            factory: Any = functools.partial(
                RiemannianAdam, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay=True
            )
            options: dict[str, Any] = {"betas": (0.9, 0.99)}
        else:
            optimizer = LowRankOptimizer(net, lr=0.01, momentum=0.9, weight_decay=0.1)
            factory = functools.partial(RiemannianSGD, lr=0.01, momentum=0.9, weight_decay=0.1)
            options = {"momentum": 0.9}
        low = LowRankOptimizer(nn.ModuleList([other.first, other.second]), lr=0.01, weight_decay=0.1, **options)
        rest = factory([{"params": list(other.linear.parameters())}, {"params": [other.point], "manifold": Sphere(2)}])
        fit(net, optimizer, 5)
        for _ in range(5):
            low.zero_grad()
            rest.zero_grad()
            other().backward()
            low.step()
            rest.step()
        assert equal(net, other)
        assert float(Sphere(2).point_residual(net.point.detach())) < 1e-12

    def test_a_scheduler_moves_all_rates(self) -> None:
        net = Net()
        optimizer = LowRankOptimizer(net, lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.0)
        fit(net, optimizer, 1)
        scheduler.step()
        before = copy.deepcopy(net)
        fit(net, optimizer, 1)
        assert (net().detach() - before().detach()).abs() < 1e-12
        assert torch.equal(net.linear.weight, before.linear.weight)

    def test_groups(self) -> None:
        net = Net()
        before = copy.deepcopy(net)
        groups = [
            {"params": net.first, "lr": 0.0},
            {"params": net.second, "integrator": "parallel_bug", "tol": 0.1},
            {"params": [net.linear.weight], "lr": 0.05},
        ]
        fit(net, LowRankOptimizer(groups, lr=0.1), 3)
        assert (net.first() - before.first()).abs().max() < 1e-14
        assert (net.second() - before.second()).abs().max() > 1e-3
        assert not torch.equal(net.linear.weight, before.linear.weight)
        assert torch.equal(net.linear.bias, before.linear.bias)

    def test_a_foreign_optimizer_beside(self) -> None:
        net = Net()
        with pytest.raises(ValueError, match="AdamW would take Euclidean steps"):
            LowRankOptimizer(net, lr=0.1, beside=torch.optim.AdamW)
        optimizer = LowRankOptimizer(
            nn.ModuleList([net.first, net.linear]), lr=0.1, beside=functools.partial(torch.optim.AdamW, lr=0.01)
        )
        before = net.linear.bias.detach().clone()
        fit(net, optimizer, 2)
        assert 0.005 < (net.linear.bias - before).abs().max() < 0.03


class TestState:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_resumed_is_uninterrupted(self, options: dict[str, Any]) -> None:
        torch.manual_seed(0)
        net = Net()
        if options["integrator"] == "augmented_bug":
            net.second = matrix(2, room=4)  # type: ignore[assignment]
        optimizer = LowRankOptimizer(net, lr=0.02, **options)
        fit(net, optimizer, 4)
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
        other = copy.deepcopy(net)
        for p in other.parameters():
            p.data.zero_()
        file.seek(0)
        state = torch.load(file, weights_only=True)
        other.load_state_dict(state["net"])
        resumed = LowRankOptimizer(other, lr=0.5, **options)
        resumed.load_state_dict(state["optimizer"])
        assert equal(fit(net, optimizer, 5), fit(other, resumed, 5))

    @pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
    def test_copies_step_alike(self, options: dict[str, Any]) -> None:
        net = Net()
        optimizer = LowRankOptimizer(net, lr=0.02, **options)
        fit(net, optimizer, 3)
        other, twin = copy.deepcopy((net, optimizer))
        assert equal(fit(net, optimizer, 3), fit(other, twin, 3))
        assert named_low_rank(other)["first"].ranks == named_low_rank(net)["first"].ranks


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"integrator": "bug"}, "expected integrator 'rgd'"),
            ({"lr": -1.0}, "expected lr >= 0"),
            ({"tol": 0.1}, "none with 'rgd'"),
            ({"integrator": "parallel_bug"}, "a tol with an adaptive integrator"),
            ({"integrator": "parallel_bug", "tol": 1.5}, r"tol in \[0, 1\)"),
            ({"momentum": -0.5}, "expected momentum >= 0"),
            ({"betas": (0.9, 1.0)}, r"betas in \[0, 1\)"),
            ({"betas": (0.9, 0.9), "momentum": 0.9}, "either momentum or betas"),
            ({"integrator": "augmented_bug", "tol": 0.1, "momentum": 0.9}, "expected no moments"),
            ({"weight_decay": -1.0}, "expected weight_decay >= 0"),
            ({"eps": -1.0}, "expected eps >= 0"),
            ({"n_local": 0}, "expected n_local >= 1"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LowRankOptimizer(matrix(), **{"lr": 0.1, **options})

    def test_derivatives_by_factors(self) -> None:
        module = matrix()
        optimizer = LowRankOptimizer(module, lr=0.1)
        module().sum().backward()
        module.tangent_grad = False
        with pytest.raises(ValueError, match="derivatives by its factors"):
            optimizer.step()
        with pytest.raises(ValueError, match="derivatives by its factors"):
            LowRankOptimizer(module, lr=0.1)

    def test_half_a_gradient(self) -> None:
        module = matrix()
        optimizer = LowRankOptimizer(module, lr=0.1)
        before = module().detach()
        optimizer.step()  # no gradient, no step
        assert torch.equal(module(), before)
        module().sum().backward()
        module.leaves[1].grad = None
        with pytest.raises(ValueError, match="a dense gradient of each"):
            optimizer.step()

    def test_factors_without_their_module(self) -> None:
        with pytest.raises(ValueError, match="came without its module"):
            LowRankOptimizer([{"params": list(matrix().parameters())}], lr=0.1)

    def test_modules_without_low_rank_tensors(self) -> None:
        with pytest.raises(ValueError, match="found none"):
            LowRankOptimizer(nn.Linear(2, 2), lr=0.1)

    def test_half_precision(self) -> None:
        with pytest.raises(ValueError, match="float32 or float64"):
            LowRankOptimizer(matrix().bfloat16(), lr=0.1)

    def test_ranks_without_room(self) -> None:
        module = matrix(3)
        optimizer = LowRankOptimizer(module, lr=0.1, integrator="augmented_bug", tol=0.1)
        module().sum().backward()
        with pytest.raises(ValueError, match="allocate them at twice"):
            optimizer.step()
