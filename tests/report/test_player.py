"""Frames → an MP4 that holds them, in the kind of H.264 that every browser plays."""

import io

import av
import numpy as np
import pytest

from src.report import player
from src.video import jpeg
from tests.video import clips


def decoded(mp4: bytes) -> tuple[av.VideoStream, list[np.ndarray]]:
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        return stream, [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def test_all_frames_are_in_it_in_order_and_at_their_rate():
    clip = player.clip(clips.numbered(20), fps=12.5, short_side=48)
    stream, frames = decoded(clip.mp4)
    assert clips.numbers(frames) == list(range(20))
    assert float(stream.average_rate) == 12.5
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(480, 640, (144, 192)), (72, 97, (72, 96)), (35, 41, (36, 40)), (300, 90, (300, 90)), (1, 1, (2, 2))],
)
def test_it_is_scaled_down_never_up_and_to_even_sides(height, width, size):
    clip = player.clip([np.zeros((height, width, 3), np.uint8)], fps=25, short_side=144)
    assert (clip.height, clip.width) == size
    assert decoded(clip.mp4)[1][0].shape[:2] == jpeg.decode(clip.first).shape[:2] == size


def test_a_page_holds_it_in_itself():
    clip = player.clip(clips.numbered(2), fps=25, short_side=48)
    assert clip.uri.startswith("data:video/mp4;base64,")
    assert clip.poster.startswith("data:image/jpeg;base64,")
    assert round(float(jpeg.decode(clip.first).mean())) == 0
