"""A video file as people record it → upright RGB frames at a constant rate and size.

Headers are not believed: rate, length and orientation come from the frames themselves, so that clips are
sampled in seconds also from a phone video with a variable rate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.container.core import Flags
from av.video import VideoStream
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from src.command import UserError

LONGEST_GAP = 10.0
"""Seconds that one frame may stay on screen; a longer jump is a broken timestamp and is bridged."""


MOST_PIXELS = 2**26
"""Of a picture: twice those of 8K. A header that claims more is damaged, or meant to fill the memory."""

LONGEST_SIDE = 65_500
"""Pixels that a JPEG can hold."""


LISTS = {"concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sap", "sdp"}
"""Formats that name other files or servers to read: none of them is a video, and a stranger's may name anything."""


class UnreadableVideoError(Exception):
    """A file that yields no frames; the message is the reason, without the file's name."""


@dataclass
class Source:
    """What a file turned out to hold; complete once its frames have been read."""

    width: int = 0  # pixels, before any rotation
    height: int = 0
    frames: int = 0  # decoded
    seconds: float = 0.0  # for which they are shown
    header_frames: int = 0  # what the header claims; 0 if it says nothing


def read_frames(
    path: Path,
    *,
    short_side: int,
    fps: float,
    source: Source | None = None,
    decoded: Callable[[av.VideoFrame], None] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the frame on screen at 0, 1/fps, 2/fps … seconds as `(H, W, 3)` uint8 RGB.

    The shorter side is scaled to `short_side` pixels, the aspect ratio of what a player shows kept, also where pixels
    are not square, and the display rotation applied.
    Decoding is single-threaded: the caller runs one process for each core. `source` is filled in on the way, and
    `decoded` called with each frame before it is scaled, also with those that are on screen at none of these moments.
    Raises `UnreadableVideoError` if the file is empty, no video, damaged, or of a codec that is not known here.
    """
    source = Source() if source is None else source
    with _opened(path) as (container, stream):
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        # FFmpeg's guesses at missing times are wrong for the packed B-frames of old DivX and Xvid files.
        container.flags &= ~Flags.gen_pts.value
        source.header_frames = stream.frames
        frames = container.decode(stream)
        frames = _telling(frames, decoded) if decoded else frames
        yield from _at_constant_rate(frames, stream, fps=fps, short_side=short_side, source=source)


def _telling(frames: Iterator[av.VideoFrame], decoded: Callable[[av.VideoFrame], None]) -> Iterator[av.VideoFrame]:
    for frame in frames:
        decoded(frame)
        yield frame


def declared(path: Path) -> Source:
    """What a file's header says of itself, 0 where it says nothing; nothing of it need be true.

    Raises `UnreadableVideoError` as `read_frames` does.
    """
    with _opened(path) as (container, stream):
        seconds = (container.duration or 0) / av.time_base
        return Source(stream.width, stream.height, stream.frames, seconds, stream.frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first video stream. Raises `UnreadableVideoError` for whatever FFmpeg fails with meanwhile."""
    if path.stat().st_size == 0:
        raise UnreadableVideoError("the file is empty")
    formats = ",".join(sorted(av.formats_available - LISTS))
    try:
        # Old files carry titles in the letters of their country; nobody reads them here.
        with _open(str(path), metadata_errors="replace", options={"format_whitelist": formats}) as container:
            if not container.streams.video:
                raise UnreadableVideoError("no video stream in it")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise UnreadableVideoError("its codec is unknown")
            yield container, stream
    except av.FFmpegError as error:
        raise UnreadableVideoError(error.strerror or str(error)) from error


def _open(file: str, **how: Any) -> InputContainer:
    try:
        return av.open(file, **how)
    except av.error.ArgumentError as error:  # what FFmpeg says of a format that is not on the list
        raise UnreadableVideoError("no video, but a list of others, or damaged") from error


def read_camera(camera: str, *, short_side: int, fps: float) -> Iterator[np.ndarray]:
    """The same of a camera by its number, or of a stream by its address (rtsp://…), for as long as it sends.

    Raises `UserError` if there is no such camera, or it breaks off.
    """
    numbered = camera.isdecimal()
    address, form = (camera, None) if not numbered else _camera(int(camera))
    try:
        with av.open(address, format=form) as container:
            if not container.streams.video:
                raise UserError(f"--camera {camera}: no video in it")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            frames = container.decode(stream)
            yield from _at_constant_rate(frames, stream, fps=fps, short_side=short_side, source=Source())
    except av.FFmpegError as error:
        there = sorted(map(str, Path("/dev").glob("video*"))) if numbered else []
        hint = f"; there is {', '.join(there) or 'no /dev/video*'}" if numbered and form == "v4l2" else ""
        raise UserError(f"--camera {camera}: {error.strerror or error}{hint}") from error
    except UnreadableVideoError as error:
        raise UserError(f"--camera {camera}: {error}") from None


def _camera(number: int) -> tuple[str, str]:
    """The address of a camera, and FFmpeg's name of what reads it."""
    return (str(number), "avfoundation") if sys.platform == "darwin" else (f"/dev/video{number}", "v4l2")


def _at_constant_rate(
    decoded: Iterator[av.VideoFrame], stream: VideoStream, *, fps: float, short_side: int, source: Source
) -> Iterator[np.ndarray]:
    shown, shown_at, duration, ticks = None, 0.0, 0.0, 0
    origin = None
    scaler = VideoReformatter()  # one for all frames: to set it up anew would cost a third of the time
    for frame in decoded:
        stamp = frame.dts if frame.pts is None else frame.pts
        moment = None if stamp is None else float(stamp * frame.time_base)
        if origin is None:
            origin = moment or 0.0
        at = shown_at + duration if moment is None else moment - origin
        if shown is None:
            source.width, source.height = frame.width, frame.height
            pixel = float(stream.sample_aspect_ratio or 1)  # only now: some codecs say it in their frames alone
            width, height = frame.width * pixel, frame.height
            scale = short_side / min(width, height)
            if max(width, height) * scale > LONGEST_SIDE:
                raise UnreadableVideoError(f"its picture of {width:.0f}×{height} pixels is too narrow")
            size = round(width * scale), round(height * scale)
        else:
            if (frame.width, frame.height) != (shown.width, shown.height):
                raise UnreadableVideoError(f"its picture changes size after {shown_at:.1f} s")
            if not 0 < at - shown_at <= LONGEST_GAP:
                at = shown_at + (duration or 1 / fps)
                origin = origin if moment is None else moment - at
            duration = at - shown_at
            image = None
            while ticks / fps < at - 1e-6:
                image = _upright(shown, scaler, size) if image is None else image
                yield image
                ticks += 1
        shown, shown_at = frame, at
        source.frames += 1
    if shown is None:
        raise UnreadableVideoError("no frame in it could be decoded")
    # The last frame stays on screen as long as the one before it did.
    source.seconds = shown_at + (duration or 1 / fps)
    last = _upright(shown, scaler, size)
    while ticks == 0 or ticks / fps < shown_at + duration - 1e-6:
        yield last
        ticks += 1


def _upright(frame: av.VideoFrame, scaler: VideoReformatter, size: tuple[int, int]) -> np.ndarray:
    """As `(H, W, 3)`; `size` is the width and height that it is scaled to before it is turned."""
    width, height = size
    hd = frame.colorspace == Colorspace.ITU709 or (frame.colorspace == 2 and frame.height >= 720)
    rgb = scaler.reformat(
        frame,
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if hd else Colorspace.ITU601,
        interpolation=Interpolation.AREA if height < frame.height else Interpolation.BICUBIC,
    ).to_ndarray()
    return np.rot90(rgb, k=round(frame.rotation / 90) % 4) if frame.rotation else rgb
