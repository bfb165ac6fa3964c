"""Splits that can be counted by hand, and what must never happen for any dataset: a leak, or a video lost."""

import random
from collections import Counter
from pathlib import Path

import pytest

from src import tables
from src.command import UserError
from src.split import division, divisions, merge_identical, split
from tests.bare_checkout import bare_checkout

Row = dict[str, str]


def row(label: str, group: str, number: int = 1, *, part: str = "") -> Row:
    return {"video": f"{label}/{group}_{number}.mp4", "label": label, "group": group, "part": part}


def grid(*, labels: int, groups: int, videos: int) -> list[Row]:
    """Every class has its own groups, each with as many videos."""
    return [
        row(f"C{label}", f"C{label}g{group}", number)
        for label in range(labels)
        for group in range(groups)
        for number in range(videos)
    ]


def count(sides: dict[str, list[Row]]) -> dict[str, Counter]:
    return {side: Counter(row["label"] for row in rows) for side, rows in sides.items()}


def names(sides: dict[str, list[Row]]) -> dict[str, list[str]]:
    return {side: sorted(row["video"] for row in rows) for side, rows in sides.items()}


def refusal(rows: list[Row], **shares: float) -> str:
    with pytest.raises(UserError) as refused:
        split(rows, **({"test": 0.25, "val": 0.25, "seed": 0} | shares))
    assert "\n" not in str(refused.value)
    return str(refused.value)


# By whole groups


def test_shares_are_met_exactly_where_groups_allow():
    sides = split(grid(labels=3, groups=20, videos=2), test=0.25, val=0.15, seed=0)
    # Of 40 videos a class, 10 and 6, by groups of two.
    assert count(sides) == {
        "train": Counter(C0=24, C1=24, C2=24),
        "val": Counter(C0=6, C1=6, C2=6),
        "test": Counter(C0=10, C1=10, C2=10),
    }


def test_three_groups_a_class_go_one_to_each_side_whatever_the_shares():
    sides = split(grid(labels=2, groups=3, videos=5), test=0.01, val=0.01, seed=0)
    assert count(sides) == {side: Counter(C0=5, C1=5) for side in ("train", "val", "test")}
    sides = split(grid(labels=2, groups=3, videos=5), test=0.6, val=0.3, seed=0)
    assert count(sides) == {side: Counter(C0=5, C1=5) for side in ("train", "val", "test")}


def test_people_who_perform_every_class_stand_on_one_side():
    people = [f"p{number}" for number in range(8)]
    rows = [row(label, person) for label in ("Walk", "Run", "Jump") for person in people]
    sides = split(rows, test=0.25, val=0.25, seed=3)
    assert count(sides)["test"] == count(sides)["val"] == Counter(Walk=2, Run=2, Jump=2)
    persons = {side: {row["group"] for row in members} for side, members in sides.items()}
    assert [len(persons[side]) for side in ("train", "val", "test")] == [4, 2, 2]
    assert set.union(*persons.values()) == set(people)


def test_groups_of_unequal_size_miss_a_share_by_half_the_smallest_at_most():
    rows = [row("Walk", f"g{group}", number) for group in range(12) for number in range(2 + group % 4)]
    assert len(rows) == 42
    sides = split(rows, test=0.25, val=0.15, seed=1)
    assert abs(len(sides["test"]) - 0.25 * 42) <= 1
    assert abs(len(sides["val"]) - 0.15 * 42) <= 1


def test_the_seed_alone_decides():
    rows = grid(labels=3, groups=10, videos=2)
    first = names(split(rows, test=0.2, val=0.2, seed=0))
    shuffled = random.Random(1).sample(rows, len(rows))
    assert names(split(shuffled, test=0.2, val=0.2, seed=0)) == first
    others = [names(split(rows, test=0.2, val=0.2, seed=seed))["test"] for seed in range(1, 6)]
    assert all(other != first["test"] for other in others)


