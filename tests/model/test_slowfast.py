"""SlowFast against published facts, against a reference implementation, and against clips made up for it."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.model.nonlocal_block import NonLocal
from src.model.slowfast import SlowFast, published_name, slow_frames
from src.training.optim import computes_in_bf16

pytestmark = pytest.mark.usefixtures("one_thread")

# PySlowFast's names and shapes of the three networks, one `name shape` a line; a scalar has no shape.
REFERENCE = Path(__file__).parent / "reference"
PUBLISHED = {
    "8x8_r50": ({"depth": 50, "alpha": 4, "fusion_kernel": 7}, 34_566_488),
    "4x16_r50": ({"depth": 50, "alpha": 8, "fusion_kernel": 5}, 34_480_216),
    "8x8_r101": ({"depth": 101, "alpha": 4, "fusion_kernel": 5}, 62_826_968),
}


def toy(**settings) -> SlowFast:
    """A network small enough for a test, in which every residual branch counts (their last gamma is 1)."""
    torch.manual_seed(0)
    model = SlowFast(**{"classes": 5, "depth": 18, "width": 16} | settings)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
    return model


def counting_clip(frames: int, size: int = 32) -> Tensor:
    """A clip whose frame number is its brightness."""
    return torch.arange(float(frames)).view(1, 1, -1, 1, 1).expand(1, 3, frames, size, size).contiguous()


@pytest.mark.parametrize("variant", PUBLISHED)
def test_parameter_count_is_the_published_one(variant):
    settings, count = PUBLISHED[variant]
    with torch.device("meta"):
        model = SlowFast(classes=400, **settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("variant", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(variant):
    lines = (REFERENCE / f"{variant}.txt").read_text().splitlines()
    published = {name: shape for name, _, shape in (line.partition(" ") for line in lines)}
    with torch.device("meta"):
        ours = SlowFast(classes=400, **PUBLISHED[variant][0]).state_dict()
    translated = {published_name(name): ",".join(map(str, value.shape)) for name, value in ours.items()}
    assert len(translated) == len(ours)
    assert translated == published


def test_published_names_by_example():
    assert published_name("slow.stem.bn.running_mean") == "s1.pathway0_stem.bn.running_mean"
    assert published_name("fuse.res3.conv.weight") == "s3_fuse.conv_f2s.weight"
    assert published_name("fast.res5.0.shortcut.bn.bias") == "s5.pathway1_res0.branch1_bn.bias"
    assert published_name("slow.res4.22.branch.c.conv.weight") == "s4.pathway0_res22.branch2.c.weight"
    assert published_name("slow.res3.nonlocal1.conv_theta.weight") == "s3.pathway0_nonlocal1.conv_theta.weight"
    assert published_name("slow.res4.nonlocal5.bn.running_var") == "s4.pathway0_nonlocal5.bn.running_var"


@pytest.mark.parametrize("name", ["neck.weight", "slow.res6.0.branch.a.conv.weight", "head"])
def test_a_name_that_is_not_ours_is_refused(name):
    with pytest.raises(KeyError):
        published_name(name)


def test_logits_are_those_of_pytorchvideo():
    """The expected numbers are what `create_slowfast` of pytorchvideo 0.1.5 gives for the same weights."""
    model = SlowFast(classes=5, depth=50, width=16).double().eval()
    values = model.state_dict()
    for i, name in enumerate(sorted(values, key=published_name)):
        value = values[name]
        wave = torch.sin(torch.arange(value.numel()).double() * 12.9898 + i).view(value.shape)
        if value.ndim > 1:
            value.copy_(wave * math.sqrt(4 / value[0].numel()))
        elif name.endswith("running_var"):
            value.copy_(1 + wave / 2)
        elif name.endswith("weight"):
            value.copy_((1 + wave / 2) / 2)
        elif not name.endswith("num_batches_tracked"):
            value.copy_(wave / 10)
    shape = (2, 3, 16, 64, 64)
    clip = torch.sin(torch.arange(math.prod(shape)).double() * 12.9898).view(shape)
    expected = [
        [5.877175990279584, 5.800439179694131, -1.0854577041940914, -6.614159106651745, -4.235474476518121],
        [5.892155759568301, 5.807488127853123, -1.094664519468298, -6.628748260810171, -4.238215900068703],
    ]
    with torch.no_grad():
        torch.testing.assert_close(model(clip), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


# (frames - 1) / (slow frames - 1) is 31 / 7 = 4.43, 31 / 3 = 10.33 and 15 / 3 = 5 frames a step.
CHOICES = [
    (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),
    (32, 8, [0, 10, 20, 31]),
    (16, 4, [0, 5, 10, 15]),
    (4, 4, [0]),
    (3, 1, [0, 1, 2]),
]


@pytest.mark.parametrize(("frames", "alpha", "expected"), CHOICES)
def test_slow_frames(frames, alpha, expected):
    assert slow_frames(frames, alpha).tolist() == expected


def test_each_pathway_sees_its_frames():
    model = toy().eval()
    seen = {}
    for name in ("slow", "fast"):
        model.get_submodule(name).stem.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0][0, 0, :, 0, 0].tolist()})
        )
    model(counting_clip(32))
    assert seen == {"slow": [0, 4, 8, 13, 17, 22, 26, 31], "fast": list(range(32))}


def test_the_fast_pathway_sees_the_order_of_frames():
    model = toy(depth=50).eval()
    torch.manual_seed(1)
    clip = torch.randn(1, 3, 16, 32, 32)
    swapped = clip.clone()
    swapped[:, :, [1, 12]] = clip[:, :, [12, 1]]  # neither is among the slow frames 0, 5, 10, 15
    with torch.no_grad():
        assert (model(clip) - model(swapped)).abs().max() > 1e-4


@pytest.mark.parametrize("depth", [18, 50, 101])
@pytest.mark.parametrize(("frames", "height", "width", "alpha"), [(4, 32, 32, 4), (12, 40, 56, 4), (16, 65, 33, 8)])
def test_any_clip_that_alpha_divides(depth, frames, height, width, alpha):
    with torch.device("meta"):
        model = SlowFast(classes=7, depth=depth, width=16, alpha=alpha, fusion_kernel=5)
        assert model(torch.empty(2, 3, frames, height, width)).shape == (2, 7)


def test_pathways_keep_their_frames_and_end_at_a_thirty_second_of_the_size():
    shapes = {}
    with torch.device("meta"):
        model = SlowFast(classes=400)
        for name in ("slow", "fast"):
            model.get_submodule(name).res5.register_forward_hook(
                lambda _, inputs, output, name=name: shapes.update({name: tuple(output.shape)})
            )
        model(torch.empty(1, 3, 32, 224, 224))
    assert shapes == {"slow": (1, 2048, 8, 7, 7), "fast": (1, 256, 32, 7, 7)}  # table 1 of the paper


@pytest.mark.parametrize("depth", [18, 50])
def test_other_ratios_between_the_pathways(depth):
    model = toy(depth=depth, beta_inv=4, fusion_ratio=1, fusion_kernel=3, alpha=2).eval()
    logits = model(torch.randn(2, 3, 6, 48, 32))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("depth", [18, 50])
def test_every_parameter_receives_a_gradient(depth):
    model = toy(depth=depth, dropout=0.0)
    model(torch.randn(2, 3, 8, 64, 64)).square().sum().backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("depth", [18, 50])
def test_a_new_block_is_its_shortcut(depth):
    block = SlowFast(classes=5, depth=depth, width=16).eval().slow.res3[1]
    features = torch.rand(1, 32 if depth == 18 else 128, 2, 4, 4)
    torch.testing.assert_close(block(features), features)


def test_the_head_is_the_classifier():
    model = SlowFast(classes=11, width=32)
    assert model.head.weight.shape == (11, 32 * 32 + 4 * 32)  # 32 stem channels to 1024, and 4 to 128
    assert model.head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not model.head.bias.any()


def test_dropout_only_in_training():
    model = toy(dropout=0.9)
    clip = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(clip), model(clip))
        model.dropout.train()
        assert not torch.equal(model(clip), model(clip))


def test_forward_leaves_the_clip_alone():
    clip = torch.randn(1, 3, 8, 32, 32)
    before = clip.clone()
    toy().eval()(clip)
    assert torch.equal(clip, before)


def test_bfloat16_and_channels_last_give_nearly_the_same_logits():
    model = toy(depth=50).eval()
    clip = torch.randn(2, 3, 8, 64, 64)
    layouts = []
    with torch.no_grad():
        expected = model(clip)
        model.to(memory_format=torch.channels_last_3d)
        clip = clip.to(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(model(clip), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
        for stage in (*model.slow, *model.fast, *model.fuse):
            stage.register_forward_hook(
                lambda _, inputs, output: layouts.append(output.is_contiguous(memory_format=torch.channels_last_3d))
            )
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(clip)
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()
    assert (logits.float() - expected).abs().max() < 0.05 * expected.abs().max()
    assert len(layouts) == 14
    # No layer falls back to the default layout, but where a CPU has to imitate bfloat16.
    assert all(layouts) or not computes_in_bf16(torch.device("cpu"))


# One pathway alone


# Not the slow pathway of an 18: with nothing joined to it, the first block of res2 needs no shortcut.
@pytest.mark.parametrize(("pathways", "depth"), [("slow", 50), ("fast", 50), ("fast", 18)])
def test_a_pathway_alone_is_its_half_of_the_whole(pathways, depth):
    """The other half of the head, and all that the laterals hand over, weigh nothing in the whole."""
    whole, alone = toy(depth=depth).eval(), toy(depth=depth, pathways=pathways).eval()
    entire = whole.state_dict()
    for name, value in alone.state_dict().items():
        if (count := value.shape[1] if value.ndim > 1 else 0) and entire[name].shape[1] > count:
            ours = slice(-count, None) if name == "head.weight" and pathways == "fast" else slice(count)
            value.copy_(entire[name][:, ours])
            entire[name].zero_()[:, ours] = value
        else:
            value.copy_(entire[name])
    clip = torch.randn(2, 3, 8, 40, 32)
    with torch.no_grad():
        expected = whole(clip)
        torch.testing.assert_close(alone(clip), expected)
    assert expected.std() > 1e-3


def test_the_slow_pathway_alone_has_as_many_parameters_as_published():
    with torch.device("meta"):
        model = SlowFast(classes=400, pathways="slow")
    assert sum(parameter.numel() for parameter in model.parameters()) == 32_454_096  # Slow R50: 32.45 M
    assert {name.split(".")[0] for name in model.state_dict()} == {"slow", "head"}


def test_the_fast_pathway_alone_takes_any_number_of_frames():
    model = toy(pathways="fast").eval()
    assert model(torch.randn(1, 3, 7, 32, 32)).shape == (1, 5)
    assert {name.split(".")[0] for name in model.state_dict()} == {"fast", "head"}


@pytest.mark.parametrize(("pathways", "differs"), [("slow", False), ("fast", True), ("both", True)])
def test_only_the_slow_pathway_alone_misses_a_frame_between_its_own(pathways, differs):
    model = toy(pathways=pathways).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    other = clip.clone()
    other[:, :, 7] = 0  # the slow frames are 0, 5, 10, 15
    with torch.no_grad():
        assert torch.equal(model(clip), model(other)) is not differs


# Non-local blocks


def test_a_non_local_block_sums_over_all_pairs_of_positions():
    torch.manual_seed(0)
    block = NonLocal(6).double().eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 6, 3, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        pooled = nn.functional.max_pool3d(x, (1, 2, 2))  # 3 frames of 2 x 2, the fifth row left out
        theta, phi, g = block.conv_theta(x), block.conv_phi(pooled), block.conv_g(pooled)
        weights = torch.einsum("bcthw,bcuij->bthwuij", theta, phi) / 12
        attended = torch.einsum("bthwuij,bcuij->bcthw", weights, g)
        torch.testing.assert_close(block(x), x + block.bn(block.conv_out(attended)))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (18, ["res3.nonlocal1", "res4.nonlocal1"]),
        (50, ["res3.nonlocal1", "res3.nonlocal3", "res4.nonlocal1", "res4.nonlocal3", "res4.nonlocal5"]),
        (101, ["res4.nonlocal6", "res4.nonlocal13", "res4.nonlocal20"]),
    ],
)
def test_non_local_blocks_stand_where_the_publisher_puts_them(depth, expected):
    with torch.device("meta"):
        model = SlowFast(classes=5, depth=depth, non_local=True)
    assert [name for name, module in model.slow.named_modules() if isinstance(module, NonLocal)] == expected
    assert not any(isinstance(module, NonLocal) for module in model.fast.modules())


def test_shapes_of_non_local_blocks_are_the_published_ones():
    """As a listing of PySlowFast's SLOWFAST_NLN_16x8_R101 gives them."""
    with torch.device("meta"):
        model = SlowFast(classes=400, depth=101, fusion_kernel=5, temporal_blocks=6, non_local=True)
    shapes = {published_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["s4.pathway0_nonlocal20.conv_phi.weight"] == (512, 1024, 1, 1, 1)
    assert shapes["s4.pathway0_nonlocal6.conv_out.weight"] == (1024, 512, 1, 1, 1)
    assert shapes["s4.pathway0_nonlocal6.conv_out.bias"] == (1024,)
    assert shapes["s4.pathway0_nonlocal6.bn.running_mean"] == (1024,)
    assert shapes["s4.pathway0_res5.branch2.a.weight"] == (256, 1024, 3, 1, 1)
    assert shapes["s4.pathway1_res5.branch2.a.weight"] == (32, 128, 3, 1, 1)
    assert shapes["s4.pathway0_res9.branch2.a.weight"] == (256, 1024, 1, 1, 1)
    assert shapes["s4.pathway1_res18.branch2.a.weight"] == (32, 128, 1, 1, 1)


@pytest.mark.parametrize("depth", [18, 50])
def test_new_non_local_blocks_change_nothing(depth):
    plain = SlowFast(classes=5, depth=depth, width=16).eval()
    model = SlowFast(classes=5, depth=depth, width=16, non_local=True).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    clip = torch.randn(1, 3, 8, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), plain(clip))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 97), (224, 160)])
