"""The synthetic videos: files that come out the same, and pairs of classes that only movement tells apart."""

import re
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise

import av
import numpy as np
import pytest

from src.datasets.stick_figure import Body, joints
from src.datasets.synthetic import (
    ACTIONS,
    CLASSES,
    FPS,
    PAIRS,
    WINDOW,
    Take,
    course,
    names,
    write_clip,
)
from src.settings import Dataset

TAKE = Take(frames=80, tempo=0.5, drift=0.1, phase=0.3, delay=0.5, reach=1.0, elbow=0.4, arm=1, turn=0.5)


def act(label: str, take: Take, *, yaw: float = 0.0) -> dict[str, np.ndarray]:
    return joints(ACTIONS[label].pose(course(label, take), take), Body(), yaw=yaw)


def read(path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def turns(at: dict[str, np.ndarray], arm: int) -> float:
    """How often a hand goes round its shoulder in the image, counter-clockwise."""
    x, y, _ = (at["hand"][:, arm] - at["shoulder"][:, arm]).T
    return float(np.unwrap(np.arctan2(y, x))[[0, -1]] @ [-1, 1] / (2 * np.pi))


def steps(at: dict[str, np.ndarray]) -> int:
    """How often one foot passes the other one."""
    ahead = at["ankle"][:, 1, 2] > at["ankle"][:, 0, 2]
    return sum(before != after for before, after in pairwise(ahead))


def test_names_are_complete_and_sorted():
    found = names(actors=2, clips=3)
    assert len(found) == len(set(found)) == 10 * 2 * 3
    assert found == sorted(found)
    assert all(re.fullmatch(r"(\w+)/v_\1_g0[12]_c0[123]\.avi", name) for name in found)
    assert {name.split("/")[0] for name in found} == set(CLASSES)


def test_every_class_is_in_one_pair():
    assert tuple(sorted(CLASSES)) == CLASSES
    assert sorted(label for pair in PAIRS for label in pair) == list(CLASSES)
    assert set(ACTIONS) == set(CLASSES)
    assert all((left, right) in PAIRS for left, right in Dataset().mirror.items())


def test_the_seed_decides_every_byte(tmp_path):
    name = "v_SitDown_g02_c01.avi"
    for folder, seed in (("one", 7), ("again", 7), ("other", 8)):
        write_clip(tmp_path / folder / name, seed=seed)
    one, again, other = ((tmp_path / folder / name).read_bytes() for folder in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_a_clip_comes_out_the_same_in_another_process(tmp_path):
    here, there = tmp_path / "here/v_Wave_g01_c02.avi", tmp_path / "there/v_Wave_g01_c02.avi"
    write_clip(tmp_path / "here/v_Run_g01_c01.avi", seed=7)
    write_clip(here, seed=7)
    code = (
        "import sys; from pathlib import Path; from src.datasets.synthetic import write_clip;"
        "assert not {'torch', 'av'} & set(sys.modules); write_clip(Path(sys.argv[1]), seed=7)"
    )
    subprocess.run([sys.executable, "-c", code, there], check=True)
    assert here.read_bytes() == there.read_bytes()


@pytest.mark.parametrize("label", CLASSES)
def test_a_file_plays(tmp_path, label):
    path = tmp_path / label / f"v_{label}_g03_c01.avi"
    write_clip(path, seed=0)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "mpeg4"
        assert stream.average_rate == FPS == 25
        assert (stream.width, stream.height) == (160, 120)
    frames = read(path)
    assert 2.4 * FPS <= len(frames) <= 4 * FPS
    assert all(frame.std() > 10 for frame in frames)


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def torn(label, **_):
        yield np.zeros((120, 160, 3), np.uint8)
        raise RuntimeError("torn film")

    monkeypatch.setattr("src.datasets.synthetic.clip_frames", torn)
    with pytest.raises(RuntimeError, match="torn film"):
        write_clip(tmp_path / "v_Walk_g01_c01.avi", seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v_Jump_g01_c01.avi", "v_Walk_g01.avi", "v_Walk_g01_c01.mp4", "v_Walk_g01_c00.avi"])
def test_a_wrong_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        write_clip(tmp_path / name, seed=0)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_shares_its_poses_and_its_view(pair):
    one, other = (ACTIONS[label] for label in pair)
    assert one.pose is other.pose
    assert (one.profile, one.chair, one.once) == (other.profile, other.chair, other.once)


@pytest.mark.parametrize(("label", "reverse"), [p for p in PAIRS if ACTIONS[p[0]].speed == ACTIONS[p[1]].speed])
def test_one_class_is_the_other_one_played_backwards(label, reverse):
    forth, back = act(label, TAKE), act(reverse, TAKE)
    for joint in forth:
        np.testing.assert_array_equal(forth[joint][::-1], back[joint])


@pytest.mark.parametrize(("slow", "fast"), [("Walk", "Run"), ("Stretch", "Wave")])
def test_tempo_classes_go_through_one_cycle_of_poses_at_speeds_far_apart(slow, fast):
    assert ACTIONS[slow].speed[1] * 1.5 < ACTIONS[fast].speed[0]
    # At any whole number of cycles later, the very same pose.
    cycle = np.linspace(0, 1, 50)
    one, later = (ACTIONS[slow].pose(cycle + shift, TAKE) for shift in (0, 5))
    for field in fields(one):
        np.testing.assert_allclose(getattr(one, field.name), getattr(later, field.name), atol=1e-9)


def test_running_is_walking_with_more_steps():
    take = replace(TAKE, frames=101, drift=0.0)  # 4 s; two steps to a cycle
    assert 5 <= steps(act("Walk", take)) <= 7
    assert 12 <= steps(act("Run", take)) <= 14


@pytest.mark.parametrize("arm", [0, 1])
def test_a_mirror_swaps_the_arm_circles(arm):
    take = replace(TAKE, arm=arm)
    left, right = act("ArmCircleLeft", take, yaw=0.3), act("ArmCircleRight", take, yaw=0.3)
    assert turns(left, arm) > 1
    assert turns(right, arm) < -1
    # The mirror: the person is turned the other way, the other arm goes round, from the mirrored angle.
    twin = replace(take, arm=1 - arm)
    mirrored = {joint: where * (-1, 1, 1) for joint, where in left.items()}
    angle = -course("ArmCircleLeft", take)
    expected = joints(ACTIONS["ArmCircleRight"].pose(angle, twin), Body(), yaw=-0.3)
    for joint, where in mirrored.items():
        np.testing.assert_allclose(where[:, ::-1] if where.ndim == 3 else where, expected[joint], atol=1e-12)
    assert turns({joint: where[:, ::-1] for joint, where in mirrored.items() if where.ndim == 3}, 1 - arm) < -1


@pytest.mark.parametrize("label", [label for label in CLASSES if ACTIONS[label].once])
@pytest.mark.parametrize("delay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tempo", [0.0, 1.0])
@pytest.mark.parametrize("frames", [60, 80, 100])
def test_every_window_of_a_single_movement_shows_its_direction(label, delay, tempo, frames):
    done = course(label, replace(TAKE, delay=delay, tempo=tempo, frames=frames))
    assert {done[0], done[-1]} == {0.0, 1.0}  # a rest before, and a rest after
    window = round(WINDOW * FPS)
    change = done[window - 1 :] - done[: len(done) - window + 1]
    assert (np.sign(change) == np.sign(done[-1] - done[0])).all()
    assert abs(change).min() > 0.3
