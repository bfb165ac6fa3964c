"""Videos as phones and cameras leave them, whose frame number is their brightness → exactly the frames on screen."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from src.video import decode
from src.video.decode import Source, UnreadableVideoError, read_frames
from tests.video import clips


def seen(path: Path, *, fps: float, short_side: int = 24) -> list[int]:
    """The numbers of the frames that are read."""
    return clips.numbers(read_frames(path, short_side=short_side, fps=fps))


def one(path: Path, *, short_side: int) -> np.ndarray:
    """The only frame of a video."""
    (frame,) = read_frames(path, short_side=short_side, fps=10)
    return frame


def reason(path: Path) -> str:
    with pytest.raises(UnreadableVideoError) as refused:
        list(read_frames(path, short_side=24, fps=10))
    return str(refused.value)


# When


def test_at_the_videos_own_rate_every_frame_comes_once(tmp_path):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(12), rate=25)
    assert seen(path, fps=25) == list(range(12))


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (12.5, [0, 2, 4, 6, 8]),  # every 80 ms of 400
        (10, [0, 2, 5, 7]),  # at 0, 100, 200 and 300 ms
        (25, list(range(10))),
        (50, [number for number in range(10) for _ in range(2)]),  # each is shown twice
        (1, [0]),
    ],
)
def test_the_frame_on_screen_at_each_tick(tmp_path, fps, expected):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(10), rate=25)  # 40 ms each
    assert seen(path, fps=fps) == expected


def test_frames_of_a_slow_video_are_repeated(tmp_path):
    path = clips.write(tmp_path / "a.avi", clips.numbered(5), rate=10, codec="mpeg4")
    # 25 a second are at 0, 40, 80 … 480 ms; frames change every 100.
    assert seen(path, fps=25) == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]


def test_packed_b_frames_of_old_avis_are_shown_once_and_in_order(tmp_path):
    path = clips.write_packed(tmp_path / "divx.avi", clips.numbered(21), rate=25)
    assert seen(path, fps=25) == list(range(21))
    source = Source()
    assert clips.numbers(read_frames(path, short_side=24, fps=12.5, source=source)) == list(range(0, 21, 2))
    assert (source.frames, source.header_frames, round(source.seconds, 3)) == (21, 21, 0.84)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_variable_rate_is_sampled_in_seconds(tmp_path, suffix):
    # A phone in the dark holds frame 2 for 120 ms.
    path = clips.write(tmp_path / f"a{suffix}", clips.numbered(6), times=[0, 40, 80, 200, 240, 280])
    assert seen(path, fps=25) == [0, 1, 2, 2, 2, 3, 4, 5]
    assert seen(path, fps=12.5) == [0, 2, 2, 4]


def test_the_last_frame_stays_as_long_as_the_one_before_it(tmp_path):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(3), times=[0, 100, 300])
    assert seen(path, fps=10) == [0, 1, 1, 2, 2]


def test_a_video_that_starts_late_starts_with_its_first_frame(tmp_path):
    path = clips.write(tmp_path / "a.mkv", clips.numbered(4), times=[5000, 5040, 5080, 5120])
    assert seen(path, fps=25) == [0, 1, 2, 3]


def test_a_jump_of_the_clock_is_bridged(tmp_path):
    path = clips.write(tmp_path / "a.mkv", clips.numbered(5), times=[0, 40, 80, 3_600_000, 3_600_040])
    assert seen(path, fps=25) == [0, 1, 2, 3, 4]


def test_a_single_frame_is_one_frame(tmp_path):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(4)[3:])
    assert seen(path, fps=25) == [3]


def test_frames_stored_out_of_order_come_in_the_order_of_time(tmp_path):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(12), options={"bf": "3", "b-adapt": "0"})
    with av.open(path) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stored != sorted(stored)
    assert seen(path, fps=25) == list(range(12))


# How large


@pytest.mark.parametrize(
    ("width", "height", "short_side", "expected"),
    [
        (64, 48, 24, (24, 32)),
        (48, 64, 24, (32, 24)),
        (64, 48, 48, (48, 64)),
        (64, 48, 96, (96, 128)),  # upscaled
        (64, 48, 17, (17, 23)),
        (50, 50, 24, (24, 24)),
        (200, 20, 10, (10, 100)),
    ],
)
def test_the_short_side_is_scaled_and_the_aspect_kept(tmp_path, width, height, short_side, expected):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(5, width=width, height=height)[4:])
    frame = one(path, short_side=short_side)
    assert frame.shape == (*expected, 3)
    assert frame.dtype == np.uint8
    assert clips.numbers([frame]) == [4]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(("pixel", "expected"), [("4/3", (24, 43)), ("1/2", (36, 24)), ("1", (24, 32))])
def test_pixels_that_are_not_square_are_shown_as_a_player_shows_them(tmp_path, name, pixel, expected):
    """HDV and DVD store pictures so; of the container and of the codec, whoever says it is believed."""
    path = clips.write(tmp_path / name, clips.numbered(5, width=64, height=48)[4:], pixel=pixel)
    frame = one(path, short_side=24)
    assert frame.shape == (*expected, 3)
    assert clips.numbers([frame]) == [4]


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_odd_sizes_are_read(tmp_path, codec):
    path = clips.write(tmp_path / "a.webm", clips.numbered(6, width=65, height=49), codec=codec)
    frames = list(read_frames(path, short_side=49, fps=25))
    assert clips.numbers(frames) == list(range(6))
    assert frames[0].shape == (49, 65, 3)


# Which way up


@pytest.mark.parametrize(
    ("degrees", "shape", "corner"),
    [
        (0, (48, 64, 3), "top left"),
        (90, (64, 48, 3), "top right"),
        (180, (48, 64, 3), "bottom right"),
        (270, (64, 48, 3), "bottom left"),
    ],
)
def test_a_phone_video_is_turned_as_a_player_shows_it(tmp_path, degrees, shape, corner):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 240  # as the sensor has it: bright at the top left
    path = clips.turn(clips.write(tmp_path / "a.mp4", [image]), degrees)
    frame = one(path, short_side=48)
    assert frame.shape == shape
    height, width = shape[0] // 2, shape[1] // 2
    corners = {
        "top left": frame[:height, :width],
        "top right": frame[:height, width:],
        "bottom left": frame[height:, :width],
        "bottom right": frame[height:, width:],
    }
    assert max(corners, key=lambda name: corners[name].mean()) == corner
    assert sorted(round(float(part.mean()), -1) for part in corners.values()) == [0, 0, 0, 240]


# Which colours

# Y, Cb, Cr of pure green by the two standards, 8 bits, limited range: Y = 16 + 219 Kg and so on.
GREEN = {"BT.601": (145, 54, 34), "BT.709": (173, 42, 26)}
TAGS = {"BT.601": "smpte170m", "BT.709": "bt709"}


def patch(path: Path, colour: tuple[int, int, int], *, width: int, height: int, tag: str | None = None) -> Path:
    """One even frame of the given Y, Cb, Cr, labelled with a standard or with none."""
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = colour[0]
    planes[height : height * 5 // 4] = colour[1]
    planes[height * 5 // 4 :] = colour[2]
    with av.open(path, "w") as output:
        options = {"qp": "1"} | ({"x264-params": f"colormatrix={tag}"} if tag else {})
        stream = output.add_stream("libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options=options)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        output.mux(stream.encode())
    return path


@pytest.mark.parametrize(("standard", "width", "height"), [("BT.601", 320, 240), ("BT.709", 1280, 720)])
def test_a_video_that_does_not_say_has_the_colours_of_its_size(tmp_path, standard, width, height):
    path = patch(tmp_path / "a.mp4", GREEN[standard], width=width, height=height)
    np.testing.assert_allclose(one(path, short_side=24).reshape(-1, 3).mean(0), (0, 255, 0), atol=4)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 720)])
@pytest.mark.parametrize("standard", GREEN)
def test_a_video_that_says_has_the_colours_it_says(tmp_path, standard, width, height):
    path = patch(tmp_path / "a.mp4", GREEN[standard], width=width, height=height, tag=TAGS[standard])
    np.testing.assert_allclose(one(path, short_side=24).reshape(-1, 3).mean(0), (0, 255, 0), atol=4)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx265", "yuv420p10le"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.avi", "mjpeg", "yuvj420p"),  # full range
        ("a.mkv", "ffv1", "gray"),
        ("a.mkv", "ffv1", "bgr0"),
    ],
)
def test_other_pixels_have_the_same_brightness(tmp_path, name, codec, pixels):
    options = {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else {}
    path = clips.write(tmp_path / name, clips.numbered(30), codec=codec, pixels=pixels, options=options)
    assert seen(path, fps=25) == list(range(30))


# What cannot be read


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert reason(tmp_path / "a.mp4") == "the file is empty"


def test_text_is_refused(tmp_path):
    (tmp_path / "a.avi").write_text("not a video\n" * 100)
    assert reason(tmp_path / "a.avi") == "Invalid data found when processing input"


def test_sound_alone_is_refused(tmp_path):
    assert reason(clips.write_sound(tmp_path / "a.mp4")) == "no video stream in it"


def test_a_video_without_frames_is_refused(tmp_path):
    with av.open(tmp_path / "a.avi", "w") as output:
        output.add_stream("mpeg4", rate=Fraction(25), width=64, height=48, pix_fmt="yuv420p")
        output.start_encoding()
    assert reason(tmp_path / "a.avi") == "no frame in it could be decoded"


@pytest.mark.parametrize(("name", "codec", "tag"), [("a.avi", "mpeg4", b"FMP4"), ("a.mp4", "libx264", b"avc1")])
def test_a_codec_from_the_future_is_refused(tmp_path, name, codec, tag):
    path = clips.write(tmp_path / name, clips.numbered(3), codec=codec)
    path.write_bytes(path.read_bytes().replace(tag, b"h999"))
    assert reason(path) == "its codec is unknown"


def test_a_picture_that_changes_its_size_is_refused(tmp_path):
    small = clips.write(tmp_path / "small.ts", clips.numbered(5), codec="mpeg2video")
    large = clips.write(tmp_path / "large.ts", clips.numbered(5, width=96, height=64), codec="mpeg2video")
    (tmp_path / "a.ts").write_bytes(small.read_bytes() + large.read_bytes())
    assert reason(tmp_path / "a.ts").startswith("its picture changes size after 0.")


def test_a_title_in_other_letters_does_no_harm(tmp_path):
    path = clips.write(tmp_path / "a.avi", clips.numbered(3), codec="mpeg4", metadata={"title": "Cafe"})
    path.write_bytes(path.read_bytes().replace(b"Cafe", "Café".encode("latin-1")))
    assert seen(path, fps=25) == [0, 1, 2]


def test_a_file_that_is_not_there_is_an_error_of_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_frames(tmp_path / "a.mp4", short_side=24, fps=10))


def test_a_picture_larger_than_any_camera_takes_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    path = clips.write(tmp_path / "a.webm", clips.numbered(3), codec="libvpx")
    monkeypatch.setattr(decode, "MOST_PIXELS", 64 * 48 - 1)
    assert reason(path) == "Invalid argument"
    monkeypatch.setattr(decode, "MOST_PIXELS", 64 * 48)
    assert seen(path, fps=25) == [0, 1, 2]


def test_a_picture_that_no_jpeg_can_hold_when_scaled_is_refused(tmp_path):
    path = clips.write(tmp_path / "a.avi", [np.zeros((2, 6000, 3), np.uint8)] * 2, codec="mpeg4")
    assert reason(path) == "its picture of 6000×2 pixels is too narrow"
    assert one(
        clips.write(tmp_path / "b.avi", [np.zeros((2, 400, 3), np.uint8)], codec="mpeg4"), short_side=24
    ).shape == (
        24,
        4800,
        3,
    )
