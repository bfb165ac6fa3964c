"""Clips a second of the network alone, training and answering: ours beside pytorchvideo's SlowFast, and ONNX Runtime.

    python -m bench.network
    python -m bench.network --crop 224 --batch 64                                                        on a GPU

SlowFast 8×8 R50 on random clips in memory. Ours is the pipeline's own step, from uint8 clips through normalisation to
updated weights, and its own answering. pytorchvideo's is its model in a plain loop on clips that are normalised
already: as it comes, in float32; with channels last; with autocast to bfloat16 too, where the device computes in it;
and the last of these compiled. The limit is what the device gives for a product of two large matrices, in the precision
of the fastest. Needs requirements-bench.txt; --no-compile leaves out what takes minutes to compile.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import common

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FRAMES, CLASSES = 32, 400
MODEL = {"variant": "slowfast_8x8_r50", "dropout": 0.5}

Work = Callable[[], object]


class Peer:
    """pytorchvideo's SlowFast 8×8 R50: `width` and kernels of the paper, as its own `create_slowfast` has them."""

    def __init__(self, clips: Tensor, *, channels_last: bool, bf16: bool, compiled: bool):
        import torch
        from pytorchvideo.models.slowfast import create_slowfast

        torch.manual_seed(0)
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        crop = clips.shape[-1] // 32
        self.network: nn.Module = create_slowfast(
            model_num_class=CLASSES, head_pool_kernel_sizes=((FRAMES // 4, crop, crop), (FRAMES, crop, crop))
        ).to(clips.device, memory_format=layout)
        chosen = torch.linspace(0, FRAMES - 1, FRAMES // 4).long().to(clips.device)
        self.given = [part.contiguous(memory_format=layout) for part in (clips.index_select(2, chosen), clips)]
        self.labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9)
        self.cast = torch.autocast(clips.device.type, torch.bfloat16) if bf16 else nullcontext()
        if compiled:  # whose complaints of shortcuts that it cannot follow would fill a screen
            logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
            self.network.compile()

    def train(self) -> None:
        from torch.nn import functional as F

        self.network.train()
        self.optimizer.zero_grad()
        with self.cast:
            loss = F.cross_entropy(self.network([*self.given]).float(), self.labels)
        loss.backward()
        self.optimizer.step()

    def answer(self) -> Tensor:
        import torch

        self.network.eval()
        with torch.inference_mode(), self.cast:
            return self.network([*self.given]).float().softmax(1)


class Ours:
    """The pipeline's own, on uint8 clips."""

    def __init__(self, clips: Tensor, *, compiled: bool):
        import torch

        from src.model.folding import folded
        from src.training.colours import Colours
        from src.training.distributed import ALONE
        from src.training.learner import Learner
        from src.training.mixing import Mix
        from src.training.optim import build_optimizer

        network = network_of(clips)
        self.clips, self.device = clips, clips.device
        self.labels = torch.zeros(len(clips), dtype=torch.long)
        optimizer = build_optimizer(network, name="sgd", lr=1e-4, momentum=0.9, weight_decay=0.0)
        self.folded = folded(network)
        self.learner = Learner(
            network,
            optimizer=optimizer,
            device=self.device,
            team=ALONE,
            colours=Colours(jitter=0.0, grey=0.0, seed=0),
            mix=Mix(mixup=0.0, cutmix=0.0, classes=CLASSES, seed=0),
            precision="auto",
            label_smoothing=0.0,
            clip_norm=None,
            ema=None,
            seed=0,
            compiled=compiled,
        )

    def train(self) -> None:
        part = (self.clips, self.labels, self.labels)
        self.learner.step([part], batch=len(self.clips), epoch=0, step=0, part=0, rate=1e-4, stop=False)

    def answer(self) -> Tensor:
        from src.training.predict import predict

        return predict(self.folded, [self.clips], device=self.device, precision="auto")


def network_of(clips: Tensor) -> nn.Module:
    """Ours, on the clips' device."""
    import torch

    from src.model.checkpoint import build
    from src.settings import Model

    torch.manual_seed(0)
    return build(Model(**MODEL).network(), classes=CLASSES).to(clips.device, memory_format=torch.channels_last_3d)


def onnx_answers(clips: Tensor) -> Work:
    """Our network, as `python -m src.export` writes it, run by ONNX Runtime with all cores."""
    from src import export
    from src.video.transforms import normalise

    program = export.trace(network_of(clips).eval(), tuple(clips.shape[1:]))
    run = export.load_onnx(export.to_onnx(program))
    given = normalise(clips.contiguous())
    return lambda: run(given)


def seconds(works: dict[str, Work], *, rounds: int, device: torch.device, title: str) -> dict[str, float]:
    """Medians of the rounds, in which all take turns; what is warmed up or compiled is so before."""
    import torch

    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(rounds + 1), desc=title, disable=None):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in taken.items()}


