"""torchvision's ResNet in the slow pathway: what it sees in an image, the pathway sees in a still clip."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import Tensor, nn

from src.command import UserError
from src.model.inflate import inflate_imagenet, slow_name
from src.model.slowfast import SlowFast

pytestmark = pytest.mark.usefixtures("one_thread")


def resnet(depth: int) -> nn.Module:
    """Of random weights, in evaluation mode, with norms that normalise."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def seen_in_image(model: nn.Module, image: Tensor) -> Tensor:
    """`(1, 3, H, W)` → what comes out of the last stage, `(1, C, H/32, W/32)`."""
    return nn.Sequential(*list(model.children())[:-2])(image)


# So long a clip that no zero of the padding reaches the middle of the slow frames: a stage's blocks along time, of
# which each reaches one frame further, number 2 and 2 in the last two stages of an 18, and 6 and 3 in those of a 50.
@pytest.mark.parametrize(("depth", "frames"), [(18, 9), (50, 19)])
@pytest.mark.parametrize("pathways", ["both", "slow"])
def test_a_still_clip_is_seen_as_its_image(depth, frames, pathways):
    model = resnet(depth)
    target = SlowFast(classes=5, depth=depth, alpha=1, pathways=pathways, fusion_kernel=1).eval()
    inflate_imagenet(model.state_dict(), target)
    seen = []
    target.slow.res5.register_forward_hook(lambda _, inputs, output: seen.append(output))
    image = torch.randn(1, 3, 40, 32)
    with torch.no_grad():
        expected = seen_in_image(model, image)
        target(image.unsqueeze(2).expand(-1, -1, frames, -1, -1))
    assert expected.std() > 0.1
    torch.testing.assert_close(seen[0][:, :, frames // 2], expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_the_stages_before_time_counts_see_every_frame_as_the_image():
    model, target = resnet(18), SlowFast(classes=5, depth=18, alpha=4).eval()
    inflate_imagenet(model.state_dict(), target)
    seen = []
    target.slow.res3.register_forward_hook(lambda _, inputs, output: seen.append(output))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = nn.Sequential(*list(model.children())[:6])(image)
        target(image.unsqueeze(2).expand(-1, -1, 8, -1, -1))
    torch.testing.assert_close(seen[0], expected.unsqueeze(2).expand(-1, -1, 2, -1, -1), rtol=1e-4, atol=1e-4)


def test_the_slow_pathway_is_set_and_nothing_else():
    target = SlowFast(classes=5, depth=50, non_local=True)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    names = inflate_imagenet(resnet(50).state_dict(), target)
    changed = {name for name, value in target.state_dict().items() if not value.equal(before[name])}
    assert changed == set(names)
    counters = {name for name in before if name.endswith("num_batches_tracked")}
    slow = {name for name in before if name.startswith("slow.") and ".nonlocal" not in name}
    assert changed == slow - counters


def test_what_the_laterals_hand_over_weighs_nothing_at_first_but_learns():
    target = SlowFast(classes=5, depth=18)
    inflate_imagenet(resnet(18).state_dict(), target)
    weight = target.slow.res2[0].branch.a.conv.weight
    assert weight.shape[1] == 80
    assert weight[:, :64].any()
    assert not weight[:, 64:].any()
    target(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert weight.grad[:, 64:].any()


def test_a_kernel_along_time_shares_out_the_image_kernel():
    model, target = resnet(50), SlowFast(classes=5, depth=50)
    inflate_imagenet(model.state_dict(), target)
    kernel = target.slow.res5[1].branch.a.conv.weight
    assert kernel.shape[2] == 3
    for frame in range(3):
        assert kernel[:, :, frame].equal(model.layer4[1].conv1.weight / 3)


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_every_weight_of_the_resnet_has_its_place(depth):
    with torch.device("meta"):
        model = getattr(torchvision.models, f"resnet{depth}")(weights=None)
        target = SlowFast(classes=5, depth=depth)
    names = inflate_imagenet(model.state_dict(), target)
    image = {n for n in model.state_dict() if not n.startswith("fc.") and not n.endswith("num_batches_tracked")}
    assert len(names) == len(set(names))
    beyond = set(names) - {slow_name(name) for name in image}
    assert {name.rpartition(".")[0] for name in beyond} == (
        {"slow.res2.0.shortcut.conv", "slow.res2.0.shortcut.bn"} if depth == 18 else set()
    )


def test_names_by_example():
    assert slow_name("conv1.weight") == "slow.stem.conv.weight"
    assert slow_name("bn1.running_var") == "slow.stem.bn.running_var"
    assert slow_name("layer4.2.conv3.weight") == "slow.res5.2.branch.c.conv.weight"
    assert slow_name("layer2.0.downsample.0.weight") == "slow.res3.0.shortcut.conv.weight"
    assert slow_name("encoder.layers.0.ln.weight") == "encoder.layers.0.ln.weight"
    assert slow_name("class_token") == "class_token"


def refused(state: dict[str, Tensor], **settings) -> str:
    with torch.device("meta"):
        target = SlowFast(**{"classes": 5, "depth": 18} | settings)
    with pytest.raises(UserError) as error:
        inflate_imagenet(state, target)
    return str(error.value)


def test_what_does_not_fit_is_named():
    with torch.device("meta"):
        state = torchvision.models.resnet18(weights=None).state_dict()
    message = refused(state, width=32)
    assert message.startswith(
        "model.weights: imagenet does not fit model.depth 18 and model.width 32; ResNets of torch"
    )
    assert "misshapen: slow.stem.conv.weight is 64 x 3 x 1 x 7 x 7, expected 32 x 3 x 1 x 7 x 7" in message
    assert "missing: slow.res2.0.branch.c.conv.weight" in refused(state, depth=50)
    assert "unused: encoder.weight" in refused(state | {"encoder.weight": torch.zeros(3)})
    assert re.search("imagenet is for the slow pathway, and model.pathways is fast", refused(state, pathways="fast"))


def test_older_files_without_counts_of_batches_fit():
    state = {name: v for name, v in resnet(18).state_dict().items() if not name.endswith("num_batches_tracked")}
    target = SlowFast(classes=5, depth=18)
    inflate_imagenet(state, target)
    assert target.slow.stem.conv.weight[:, :, 0].equal(state["conv1.weight"])
