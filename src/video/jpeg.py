"""One frame ↔ one JPEG: the only place that knows which codec does it.

simplejpeg carries its own libjpeg-turbo, so it needs neither FFmpeg libraries nor a system package.
"""

import numpy as np
import simplejpeg


def encode(frame: np.ndarray, *, quality: int) -> bytes:
    """`(H, W, 3)` uint8 RGB → JPEG bytes with 4:2:0 chroma, which every player of Motion-JPEG opens."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def decode(data: bytes, *, out: np.ndarray | None = None) -> np.ndarray:
    """JPEG bytes → `(H, W, 3)` uint8 RGB, written into `out`, if given: a `ValueError` if that has another size."""
    frame = simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
    if out is not None and frame.shape != out.shape:
        raise ValueError(f"a picture of {frame.shape[:2]} pixels among those of {out.shape[:2]}")
    return frame