@pytest.mark.parametrize(("groups", "words"), [(1, "1 group "), (2, "2 groups ")])
def test_a_class_with_too_few_groups_is_named(groups, words):
    rows = [*grid(labels=2, groups=5, videos=1), *(row("Rare", f"r{group}") for group in range(groups))]
    assert refusal(rows).startswith(f"class Rare has {words}to divide among 3 sides; add videos of other recordings")


def test_classes_that_cannot_all_stand_on_every_side_are_named():
    # A and B share 1 and 2, so 3 and 4 must stand on one side, and C then has groups for two sides only.
    rows = [row(label, group) for label, groups in (("A", "123"), ("B", "124"), ("C", "345")) for group in groups]
    message = refusal(rows)
    assert message.startswith("class ")
    assert "its groups also hold other classes and could not be divided; try another split.seed" in message


# A division that is there already


def test_a_given_division_is_kept():
    rows = [row("Walk", f"g{n}", part=part) for n, part in enumerate(["train", "train", "val", "test", "test"])]
    sides = split(rows, test=0.9, val=0.05, seed=0)
    assert names(sides) == {
        "train": ["Walk/g0_1.mp4", "Walk/g1_1.mp4"],
        "val": ["Walk/g2_1.mp4"],
        "test": ["Walk/g3_1.mp4", "Walk/g4_1.mp4"],
    }


def test_validation_is_carved_out_of_train_when_only_test_is_given():
    rows = [row("Walk", f"g{n}", part="test" if n < 3 else "train") for n in range(12)]
    sides = split(rows, test=0.5, val=0.25, seed=0)
    assert names(sides)["test"] == ["Walk/g0_1.mp4", "Walk/g1_1.mp4", "Walk/g2_1.mp4"]
    assert (len(sides["train"]), len(sides["val"])) == (6, 3)


def test_two_groups_do_when_test_is_given():
    rows = [row("Walk", "a", part="train"), row("Walk", "b", part="train"), row("Walk", "c", part="test")]
    sides = split(rows, test=0.25, val=0.25, seed=0)
    assert [len(sides[side]) for side in ("train", "val", "test")] == [1, 1, 1]
    assert refusal(rows[1:]).startswith("class Walk has 1 group to divide among 2 sides")


def test_a_leak_in_a_given_division_is_named():
    rows = [row("Walk", "anna", 1, part="train"), row("Walk", "ben", part="train"), row("Walk", "carl", part="val")]
    rows.append(row("Walk", "anna", 2, part="test"))
    assert refusal(rows) == (
        "group anna stands in train and in test (e.g. Walk/anna_2.mp4): "
        "the dataset's own division leaks; move or remove these videos"
    )


def test_a_class_that_a_given_division_leaves_out_is_named():
    rows = [row(label, f"{label}{part}", part=part) for label in ("Walk", "Run") for part in ("train", "val", "test")]
    assert refusal([r for r in rows if r["group"] != "Runtest"]).startswith(
        "class Run has no video in test: the dataset's own division has none there"
    )


# Files that are the same


def files(raw: Path, contents: dict[str, bytes]) -> list[Row]:
    """Videos in groups of their own."""
    for name, content in contents.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)
    return [{"video": name, "label": name.split("/")[0], "group": name, "part": ""} for name in contents]


def test_identical_files_become_one_group_and_are_named(tmp_path):
    rows = files(tmp_path, {"W/a": b"same", "W/b": b"else", "W/c": b"same", "W/d": b"other", "W/e": b"same"})
    merged, pairs = merge_identical(rows, tmp_path)
    assert pairs == [("W/a", "W/c"), ("W/a", "W/e")]
    assert [r["group"] for r in merged] == ["W/a", "W/b", "W/a", "W/d", "W/a"]
    assert [r["group"] for r in rows] == ["W/a", "W/b", "W/c", "W/d", "W/e"]


