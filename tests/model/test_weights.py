"""Published files → a SlowFast: against pytorchvideo, against PySlowFast's names, and files that are no such thing."""

from __future__ import annotations

import os
import pickle
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.command import UserError
from src.model import pickles
from src.model.nonlocal_block import NonLocal
from src.model.slowfast import SlowFast, published_name, slow_frames
from src.model.weights import hub_name, load_published, pyslowfast_name, transfer

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = Path(__file__).parent / "reference"
TINY = {"classes": 5, "depth": 18, "width": 8, "beta_inv": 4, "fusion_kernel": 5, "alpha": 4}
STEM_NORM = "s1.pathway0_stem.bn.weight"


def random(model: nn.Module) -> nn.Module:
    """In evaluation mode, with norms that all scale, shift and normalise: a fresh one does nothing."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def tiny(**settings) -> SlowFast:
    torch.manual_seed(0)
    model = random(SlowFast(**TINY | settings))
    for module in model.modules():
        if isinstance(module, NonLocal):  # which multiplies features by features: in a random network, to infinity
            nn.init.normal_(module.conv_g.weight, std=1e-3)
    return model


def pyslowfast_state(model: SlowFast) -> dict[str, Tensor]:
    return {published_name(name): value for name, value in model.state_dict().items()}


def pyslowfast_file(path: Path, state: dict[str, Tensor]) -> Path:
    """As PySlowFast saves it: with its optimiser's state and its settings, as text."""
    torch.save({"epoch": 195, "model_state": state, "optimizer_state": {"state": {}}, "cfg": "MODEL: {}"}, path)
    return path


def same(model: SlowFast, other: SlowFast) -> bool:
    clip = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(clip)
        return bool(logits.isfinite().all()) and torch.equal(logits, other(clip))


def refused(path: Path, alpha: int = 4) -> str:
    with pytest.raises(UserError) as error:
        load_published(path, alpha=alpha)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "weights_only" not in message  # PyTorch's own advice on how to run a stranger's code
    return message.removeprefix(f"{path}: ")


# pytorchvideo's hub


