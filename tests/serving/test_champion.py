"""Which of two models is served, by invented answers; and what the command says of what is not there."""

from __future__ import annotations

from src.serving.champion import judge
from tests.conftest import Checkout

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
    assert verdict.why.startswith("87.5% against 25.0% of the same 16 validation videos in 8 groups: +62.5 points (+")


def test_a_little_better_or_worse_is_not():
    assert not judge(rows("ab"), rows("abc")).better
    assert not judge(rows("abcdefg"), rows("ab")).better
    assert not judge(rows("ab"), rows("ab")).better


def test_few_groups_prove_nothing_whatever_resampling_says():
    """Each group has turned its way, so every resample says the same."""
    for groups, name in (("a", "1 group:"), ("ab", "2 groups:")):
        verdict = judge(rows("", of=groups), rows(groups, of=groups))
        assert not verdict.better
        assert name in verdict.why
        assert "too few to tell" in verdict.why


def test_the_order_of_the_videos_is_no_matter():
    assert judge(rows("ab"), rows("abcdefg")[::-1]) == judge(rows("ab"), rows("abcdefg"))


def test_another_list_is_refused_with_the_reason():
    verdict = judge(rows("", of=GROUPS), rows("cdefghi", of=GROUPS[1:] + "i"))
    assert not verdict.better
    assert "2 that only the champion was asked, 2 that only it was" in verdict.why
    relabelled = [row | {"actual": "Jump", "predicted": "Jump"} for row in rows(GROUPS)]
    assert not judge(rows(""), relabelled).better


def test_by_hand_what_there_is_not_is_named(reproduced: Checkout):
    promote = ("python", "-m", "src.promote")
    assert reproduced.run(*promote).stdout == "models:/slowfast/1 is the champion already\n"
    unknown = reproduced.run(*promote, "7", check=False)
    assert unknown.stderr == "error: models:/slowfast has no version 7, but 1\n"
    nothing = reproduced.run(*promote, "--set", "serve.name=other", check=False)
    assert nothing.stderr.startswith("error: there is no registered model other (serve.name): `dvc repro` trains and")
