"""What the frame store costs in accuracy: answers from its JPEGs beside answers from the source videos themselves.

    dvc repro && python -m bench.fidelity

The model of artifacts/model.pt answers every test video twice: on frames from data/frames, as evaluation does, and on
frames decoded from data/raw and scaled alike, which no JPEG has been made of. docs/benchmarks.md has what it printed.
"""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from bench import common
from src import paths
from src.model.checkpoint import Checkpoint
from src.model.folding import folded
from src.training.predict import predict
from src.video import decode, labels, manifest
from src.video.dataset import stored, views_of
from src.video.sampling import Sampling


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--views", type=common.at_least(1), default=4, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    checkpoint = Checkpoint.load(paths.MODEL)
    network = folded(checkpoint.network()).to(memory_format=torch.channels_last_3d)
    classes = labels.class_names(paths.SPLITS)
    videos, _ = manifest.videos(paths.SPLITS / "test.csv", frames=paths.FRAMES, classes=classes)
    extract = {key: checkpoint.extract[key] for key in ("short_side", "fps")}
    look = {"sampling": Sampling.of(checkpoint.model), "size": checkpoint.model["crop"], "crops": 1}
    answers: dict[str, list[np.ndarray]] = {"data/frames": [], "data/raw": []}
    for video in tqdm(videos, unit="video", disable=None):
        source = np.stack(list(decode.read_frames(paths.RAW / video.name, **extract)))
        reads = {"data/frames": lambda wanted, video=video: stored(video, wanted), "data/raw": source.__getitem__}
        for name, read in reads.items():
            views = views_of(read, available=video.frames, views=arguments.views, **look)
            (answer,) = predict(network, [views], device=torch.device("cpu"), precision="fp32").numpy()
            answers[name].append(answer)
    truth = np.array([video.label for video in videos])
    both = {name: np.stack(each) for name, each in answers.items()}
    rows = [[name, f"{(each.argmax(1) == truth).sum()} of {len(truth)}"] for name, each in both.items()]
    differ = (both["data/frames"].argmax(1) != both["data/raw"].argmax(1)).sum()
    largest = np.abs(both["data/frames"] - both["data/raw"]).max(1)
    print(f"{common.machine()}\n")
    print(common.table(["frames from", "test videos answered rightly"], rows))
    print(
        f"{differ} videos are answered otherwise; the probability of a class differs by {np.median(largest):.4f} in "
        f"the median video and by {largest.max():.4f} at most."
    )


if __name__ == "__main__":
    common.run(main)
