"""What a user would read clips with instead: each reader gives frames of a video, scaled, as one tensor.

A reader is called as `reader(path, indices, size)`, with rising frame numbers, and returns `(T, 3, *size)` uint8 RGB;
`size` is height and width to scale to, None to leave them as they are. Each is written for its own fastest way on one
thread: the size is known beforehand, and only frames that are asked for are converted and scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Size = tuple[int, int]
Reader = Callable[[Path, Sequence[int], Size | None], Tensor]


def torchcodec(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    """FFmpeg's filters scale, as its documentation advises; frame numbers are trusted, without a scan of the file."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    scale = [Resize(size)] if size else None
    video = VideoDecoder(path, seek_mode="approximate", num_ffmpeg_threads=1, transforms=scale)
    step = indices[1] - indices[0]
    if list(indices) != list(range(indices[0], indices[-1] + 1, step)):
        return video.get_frames_at(list(indices)).data
    return video.get_frames_in_range(indices[0], indices[-1] + 1, step).data


def decord(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    import decord as library

    scale = {"height": size[0], "width": size[1]} if size else {}
    video = library.VideoReader(str(path), ctx=library.cpu(0), num_threads=1, **scale)
    return torch.from_numpy(video.get_batch(list(indices)).asnumpy()).permute(0, 3, 1, 2)


def pyav(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    """From the key frame before the first on; swscale scales and converts in one go."""
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    height, width = size or (None, None)
    scale = VideoReformatter()
    wanted, found, how = set(indices), [], {"interpolation": Interpolation.BILINEAR, "threads": 1}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        tick = 1 / (stream.average_rate * stream.time_base)
        container.seek(int(indices[0] * tick), stream=stream)
        for frame in container.decode(stream):
            if round(frame.pts / tick) in wanted:
                scaled = scale.reformat(frame, width, height, "rgb24", **how)
                found.append(scaled.to_ndarray())
                if len(found) == len(wanted):
                    break
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def opencv(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    """Frames in between are decoded (`grab`), but not converted (`retrieve`)."""
    import cv2

    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    height, width = size or (int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    wanted, found = set(indices), np.empty((len(indices), height, width, 3), np.uint8)
    video.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
    place = 0
    for number in range(indices[0], indices[-1] + 1):
        video.grab()
        if number in wanted:
            _, frame = video.retrieve()
            scaled = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) if size else frame
            cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB, dst=found[place])
            place += 1
    video.release()
    return torch.from_numpy(found).permute(0, 3, 1, 2)


def loose_jpegs(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    """`path` is a folder of scaled frames, 000000.jpg and so on; the fastest decoder puts each where it belongs."""
    import simplejpeg

    found = np.empty((len(indices), *size, 3), np.uint8)
    for number, frame in zip(indices, found, strict=True):
        simplejpeg.decode_jpeg((path / f"{number:06}.jpg").read_bytes(), "RGB", buffer=frame)
    return torch.from_numpy(found).permute(0, 3, 1, 2)


def ours(path: Path, indices: Sequence[int], size: Size | None) -> Tensor:
    """A frame file, scaled already, as training reads it."""
    from src.video import store

    return torch.from_numpy(store.read(path, indices)).permute(0, 3, 1, 2)


DECODERS: dict[str, Reader] = {"torchcodec": torchcodec, "decord": decord, "PyAV": pyav, "OpenCV": opencv}
