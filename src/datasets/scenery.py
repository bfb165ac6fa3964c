"""Chance → the rooms and the furniture of the synthetic videos."""

import colorsys

import numpy as np

from src.datasets.stick_figure import Body, Stroke, seen

WIDTH, HEIGHT = 160, 120  # of the picture, pixels
MARGIN = 16  # pixels that a room reaches beyond the picture, for the camera to move


def random_colour(
    rng: np.random.Generator, *, value: tuple[float, float], away_from: tuple[np.ndarray, ...] = ()
) -> np.ndarray:
    """The one of a few random colours that stands out most."""
    tries = [255 * np.array(colorsys.hsv_to_rgb(*rng.uniform((0, 0.2, value[0]), (1, 1, value[1])))) for _ in range(6)]
    return max(tries, key=lambda tried: min((np.abs(tried - other).sum() for other in away_from), default=0))


def draw_room(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A wall with a pattern and furniture above a floor, and the mean colour of the wall.

    The room is (3, HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN) float32, 0 to 255; the colour is (3,).
    """
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    y, x = np.mgrid[:height, :width].astype(np.float32)
    value = (0.25, 0.95)
    room = random_colour(rng, value=value)[:, None, None] * np.ones_like(x)

    def tint(mask: np.ndarray, strength: float) -> None:
        room[:] += strength * mask * (random_colour(rng, value=value)[:, None, None] - room)

    def along(scale: float) -> np.ndarray:
        angle = rng.uniform(0, np.pi)
        return (x * np.cos(angle) + y * np.sin(angle)) / scale

    tint(along(width).clip(0, 1), 0.8)
    pattern = rng.integers(4)
    if pattern == 0:  # stripes
        tint(np.sin(along(rng.uniform(2, 6))).clip(-0.3, 0.3) / 0.6 + 0.5, rng.uniform(0.3, 0.7))
    elif pattern == 1:  # checks
        tint((np.sin(along(rng.uniform(3, 7))) * np.sin(along(rng.uniform(3, 7))) > 0), rng.uniform(0.2, 0.6))
    elif pattern == 2:  # blobs
        for _ in range(12):
            square = (x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2
            tint(np.exp(-square / rng.uniform(6, 22) ** 2), rng.uniform(0.4, 0.9))
    else:  # rough plaster
        tint(np.kron(rng.uniform(size=(height // 4, width // 4)), np.ones((4, 4))), rng.uniform(0.3, 0.7))
    for _ in range(rng.integers(5)):  # pictures, shelves, cupboards
        left, top = rng.uniform(0, width), rng.uniform(0, height * 0.7)
        inside = (abs(x - left) < rng.uniform(6, 22)) & (abs(y - top) < rng.uniform(5, 25))
        tint(inside, rng.uniform(0.5, 1.0))
    mean = room.mean(axis=(1, 2))
    floor = y > MARGIN + rng.uniform(84, 104)
    tint(floor, 0.85)
    if rng.integers(2):  # boards
        tint(floor & (x % rng.uniform(9, 25) < 2), 0.4)
    return room.astype(np.float32), mean


def picture(room: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """A new (3, HEIGHT, WIDTH), the part of the room whose upper left is `corner` (x, y) in pixels."""
    x, y = np.clip(corner, 0, 2 * MARGIN - 1)
    left, top = int(x), int(y)
    across, down = np.float32(x - left), np.float32(y - top)
    wide = room[:, top : top + HEIGHT + 1, left : left + WIDTH + 1]
    rows = wide[:, :-1] * (1 - down) + wide[:, 1:] * down
    return rows[:, :, :-1] * (1 - across) + rows[:, :, 1:] * across


def draw_chair(at: dict[str, np.ndarray], body: Body, colour: np.ndarray, *, yaw: float) -> list[Stroke]:
    """A chair where the pelvis comes down, as `strokes`."""
    moments = len(at["pelvis"])
    seat = body.shank + 0.05 - 1.3 * body.limb - body.torso
    front, back = -0.45 * body.thigh, -1.35 * body.thigh
    lines = []
    for across in (-0.12, 0.12):
        lines += [
            [(across, 0.0, front), (across, seat, front), (across, seat, back), (across, 0.0, back)],
            [(across, seat, back), (across, seat + 0.32, back - 0.03)],
        ]
    for height in (0.0, 0.15, 0.3):
        lines.append([(-0.12, seat + height, back), (0.12, seat + height, back)])
    lines.append([(-0.12, seat, front), (0.12, seat, front)])
    return [
        Stroke(
            np.broadcast_to(seen(np.array(line), yaw), (moments, len(line), 3)),
            (0.016,) * (len(line) - 1),
            colour,
        )
        for line in lines
    ]
