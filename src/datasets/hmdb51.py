"""HMDB51: where it is published, and its official lists → clips.

6,766 clips of 51 actions, from films and the web. H. Kuehne, H. Jhuang, E. Garrote, T. Poggio, T. Serre: HMDB: A Large
Video Database for Human Motion Recognition, ICCV 2011.

The format is known from its description and from copies of some of the lists; this module was never run on the
publisher's own files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from src.command import UserError
from src.datasets import official
from src.datasets.official import Clip, Entry, Publisher

PUBLISHER = Publisher(
    videos="https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/hmdb51_org.rar",
    lists="https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/test_train_splits.rar",
    archive_bytes=2_100_000_000,
    unpacked_bytes=2_100_000_000,
    nested=True,
)
CLASSES = [
    *("brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword", "dribble"),
    *("drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug", "jump", "kick"),
    *("kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse"),
    *("run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault"),
    *("stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave"),
]
CLIPS = 6766
PARTS = {"0": "none", "1": "train", "2": "test"}
SIZES = {"train": 70, "test": 30}  # of every class in every split


def clips(lists: Path) -> list[Clip]:
    """Every clip of the 153 files CLASS_test_split1.txt … somewhere below `lists`, sorted by name.

    The group is the video that a clip was cut from, within its class: the splits are made class by class, and a film
    that several classes share may be in train for one and in test for another. Raises `UserError` with file and line
    if they are not the published lists: a name or number that is wrong, a clip twice, or another number of clips.
    """
    paths = official.find(lists, [_list(label, number) for label in CLASSES for number in (1, 2, 3)])
    result = official.combine([_split(paths, number) for number in (1, 2, 3)])
    if len(result) != CLIPS:
        raise UserError(f"{lists}: the lists name {len(result)} clips; the published ones name {CLIPS}")
    return result


def _list(label: str, number: int) -> str:
    return f"{label}_test_split{number}.txt"


def _split(paths: dict[str, Path], number: int) -> Iterator[Entry]:
    for label in CLASSES:
        yield from _entries(paths[_list(label, number)], label)


def _entries(path: Path, label: str) -> Iterator[Entry]:
    # Behind the class: visible body parts, camera motion, number of people, camera's side, quality, number of the clip.
    pattern = re.compile(rf"(.+)_{label}_[a-z]_[a-z]m_np\d+_[a-z]{{2}}_[a-z]{{3}}_\d+\.avi")
    sizes: Counter = Counter()
    lines = official.read(path)
    for place, words in lines:
        match = pattern.fullmatch(words[0])
        if not match or len(words) != 2 or words[1] not in PARTS:
            form = f"TITLE_{label}_f_cm_np1_ba_bad_0.avi and 0, 1 or 2"
            raise UserError(f"{place}: {' '.join(words)!r} is not of the form {form}")
        part = PARTS[words[1]]
        sizes[part] += 1
        yield Entry(place, f"{label}/{words[0]}", label, f"{label} {match[1]}", part)
    for part, published in SIZES.items():
        if sizes[part] != published:
            raise UserError(
                f"{lines[-1][0]} is the last, with {sizes[part]} {part} clips; the published list has {published}"
            )
