"""Frames whose numbers can be told from their pixels → videos as phones, cameras and accidents leave them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STEP = 8  # grey values from one frame to the next: more than any codec here is off by


def numbered(count: int, *, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Uniform grey RGB frames whose brightness is `STEP` × their number."""
    return [np.full((height, width, 3), STEP * number, np.uint8) for number in range(count)]


def numbers(frames: Iterable[np.ndarray]) -> list[int]:
    """The numbers of `numbered` frames, read off their mean brightness."""
    return [round(float(frame.mean()) / STEP) for frame in frames]


def write(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 25,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    pixel: str = "1",
) -> Path:
    """Encode RGB frames, `rate` a second or at `times` in milliseconds; the suffix of `path` decides the container.

    A pixel is `pixel` times as wide as high.
    """
    height, width, _ = frames[0].shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", container_options=container or {}) as output:
        output.metadata.update(metadata or {})
        stream = output.add_stream(codec, rate=rate, width=width, height=height, pix_fmt=pixels, options=options or {})
        stream.codec_context.thread_count = 1
        stream.codec_context.sample_aspect_ratio = Fraction(pixel)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_packed(path: Path, frames: Sequence[np.ndarray], *, rate: int = 25) -> Path:
    """Encode RGB frames as DivX and Xvid did, and as a fifth of UCF101 is: each B-frame rides in the chunk of the frame
    after it, and a placeholder of six bytes stands in its own chunk."""
    height, width, _ = frames[0].shape
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, rate), 1
    encoder.options = {"bf": "1", "g": "100", "b_strategy": "0"}
    packets = [p for image in frames for p in encoder.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))]
    chunks, latest = [b"\0\0\1\xb2DivX503b1393p"], -1  # user data: the `p` says that it is packed
    for packet in packets + encoder.encode():
        if packet.pts < latest:
            chunks[-1] += bytes(packet)
            chunks.append(b"\0\0\1\xb6\x50\0")
        else:
            chunks.append(bytes(packet))
        latest = max(latest, packet.pts)
    with av.open(path, "w") as output:
        tick = Fraction(1, rate)
        stream = output.add_mux_stream("mpeg4", rate=rate, width=width, height=height, time_base=tick)
        for number, chunk in enumerate([chunks[0] + chunks[1], *chunks[2:]]):
            packet = av.Packet(chunk)
            packet.stream, packet.time_base, packet.is_keyframe = stream, tick, number == 0
            packet.pts = packet.dts = number
            output.mux(packet)
    return path


def write_sound(path: Path) -> Path:
    """A tenth of a second of silence, and no picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def turn(path: Path, degrees: int) -> Path:
    """Have players show the MP4 at `path` turned clockwise, by the matrix in its track header (ISO 14496-12, 8.3.2).

    The matrix maps (x, y), y pointing down, to (a x + c y, b x + d y); it is stored as a, b, u, c, d, v, x, y, w.
    """
    a, b = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(plain, data.index(b"tkhd"))
    path.write_bytes(data[:at] + matrix + data[at + len(matrix) :])
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes, as a card that was full does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path