def test_groups_that_share_a_file_become_one_also_through_others(tmp_path):
    rows = files(tmp_path, {"W/1": b"x", "W/2": b"x", "W/3": b"yy", "W/4": b"yy", "W/5": b"alone"})
    groups = ["p", "q", "q", "r", "s"]
    merged, _ = merge_identical([r | {"group": g} for r, g in zip(rows, groups, strict=True)], tmp_path)
    assert len({r["group"] for r in merged[:4]}) == 1
    assert merged[4]["group"] == "s"


def test_identical_files_under_two_labels_are_refused(tmp_path):
    rows = files(tmp_path, {"Walk/a": b"same", "Run/b": b"same"})
    with pytest.raises(UserError, match=r"^Walk/a and Run/b are the same file under two labels; remove one$"):
        merge_identical(rows, tmp_path)


def test_empty_and_missing_files_are_nobodys_twin(tmp_path):
    rows = files(tmp_path, {"Walk/a": b"", "Run/b": b"", "Run/c": b"c"})
    (tmp_path / "Run" / "c").unlink()
    assert merge_identical(rows, tmp_path) == (rows, [])


# For any dataset


@pytest.mark.parametrize("seed", range(20))
def test_no_group_and_no_identical_file_is_on_two_sides_and_no_video_is_lost(tmp_path, seed):
    rng = random.Random(seed)
    contents = {}
    rows = []
    for label in (f"C{number}" for number in range(rng.randint(1, 6))):
        for group in range(rng.randint(8, 14)):
            for number in range(rng.randint(1, 5)):
                name = f"{label}/g{group}_{number}.mp4"
                # Now and then somebody has uploaded a video twice, also under another recording's name.
                twin = rng.random() < 0.05 and [other for other in contents if other.startswith(label)]
                contents[name] = contents[rng.choice(twin)] if twin else rng.randbytes(20)
                rows.append({"video": name, "label": label, "group": f"{label}{group}", "part": ""})
    files(tmp_path, contents)
    merged, _ = merge_identical(rows, tmp_path)
    sides = split(merged, test=0.25, val=0.2, seed=seed)

    group_of = {r["video"]: r["group"] for r in rows}
    side_of_group, side_of_content = {}, {}
    for side, members in sides.items():
        assert {r["label"] for r in members} == {r["label"] for r in rows}
        for member in members:
            assert side_of_group.setdefault(group_of[member["video"]], side) == side
            assert side_of_content.setdefault(contents[member["video"]], side) == side
    listed = sorted(member["video"] for members in sides.values() for member in members)
    assert listed == sorted(contents)


# A dataset that came with several divisions


def published(*parts: tuple[str, str, str]) -> list[Row]:
    """An inventory of one class: a group for each of `parts`, with two videos."""
    numbered = [row("Walk", f"g{group}", number) for group in range(len(parts)) for number in (1, 2)]
    for each in numbered:
        each |= dict(zip(("part1", "part2", "part3"), parts[int(each.pop("group")[1:])], strict=True))
        each["group"] = each["video"].split("/")[1].split("_")[0]
    return numbered


INVENTORY = published(
    ("train", "test", "none"), ("train", "train", "none"), ("test", "train", "none"), ("none", "train", "none")
)


def test_each_division_has_its_own_sides_and_leaves_out_what_it_says():
    parts = {number: {r["group"]: r["part"] for r in division(INVENTORY, number)} for number in (1, 2)}
    assert parts == {
        1: {"g0": "train", "g1": "train", "g2": "test"},
        2: {"g0": "test", "g1": "train", "g2": "train", "g3": "train"},
    }
    sides = split(division(INVENTORY, 1), test=0.5, val=0.3, seed=0)
    assert {r["group"] for r in sides["test"]} == {"g2"}
    assert {r["group"] for r in sides["train"]} | {r["group"] for r in sides["val"]} == {"g0", "g1"}


def test_divisions_are_those_that_say_something():
    assert divisions(INVENTORY) == [1, 2, 3]
    assert divisions([r | {"part3": ""} for r in INVENTORY]) == [1, 2]
    assert divisions([r | {"part1": "", "part2": "", "part3": ""} for r in INVENTORY]) == []