def matrix_rate(device: torch.device, dtype: torch.dtype, *, side: int) -> float:
    """Multiply-adds a second in the product of two square matrices."""
    import torch

    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    taken = seconds({"": lambda: one @ other}, rounds=5, device=device, title=f"matrices in {dtype}")
    return side**3 / taken[""]


def multiply_adds(crop: int) -> int:
    """Of one clip in a forward pass."""
    import torch

    from src.model.summary import summarise
    from src.settings import Model

    rows = summarise(Model(**MODEL | {"crop": crop}).network(), classes=CLASSES, device=torch.device("cpu"))
    return sum(row.multiply_adds for row in rows)


def peers(clips: Tensor, *, bf16: bool, compiled: bool) -> dict[str, Peer]:
    ways = {"float32, as it comes": {"channels_last": False, "bf16": False, "compiled": False}}
    ways["float32, channels last"] = {"channels_last": True, "bf16": False, "compiled": False}
    if bf16:
        ways["bfloat16, channels last"] = {"channels_last": True, "bf16": True, "compiled": False}
    if compiled:  # the last of them: in a precision that is not the device's, it takes minutes and comes last
        name, way = [*ways.items()][-1]
        ways[f"{name}, compiled"] = way | {"compiled": True}
    return {f"pytorchvideo, {name}": Peer(clips, **way) for name, way in ways.items()}


def report(found: dict[str, float], *, batch: int, work: float, rate: float) -> str:
    """`work` in multiply-adds a clip, `rate` in multiply-adds a second."""
    plain = found["pytorchvideo, float32, as it comes"]
    rows = [
        [name, f"{batch / taken:.2f}", f"{plain / taken:.2f}", f"{work * batch / taken / rate:.0%}"]
        for name, taken in found.items()
    ]
    best_peer = min(taken for name, taken in found.items() if not name.startswith("ours"))
    best = min(taken for name, taken in found.items() if name.startswith("ours"))
    header = ["", "clips a second", "over the peer as it comes", "of the matrix rate"]
    return f"{common.table(header, rows)}\nOurs at its best is {best_peer / best:.2f} times as fast as the best peer.\n"


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--crop", type=common.at_least(32), default=112, metavar="PIXELS", help="default: %(default)s")
    parser.add_argument("--batch", type=common.at_least(1), default=8, metavar="CLIPS", help="default: %(default)s")
    parser.add_argument("--rounds", type=common.at_least(1), default=2, metavar="N", help="default: %(default)s")
    parser.add_argument("--no-compile", action="store_true", help="nothing compiled")
    parser.add_argument("--only", choices=["training", "answering"], help="one of the two")
    arguments = parser.parse_args()
    common.needs("pytorchvideo", "onnxruntime", "onnxscript")
    import torch

    from src.training.heap import keep_freed_memory
    from src.training.optim import choose_device, computes_in_bf16
    from src.video.transforms import normalise

    device = choose_device("auto")
    bf16 = computes_in_bf16(device)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, FRAMES, arguments.crop, arguments.crop)
    clips = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    compiled = not arguments.no_compile
    rate = matrix_rate(device, torch.bfloat16 if bf16 else torch.float32, side=2048 if device.type == "cpu" else 8192)
    work = multiply_adds(arguments.crop)
    others: dict[str, Any] = peers(normalise(clips), bf16=bf16, compiled=compiled)
    ours = {"ours": Ours(clips, compiled=False)} | ({"ours, compiled": Ours(clips, compiled=True)} if compiled else {})
    options = {"rounds": arguments.rounds, "device": device}
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{common.machine()[:-1]}, torch {torch.__version__}. Device: {name}.\n8×8 R50, {FRAMES} frames of "
        f"{arguments.crop}², batch {arguments.batch}: {work / 1e9:.2f} billion multiply-adds a clip and forward pass; "
        f"matrices in {'bfloat16' if bf16 else 'float32'}: {rate / 1e9:,.0f} billion a second.\n"
    )
    if arguments.only != "training":
        answering = {name: each.answer for name, each in (others | {"ours": ours["ours"]}).items()}
        if device.type == "cpu":
            answering["ONNX Runtime, float32, our network"] = onnx_answers(clips)
        found = seconds(answering, title="answering", **options)
        print(f"Answering:\n\n{report(found, batch=arguments.batch, work=work, rate=rate)}", flush=True)
    if arguments.only != "answering":
        if device.type == "cpu":
            keep_freed_memory()  # as the pipeline's training does: the peers have it too
        training = {name: each.train for name, each in (others | ours).items()}
        found = seconds(training, title="training", **options)
        print("Training, three forward passes' worth a step:\n")
        print(report(found, batch=arguments.batch, work=3 * work, rate=rate))


if __name__ == "__main__":
    common.run(main)
