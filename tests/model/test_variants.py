"""The named networks: of their published size, for the clips that they were made for, with weights to be found."""

import pytest
import torch
import torchvision

from src.model.slowfast import SlowFast
from src.model.variants import IMAGENET, PUBLISHED, VARIANTS
from src.video import transforms

CLIP = ("frames", "stride", "crop")


def network(variant: str, classes: int = 400) -> SlowFast:
    settings = {name: value for name, value in VARIANTS[variant].items() if name not in CLIP}
    with torch.device("meta"):
        return SlowFast(classes=classes, **settings)


def parameters(model: SlowFast) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# Millions of parameters in the table of pytorchvideo's model zoo.
@pytest.mark.parametrize(
    ("variant", "millions"),
    [
        ("slowfast_4x16_r50", 34.48),
        ("slowfast_8x8_r50", 34.57),
        ("slowfast_8x8_r101", 62.83),
        ("slowfast_16x8_r101", 53.77),
    ],
)
def test_a_variant_has_as_many_parameters_as_published(variant, millions):
    assert round(parameters(network(variant)) / 1e6, 2) == millions


def test_the_4x16_r50_for_the_classes_of_ucf101():
    assert parameters(network("slowfast_4x16_r50", classes=101)) == 33_791_021


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_takes_the_clip_that_it_is_made_for(variant):
    frames, crop = VARIANTS[variant]["frames"], VARIANTS[variant]["crop"]
    model, seen = network(variant), []
    model.slow.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    assert model(torch.empty(1, 3, frames, crop, crop, device="meta")).shape == (1, 400)
    if variant != "small":
        slow_frames, interval = (int(number) for number in variant.split("_")[1].split("x"))
        assert seen == [slow_frames]
        assert interval == VARIANTS[variant]["alpha"] * VARIANTS[variant]["stride"]


def test_all_variants_state_the_same_settings():
    assert {tuple(sorted(settings)) for settings in VARIANTS.values()} == {tuple(sorted(VARIANTS["small"]))}


def test_published_weights_are_of_variants_and_of_their_size():
    """A file holds each parameter and its momentum, 4 bytes each, and little else."""
    for variant, published in PUBLISHED.items():
        assert 1 < published.size / (8 * parameters(network(variant))) < 1.005
    assert len({published.address for published in PUBLISHED.values()}) == len(PUBLISHED)


def test_clips_are_normalised_as_the_publisher_did():
    assert (transforms.MEAN, transforms.STD) == (0.45, 0.225)


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_weights_of_imagenet_are_those_that_torchvision_names(depth):
    assert IMAGENET[depth] == torchvision.models.get_weight(f"ResNet{depth}_Weights.IMAGENET1K_V1").url