@pytest.mark.parametrize(
    ("depth", "alpha", "fusion_kernel", "frames", "temporal_blocks"),
    [(50, 4, 7, 32, 6), (50, 8, 5, 32, 6), (101, 4, 5, 32, 23), (101, 4, 5, 64, 6)],
    ids=["8x8_r50", "4x16_r50", "8x8_r101", "16x8_r101_50_50"],
)
def test_a_file_of_the_hub_gives_the_logits_of_pytorchvideo(
    tmp_path, depth, alpha, fusion_kernel, frames, temporal_blocks
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import, it uses what PyTorch deprecates
        from pytorchvideo.models.slowfast import create_slowfast
    torch.manual_seed(0)
    res4 = ((3, 1, 1),) * temporal_blocks + ((1, 1, 1),) * ((6 if depth == 50 else 23) - temporal_blocks)
    theirs = random(
        create_slowfast(
            model_depth=depth,
            slowfast_fusion_conv_kernel_size=(fusion_kernel, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1),
            stage_conv_a_kernel_sizes=(
                ((1, 1, 1), (1, 1, 1), res4, (3, 1, 1)),
                ((3, 1, 1), (3, 1, 1), res4, (3, 1, 1)),
            ),
            head_pool_kernel_sizes=((frames // alpha, 2, 2), (frames, 2, 2)),  # 64 pixels in, 2 out
        )
    )
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "hub.pyth")
    ours = load_published(tmp_path / "hub.pyth", alpha=alpha)
    assert {name: ours.architecture[name] for name in ("depth", "fusion_kernel", "temporal_blocks")} == {
        "depth": depth,
        "fusion_kernel": fusion_kernel,
        "temporal_blocks": temporal_blocks,
    }
    assert not ours.training
    clip = torch.randn(1, 3, frames, 64, 64)
    with torch.no_grad():
        expected = theirs([clip.index_select(2, slow_frames(frames, alpha)), clip])
        logits = ours(clip)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_names_of_the_hub_by_example():
    assert hub_name("fast.stem.bn.running_mean") == "blocks.0.multipathway_blocks.1.norm.running_mean"
    assert hub_name("fuse.res3.conv.weight") == "blocks.2.multipathway_fusion.conv_fast_to_slow.weight"
    assert hub_name("fast.res5.0.shortcut.bn.bias") == "blocks.4.multipathway_blocks.1.res_blocks.0.branch1_norm.bias"
    assert hub_name("head.bias") == "blocks.6.proj.bias"


# PySlowFast's .pyth


@pytest.mark.parametrize(
    ("variant", "alpha", "expected"),
    [
        ("8x8_r50", 4, {"depth": 50, "fusion_kernel": 7, "temporal_blocks": 6}),
        ("4x16_r50", 8, {"depth": 50, "fusion_kernel": 5, "temporal_blocks": 6}),
        ("8x8_r101", 4, {"depth": 101, "fusion_kernel": 5, "temporal_blocks": 23}),
    ],
)
def test_every_tensor_of_pyslowfast_gets_its_place(tmp_path, variant, alpha, expected):
    state = {}
    for line in (REFERENCE / f"{variant}.txt").read_text().splitlines():
        name, _, shape = line.partition(" ")
        state[name] = torch.rand([int(size) for size in shape.split(",")]) if shape else torch.tensor(7)
    model = load_published(pyslowfast_file(tmp_path / "published.pyth", state), alpha=alpha)
    common = {"width": 64, "alpha": alpha, "beta_inv": 8, "fusion_ratio": 2, "pathways": "both", "non_local": False}
    assert model.architecture == common | expected
    loaded = model.state_dict()
    assert len(loaded) == len(state)
    assert [name for name, value in loaded.items() if not value.equal(state[published_name(name)])] == []


def test_frames_of_the_slow_pathway_are_the_publishers(tmp_path):
    model = load_published(pyslowfast_file(tmp_path / "tiny.pyth", pyslowfast_state(tiny())), alpha=4)
    seen = []
    model.slow.stem.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0][0, 0, :, 0, 0].tolist()))
    model(torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 3, 32, 32, 32))
    assert seen == [0, 4, 8, 13, 17, 22, 26, 31]


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 50, "non_local": True},
        {"depth": 50, "width": 16, "beta_inv": 2, "fusion_ratio": 1, "fusion_kernel": 3},
        {"depth": 101, "temporal_blocks": 6, "non_local": True},
        {"classes": 2, "alpha": 8, "temporal_blocks": 0},
    ],
)
def test_the_network_is_found_from_names_and_shapes(tmp_path, settings):
    model = tiny(**settings)
    path = pyslowfast_file(tmp_path / "x.pyth", pyslowfast_state(model))
    loaded = load_published(path, alpha=settings.get("alpha", 4))
    assert loaded.architecture == model.architecture
    assert same(loaded, model)


def test_old_and_half_precision_files_are_read(tmp_path):
    state = {name: value.half() if value.is_floating_point() else value for name, value in tiny().state_dict().items()}
    renamed = {published_name(name): value for name, value in state.items()}
    torch.save({"model_state": renamed}, tmp_path / "old.pyth", _use_new_zipfile_serialization=False)
    loaded = load_published(tmp_path / "old.pyth", alpha=4)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert loaded.head.weight.equal(state["head.weight"].float())


def test_tensors_that_a_file_shares_are_apart(tmp_path):
    state = pyslowfast_state(tiny())
    state[STEM_NORM] = state["s1.pathway0_stem.bn.bias"]
    norm = load_published(pyslowfast_file(tmp_path / "x.pyth", state), alpha=4).slow.stem.bn
    with torch.no_grad():
        norm.weight.zero_()
    assert norm.bias.any()


# Caffe2's .pkl


