"""A published file of weights → a SlowFast that gives its publisher's logits; and from that to a network to fine-tune.

Three kinds are read: PySlowFast's `.pyth`, its model zoo's Caffe2 `.pkl`, and the `.pyth` of pytorchvideo's hub. Which
one a file is, and which network it holds, is seen from what is in it: names, and the shapes of what they name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.command import UserError
from src.model import pickles
from src.model.slowfast import BLOCKS, SlowFast, published_name

Tensors = dict[str, Tensor]

ZIP = b"PK\x03\x04"
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of `torch.save` begin: a zip archive, and before PyTorch 1.6 a pickled number of its own."""

SOLVER = ("momentum", "lr", "model_iter")
"""Parts of the names of Caffe2 blobs that are the solver's, and of no use without it; PySlowFast skips the same."""

LISTED = 20
"""A file of another network differs in hundreds of tensors; so many of them tell which."""


def load_published(path: Path, *, alpha: int) -> SlowFast:
    """The network in `path`, in evaluation mode and float32, with as many classes as it was trained for.

    `alpha`, the ratio of the pathways' frame rates, is what names and shapes do not tell: 8 for the 4x16 networks, 4
    for the others. Raises `UserError` for a file that is missing, damaged, of another kind or another network (then
    with every tensor that is missing, unused or misshapen), and for one that would run code, which is not run.
    """
    tensors, named = _read(path)
    try:
        settings = _settings(tensors, named)
        with torch.device("meta"):  # shapes only: every value comes from the file
            model = SlowFast(alpha=alpha, **settings)
    except KeyError as missing:
        some = ", ".join(list(tensors)[:3])
        raise UserError(f"{path}: not a SlowFast network: it has no {missing.args[0]}, but {some}, …") from None
    except ValueError as error:
        raise UserError(f"{path}: not a SlowFast network of this pipeline: {error}") from None
    wanted = model.state_dict()
    kind = f"a SlowFast of depth {settings['depth']} and width {settings['width']}"
    require_fit(
        f"{path}: looks like {kind}, but does not fit one",
        wanted={named(name): value for name, value in wanted.items()},
        found=tensors,
    )
    state = {name: tensors[named(name)].to(value.dtype, copy=True) for name, value in wanted.items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def transfer(published: SlowFast, target: SlowFast) -> None:
    """Copy all weights of `published` but the head's into `target`.

    Raises `UserError` that names the settings in which the two networks differ.
    """
    differing = [
        f"model.{name} is {target.architecture[name]}, the weights have {value}"
        for name, value in published.architecture.items()
        if target.architecture[name] != value
    ]
    if differing:
        raise UserError(
            f"model.weights: of another network: {'; '.join(differing)}; set model.variant, or these, to the weights'"
        )
    state = {name: value for name, value in published.state_dict().items() if not name.startswith("head.")}
    target.load_state_dict(state, strict=False)


def require_fit(title: str, *, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise `UserError`, with `title` and a line for each, if names or shapes are not the same in both."""
    wrong = [f"missing: {name}" for name in wanted if name not in found]
    wrong += [f"unused: {name}" for name in found if name not in wanted]
    wrong += [
        f"misshapen: {name} is {_written(found[name])}, expected {_written(value)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if wrong:
        lines = wrong[:LISTED] + [f"and {len(wrong) - LISTED} more"] * (len(wrong) > LISTED)
        raise UserError("\n  ".join([f"{title}:", *lines]))


def _written(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a scalar"


def _settings(tensors: Tensors, named: Callable[[str], str]) -> dict[str, Any]:
    """The arguments of `SlowFast`, but for alpha.

    Raises KeyError with the name of a tensor that every SlowFast has and that is not there, ValueError if sizes are
    those of no SlowFast.
    """

    def shape(name: str, dimensions: int = 5) -> torch.Size:
        sizes = tensors[named(name)].shape
        if len(sizes) != dimensions or 0 in sizes:
            raise ValueError(f"its {named(name)} is {_written(tensors[named(name)])}")
        return sizes

    def temporal(block: int) -> str:
        return f"slow.res4.{block}.branch.a.conv.weight"

    width, fast_width = (shape(f"{pathway}.stem.conv.weight")[0] for pathway in ("slow", "fast"))
    fused, source, fusion_kernel, *_ = shape("fuse.stem.conv.weight")
    kernels = [shape(temporal(i))[2] for i in takewhile(lambda i: named(temporal(i)) in tensors, count())]
    depths = {blocks[2]: depth for depth, blocks in BLOCKS.items()}
    if len(kernels) not in depths:
        known = ", ".join(f"{number} in a {depth}" for number, depth in depths.items())
        raise ValueError(f"its res4 has {len(kernels)} blocks, of which there are {known}")
    return {
        "classes": shape("head.weight", dimensions=2)[0],
        "depth": depths[len(kernels)],
        "width": width,
        "beta_inv": max(1, width // fast_width),
        "fusion_kernel": fusion_kernel,
        "fusion_ratio": max(1, fused // source),
        "temporal_blocks": sum(kernel > 1 for kernel in kernels),
        "non_local": named is published_name and any(".pathway0_nonlocal" in name for name in tensors),
    }


def _read(path: Path) -> tuple[Tensors, Callable[[str], str]]:
    """What a file holds, by its own names or by PySlowFast's, and the function from our names to these."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if head.startswith((ZIP, OLD_TORCH)):
        content, key = _from_torch(path), "model_state"
    elif head.startswith((b"\x80", b"(d", b"}")):  # pickles of a dictionary, in their six protocols
        content, key = _from_pickle(path), "blobs"
    else:
        raise UserError(f"{path}: neither a PyTorch checkpoint nor a Caffe2 pickle: it begins with {head!r}")
    tensors = content.get(key) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not tensors:
        keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path}: no published weights: no tensors under {key!r}, but it holds {keys}")
    if key == "blobs":
        return _renamed(path, tensors), published_name
    for name, value in tensors.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise UserError(f"{path}: no published weights: {name} under {key!r} is no tensor")
    hub = any(name.startswith("blocks.") for name in tensors)
    return tensors, hub_name if hub else published_name


def _from_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Without PyTorch's message: it advises to read the file without this check, and so to run what is in it.
        raise UserError(
            f"{path}: damaged, cut short, or it holds more than tensors and plain values, which is never read"
        ) from error


def _from_pickle(path: Path) -> Any:
    try:
        return pickles.read(path)
    except Exception as error:  # a damaged pickle fails in any way
        raise UserError(f"{path}: not read: {error or 'it is cut short'}") from error


def _renamed(path: Path, blobs: dict[Any, Any]) -> Tensors:
    """Caffe2's blobs as tensors under PySlowFast's names; a blob of no such name keeps its own."""
    tensors: Tensors = {}
    for blob, value in blobs.items():
        if any(part in str(blob) for part in SOLVER):
            continue
        if not isinstance(value, pickles.Array):
            raise UserError(f"{path}: the blob {blob} is no array")
        name = pyslowfast_name(str(blob))
        if name is None or name in tensors:
            name = str(blob)
        tensors[name] = torch.from_numpy(value.values.astype("float32"))
        if name.endswith("running_mean"):  # Caffe2 does not count batches, and evaluation does not need the count
            tensors[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    return tensors


def pyslowfast_name(blob: str) -> str | None:
    """What PySlowFast calls the Caffe2 blob of this name; None if no SlowFast has it.

    >>> pyslowfast_name("t_res3_1_branch2b_bn_riv")
    's3.pathway1_res1.branch2.b_bn.running_var'
    """
    *layer, last = blob.split("_")
    # The "inverse" variance of Caffe2's names is stored as a plain variance.
    values = {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
    if last not in values:
        return None
    value, pathway = values[last], "pathway1" if layer[:1] == ["t"] else "pathway0"
    match layer:
        case ["pred"]:
            return f"head.projection.{value}"
        case ["t", "pool1", "subsample", *bn]:
            return f"s1_fuse.{'bn' if bn else 'conv_f2s'}.{value}"
        case ["t", stage, _, _, "bn", "subsample", *bn]:
            return f"{stage.replace('res', 's')}_fuse.{'bn' if bn else 'conv_f2s'}.{value}"
        case ["conv1"] | ["t", "conv1"]:
            return f"s1.{pathway}_stem.conv.{value}"
        case ["res", "conv1", "bn"] | ["t", "res", "conv1", "bn"]:
            return f"s1.{pathway}_stem.bn.{value}"
        case ["nonlocal", stage, block, part]:
            part = "bn" if part == "bn" else f"conv_{part}"
            return f"{stage.replace('conv', 's')}.{pathway}_nonlocal{block}.{part}.{value}"
        case ["t", stage, block, branch, *bn] | [stage, block, branch, *bn] if branch.startswith("branch"):
            branch = branch.replace("branch2", "branch2.")
            return f"{stage.replace('res', 's')}.{pathway}_res{block}.{branch}{'_bn' if bn else ''}.{value}"
    return None


def hub_name(name: str) -> str:
    """What pytorchvideo calls the entry of our state_dict that we call `name`.

    >>> hub_name("slow.res2.0.branch.a.bn.weight")
    'blocks.1.multipathway_blocks.0.res_blocks.0.branch2.norm_a.weight'
    """
    pathways = {"slow": 0, "fast": 1}
    blocks = {"stem": 0, "res2": 1, "res3": 2, "res4": 3, "res5": 4}
    layers = {"conv": "conv", "bn": "norm"}
    match name.split("."):
        case ["head", value]:
            return f"blocks.6.proj.{value}"
        case ["fuse", at, layer, value]:
            layer = "conv_fast_to_slow" if layer == "conv" else "norm"
            return f"blocks.{blocks[at]}.multipathway_fusion.{layer}.{value}"
        case [pathway, "stem", layer, value]:
            return f"blocks.0.multipathway_blocks.{pathways[pathway]}.{layers[layer]}.{value}"
        case [pathway, at, block, *inside, layer, value]:
            layer = f"branch1_{layers[layer]}" if inside == ["shortcut"] else f"branch2.{layers[layer]}_{inside[-1]}"
            return f"blocks.{blocks[at]}.multipathway_blocks.{pathways[pathway]}.res_blocks.{block}.{layer}.{value}"
    raise KeyError(name)
