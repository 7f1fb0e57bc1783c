import torch
from torch import Tensor, nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SPDLogEuclidean, named_manifolds
from isometry.models import SPDConvNet
from tests.models.suite import ModelTests


def signals(count: int) -> Tensor:
    return torch.randn(count, 3, 40)


class TestSPDConvNet(ModelTests, LayerSuite):
    # two convolutions, a covariance of condition 10, and what SPDNet does
    cases = tuple(
        LayerCase(
            lambda norm=norm: SPDConvNet(3, 4, filters=(7, 5), kernel=6, sizes=(4,), batch_norm=norm),  # type: ignore[misc]
            signals,
            (4,),
            cond=4096.0,
            name="plain" if norm is None else f"{norm} norm",
        )
        for norm in (None, SPDLogEuclidean(4))
    )


class TwoDimensional(nn.Module):
    """The convolutions as published: in two dimensions, on an image of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 125, (8, 1)),
            nn.BatchNorm2d(125),
            nn.Conv2d(125, 15, (1, 36), padding=(0, 18)),
            nn.BatchNorm2d(15),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.unsqueeze(1)).squeeze(2)


def test_the_convolutions_are_the_published_ones() -> None:
    model, published = SPDConvNet(), TwoDimensional()
    shapes = {name: value.shape for name, value in published.layers.state_dict().items()}
    ours = {name: value.view(shapes[name]) for name, value in model.convolutions.state_dict().items()}
    missing, unexpected = published.layers.load_state_dict(ours, strict=False)
    assert missing == ["0.bias", "2.bias"]  # of no effect before a batch norm
    assert not unexpected
    x = torch.randn(6, 8, 125)
    features = model.convolutions(x)
    assert features.shape == (6, 15, 126)
    assert torch.allclose(features, published(x), rtol=1e-4, atol=1e-4)


def test_the_network_of_mamem() -> None:
    model = SPDConvNet(batch_norm=SPDLogEuclidean(12))
    assert model(torch.randn(6, 8, 125)).shape == (6, 5)
    assert model.pooling.shrinkage == 1e-5
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes["convolutions.0.weight"] == (125, 8, 1)
    assert shapes["convolutions.2.weight"] == (15, 125, 36)
    assert shapes["spdnet.features.0.weight"] == (15, 12)
    assert shapes["spdnet.classifier.weight"] == (5, 12 * 13 // 2)
    assert "spdnet.features.0.weight" in named_manifolds(model)
