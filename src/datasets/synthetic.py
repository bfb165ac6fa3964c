"""A seed → videos of stick figures that act, as files named like those of UCF101: `Walk/v_Walk_g03_c02.avi`.

The ten classes are five pairs. No single frame can tell the two classes of a pair apart: they go through
the same poses, at another tempo (Walk, Run) or in the other direction of time (SitDown, StandUp). A group
`gNN` is an actor with a body, clothes, a room and a camera of their own, who performs every class. Whatever
chance decides follows from the seed and the clip's name: a clip can be drawn alone and comes out the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src import files
from src.datasets.scenery import HEIGHT, MARGIN, WIDTH, draw_chair, draw_room, picture, random_colour
from src.datasets.stick_figure import LEFT_RIGHT, Body, Look, Pose, joints, paint, standing, strokes

FPS = 25
SECONDS = (2.4, 4.0)
# Of MPEG-4, 1 (best) to 31. Fixed, as a bit rate would blur fast movement and so betray the tempo.
QUANTISER = 4
WINDOW = 2.0  # seconds: so short a part of a clip still shows what is done

CLASSES = (
    "ArmCircleLeft",
    "ArmCircleRight",
    "LowerArms",
    "RaiseArms",
    "Run",
    "SitDown",
    "StandUp",
    "Stretch",
    "Walk",
    "Wave",
)
PAIRS = (
    ("Walk", "Run"),
    ("Stretch", "Wave"),
    ("SitDown", "StandUp"),
    ("RaiseArms", "LowerArms"),
    ("ArmCircleLeft", "ArmCircleRight"),
)

NAME = re.compile(rf"v_({'|'.join(CLASSES)})_g(\d{{2,}})_c(\d{{2,}})\.avi")


def names(*, actors: int, clips: int) -> list[str]:
    """The relative paths `CLASS/v_CLASS_gNN_cNN.avi` of all classes, sorted."""
    return sorted(
        f"{label}/v_{label}_g{actor:02}_c{clip:02}.avi"
        for label in CLASSES
        for actor in range(1, actors + 1)
        for clip in range(1, clips + 1)
    )


def version() -> str:
    """A fingerprint of the code that draws: other code may draw other videos from the same seed."""
    sources = (Path(__file__).with_name(name) for name in ("scenery.py", "stick_figure.py", "synthetic.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def write_clip(path: Path, *, seed: int) -> None:
    """Draw and encode the clip that the name of `path` asks for; the file is whole or absent.

    Raises ValueError for a name that is not of the form `v_CLASS_gNN_cNN.avi`.
    """
    match = NAME.fullmatch(path.name)
    if match is None or not int(match[2]) or not int(match[3]):
        raise ValueError(f"{path.name!r} is not v_CLASS_gNN_cNN.avi with a class of {', '.join(CLASSES)}")
    with files.replacing(path) as beside:
        _encode(beside, clip_frames(match[1], actor=int(match[2]), clip=int(match[3]), seed=seed))


def _encode(path: Path, frames: Iterator[np.ndarray]) -> None:
    import av

    with av.open(path, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        stream.codec_context.thread_count = 1  # slices of several threads would change the bytes
        stream.codec_context.qmin = stream.codec_context.qmax = QUANTISER
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def clip_frames(label: str, *, actor: int, clip: int, seed: int) -> Iterator[np.ndarray]:
    """The frames of a clip, (HEIGHT, WIDTH, 3) uint8 RGB. Actors and clips count from 1."""
    # SeedSequence reads [seed, actor] as [seed, actor, 0, 0], which is no clip's as clips count from 1.
    cast = draw_actor(np.random.default_rng([seed, actor]))
    rng = np.random.default_rng([seed, actor, CLASSES.index(label), clip])
    take = draw_take(rng, habit=cast.tempo)
    return _film(label, take, cast, rng)


# What is done: a class moves one number, the course, and the course decides the pose.


@dataclass(frozen=True)
class Take:
    """What chance decides about the movement in one clip, in the same way for every class."""

    frames: int
    tempo: float  # 0 to 1, from the slowest to the fastest that the class allows
    drift: float  # by how much the tempo swells and ebbs
    phase: float  # where in its cycle a repeated movement begins, in cycles
    delay: float  # 0 to 1, when a single movement begins, from as early to as late as WINDOW allows
    reach: float  # how far limbs swing, about 1
    elbow: float  # how bent the arms are, radians
    arm: int  # the one that does what one arm does
    turn: float  # -1 to 1, from where the camera sees it


def draw_take(rng: np.random.Generator, *, habit: float) -> Take:
    return Take(
        frames=int(rng.integers(round(SECONDS[0] * FPS), round(SECONDS[1] * FPS) + 1)),
        tempo=float(np.clip(habit + rng.uniform(-0.3, 0.3), 0, 1)),
        drift=rng.uniform(0, 0.12),
        phase=rng.uniform(),
        delay=rng.uniform(),
        reach=rng.uniform(0.85, 1.15),
        elbow=rng.uniform(0.0, 0.6),
        arm=int(rng.integers(2)),
        turn=rng.uniform(-1, 1),
    )


def course(label: str, take: Take) -> np.ndarray:
    """How far the movement has come at each frame, (T,): cycles if it repeats, else from 0 to 1 or back."""
    action = ACTIONS[label]
    low, high = action.speed
    time = np.arange(take.frames) / FPS
    length = time[-1]
    if action.once:
        span = length * (high - (high - low) * take.tempo)
        # Any WINDOW must show 40 % of the movement: the first one its beginning, and the last one its end.
        earliest = max(0.05 * length, length - WINDOW - 0.6 * span)
        latest = min(0.95 * length - span, WINDOW - 0.4 * span)
        share = ((time - earliest - take.delay * (latest - earliest)) / span).clip(0, 1)
        done = share * share * (3 - 2 * share)
    else:
        swell = take.drift * np.sin(2 * np.pi * (time / SECONDS[1] + take.phase)) * 0.5
        done = take.phase + (low + (high - low) * take.tempo) * (time + swell)
    return done[::-1] if action.backwards else done


def _stride(course: np.ndarray, take: Take) -> Pose:
    """A springy step on the spot."""
    angle = 2 * np.pi * (course[:, None] + np.array([0.0, 0.5]))
    swing = take.reach * np.sin(angle)
    forward = np.clip(np.cos(angle + 0.4), 0, None)  # the knee bends while its leg swings forward
    arm = -0.6 * swing
    return replace(
        standing(len(course)),
        lean=np.full(len(course), 0.1),
        hip=0.12 + 0.5 * swing,
        knee=0.15 + 1.1 * take.reach * forward,
        arm_out=np.full_like(arm, 0.08),
        arm_ahead=arm,
        hand_ahead=arm + 0.7 + take.elbow + 0.25 * swing,
    )


def _sit(course: np.ndarray, take: Take) -> Pose:
    """Standing at 0, seated at 1, leaning forward and reaching ahead in between."""
    down, between = course[:, None] * np.ones(2), np.sin(np.pi * course)
    arm = 0.45 * down + take.reach * 0.9 * between[:, None]
    return replace(
        standing(len(course)),
        lean=0.05 * course + 0.6 * take.reach * between,
        hip=1.5 * down,
        knee=1.5 * down + 0.35 * between[:, None],
        arm_ahead=arm,
        hand_ahead=arm + 0.1 + take.elbow * (0.3 + 0.7 * down),
        rooted=True,
    )


def _lift(course: np.ndarray, take: Take) -> Pose:
    """Both arms hang at 0 and point up at 1."""
    arm = 0.12 + 2.75 * course[:, None] * np.ones(2)
    return replace(
        standing(len(course)),
        arm_out=arm,
        hand_out=arm + (take.elbow - 0.2) * np.sin(np.pi * course)[:, None],
    )


def _circle(course: np.ndarray, take: Take) -> Pose:
    """One arm turns, counter-clockwise in the image as the course grows; the other one hangs."""
    angle = 2 * np.pi * course
    arm = np.full((len(course), 2), 0.15)
    arm[:, take.arm] = LEFT_RIGHT[take.arm] * angle
    hand = arm.copy()
    hand[:, 1 - take.arm] += take.elbow
    return replace(standing(len(course)), bend=0.08 * take.reach * np.sin(angle), arm_out=arm, hand_out=hand)


def _sway(course: np.ndarray, take: Take) -> Pose:
    """Both arms overhead, the body bending from side to side."""
    bend = 0.35 * take.reach * np.sin(2 * np.pi * course)
    arm = np.pi - 0.35 - 1.2 * np.outer(bend, LEFT_RIGHT)
    return replace(standing(len(course)), bend=bend, arm_out=arm, hand_out=arm + 0.2 + 0.4 * take.elbow)


@dataclass(frozen=True)
class Action:
    pose: Callable[[np.ndarray, Take], Pose]
    speed: tuple[float, float]  # slowest and fastest: cycles a second, or if `once` the shares of the clip it takes
    once: bool = False
    backwards: bool = False
    profile: bool = False  # seen from the side, and not from the front
    chair: bool = False


# Speeds leave a gap between the classes of a pair, and the fastest one (two steps to a cycle) still
# shows at the 6 to 8 frames a second that a network may see.
ACTIONS = {
    "Walk": Action(_stride, speed=(0.60, 0.85), profile=True),
    "Run": Action(_stride, speed=(1.40, 1.80), profile=True),
    "Stretch": Action(_sway, speed=(0.45, 0.65)),
    "Wave": Action(_sway, speed=(1.30, 1.80)),
    "SitDown": Action(_sit, speed=(0.40, 0.55), once=True, profile=True, chair=True),
    "StandUp": Action(_sit, speed=(0.40, 0.55), once=True, profile=True, chair=True, backwards=True),
    "RaiseArms": Action(_lift, speed=(0.40, 0.55), once=True),
    "LowerArms": Action(_lift, speed=(0.40, 0.55), once=True, backwards=True),
    "ArmCircleLeft": Action(_circle, speed=(0.50, 0.90)),
    "ArmCircleRight": Action(_circle, speed=(0.50, 0.90), backwards=True),
}


# Who does it, and where.


@dataclass(frozen=True)
class Actor:
    body: Body
    look: Look
    room: np.ndarray  # (3, HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN), 0 to 255
    chair: np.ndarray  # (3,) colour
    toy: np.ndarray  # (3,) colour of a ball that drifts about
    height: float  # of the figure, pixels
    place: tuple[float, float]  # of the feet in the picture, pixels
    tempo: float  # 0 to 1
    shake: float  # of the camera, pixels
    flicker: float  # of the light, share
    noise: float  # of the sensor, grey values


def draw_actor(rng: np.random.Generator) -> Actor:
    room, wall = draw_room(rng)
    shirt = random_colour(rng, value=(0.35, 1.0), away_from=(wall,))
    trousers = random_colour(rng, value=(0.25, 0.9), away_from=(wall, shirt))
    around = {name: rng.uniform(0.85, 1.15) * length for name, length in vars(Body()).items()}
    return Actor(
        body=Body(**around | {"limb": rng.uniform(0.024, 0.044), "torso": rng.uniform(0.05, 0.085)}),
        look=Look(
            skin=np.array([236.0, 188.0, 150.0]) * rng.uniform(0.35, 1.05) * rng.uniform(0.95, 1.05, 3),
            hair=random_colour(rng, value=(0.1, 0.8)),
            shirt=shirt,
            trousers=trousers,
            shoes=random_colour(rng, value=(0.1, 1.0)),
            sleeves=bool(rng.integers(2)),
            shorts=rng.uniform() < 0.3,
            hat=rng.uniform() < 0.3,
            outline=rng.uniform(0.4, 1.1),
        ),
        room=room,
        chair=random_colour(rng, value=(0.3, 0.9), away_from=(wall, trousers)),
        toy=random_colour(rng, value=(0.4, 1.0)),
        height=rng.uniform(74, 90),
        place=(WIDTH / 2 + rng.uniform(-10, 10), rng.uniform(108, 114)),
        tempo=rng.uniform(0.2, 0.8),
        shake=rng.uniform(0, 0.8),
        flicker=rng.uniform(0.0, 0.03),
        noise=rng.uniform(1, 6),
    )


def _film(label: str, take: Take, actor: Actor, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The frames of `clip_frames`: the movement, and all else that differs from clip to clip, on camera."""
    action, moments = ACTIONS[label], take.frames
    time = np.arange(moments) / FPS

    def wander(size: float) -> np.ndarray:  # (T,) a smooth to and fro
        waves = [np.sin(2 * np.pi * (rng.uniform(0.1, 1.5) * time + rng.uniform())) for _ in range(3)]
        return size / 2 * sum(waves)

    pose = action.pose(course(label, take), take)
    pose = replace(pose, lean=pose.lean + wander(0.02), bend=pose.bend + wander(0.02))
    yaw = np.copysign(1.0 + 0.5 * abs(take.turn), take.turn) if action.profile else 0.5 * take.turn
    body = actor.body
    at = joints(pose, body, yaw=yaw)
    scene = strokes(at, body, actor.look)
    if action.chair:
        scene = draw_chair(at, body, actor.chair, yaw=yaw) + scene

    size = actor.height * rng.uniform(0.93, 1.05)
    pan = (time - time.mean())[:, None] / SECONDS[1] * rng.uniform(-5, 5, 2)
    camera = pan + np.stack([wander(actor.shake), wander(actor.shake)], axis=1)
    middle = (at["pelvis"][:, 0].min() + at["pelvis"][:, 0].max()) / 2
    feet = np.array(actor.place) + rng.uniform((-5, -2), (5, 1))
    aside = rng.uniform(-5, 5, 2)  # where the camera stands today
    origin = feet + camera
    tracks = [origin[:, None] + size * (each.points[..., :2] - (middle, 0)) * (1, -1) for each in scene]
    ball = rng.uniform((10, 10), (WIDTH - 10, 90)) + rng.uniform(-12, 12, 2) * time[:, None]
    ball_radius = rng.uniform(3, 9)

    light = rng.uniform(0.88, 1.12) * (1 + wander(actor.flicker))
    light *= 1 + actor.flicker / 2 * rng.standard_normal(moments)
    grain = actor.noise * rng.standard_normal((3, HEIGHT + MARGIN, WIDTH + MARGIN), dtype=np.float32)
    for moment in range(moments):
        canvas = picture(actor.room, MARGIN - camera[moment] - aside)
        paint(canvas, ball[[moment, moment]], (ball_radius,), actor.toy, outline=0.0)
        for track, stroke in zip(tracks, scene, strict=True):
            radii = tuple(size * radius for radius in stroke.radii)
            paint(canvas, track[moment], radii, stroke.colour, outline=actor.look.outline)
        down, right = rng.integers(MARGIN, size=2)
        canvas *= np.float32(light[moment])
        canvas += grain[:, down : down + HEIGHT, right : right + WIDTH]
        yield np.ascontiguousarray(canvas.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
