"""Models that a run brings: registered once, and champion if they are better."""

from __future__ import annotations

from tests.conftest import ROOT, Checkout
from tests.tracking.trainings import client_of, python, spools

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
    models = [("ab",), ("abc",), ("ijklmnop", "ijklmnop"), ("abcdefg",), ("abcdefg",)]
    said = checkout.run(*python(MODELS + "".join(f"model{each!r}\n" for each in models))).stderr.splitlines()
    for line, expected in zip(
        said,
        (
            "models:/mine/1 is the champion now: the first",
            "models:/mine/2 is registered; version 1 stays champion: 37.5% against 25.0%",
            "models:/mine/3 is registered; version 1 stays champion: its validation videos are others: 8 that",
            "models:/mine/4 is the champion now in place of version 1: 87.5% against",
            "models:/mine/4 is the champion already",  # the same is registered once
        ),
        strict=True,
    ):
        assert line.startswith(expected)
    assert spools(checkout) == []
    client = client_of(checkout)
    assert int(client.get_model_version_by_alias("mine", "champion").version) == 4
    assert len(client.search_model_versions("name = 'mine'")) == 4


def test_by_hand_it_may_be_decided_otherwise(checkout: Checkout):
    checkout.run(*python(MODELS + "model('abcdefg')\nmodel('ab')"))
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