def blobs(model: SlowFast) -> dict[str, np.ndarray]:
    """The model's arrays under Caffe2's names, written down from a listing of a published file."""
    last = {"stem": "pool1"} | {
        f"res{i}": f"res{i}_{len(model.fast.get_submodule(f'res{i}')) - 1}_branch2c_bn" for i in (2, 3, 4)
    }
    renamed = {}
    for name, value in model.state_dict().items():
        *layers, kind = name.split(".")
        if kind == "num_batches_tracked":
            continue
        norm = "bn" in layers
        kind = {"weight": "s" if norm else "w", "bias": "b", "running_mean": "rm", "running_var": "riv"}[kind]
        tower = "t_" if layers[0] == "fast" else ""
        match layers:
            case ["head"]:
                blob = f"pred_{kind}"
            case ["fuse", at, _]:
                blob = f"t_{last[at]}_subsample_{'bn_' if norm else ''}{kind}"
            case [_, "stem", "conv"]:
                blob = f"{tower}conv1_{kind}"
            case [_, "stem", "bn"]:
                blob = f"{tower}res_conv1_bn_{kind}"
            case [_, stage, block, "shortcut", _]:
                blob = f"{tower}{stage}_{block}_branch1_{'bn_' if norm else ''}{kind}"
            case [_, stage, block, "branch", part, _]:
                blob = f"{tower}{stage}_{block}_branch2{part}_{'bn_' if norm else ''}{kind}"
            case [_, stage, block, part]:
                blob = f"nonlocal_conv{stage[-1]}_{block.removeprefix('nonlocal')}_{part.removeprefix('conv_')}_{kind}"
        renamed[blob] = value.numpy()
    return renamed


def caffe2_file(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps({"blobs": content}, protocol))
    return path


@pytest.mark.parametrize("protocol", range(5))
def test_a_file_of_caffe2_gives_the_same_network(tmp_path, protocol):
    model = tiny(depth=50, non_local=True)
    content = blobs(model)
    solver = {"conv1_w_momentum": content["conv1_w"], "lr": np.float32([0.1]), "model_iter": 240_000}
    loaded = load_published(caffe2_file(tmp_path / "zoo.pkl", content | solver, protocol), alpha=4)
    assert loaded.architecture == model.architecture
    assert same(loaded, model)


def test_arrays_of_any_number_order_and_layout_are_read(tmp_path):
    content = blobs(model := tiny())
    content["conv1_w"] = np.asfortranarray(content["conv1_w"])
    content["pred_w"] = content["pred_w"].astype(">f8")
    assert same(load_published(caffe2_file(tmp_path / "zoo.pkl", content), alpha=4), model)


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        ("conv1_w", "s1.pathway0_stem.conv.weight"),
        ("t_conv1_w", "s1.pathway1_stem.conv.weight"),
        ("res_conv1_bn_riv", "s1.pathway0_stem.bn.running_var"),
        ("t_res_conv1_bn_b", "s1.pathway1_stem.bn.bias"),
        ("t_pool1_subsample_w", "s1_fuse.conv_f2s.weight"),
        ("t_pool1_subsample_bn_rm", "s1_fuse.bn.running_mean"),
        ("t_res4_22_branch2c_bn_subsample_w", "s4_fuse.conv_f2s.weight"),
        ("t_res4_22_branch2c_bn_subsample_bn_riv", "s4_fuse.bn.running_var"),
        ("res4_12_branch2b_bn_rm", "s4.pathway0_res12.branch2.b_bn.running_mean"),
        ("t_res4_18_branch2c_w", "s4.pathway1_res18.branch2.c.weight"),
        ("t_res4_0_branch1_bn_s", "s4.pathway1_res0.branch1_bn.weight"),
        ("nonlocal_conv4_6_out_w", "s4.pathway0_nonlocal6.conv_out.weight"),
        ("nonlocal_conv4_20_phi_b", "s4.pathway0_nonlocal20.conv_phi.bias"),
        ("nonlocal_conv4_6_bn_rm", "s4.pathway0_nonlocal6.bn.running_mean"),
        ("pred_w", "head.projection.weight"),
        ("fc1000_w", None),
        ("conv1", None),
        ("res4_12_branch2b_bn_x", None),
    ],
)
def test_names_of_caffe2_by_example(blob, expected):
    """The blobs are of a published R101 with non-local blocks, as PySlowFast's log of loading it lists them."""
    assert pyslowfast_name(blob) == expected


