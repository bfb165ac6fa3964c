"""Lists in the format of HMDB51's, with invented titles."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from src.command import UserError
from src.datasets import hmdb51
from src.datasets.official import Clip, locate
from tests.datasets.official_lists import hmdb51_names, write_hmdb51_lists


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    lists = tmp_path_factory.mktemp("lists")
    write_hmdb51_lists(lists / "testTrainMulti_7030_splits")
    return hmdb51.clips(lists)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    write_hmdb51_lists(tmp_path / "lists")
    return tmp_path / "lists"


def edit(path: Path, old: str, new: str) -> int:
    """Replace `old`, which stands in the file once, and return its line (counted from 1)."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def refusal(lists: Path) -> str:
    with pytest.raises(UserError) as refused:
        hmdb51.clips(lists)
    message = str(refused.value)
    assert "\n" not in message
    return message.replace(f"{lists}/", "")


def test_every_class_has_70_clips_to_train_on_and_30_to_test_on_in_every_split(clips):
    assert len(clips) == 6766
    for k in range(3):
        assert Counter(clip.parts[k] for clip in clips) == {"train": 3570, "test": 1530, "none": 1666}
        sizes = Counter((clip.label, clip.parts[k]) for clip in clips)
        assert {(part, n) for (_, part), n in sizes.items()} == {
            ("train", 70),
            ("test", 30),
            ("none", 32),
            ("none", 33),
        }


def test_clips_come_in_the_order_of_their_names_with_group_and_parts(clips):
    assert [clip.name for clip in clips] == sorted(clip.name for clip in clips)
    by_name = {clip.name: clip for clip in clips}
    name = "run/Film_1_run_f_cm_np0_ri_goo_0.avi"
    assert by_name[name] == Clip(name, "run", "run Film_1", ("test", "none", "train"))
    name = "run/21_run_f_cm_np4_ri_goo_40.avi"
    assert by_name[name] == Clip(name, "run", "run 21", ("train", "test", "none"))


def test_titles_may_hold_underscores_signs_and_the_class_itself(clips):
    titles = {clip.group.removeprefix("climb_stairs ") for clip in clips if clip.label == "climb_stairs"}
    assert titles == {
        *("Film_1", "_No!_[so_#2]", "How_to_climb_stairs_(part_3)", "climb_stairs_climb_stairs_&_climb_stairs", "21"),
        *("Geh'_;-)_-_~2,5", "a", "A", *(f"Film_{number}" for number in range(8, 14))),
    }


@pytest.mark.parametrize(
    ("label", "title", "rest"),
    [
        ("wave", "prelinger_LetsBeGo1953", "u_cm_np10_ba_med_2"),
        ("wave", "_I_ll_Just_Wave_My_Hand__sung_by_Cornerstone_Male_Choir", "u_cm_np1_fr_med_0"),
        ("hit", "Atlantis-__Hit_Me_With_Your_Rhythm_Stick_", "u_cm_np1_fr_bad_2"),
        ("kick_ball", "Goal_1_&_2", "l_cm_np2_le_bad_1"),
        ("climb_stairs", "Stairs_to_Perpetual_Youth_and_Longevity___Taishan_(Mount_Tai)", "f_nm_np3_ba_med_0"),
    ],
)
def test_names_of_the_dataset_give_their_titles(lists, label, title, rest):
    for split in (1, 2, 3):
        edit(lists / f"{label}_test_split{split}.txt", hmdb51_names(label)[0], f"{title}_{label}_{rest}.avi")
    groups = {clip.name: clip.group for clip in hmdb51.clips(lists)}
    assert groups[f"{label}/{title}_{label}_{rest}.avi"] == f"{label} {title}"


def test_a_title_is_another_group_in_another_class(clips):
    labels = defaultdict(set)
    for clip in clips:
        labels[clip.group].add(clip.label)
    assert {len(names) for names in labels.values()} == {1}
    assert len(labels) == 51 * 14


def test_classes_whose_names_begin_alike_are_told_apart(lists):
    (lists / "climb_test_split1.txt").write_text((lists / "climb_stairs_test_split1.txt").read_text())
    assert refusal(lists) == (
        "climb_test_split1.txt: line 1: '21_climb_stairs_f_cm_np0_ri_goo_48.avi 1' is not of the form "
        "TITLE_climb_f_cm_np1_ba_bad_0.avi and 0, 1 or 2"
    )


def test_files_with_such_titles_are_found_in_the_folders_of_their_classes(clips, tmp_path):
    mine = [clip for clip in clips if clip.label in ("climb", "climb_stairs")]
    for label in ("climb", "climb_stairs"):
        (tmp_path / "hmdb51_org" / label).mkdir(parents=True)
        for name in hmdb51_names(label):
            (tmp_path / "hmdb51_org" / label / name).touch()
    located, missing, unknown = locate(mine, tmp_path)
    assert located == {clip.name: tmp_path / "hmdb51_org" / clip.name for clip in mine}
    assert missing == []
    assert unknown == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("goo_9.avi 2", "goo_9.avi 3", "{place}: 'Film_1_wave_h_nm_np9_ri_goo_9.avi 3' is not of the form {form}"),
        ("goo_9.avi 2", "goo_9.avi", "{place}: 'Film_1_wave_h_nm_np9_ri_goo_9.avi' is not of the form {form}"),
        (
            "Film_1_wave_h_nm_np9_ri_goo_9.avi 2 \n",
            "",
            "wave_test_split1.txt: line 131 is the last, with 29 test clips; the published list has 30",
        ),
        ("goo_9.avi 2", "goo_8.avi 2", "{place}: wave/Film_1_wave_h_nm_np9_ri_goo_8.avi is in no list of split 2"),
    ],
)
def test_a_list_that_is_not_the_published_one_is_refused_with_the_line(lists, old, new, message):
    place = f"wave_test_split1.txt: line {edit(lists / 'wave_test_split1.txt', old, new)}"
    form = "TITLE_wave_f_cm_np1_ba_bad_0.avi and 0, 1 or 2"
    assert refusal(lists) == message.format(place=place, form=form)


def test_a_title_on_both_sides_of_a_split_is_left_as_it_is_published(lists):
    path = lists / "wave_test_split1.txt"
    edit(path, "goo_9.avi 2", "goo_9.avi 1")
    edit(path, "goo_99.avi 1", "goo_99.avi 2")
    parts = {clip.parts[0] for clip in hmdb51.clips(lists) if clip.group == "wave Film_1"}
    assert parts == {"train", "test"}


def test_a_clip_that_one_split_leaves_out_is_named(lists):
    line = edit(lists / "wave_test_split3.txt", "Film_13_wave_u_nm_np11_ri_goo_131.avi 0 \n", "")
    assert refusal(lists) == (
        f"wave_test_split1.txt: line {line}: wave/Film_13_wave_u_nm_np11_ri_goo_131.avi is in no list of split 3"
    )


def test_lists_that_all_leave_out_the_same_clip_are_refused(lists):
    for split in (1, 2, 3):
        edit(lists / f"wave_test_split{split}.txt", "Film_13_wave_u_nm_np11_ri_goo_131.avi 0 \n", "")
    assert refusal(lists) == f"{lists}: the lists name 6765 clips; the published ones name 6766"


def test_a_list_that_is_missing_is_named(lists):
    (lists / "wave_test_split2.txt").unlink()
    (lists / "chew_test_split2.txt").unlink()
    assert refusal(lists) == (
        f"{lists}: no chew_test_split2.txt and 1 more; unpack the publisher's archive of lists there"
    )
