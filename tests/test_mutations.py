"""Damaged videos through the real extraction: every one is read whole or refused by name, and none harms another."""

from __future__ import annotations

import json
import struct

import pytest

from bench import mutations
from bench.mutations import KINDS, WHOLE, Outcome, mutate
from src.video import extraction, store
from tests.video import clips

DATA = bytes(range(256)) * 8
OTHER = bytes(reversed(range(256))) * 4


def damaged(kind: str, *, turn: int = 0, data: bytes = DATA) -> bytes:
    """What the `turn`-th mutation of this kind leaves of `data`."""
    found, result = mutate(data, seed=list(KINDS).index(kind) + turn * len(KINDS), other=OTHER)
    assert found == kind
    return result


def differing_bits(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


# What damage is done


def test_the_same_seed_does_the_same_damage():
    assert [mutate(DATA, seed=seed, other=OTHER) for seed in range(40)] == [
        mutate(DATA, seed=seed, other=OTHER) for seed in range(40)
    ]


@pytest.mark.parametrize("turn", range(5))
def test_each_kind_does_what_its_name_says(turn):
    assert DATA.startswith(cut := damaged("cut", turn=turn))
    assert len(cut) < len(DATA)
    assert 1 <= differing_bits(DATA, damaged("few bits flipped", turn=turn)) <= 8
    assert differing_bits(DATA, damaged("many bits flipped", turn=turn)) <= len(DATA) // 10
    assert len(damaged("header value", turn=turn)) == len(DATA)
    swapped = damaged("header words swapped", turn=turn)
    assert sorted(swapped) == sorted(DATA)
    assert swapped[1024:] == DATA[1024:]
    zeroed = damaged("block zeroed", turn=turn)
    assert len(zeroed) == len(DATA)
    assert {b for a, b in zip(DATA, zeroed, strict=True) if a != b} <= {0}
    assert len(damaged("block repeated", turn=turn)) > len(DATA) > len(damaged("block removed", turn=turn))
    assert damaged("emptied", turn=turn) == b""
    spliced = damaged("two spliced", turn=turn)
    assert any(spliced == DATA[:at] + OTHER[at:] for at in range(len(OTHER)))


@pytest.mark.parametrize("turn", range(5))
def test_the_size_of_the_picture_is_changed_where_it_stands(turn):
    """The frame header of a JPEG: marker, length 17, 8 bits, height 48, width 64, and what follows."""
    jpeg = bytes.fromhex("ffd8 ffc0 0011 08 0030 0040 03")
    changed = damaged("picture size", turn=turn, data=jpeg)
    sizes = struct.unpack(">HH", changed[7:11])
    assert set(sizes) <= {1, 16, 8000, 16_000, 60_000}
    assert changed == jpeg[:7] + struct.pack(">HH", *sizes) + jpeg[11:]


# What extraction makes of it


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Of 40 damaged videos, and eight whole ones between them."""
    folder = tmp_path_factory.mktemp("mutations")
    cases = mutations.write_cases(folder / "raw", mutations.draw(folder / "source", frames=12), mutations=40)
    return mutations.extract(folder, cases, limit=20, processes=2)


def test_no_promise_is_broken(outcomes):
    assert {outcome.case.name: outcome.broken for outcome in outcomes if outcome.broken} == {}


def test_every_kind_of_damage_had_its_turn(outcomes):
    assert {outcome.case.kind for outcome in outcomes} == {*KINDS, WHOLE}
    assert len(outcomes) == 48


def test_whole_videos_between_them_are_extracted(outcomes):
    whole = [outcome for outcome in outcomes if outcome.case.kind == WHOLE]
    assert [outcome.end for outcome in whole] == ["extracted"] * 8
    assert {outcome.row["source_frames"] for outcome in whole} == {"12"}


def test_no_decoder_crashes_or_hangs_on_them(outcomes):
    assert {outcome.end for outcome in outcomes} == {"extracted", "refused"}


def test_emptied_videos_are_refused_with_the_reason(outcomes):
    emptied = [outcome.row["refused"] for outcome in outcomes if outcome.case.kind == "emptied"]
    assert emptied == ["the file is empty"] * 3


def test_time_and_memory_are_measured_for_each(outcomes):
    assert all(0 < outcome.seconds < 20 for outcome in outcomes)
    assert all(10 < outcome.memory < 2000 for outcome in outcomes)


# What would be noticed


def row(*, frames: int, refused: str = "") -> dict[str, str]:
    return {"video": "Walk/a.mp4", "frames": str(frames), "height": "48", "width": "64", "refused": refused}


def test_frames_are_counted_in_the_frame_file_itself(tmp_path):
    store.write(tmp_path / "Walk" / "a.avi", clips.numbered(3), fps=25, quality=90)
    assert mutations.broken_promise(row(frames=3), tmp_path) == ""
    assert mutations.broken_promise(row(frames=4), tmp_path).startswith("3 frames of {('48', '64')}")
    assert mutations.broken_promise(row(frames=0, refused="damaged"), tmp_path) == "refused, with a frame file"
    (tmp_path / "Walk" / "a.avi").unlink()
    assert mutations.broken_promise(row(frames=0, refused="damaged"), tmp_path) == ""
    assert mutations.broken_promise(row(frames=3), tmp_path) == "no frame file, and no reason"


def test_what_would_end_the_command_is_noted_with_the_video(tmp_path, monkeypatch):
    def fail(task, **_):
        raise ValueError("too wide")

    monkeypatch.setattr(extraction, "extract_one", fail)
    found = mutations.watched(("Walk/a.mp4", None), notes=tmp_path)
    assert found["refused"] == "ValueError: too wide"
    _, _, raised = json.loads((tmp_path / "Walk" / "a.mp4.json").read_text())
    assert raised == "ValueError: too wide"
