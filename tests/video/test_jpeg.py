import io

import numpy as np
import pytest

from src.video import jpeg


@pytest.mark.parametrize("shape", [(48, 64), (33, 51), (1, 1)])
def test_even_colour_survives(shape):
    frame = np.full((*shape, 3), (200, 100, 50), np.uint8)
    decoded = jpeg.decode(jpeg.encode(frame, quality=95))
    assert decoded.shape == frame.shape
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.astype(int), frame, atol=3)


def test_red_stays_red():
    decoded = jpeg.decode(jpeg.encode(np.full((16, 16, 3), (255, 0, 0), np.uint8), quality=95))
    np.testing.assert_allclose(decoded.mean((0, 1)), (255, 0, 0), atol=3)


def test_a_turned_frame_is_written_as_it_looks():
    frame = np.zeros((16, 32, 3), np.uint8)
    frame[:, :16] = 255
    turned = np.rot90(frame)  # a view: left comes to lie at the bottom
    assert not turned.flags.c_contiguous
    decoded = jpeg.decode(jpeg.encode(turned, quality=95))
    assert decoded.shape == (32, 16, 3)
    assert decoded[:12].max() < 20
    assert decoded[20:].min() > 235


def test_chroma_is_halved_as_every_player_of_motion_jpeg_expects():
    data = jpeg.encode(np.zeros((16, 16, 3), np.uint8), quality=90)
    header = io.BytesIO(data[data.index(b"\xff\xc0") + 10 :])  # start of frame: id, sampling, table of each component
    assert [tuple(header.read(3))[1] for _ in range(3)] == [0x22, 0x11, 0x11]


def test_what_is_no_jpeg_is_an_error():
    with pytest.raises(ValueError, match="JPEG"):
        jpeg.decode(b"not a picture")
