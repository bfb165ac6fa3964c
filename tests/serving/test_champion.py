"""Which of two models is served: by invented answers, and by three that are registered for real."""

from __future__ import annotations

from src.serving.champion import judge
from tests.conftest import ROOT, Checkout
from tests.tracking.trainings import client_of, python, spools

GROUPS = "abcdefgh"


def rows(right: str, *, of: str = GROUPS) -> list[dict[str, str]]:
    """Two videos of each group; those of the groups in `right` are answered rightly."""
    return [
        {"video": f"{group}{n}.mp4", "group": group, "actual": "Run", "predicted": "Run" if group in right else "Walk"}
        for group in of
        for n in range(2)
    ]


def test_it_is_better_if_chance_would_not_have_it():
    verdict = judge(rows("ab"), rows("abcdefg"))
    assert verdict.better
    assert verdict.why.startswith("87.5% against 25.0% of the same 16 validation videos, 8 groups: +62.5 points (+")


def test_a_little_better_or_worse_is_not():
    assert not judge(rows("ab"), rows("abc")).better
    assert not judge(rows("abcdefg"), rows("ab")).better
    assert not judge(rows("ab"), rows("ab")).better


def test_the_order_of_the_videos_is_no_matter():
    assert judge(rows("ab"), rows("abcdefg")[::-1]) == judge(rows("ab"), rows("abcdefg"))


def test_another_list_is_refused_with_the_reason():
    verdict = judge(rows("", of=GROUPS), rows("cdefghi", of=GROUPS[1:] + "i"))
    assert not verdict.better
    assert "2 that the champion was not asked, 2 that only it was" in verdict.why
    relabelled = [row | {"actual": "Jump", "predicted": "Jump"} for row in rows(GROUPS)]
    assert not judge(rows(""), relabelled).better


MODELS = """
import csv
from src.serving.champion import COLUMNS
def model(right, groups="abcdefgh"):
    def write(folder):
        (folder / "artifacts").mkdir(parents=True)
        with (folder / "artifacts" / "validation.csv").open("w") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows([g + ".mp4", g, "Run", "Run" if g in right else "Walk"] for g in groups)
    with recording(**OPTIONS) as recorder:
        recorder.model(write, name="mine", tags={"content": right + groups})
"""


def test_the_alias_moves_only_to_a_better_one(checkout: Checkout):
    def register(*arguments: str) -> str:
        return checkout.run(*python(MODELS + f"model(*{arguments!r})")).stderr

    assert register("ab") == "models:/mine/1 is the champion now: the first\n"
    assert register("abc").startswith("models:/mine/2 is registered; version 1 stays champion: 37.5% against 25.0%")
    assert register("ijklmnop", "ijklmnop").startswith(
        "models:/mine/3 is registered; version 1 stays champion: its validation videos are others: 8 that"
    )
    assert register("abcdefg").startswith("models:/mine/4 is the champion now in place of version 1: 87.5% against")
    assert register("abcdefg") == "models:/mine/4 is the champion already\n"  # the same is registered once
    assert spools(checkout) == []
    client = client_of(checkout)
    assert client.get_model_version_by_alias("mine", "champion").version == "4"
    assert len(client.search_model_versions("name = 'mine'")) == 4


def test_by_hand_what_there_is_not_is_named(reproduced: Checkout):
    promote = ("python", "-m", "src.promote")
    assert reproduced.run(*promote).stdout == "models:/slowfast/1 is the champion already\n"
    unknown = reproduced.run(*promote, "7", check=False)
    assert unknown.stderr == "error: models:/slowfast has no version 7, but 1\n"
    nothing = reproduced.run(*promote, "--set", "serve.name=other", check=False)
    assert nothing.stderr.startswith("error: there is no registered model other: `dvc repro` trains and registers one")


def test_by_hand_it_may_be_decided_otherwise(checkout: Checkout):
    for right in ("abcdefg", "ab"):
        checkout.run(*python(MODELS + f"model({right!r})"))
    (checkout.path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    promote = ("python", "-m", "src.promote", "--set", "serve.name=mine")
    refused = checkout.run(*promote, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: models:/mine/2 is registered; version 1 stays champion: 25.0% against 87.5%"
    )
    done = checkout.run(*promote, "--anyway").stdout
    assert done.startswith("models:/mine/2 is the champion now in place of version 1: though no better is shown, 25.0%")
    assert checkout.run(*promote).stdout == "models:/mine/2 is the champion already\n"
