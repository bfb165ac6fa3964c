"""Frame files: every frame comes back by its number, from anywhere, and a file is whole or not there."""

import errno
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from src.video import avi, sampling, store
from tests.video import clips

COUNT = 30


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "Walk" / "a.avi"
    assert store.write(path, clips.numbered(COUNT), fps=12.5, quality=90) == (COUNT, 48, 64)
    return path


@pytest.mark.parametrize(
    "indices",
    [
        [0],
        [COUNT - 1],
        [14, 15, 16],
        list(range(COUNT)),
        [29, 0, 7, 3],
        [5, 5, 5],
        [8, 2, 8, 2, 29],
        list(range(0, COUNT, 7)),
    ],
)
def test_frames_come_back_by_number_in_the_order_asked_for(path, indices):
    frames = store.read(path, indices)
    assert frames.shape == (len(indices), 48, 64, 3)
    assert frames.dtype == np.uint8
    assert clips.numbers(frames) == indices
    # Even grey survives JPEG, but for a rounding.
    assert np.abs(frames.astype(int) - clips.STEP * np.array(indices)[:, None, None, None]).max() <= 1


def test_clips_are_read_with_the_indices_of_the_sampler(path):
    window = sampling.window(24, frames=5, stride=2, available=COUNT)
    assert clips.numbers(store.read(path, window)) == [24, 26, 28, 29, 29]


@pytest.mark.parametrize(("indices", "missing"), [([COUNT], 30), ([0, 99], 99), ([-1], -1), ([3, -2], -2)])
def test_a_frame_that_is_not_there_is_named(path, indices, missing):
    with pytest.raises(IndexError, match=f"a.avi has no frame {missing}$"):
        store.read(path, indices)


def test_the_index_leads_to_what_ffmpeg_finds(path):
    numbers = [0, 1, 7, 8, 29]
    with avi.indexed(path) as frames:
        assert len(frames) == COUNT
        found = list(frames.read(numbers))
    assert list(zip(numbers, found, strict=True)) == list(store.demuxed(path, numbers))


@pytest.mark.parametrize("listed", [0, 1, 12])
def test_frames_that_the_index_does_not_list_are_found_without_it(path, tmp_path, listed):
    """As in files of more than a gigabyte, whose first index ends there."""
    content = path.read_bytes()
    at = content.rindex(b"idx1") + 4
    short = tmp_path / "short.avi"
    entries = content[at + 4 : at + 4 + 16 * listed]
    short.write_bytes(content[:at] + struct.pack("<I", len(entries)) + entries)
    with avi.indexed(short) as frames:
        assert len(frames) == listed
    assert clips.numbers(store.read(short, [3, 11, 12, 0, 29])) == [3, 11, 12, 0, 29]
    with pytest.raises(IndexError, match=r"has no frame 30$"):
        store.read(short, [2, 30])


def test_an_index_that_leads_elsewhere_is_an_error(path, tmp_path):
    content = path.read_bytes()
    at = content.rindex(b"idx1") + 8 + 16 * 3 + 8  # the place of frame 3
    wrong = tmp_path / "wrong.avi"
    wrong.write_bytes(content[:at] + struct.pack("<I", 40) + content[at + 4 :])
    assert clips.numbers(store.read(wrong, [2, 4])) == [2, 4]
    with pytest.raises(ValueError, match="no frame where the index has number 3"):
        store.read(wrong, [2, 3])


def test_a_length_beyond_the_end_is_an_error_and_takes_no_memory(path, tmp_path):
    content = path.read_bytes()
    at = content.rindex(b"idx1") + 8 + 16 * 3 + 12  # the length of frame 3
    wrong = tmp_path / "wrong.avi"
    wrong.write_bytes(content[:at] + b"\xf0\xff\xff\xff" + content[at + 4 :])
    with pytest.raises(ValueError, match="ends in the middle"):
        store.read(wrong, [3])


@pytest.mark.parametrize("content", [b"", b"RIFF", bytes(10_000_000)])
def test_what_is_no_avi_has_no_index_and_is_left_to_ffmpeg(tmp_path, content):
    """Also the zeros that a power cut leaves: they are not walked through."""
    (tmp_path / "a.avi").write_bytes(content)
    with avi.indexed(tmp_path / "a.avi") as frames:
        assert len(frames) == 0
    with pytest.raises((av.FFmpegError, IndexError)):
        store.read(tmp_path / "a.avi", [0])


@pytest.mark.parametrize("fps", [1, 8, 12.5, 23.976, 25, 29.97, 30, 60])
def test_frame_numbers_do_not_depend_on_the_rate(tmp_path, fps):
    path = tmp_path / "a.avi"
    store.write(path, clips.numbered(20), fps=fps, quality=90)
    assert clips.numbers(store.read(path, range(20))) == list(range(20))
    assert clips.numbers(store.read(path, [19, 10])) == [19, 10]
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-5)
        assert float(container.duration / av.time_base) == pytest.approx(20 / fps, rel=1e-3)


def test_players_see_a_plain_motion_jpeg_file(path):
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert container.format.name == "avi"
        assert (stream.codec_context.name, stream.width, stream.height) == ("mjpeg", 64, 48)
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert len(packets) == COUNT
        assert all(packet.is_keyframe and bytes(packet).startswith(b"\xff\xd8") for packet in packets)
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert clips.numbers(frames) == list(range(COUNT))


def test_colours_and_shapes_survive(tmp_path):
    image = np.zeros((33, 51, 3), np.uint8)
    image[:16, :24], image[16:, 24:] = (200, 30, 30), (30, 30, 200)
    store.write(tmp_path / "a.avi", [image], fps=25, quality=100)
    (frame,) = store.read(tmp_path / "a.avi", [0])
    assert frame.shape == image.shape
    np.testing.assert_allclose(frame[4:12, 4:20].mean((0, 1)), (200, 30, 30), atol=3)
    np.testing.assert_allclose(frame[20:30, 28:48].mean((0, 1)), (30, 30, 200), atol=3)


def test_quality_costs_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    sizes = []
    for quality in (10, 50, 90):
        store.write(tmp_path / f"{quality}.avi", [noise], fps=25, quality=quality)
        sizes.append((tmp_path / f"{quality}.avi").stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]


def torn(error: BaseException):
    yield from clips.numbered(3)
    raise error


@pytest.mark.parametrize("error", [RuntimeError("torn film"), KeyboardInterrupt(), av.error.InvalidDataError(1, "x")])
def test_a_failure_leaves_no_file(tmp_path, error):
    with pytest.raises(type(error)):
        store.write(tmp_path / "Walk" / "a.avi", torn(error), fps=25, quality=90)
    assert list((tmp_path / "Walk").iterdir()) == []


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.avi"
    store.write(path, clips.numbered(2), fps=25, quality=90)
    with pytest.raises(RuntimeError):
        store.write(path, torn(RuntimeError("torn film")), fps=25, quality=90)
    assert clips.numbers(store.read(path, [0, 1])) == [0, 1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [1, 300])
def test_a_full_disk_is_an_oserror_and_leaves_no_file(tmp_path, count, monkeypatch):
    # /dev/full takes nothing, as a full disk does; it stands where the unfinished file would.
    monkeypatch.setattr("secrets.token_hex", lambda _: "unfinished")
    (tmp_path / f".a.avi.{os.getpid()}-unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as full:
        store.write(tmp_path / "a.avi", clips.numbered(1) * count, fps=25, quality=90)
    assert full.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