# Every tensor is accounted for


def test_what_does_not_fit_is_listed(tmp_path):
    state = pyslowfast_state(tiny())
    del state["s5.pathway1_res1.branch2.b.weight"]
    state["neck.weight"] = torch.zeros(3)
    state["head.projection.bias"] = torch.zeros(6)
    assert refused(pyslowfast_file(tmp_path / "x.pyth", state)).splitlines() == [
        "looks like a SlowFast of depth 18 and width 8, but does not fit one:",
        "  missing: s5.pathway1_res1.branch2.b.weight",
        "  unused: neck.weight",
        "  misshapen: head.projection.bias is 6, expected 5",
    ]


def test_a_long_list_is_cut(tmp_path):
    state = pyslowfast_state(tiny()) | {f"neck.{i}": torch.zeros(1) for i in range(23)}
    lines = refused(pyslowfast_file(tmp_path / "x.pyth", state)).splitlines()
    assert lines[1:] == [f"  unused: neck.{i}" for i in range(20)] + ["  and 3 more"]


def test_what_does_not_fit_is_listed_for_the_other_kinds(tmp_path):
    hub = {hub_name(name): value for name, value in tiny().state_dict().items()}
    torch.save({"model_state": hub | {"blocks.7.weight": torch.zeros(1)}}, tmp_path / "hub.pyth")
    assert "unused: blocks.7.weight" in refused(tmp_path / "hub.pyth")
    content = blobs(tiny()) | {"fc7_w": np.zeros(1), "t_res2_0_branch2c_bn_subsample_w": np.zeros(1)}
    del content["res_conv1_bn_riv"]
    message = refused(caffe2_file(tmp_path / "zoo.pkl", content))
    assert "missing: s1.pathway0_stem.bn.running_var" in message
    assert "unused: fc7_w" in message
    assert "unused: t_res2_0_branch2c_bn_subsample_w" in message  # a second one for the same place


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda name: "pathway1" not in name, "it has no s1.pathway1_stem.conv.weight, but s1.pathway0_stem.conv"),
        (lambda name: "_fuse" not in name, "it has no s1_fuse.conv_f2s.weight"),
        (
            lambda name: "res1." not in name,
            "its res4 has 1 blocks, of which there are 2 in a 18, 6 in a 50, 23 in a 101",
        ),
    ],
)
def test_another_network_is_named(tmp_path, change, expected):
    state = {name: value for name, value in pyslowfast_state(tiny()).items() if change(name)}
    assert expected in refused(pyslowfast_file(tmp_path / "x.pyth", state))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("s1.pathway0_stem.conv.weight", (8, 3, 7, 7), "its s1.pathway0_stem.conv.weight is 8 x 3 x 7 x 7"),
        (
            "s1.pathway1_stem.conv.weight",
            (3, 3, 5, 7, 7),
            "s1.pathway1_stem.bn.weight is 2, expected 4",
        ),
        ("s1.pathway1_stem.conv.weight", (16, 3, 5, 7, 7), "misshapen: s1.pathway1_stem.conv.weight is 16 x"),
        (
            "s1.pathway0_stem.conv.weight",
            (7, 3, 1, 7, 7),
            "width is 7, but must be a positive multiple of beta_inv = 3",
        ),
        ("s1_fuse.conv_f2s.weight", (4, 2, 4, 1, 1), "fusion_kernel is 4"),
        ("s1_fuse.conv_f2s.weight", (1, 2, 5, 1, 1), "misshapen: s1_fuse.bn.weight is 4, expected 2"),
        ("head.projection.weight", (0, 80), "its head.projection.weight is 0 x 80"),
    ],
)
def test_sizes_of_no_slowfast_are_named(tmp_path, name, shape, expected):
    state = pyslowfast_state(tiny()) | {name: torch.zeros(shape)}
    assert expected in refused(pyslowfast_file(tmp_path / "x.pyth", state))


