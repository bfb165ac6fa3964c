"""Angles of a body over time → points in space → a stick figure painted on a canvas.

Points are in body heights: x to the image's right, y up from the floor, z toward the viewer.
Canvases are (3, H, W) float32, 0 to 255, and are painted in place.
"""

from dataclasses import dataclass

import numpy as np

LEFT_RIGHT = np.array([-1.0, 1.0])  # the limbs as a camera in front of the person sees them


@dataclass(frozen=True)
class Pose:
    """Angles in radians at T moments; zeros stand upright with hanging arms.

    (T, 2) are the limbs on the image's left and right when the person faces the camera. Arms are measured
    against the vertical, `out` to their own side and `ahead` to the front; knees against the thigh.
    """

    lean: np.ndarray  # (T,) trunk to the front
    bend: np.ndarray  # (T,) trunk to the image's right
    hip: np.ndarray  # (T, 2) thigh to the front
    knee: np.ndarray  # (T, 2) shank to the back
    arm_out: np.ndarray  # (T, 2) upper arm
    arm_ahead: np.ndarray  # (T, 2)
    hand_out: np.ndarray  # (T, 2) forearm
    hand_ahead: np.ndarray  # (T, 2)
    rooted: bool = False  # the feet keep their place, and not the pelvis


def standing(moments: int) -> Pose:
    one, two = np.zeros(moments), np.zeros((moments, 2))
    return Pose(lean=one, bend=one, hip=two, knee=two, arm_out=two, arm_ahead=two, hand_out=two, hand_ahead=two)


@dataclass(frozen=True)
class Body:
    """Lengths and radii in body heights."""

    thigh: float = 0.24
    shank: float = 0.24
    trunk: float = 0.29
    upper_arm: float = 0.17
    forearm: float = 0.17
    head: float = 0.085
    shoulders: float = 0.10  # half the width
    hips: float = 0.05  # half the width
    splay: float = 0.06  # angle of the legs to the side, radians
    limb: float = 0.032
    torso: float = 0.065


@dataclass(frozen=True)
class Look:
    """Colours (3,), 0 to 255, and dress."""

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    sleeves: bool
    shorts: bool
    hat: bool
    outline: float  # pixels


@dataclass(frozen=True)
class Stroke:
    """A line of one colour through K points, at T moments."""

    points: np.ndarray  # (T, K, 2) in pixels, x then y; (T, K, 3) before the camera sees them
    radii: tuple[float, ...]  # of its K - 1 pieces
    colour: np.ndarray  # (3,)


