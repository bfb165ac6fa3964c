"""The page of augmented clips: what is on it is what training is given."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from src import preview
from src.video import jpeg
from tests.conftest import TINY_MODEL, Checkout
from tests.training.toy import AUGMENT, SETTINGS, draw

MODEL = TINY_MODEL | {"stride": 1}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("frames"))[:2]


def sections(**augment) -> dict:
    return {"model": MODEL, "augment": AUGMENT | augment, "settings": SETTINGS, "mirrored": [1, 0]}


def test_each_class_has_the_clip_it_is_tested_on_and_some_of_training(videos):
    still = {"crop": "corner", "jitter": 0.0, "grey": 0.0, "flip": 0.0}
    strips = preview.drawn(videos, ["up", "down"], count=3, sections=sections(**still))
    assert [strip.title for strip in strips] == ["up", "down"]
    assert strips[1].rows == ["tested on: 1.mp4", "training", "training", "training"]
    sheet = jpeg.decode(strips[1].picture.jpeg)
    assert sheet.shape[0] == 4 * 72 + 3 * 2
    # The bar of the second video moves down: in the first row it is higher in the first frame than in the last.
    first, last = sheet[:72, :72].mean(2), sheet[:72, -72:].mean(2)
    assert first.mean(1).argmax() < last.mean(1).argmax()


def test_colours_are_those_of_training(videos):
    """Six clips of one bar, whose brightness is another one in each."""
    change = {"crop": "corner", "randaugment": 0, "erase": 0.0, "jitter": 0.1, "grey": 1.0}
    strips = preview.drawn(videos, ["up", "down"], count=6, sections=sections(**change))
    rows = jpeg.decode(strips[0].picture.jpeg).astype(int)
    tops = [np.percentile(rows[top : top + 72], 98) for top in range(0, len(rows), 74)]
    assert len(tops) == 7
    assert len(set(tops[1:])) == 6
    assert np.ptp(rows[74:], axis=2).max() < 12  # of a JPEG


def test_a_flip_that_changes_the_label_says_so(videos):
    strips = preview.drawn(videos, ["up", "down"], count=2, sections=sections(flip=1.0))
    assert strips[0].rows == ["tested on: 0.mp4", *["training, flipped: down"] * 2]


def test_mixtures_say_what_they_are_of(videos):
    assert preview.mixed(videos, ["up", "down"], sections=sections()) == []
    (strip,) = preview.mixed(videos, ["up", "down"], sections=sections(mixup=1.0, flip=0.0))
    assert strip.title == "up with down"
    assert strip.rows[:2] == ["up", "down"]
    shares = [re.fullmatch(r"(\d\.\d\d) up \+ (\d\.\d\d) down", row).groups() for row in strip.rows[2:]]
    assert [sum(map(float, pair)) for pair in shares] == pytest.approx([1, 1], abs=0.011)
    assert shares[0] == shares[1][::-1]


def test_frames_are_spread_over_a_clip():
    clip = torch.arange(30.0).view(1, 30, 1, 1).expand(3, 30, 8, 8)
    assert preview._frames(clip)[:, 0, 0, 0].tolist() == [0, 4, 8, 12, 17, 21, 25, 29]
    assert preview._frames(clip[:, :5])[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_the_command_writes_a_page_that_needs_nothing_beside_it(reproduced: Checkout):
    settings = ["augment.cutmix=1.0", "augment.flip=0.0", "pretrain.epochs=1", "pretrain.task=playback"]
    changes = [part for each in settings for part in ("--set", each)]
    done = reproduced.run("python", "-m", "src.preview", "--clips", "2", *changes)
    assert done.stdout == "artifacts/preview.html\n"
    page = Path(reproduced.path / "artifacts" / "preview.html").read_text()
    assert "cutmix: 1.0" in page
    titles = re.findall("<h3>(.+)</h3>", page)
    classes = (reproduced.path / "data/splits/classes.txt").read_text().splitlines()
    assert titles[:10] == classes
    assert titles[10:15] == [f"{a} with {b}" for a, b in zip(classes[::2], classes[1::2], strict=True)]
    assert titles[15:] == classes[:4]
    assert "<li>back and forth</li>" in page
    sources = re.findall('src="([^"]{40})', page)
    assert len(sources) == 19
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    picture = base64.b64decode(re.search('base64,([^"]+)"', page).group(1))
    assert np.ptp(jpeg.decode(picture)) > 100
    assert reproduced.run("git", "status", "--porcelain").stdout == ""


def test_no_clips_are_no_page(reproduced: Checkout):
    refused = reproduced.run("python", "-m", "src.preview", "--clips", "0", check=False)
    assert refused.returncode == 2
    assert "--clips is 0, and must be at least 1" in refused.stderr