# Files that are something else


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "neither a PyTorch checkpoint nor a Caffe2 pickle: it begins with b''"),
        (b"<!DOCTYPE html><p>404", "it begins with b'<!DOCTYPE html>"),
        (pickle.dumps({"blobs": {}}), "no tensors under 'blobs', but it holds blobs"),
        (pickle.dumps({"weights": [1]}), "no tensors under 'blobs', but it holds weights"),
        (pickle.dumps([1]), "no tensors under 'blobs', but it holds list"),
        (pickle.dumps({"blobs": {"conv1_w": 3}}), "the blob conv1_w is no array"),
        (pickle.dumps({"blobs": {1: 3}}), "the blob 1 is no array"),
        (pickle.dumps({"blobs": {"conv1_w": np.zeros(3)}})[:-9], "not read: "),
        (b"\x80\x02", "not read: "),
    ],
)
def test_a_file_that_is_no_weights_says_what_it_is(tmp_path, content, expected):
    (tmp_path / "x").write_bytes(content)
    assert expected in refused(tmp_path / "x")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert refused(tmp_path / "none.pyth") == "no such file"
    assert refused(tmp_path) == "Is a directory"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"state_dict": {}, "epoch": 3}, "no tensors under 'model_state', but it holds state_dict, epoch"),
        (torch.zeros(2), "no tensors under 'model_state', but it holds Tensor"),
        ({"model_state": {"a": 1}}, "a under 'model_state' is no tensor"),
        ({"model_state": {1: torch.zeros(2)}}, "1 under 'model_state' is no tensor"),
        ({"model_state": {"blocks.0.conv.conv_t.weight": torch.zeros(2)}}, "but blocks.0.conv.conv_t.weight"),
    ],
)
def test_a_checkpoint_of_something_else_says_what_it_is(tmp_path, value, expected):
    torch.save(value, tmp_path / "x.pyth")
    assert expected in refused(tmp_path / "x.pyth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_file_cut_short_is_named(tmp_path, share):
    path = pyslowfast_file(tmp_path / "x.pyth", pyslowfast_state(tiny()))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "damaged, cut short" in refused(path)


# Nothing in a file runs


class Intruder:
    """Unpickled without care, it calls `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_call_in_a_pickle_is_refused_and_not_run(tmp_path):
    intruder = Intruder(os.system, f"touch {tmp_path / 'ran'}")
    path = caffe2_file(tmp_path / "zoo.pkl", blobs(tiny()) | {"conv1_w": intruder})
    assert f"it asks for {os.name}.system" in refused(path)
    assert not (tmp_path / "ran").exists()


def test_a_call_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    state = pyslowfast_state(tiny()) | {STEM_NORM: Intruder(Path.touch, tmp_path / "ran")}
    assert "more than tensors" in refused(pyslowfast_file(tmp_path / "x.pyth", state))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Intruder(eval, "1"), "builtins.eval"),
        (Intruder(getattr, "", "join"), "builtins.getattr"),
        (Intruder(np.load, "x.npy"), "numpy.load"),
        (np.float64(1), "multiarray.scalar"),
        (np.array([None]), "an array of 'O8'"),
        (np.array([(1, 2.0)], dtype="i4,f4"), "an array of 'V8'"),
        (np.array(["text"]), "an array of 'U4'"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
        (torch.zeros(1), "torch._utils._rebuild_tensor_v2"),
    ],
)
def test_a_pickle_of_more_than_arrays_of_numbers_is_refused(tmp_path, value, expected):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"blobs": {"x": value}}))
    with pytest.raises(pickle.UnpicklingError, match=re.escape(expected)):
        pickles.read(tmp_path / "x.pkl")


def written_by_python_2(shape: bytes, order: bytes, content: bytes) -> bytes:
    """A pickled array of 32-bit floats whose bytes are a string, as Python 2 has no others."""
    kind = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return b"\x80\x02" + array + b"(K\x01" + shape + kind + b"\x89U" + bytes([len(content)]) + content + b"tb."


def test_an_array_of_python_2_is_read(tmp_path):
    (tmp_path / "x").write_bytes(written_by_python_2(b"K\x02\x85", b"<", np.float32([0.1, -3]).tobytes()))
    assert pickles.read(tmp_path / "x").values.tolist() == np.float32([0.1, -3]).tolist()
    (tmp_path / "x").write_bytes(written_by_python_2(b"K\x02\x85", b">", np.array([0.1, -3], ">f4").tobytes()))
    assert pickles.read(tmp_path / "x").values.tolist() == np.float32([0.1, -3]).tolist()


@pytest.mark.parametrize(
    ("shape", "order", "expected"),
    [
        (b"K\x03\x85", b"<", r"an array of shape \(3,\) in 8 bytes"),
        (b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", b"<", "unknown dimension"),
        (b"K\x02\x85", b"O", "the byte order 'O'"),
    ],
)
def test_an_array_that_contradicts_itself_is_refused(tmp_path, shape, order, expected):
    (tmp_path / "x").write_bytes(written_by_python_2(shape, order, bytes(8)))
    with pytest.raises((pickle.UnpicklingError, ValueError), match=expected):
        pickles.read(tmp_path / "x")


def test_no_part_of_the_reader_can_be_changed_from_a_pickle(tmp_path):
    """A pickle may set the attributes of what it has been handed, so it is handed nothing that has any of use."""
    before = dict(vars(pickles.Array))
    functions = (b"numpy.core.multiarray\n_reconstruct", b"_codecs\nencode")
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"collections\nOrderedDict", *functions):
        (tmp_path / "x").write_bytes(b"\x80\x02c" + name + b"\nN}U\x06valuesK\x01s\x86b.")
        with pytest.raises((TypeError, AttributeError, pickle.UnpicklingError)):
            pickles.read(tmp_path / "x")
    assert dict(vars(pickles.Array)) == before
    assert sys.modules["collections"].OrderedDict() == {}


# Into a network to fine-tune


def test_all_but_the_head_is_transferred():
    published, target = tiny(classes=400), SlowFast(**TINY | {"classes": 3, "dropout": 0.9, "zero_init": False})
    head = target.head.weight.clone()
    transfer(published, target)
    assert target.head.weight.equal(head)
    differing = [n for n, v in target.state_dict().items() if not v.equal(published.state_dict()[n])]
    assert differing == ["head.weight", "head.bias"]
    with torch.no_grad():
        target.slow.stem.bn.weight.zero_()
    assert published.slow.stem.bn.weight.all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fusion_kernel": 7}, "model.fusion_kernel is 7, the weights have 5"),
        ({"alpha": 8}, "model.alpha is 8, the weights have 4"),
        ({"depth": 50}, "model.depth is 50, the weights have 18; model.temporal_blocks is 6, the weights have 2"),
        ({"pathways": "slow"}, "model.pathways is slow, the weights have both"),
        ({"non_local": True}, "model.non_local is True, the weights have False"),
    ],
)
def test_weights_of_another_network_are_refused_by_setting(settings, expected):
    target = SlowFast(**TINY | settings)
    before = target.slow.stem.conv.weight.clone()
    with pytest.raises(UserError, match=re.escape(f"model.weights: of another network: {expected}; set model.variant")):
        transfer(tiny(), target)
    assert target.slow.stem.conv.weight.equal(before)
