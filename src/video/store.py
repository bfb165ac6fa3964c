"""Frames ↔ one Motion-JPEG file a video: every packet is a JPEG, so any frame is read without its neighbours.

The container is AVI, which every player opens and in which frame number and timestamp are the same thing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from src import files
from src.video import avi, jpeg


def write(path: Path, frames: Iterable[np.ndarray], *, fps: float, quality: int) -> tuple[int, int, int]:
    """Encode `(H, W, 3)` uint8 RGB frames to `path` and return how many there were, their height and width.

    The file is whole or absent.
    """
    rate = Fraction(fps).limit_denominator(1001)
    count = height = width = 0
    stream = None
    with files.replacing(path) as beside, av.open(str(beside), "w", format="avi") as container:
        for count, frame in enumerate(frames, start=1):
            if stream is None:
                height, width, _ = frame.shape
                stream = container.add_mux_stream("mjpeg", rate=rate, width=width, height=height, time_base=1 / rate)
            packet = av.Packet(jpeg.encode(frame, quality=quality))
            packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / rate, True
            packet.pts = packet.dts = count - 1
            container.mux(packet)
    return count, height, width


def read(path: Path, indices: Sequence[int]) -> np.ndarray:
    """The frames at `indices` (any order, repeats allowed) as `(T, H, W, 3)` uint8 RGB.

    Each distinct frame is decoded once; the cost does not depend on where in the video they lie.
    Raises `IndexError` if the file has no such frame.
    """
    places: dict[int, list[int]] = {}  # in the clip, of each frame
    for place, index in enumerate(indices):
        places.setdefault(int(index), []).append(place)
    clip = None
    for number, data in packets(path, sorted(places)):
        first, *more = places[number]
        if clip is None:
            frame = jpeg.decode(data)
            clip = np.empty((len(indices), *frame.shape), np.uint8)
            clip[first] = frame
        else:
            jpeg.decode(data, out=clip[first])
        for place in more:
            clip[place] = clip[first]
    return clip


def packets(path: Path, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The JPEGs of the frames of these rising numbers, by the file's own index; where that ends, as FFmpeg finds them.

    Raises `IndexError` if the file has no such frame.
    """
    if numbers[0] < 0:
        raise IndexError(f"{path} has no frame {numbers[0]}")
    with avi.indexed(path) as frames:
        listed = numbers[: bisect_left(numbers, len(frames))]
        if listed:
            yield from zip(listed, frames.read(listed), strict=True)
    if len(listed) < len(numbers):
        yield from demuxed(path, numbers[len(listed) :])


def demuxed(path: Path, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The same by FFmpeg alone."""
    wanted = set(numbers)
    with av.open(str(path), format="avi") as container:
        stream = container.streams.video[0]
        container.seek(numbers[0], stream=stream)
        for packet in container.demux(stream):
            if packet.pts in wanted:
                wanted.remove(packet.pts)
                yield packet.pts, bytes(packet)
            if packet.pts is None or packet.pts >= numbers[-1]:
                break
    if wanted:
        raise IndexError(f"{path} has no frame {min(wanted)}")