def test_a_division_that_is_not_there_or_tests_nothing_is_refused():
    with pytest.raises(UserError, match=r"split\.number: this dataset has no division 2 of its own"):
        division([r | {"part2": ""} for r in INVENTORY], 2)
    with pytest.raises(UserError, match=r"split\.number: .* none is on the test side of division 3"):
        division(INVENTORY, 3)


def test_a_published_division_that_leaks_is_kept_with_a_warning_and_validation_has_no_part_in_it(capsys):
    rows = [row("Walk", f"g{group}", part="train") for group in range(6)]
    rows += [row("Walk", "g0", 2, part="test"), row("Walk", "g9", part="test")]
    assert "the dataset's own division leaks" in refusal(rows, test=0.2, val=0.5)
    sides = split(rows, test=0.2, val=0.5, seed=0, published=True)
    assert [r["group"] for r in sides["test"]] == ["g0", "g9"]
    assert "g0" in {r["group"] for r in sides["train"]}
    assert "g0" not in {r["group"] for r in sides["val"]}
    assert capsys.readouterr().err.startswith(
        "warning: 1 groups stand on two sides of the published division, first g0"
    )


def test_a_published_file_under_two_labels_is_kept_with_a_warning(tmp_path, capsys):
    rows = files(tmp_path, {"Walk/g1.mp4": b"same", "Run/g2.mp4": b"same"})
    with pytest.raises(UserError, match="are the same file under two labels; remove one"):
        merge_identical(rows, tmp_path)
    merge_identical(rows, tmp_path, published=True)
    assert capsys.readouterr().err.endswith("are the same file under two labels; both are kept, as published\n")


# The command


def test_the_command_writes_the_sides_and_the_class_list(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    data = checkout.path / "data"
    contents = {f"{label}/g{n}.mp4": f"{label}{n}".encode() for label in ("Walk", "Run") for n in range(8)}
    contents["Walk/g7.mp4"] = contents["Walk/g0.mp4"]
    rows = files(data / "raw", contents)
    inventory = [row | {"part1": "", "part2": "", "part3": ""} for row in rows]
    columns = ["video", "label", "group", "part1", "part2", "part3"]
    tables.write(data / "videos.csv", [{c: row[c] for c in columns} for row in inventory], columns=columns)
    code = "import src.split, sys; src.split.main(); print({'torch', 'av', 'mlflow', 'numpy'} & set(sys.modules))"
    settings = ("split.test=0.25", "split.val=0.25", "split.seed=0", "dataset.mirror={}")
    shares = [part for setting in settings for part in ("--set", setting)]
    done = checkout.run("python", "-c", code, *shares)
    assert done.stdout.splitlines() == [
        "note: Walk/g0.mp4 and Walk/g7.mp4 are the same file, so their groups count as one",
        "train       8 videos      8 groups",
        "val         4 videos      4 groups",
        "test        4 videos      3 groups",
        "set()",
    ]
    assert (data / "splits" / "classes.txt").read_text() == "Run\nWalk\n"
    sides = {side: tables.read(data / "splits" / f"{side}.csv") for side in ("train", "val", "test")}
    assert all(list(row) == ["video", "label", "group"] for members in sides.values() for row in members)
    assert sorted(row["video"] for members in sides.values() for row in members) == sorted(contents)

    again = checkout.run("python", "-m", "src.split", *shares)
    assert again.stdout.splitlines() == done.stdout.splitlines()[:-1]
    assert {side: tables.read(data / "splits" / f"{side}.csv") for side in sides} == sides

    one = [{c: row[c] for c in columns} | {"label": "all"} for row in inventory]
    tables.write(data / "videos.csv", one, columns=columns)
    refused = checkout.run(
        "python",
        "-m",
        "src.split",
        *shares,
        "--set",
        "dataset.name=folder",
        "--set",
        "dataset.path=/videos",
        check=False,
    )
    assert refused.returncode == 1
    assert "all 16 videos are of one class, all: there is nothing to tell apart" in refused.stderr