def _toward(out: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """(T, 2) angles from hanging straight down → (T, 2, 3) unit vectors (across, up, ahead)."""
    return np.stack([LEFT_RIGHT * np.sin(out), -np.cos(out) * np.cos(ahead), np.cos(out) * np.sin(ahead)], axis=-1)


def joints(pose: Pose, body: Body, *, yaw: float) -> dict[str, np.ndarray]:
    """Where the joints are: (T, 2, 3) for the paired ones, (T, 3) for pelvis, neck and head.

    `yaw` turns the person: 0 faces the camera, +π/2 the image's right, -π/2 its left.
    """
    splay = np.full_like(pose.hip, body.splay)
    across = LEFT_RIGHT[:, None] * np.array([1.0, 0.0, 0.0])
    shank = _toward(splay, pose.hip - pose.knee)

    at = {"pelvis": np.zeros((len(pose.lean), 3))}
    at["hip"] = at["pelvis"][:, None] + body.hips * across
    at["knee"] = at["hip"] + body.thigh * _toward(splay, pose.hip)
    at["ankle"] = at["knee"] + body.shank * shank
    foot = np.stack([np.zeros_like(pose.hip), -shank[..., 2], -shank[..., 1]], axis=-1)  # square to the shank
    at["toe"] = at["ankle"] + 0.07 * foot + 0.02 * across

    lean, bend = pose.lean, pose.bend
    spine = np.stack([np.sin(bend) * np.cos(lean), np.cos(bend) * np.cos(lean), np.sin(lean)], axis=-1)
    collar = np.stack([np.cos(bend), -np.sin(bend), np.zeros_like(bend)], axis=-1)
    at["neck"] = at["pelvis"] + body.trunk * spine
    at["head"] = at["neck"] + (0.055 + body.head) * spine
    at["eye"] = at["head"][:, None] + body.head * (0.4 * across + np.array([0.0, 0.1, 0.85]))
    at["shoulder"] = at["neck"][:, None] + body.shoulders * LEFT_RIGHT[:, None] * collar[:, None]
    at["elbow"] = at["shoulder"] + body.upper_arm * _toward(pose.arm_out, pose.arm_ahead)
    at["hand"] = at["elbow"] + body.forearm * _toward(pose.hand_out, pose.hand_ahead)

    ground = np.zeros((len(lean), 3))
    ground[:, 1] = np.minimum(at["ankle"][..., 1], at["toe"][..., 1]).min(axis=1)  # somebody always stands
    if pose.rooted:
        ground[:, 2] = at["ankle"][..., 2].mean(axis=1)
    return {name: seen(where - (ground if where.ndim == 2 else ground[:, None]), yaw) for name, where in at.items()}


def seen(points: np.ndarray, yaw: float) -> np.ndarray:
    """(..., 3) of across, up, ahead → (..., 3) of x, y, z, the person being turned by `yaw`."""
    across, up, ahead = np.moveaxis(points, -1, 0)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([across * cos + ahead * sin, up, ahead * cos - across * sin], axis=-1)


def strokes(at: dict[str, np.ndarray], body: Body, look: Look) -> list[Stroke]:
    """The joints of `joints` → the strokes of the figure, farthest first, in body heights."""
    limb, layers = body.limb, []

    def layer(depth: float, *parts: tuple[np.ndarray, tuple[float, ...], list[np.ndarray]]) -> None:
        shade = np.clip(1 + 5 * depth, 0.65, 1.0)  # tells the far leg from the near one
        layers.append((depth, [Stroke(np.stack(line, axis=1), radii, colour * shade) for colour, radii, line in parts]))

    for side in (0, 1):
        hip, knee, ankle, toe = (at[name][:, side] for name in ("hip", "knee", "ankle", "toe"))
        shoulder, elbow, hand = (at[name][:, side] for name in ("shoulder", "elbow", "hand"))
        layer(
            hip[:, 2].mean() - 0.01,
            (look.shoes, (limb,), [ankle, toe]),
            (look.skin if look.shorts else look.trousers, (limb, limb), [ankle, knee, hip]),
            (look.trousers, (limb * 1.2,), [0.2 * hip + 0.8 * knee, hip]),
        )
        cuff = 0.4 * shoulder + 0.6 * elbow
        layer(
            shoulder[:, 2].mean() + 0.045,  # in front of the chest of somebody who faces the camera
            (look.skin, (limb, limb * 0.9), [hand, elbow, shoulder]),
            (look.shirt, (limb * 0.95, limb), [0.3 * elbow + 0.7 * hand, elbow, shoulder])
            if look.sleeves
            else (look.shirt, (limb * 1.1,), [cuff, shoulder]),
        )

    pelvis, neck, head = at["pelvis"], at["neck"], at["head"]
    left, right = at["shoulder"][:, 0], at["shoulder"][:, 1]
    up = (head - neck) * (body.head / np.linalg.norm(head - neck, axis=1, keepdims=True))
    face = at["eye"].mean(axis=1) - head
    layer(
        0.0,
        (look.trousers, (body.torso * 0.8,), [at["hip"][:, 0], at["hip"][:, 1]]),
        (look.skin, (limb,), [neck, head]),
        (look.shirt, (body.torso, limb, limb), [0.75 * pelvis + 0.25 * neck, neck - 0.5 * up, left, right]),
        (look.hair, (body.head,), [head + 0.25 * up - 0.2 * face] * 2),
        (look.skin, (body.head * 0.9,), [head] * 2),
    )
    crown = head + 0.7 * up
    if look.hat:
        brim = face * 0.9
        layer(
            0.01,
            (look.hair, (body.head * 0.55,), [crown, crown]),
            (look.hair, (0.02,), [crown, crown + brim]),
        )
    for side in (0, 1):
        eye = at["eye"][:, side]
        if (eye[:, 2] > head[:, 2]).all():
            layer(0.02, (np.full(3, 20.0), (0.004,), [eye, eye]))
    return [stroke for _, parts in sorted(layers, key=lambda entry: entry[0]) for stroke in parts]


def paint(
    canvas: np.ndarray, points: np.ndarray, radii: tuple[float, ...], colour: np.ndarray, *, outline: float
) -> None:
    """Paint one smooth-edged line through `points` (K, 2), of K - 1 pieces with `radii` in pixels.

    The pieces are one shape (the union of their distance fields), so that a joint leaves no seam. The outline
    is `outline` pixels wide and a darker shade of the colour.
    """
    _, height, width = canvas.shape
    margin = max(radii) + outline + 1
    left, top = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(axis=0) + margin) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    distance = None
    for (ax, ay), (bx, by), radius in zip(points[:-1].tolist(), points[1:].tolist(), radii, strict=True):
        dx, dy = bx - ax, by - ay
        length = max(dx * dx + dy * dy, 1e-6)
        along = ((x - ax) * (dx / length) + (y - ay) * (dy / length)).clip(0, 1)
        piece = np.hypot(x - ax - along * dx, y - ay - along * dy) - radius
        distance = piece if distance is None else np.minimum(distance, piece)

    patch = canvas[:, top:bottom, left:right]
    fill = colour.astype(np.float32)[:, None, None]
    rim = (0.5 + outline - distance).clip(0, 1)
    inside = (0.5 - distance).clip(0, 1)
    patch += rim * (fill * (0.35 + 0.65 * inside) - patch)