def test_non_local_blocks_take_any_crop(height, width):
    with torch.device("meta"):
        model = SlowFast(classes=7, width=16, non_local=True)
        assert model(torch.empty(2, 3, 8, height, width)).shape == (2, 7)


def test_every_parameter_of_a_non_local_block_receives_a_gradient():
    block = NonLocal(6).eval()  # in training, the norm takes off what the last bias adds
    nn.init.ones_(block.bn.weight)
    block(torch.randn(2, 6, 2, 4, 4)).square().sum().backward()
    assert [name for name, value in block.named_parameters() if not value.grad.any()] == []


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 34}, "depth is 34, but must be one of 18, 50, 101"),
        ({"width": 60}, "width is 60, but must be a positive multiple of beta_inv = 8"),
        ({"width": 0}, "width is 0, but must be a positive multiple of beta_inv = 8"),
        ({"fusion_kernel": 4}, "fusion_kernel is 4, but must be odd and positive: 1, 3, 5, 7"),
        ({"fusion_kernel": -1}, "fusion_kernel is -1, but must be odd and positive"),
        ({"pathways": "slower"}, "pathways is slower, but must be one of both, slow, fast"),
        ({"pathways": "fast", "non_local": True}, "non_local needs the slow pathway, but pathways is fast"),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        SlowFast(classes=5, **settings)


def test_a_clip_that_alpha_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="a clip of 30 frames is not a multiple of alpha = 4"):
        toy()(torch.randn(1, 3, 30, 32, 32))


def test_stochastic_depth_leaves_branches_out_ever_more_towards_the_end():
    network = SlowFast(classes=2, depth=18, width=8, beta_inv=4, drop_path=0.4)
    for pathway in (network.slow, network.fast):
        blocks = [block for stage in (pathway.res2, pathway.res3, pathway.res4, pathway.res5) for block in stage]
        assert [block.drop.p for block in blocks] == pytest.approx([0.4 * number / 7 for number in range(8)])
        assert {block.drop.mode for block in blocks} == {"row"}
    plain = SlowFast(classes=2, depth=18, width=8, beta_inv=4)
    assert list(plain.state_dict()) == list(network.state_dict())


def test_a_branch_that_is_left_out_leaves_the_shortcut():
    """With the branch always dropped a block is its shortcut in training, and itself when it answers."""
    network = SlowFast(classes=2, depth=18, width=8, beta_inv=4, drop_path=0.4, zero_init=False)
    block = network.fast.res2[1]
    block.drop.p = 1.0
    x = torch.rand(2, 2, 4, 8, 8)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)
