"""artifacts/model.pt → the same network for programs without this project: ONNX and `torch.export`.

    python -m src.export
    python -m src.export --model FILE --format onnx --output DIR

Writes MODEL.onnx, MODEL.pt2, and MODEL.json with what leads from a video to the network's input and from its output to
a class; docs/export.md shows how. Nothing is written unless the answers on random clips are the model's own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import command, files, paths
from src.command import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from src.model.checkpoint import Checkpoint

Network = Callable[["Tensor"], "Tensor"]
"""Normalised clips, `(B, 3, T, H, W)` float32, to logits, `(B, classes)`."""

INPUT, OUTPUT = "clips", "logits"

TOLERANCE = 1e-3
"""By how much two logits may differ that are the same sum in another order."""


def export(
    checkpoint: Checkpoint, folder: Path, *, name: str, formats: Sequence[str], views: int, crops: int
) -> dict[str, Any]:
    """Write the checkpoint's network to `folder`, `name` with the suffix of each format; return what `name.json` says.

    `views` and `crops` are the settings of evaluation, for the description. Raises `UserError` if ONNX's packages are
    missing, or if an exported network answers otherwise than the checkpoint's; nothing is written then.
    """
    for each in formats:
        _require(each)
    network = checkpoint.network().eval()
    model = checkpoint.model
    shape = (3, model["frames"], model["crop"], model["crop"])
    program = trace(network, shape)
    contents, checked = {}, {}
    for each in formats:
        file = f"{name}{FORMATS[each].suffix}"
        contents[file] = FORMATS[each].write(program)
        difference = largest_difference(network, FORMATS[each].load(contents[file]), shape)
        if not difference <= TOLERANCE:  # NaN is no agreement either
            raise UserError(
                f"{file}: its logits differ from the model's by {difference:.2g} on random clips, more than "
                f"{TOLERANCE:g}: nothing was written; logits so large, or no numbers, come of a training that diverged"
            )
        checked[file] = {"sha256": hashlib.sha256(contents[file]).hexdigest(), "largest_difference": difference}
    for file, content in contents.items():
        files.write_bytes(folder / file, content)
    description = describe(checkpoint, written=checked, views=views, crops=crops)
    files.write_text(folder / f"{name}.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return description


def describe(checkpoint: Checkpoint, *, written: dict[str, Any], views: int, crops: int) -> dict[str, Any]:
    """What stands in the JSON file beside the network; docs/export.md explains it."""
    from src.video.sampling import Sampling
    from src.video.transforms import MEAN, STD

    sampling = Sampling.of(checkpoint.model)
    model, extract = checkpoint.model, checkpoint.extract
    size = model["crop"]
    return {
        "files": written,
        "input": {"name": INPUT, "type": "float32", "shape": ["batch", 3, model["frames"], size, size]},
        "output": {"name": OUTPUT, "type": "float32", "shape": ["batch", len(checkpoint.classes)]},
        "classes": checkpoint.classes,
        "fps": extract["fps"],
        "short_side": extract["short_side"],
        "jpeg_quality": extract["quality"],
        "frames": sampling.frames,
        "stride": sampling.stride,
        "sampling": sampling.sampling,
        "pad": sampling.pad,
        "views": views,
        "crops": crops,
        "crop": size,
        "mean": [MEAN] * 3,
        "std": [STD] * 3,
        "model": model,
        "run_id": checkpoint.run_id,
        "epoch": checkpoint.epoch,
    }


def trace(network: nn.Module, shape: Sequence[int]) -> ExportedProgram:
    """The network's operations on a batch of any number of clips of `shape`, `(3, T, H, W)`."""
    import torch

    # Traced with two clips: of one, PyTorch would conclude that it is always one.
    program = torch.export.export(network, (torch.zeros(2, *shape),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    program.example_inputs = None  # clips of zeros, which would be saved too
    return program


def to_onnx(program: ExportedProgram) -> bytes:
    """The content of an ONNX file with the input `clips` and the output `logits`."""
    import torch

    exported = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    return exported.model_proto.SerializeToString()


def load_onnx(content: bytes) -> Network:
    """The network in an ONNX file, in ONNX Runtime on the CPU."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run([OUTPUT], {INPUT: clips.numpy()})[0])


def to_torch(program: ExportedProgram) -> bytes:
    """The content of a file for `torch.export.load`."""
    import torch

    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def load_torch(content: bytes) -> Network:
    """The network in a file of `torch.export`, on the CPU."""
    import torch

    return torch.export.load(io.BytesIO(content)).module()


@dataclass(frozen=True)
class Format:
    """A kind of file: its suffix, how it is made and read, and the packages that it needs beyond the project's own."""

    suffix: str
    write: Callable[[ExportedProgram], bytes]
    load: Callable[[bytes], Network]
    packages: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(".onnx", to_onnx, load_onnx, packages=("onnx", "onnxscript", "onnxruntime")),
    "torch": Format(".pt2", to_torch, load_torch),
}


def largest_difference(one: Network, other: Network, shape: Sequence[int]) -> float:
    """Between two networks' logits on random clips of `shape`, in batches of one and of three."""
    import torch

    from src.video.transforms import normalise

    generator = torch.Generator().manual_seed(0)
    differences = []
    with torch.inference_mode():
        for batch in (1, 3):
            clips = normalise(torch.randint(256, (batch, *shape), generator=generator, dtype=torch.uint8))
            differences.append((one(clips) - other(clips)).abs().max())
    return torch.stack(differences).max().item()


def _require(name: str) -> None:
    if missing := [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]:
        raise UserError(
            f"--format {name} needs {', '.join(missing)}: pip install -r requirements-export.txt; "
            "--format torch does without"
        )


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--model", type=Path, default=paths.MODEL, metavar="FILE", help="checkpoint (default: artifacts/model.pt)"
    )
    parser.add_argument("--format", choices=[*FORMATS, "both"], default="both", help="what to write (default: both)")
    parser.add_argument(
        "--output",
        type=Path,
        default=paths.ARTIFACTS / "export",
        metavar="DIR",
        help="folder to write to (default: artifacts/export)",
    )
    arguments = parser.parse_args()
    evaluation = command.settings_of(arguments).evaluate
    from src.model.checkpoint import Checkpoint

    description = export(
        Checkpoint.load(arguments.model),
        arguments.output,
        name=arguments.model.stem,
        formats=list(FORMATS) if arguments.format == "both" else [arguments.format],
        views=evaluation.views,
        crops=evaluation.crops,
    )
    for file, checked in description["files"].items():
        difference = checked["largest_difference"]
        print(f"{os.path.relpath(arguments.output / file)}: logits within {difference:.1g} of the model's")
    print(os.path.relpath(arguments.output / f"{arguments.model.stem}.json"))


if __name__ == "__main__":
    command.run(main)
