from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rung.models import network_config
from rung.models.fast import ConvBlock, FastConfig, Whitening

SMALL = FastConfig(stages=((8, 8), (12, 12)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9), (8, 8), (28, 28), (33, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_for_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    network = SMALL.build(size, channels, 5)
    logits = network(torch.randn(4, channels, *size))
    assert logits.shape == (4, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("stride", [2, 3, 7])
def test_a_stride_makes_large_images_small(stride: int) -> None:
    config = FastConfig(stages=((8,), (8,)), stem_size=stride + 1, stem_stride=stride)
    assert config.build((96, 96), 3, 2)(torch.randn(2, 3, 96, 96)).shape == (2, 2)


def test_every_trained_weight_gets_a_gradient_and_the_stem_none() -> None:
    network = FastConfig(stages=((8, 8), (12, 12)), shortcuts=True).build((16, 16), 3, 4)
    network(torch.randn(16, 3, 16, 16)).square().mean().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert name == "stem.weight" or name.endswith("norm.weight")
            assert parameter.grad is None


def test_the_same_generator_gives_the_same_weights() -> None:
    def weights() -> list[torch.Tensor]:
        torch.manual_seed(5)
        return list(SMALL.build((8, 8), 1, 3).parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(), weights(), strict=True))


# --- whitening -----------------------------------------------------------------------------------


def correlated(count: int, channels: int, side: int) -> torch.Tensor:
    """Smooth images, like photographs: neighbouring pixels and channels resemble each other."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, channels, side + 4, side + 4, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1)
    images = smooth + 0.7 * smooth.mean(1, keepdim=True)
    return (images - images.mean()) / images.std()


@pytest.mark.parametrize(("channels", "size"), [(1, 2), (3, 2), (1, 3), (3, 3)])
def test_outputs_of_the_whitening_are_uncorrelated_and_of_variance_one(channels: int, size: int) -> None:
    images = correlated(400, channels, 16)
    stem = Whitening(channels, size, 1, filters=100)
    stem.initialise(images, floor=0.0)
    filters = len(stem.weight) // 2
    assert filters == channels * size * size
    # At the patches that it was fitted to; the others have the same statistics but for chance.
    step = max(1, size // 2)
    outputs = stem(images)[:, :filters, ::step, ::step]
    values = outputs.transpose(0, 1).flatten(1).double()
    second_moments = values @ values.T / values.shape[1]
    assert torch.allclose(second_moments, torch.eye(filters, dtype=torch.float64), atol=2e-3)


def test_both_signs_of_the_strongest_components_are_kept() -> None:
    images = correlated(200, 3, 16)
    every, few = Whitening(3, 2, 1, filters=12), Whitening(3, 2, 1, filters=5)
    every.initialise(images)
    few.initialise(images)
    assert few.weight.shape == (10, 3, 2, 2)
    assert torch.equal(few.weight[:5], -few.weight[5:])
    assert torch.equal(few.weight[:5], every.weight[:5])
    # The strongest component has the largest variance, so the smallest filter.
    norms = every.weight[:12].flatten(1).norm(dim=1)
    assert (norms[1:] >= norms[:-1] * (1 - 1e-4)).all()


def test_whitening_of_a_single_colour_stays_finite() -> None:
    stem = Whitening(3, 2, 1, filters=24)
    stem.initialise(torch.zeros(10, 3, 8, 8))
    assert stem.weight.isfinite().all()


def test_whitening_learns_nothing() -> None:
    assert not Whitening(3, 2, 1, 24).weight.requires_grad


# --- blocks and configurations -------------------------------------------------------------------


def test_a_new_convolution_passes_its_input_through() -> None:
    block = ConvBlock(4, 8, pool=False, shortcut=False)
    x = torch.randn(2, 4, 6, 6)
    assert torch.allclose(block.conv(x)[:, :4], x, atol=1e-6)


def test_a_shortcut_adds_the_input() -> None:
    plain, shortcut = ConvBlock(4, 4, False, False).eval(), ConvBlock(4, 4, False, True).eval()
    shortcut.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 6, 6)
    assert torch.allclose(shortcut(x.clone()), x + plain(x.clone()))


def test_the_activation_is_everywhere_the_one_that_is_asked_for() -> None:
    torch.manual_seed(0)
    relu, gelu = (
        FastConfig(((8, 8), (12,)), activation=name).build((16, 16), 3, 4).eval() for name in ("relu", "gelu")
    )
    gelu.load_state_dict(relu.state_dict())
    seen: dict[str, list[torch.Tensor]] = {"relu": [], "gelu": []}
    for name, network in (("relu", relu), ("gelu", gelu)):
        for block in network.blocks:
            block.register_forward_hook(lambda block, inputs, output, name=name: seen[name].extend((*inputs, output)))
        with torch.inference_mode():
            network(torch.randn(4, 3, 16, 16))
    assert all(float(x.min()) >= 0 for x in seen["relu"])
    assert all(-0.17 < float(x.min()) < 0 for x in seen["gelu"])


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="one of relu, gelu, not 'tanh'"):
        network_config({"name": "fast", "activation": "tanh"})


def test_a_configuration_survives_plain_values() -> None:
    values = {"name": "fast", "stages": [[8, 8], [16]], "stem_stride": 2, "shortcuts": True}
    config = network_config(values)
    assert config == FastConfig(stages=((8, 8), (16,)), stem_stride=2, shortcuts=True)
    assert hash(config)
    assert "8-8 | 16" in str(config)


@pytest.mark.parametrize("values", [{"stages": [[8]]}, {"name": "slow"}])
def test_an_unknown_network_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(KeyError):
        network_config(values)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError):
        network_config({"name": "fast", "width": 3})


@pytest.mark.parametrize(("side", "poolings"), [(4, 0), (8, 1), (16, 2), (32, 3), (48, 3)])
def test_small_images_are_pooled_late_and_seldom(side: int, poolings: int) -> None:
    network = FastConfig(stages=((4, 4), (4, 4), (4, 4))).build((side, side), 1, 2)
    pooled = [block.pool for block in network.blocks]
    assert sum(pooled) == poolings
    assert [i for i, pool in enumerate(pooled) if pool] == [0, 2, 4][3 - poolings :]


def test_large_patches_are_looked_at_coarsely() -> None:
    # Smooth, as photographs are.
    small = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(small, size=(256, 256), mode="bicubic")
    stem = Whitening(3, 65, 64, filters=24)
    stem.initialise(images)
    outputs = stem(images)[:, :24].transpose(0, 1).flatten(1)
    # The first components vary most, and are seen best from afar.
    assert (outputs[:8].std(1) - 1).abs().max() < 0.4
    assert stem.weight.isfinite().all() and stem.weight.shape == (48, 3, 65, 65)


@pytest.mark.parametrize("size", [2, 17, 18, 35, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_more_filters_than_a_coarse_patch_has_numbers(size: int, channels: int) -> None:
    stem = Whitening(channels, size, size, filters=1000)
    stem.initialise(torch.randn(3, channels, 131, 140))
    assert stem.weight.isfinite().all() and len(stem.weight) <= 2 * channels * 17**2
