"""Pre-training on four videos: what it learns, that training starts from it, and that it goes on where it stopped."""

import math
import os
import signal

import pytest
import torch

from src.training import pretrain as module
from src.training.fit import Observer
from src.video.playback import PLAYBACKS
from tests.training.toy import SETTINGS, draw, pretrained

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("frames"))


class Told(Observer):
    def __init__(self, act=lambda number: None):
        self.act, self.rates, self.history = act, [], []

    def step(self, number, values):
        self.rates.append(values["lr"])
        self.act(number)

    def epoch(self, history, more, weights, *, kept):
        self.history = history


@pytest.mark.parametrize(("task", "classes"), [("instance", 4), ("playback", len(PLAYBACKS))])
def test_a_task_has_as_many_answers_as_there_are_to_tell_apart(videos, tmp_path, capsys, task, classes):
    told = Told()
    network = pretrained(videos, tmp_path, task=task, observer=told)
    assert network.head.out_features == classes
    assert len(told.history) == 2
    assert "pre-training, epoch   2/2" in capsys.readouterr().out


def test_instances_are_learnt_from_clips_that_show_them(videos, tmp_path):
    """The four videos differ in brightness, which no augmentation hides here; in the end the network tells them."""
    told = Told()
    plain = {"jitter": 0.0, "grey": 0.0, "randaugment": 0, "erase": 0.0}
    pretrained(videos, tmp_path, augment=plain, epochs=40, lr=0.01, observer=told)
    assert told.history[0]["val_top1"] < told.history[-1]["val_top1"] == 1.0


def test_rate_and_passes_are_pre_trainings_own(videos, tmp_path):
    own, same = Told(), Told()
    pretrained(videos, tmp_path / "own", lr=0.5, windows=4, observer=own)
    pretrained(videos, tmp_path / "same", observer=same)
    assert (len(own.rates), len(same.rates)) == (8, 4)
    # A warm-up over half of the epochs, times a cosine over all: of the steps, those at 0.75 and at 1.0 are highest.
    assert max(own.rates) == pytest.approx(0.5 * 0.75 * (0.5 + 0.5 * math.cos(0.375 * math.pi)))
    assert max(same.rates) == pytest.approx(SETTINGS["lr"] * 0.5)


def test_all_of_the_network_learns_at_that_rate(videos, tmp_path, monkeypatch):
    """`train.backbone_lr` is for weights that are there already."""
    made = []

    class Kept(module.Fit):
        def __init__(self, *positional, **named):
            super().__init__(*positional, **named)
            made.append(self)

    monkeypatch.setattr(module, "Fit", Kept)
    pretrained(videos, tmp_path)
    assert {group["share"] for group in made[0].learner.optimizer.param_groups} == {1.0}


def test_interrupted_it_goes_on_and_ends_the_same(videos, tmp_path):
    def act(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)

    whole = pretrained(videos, tmp_path / "whole").state_dict()
    with pytest.raises(KeyboardInterrupt):
        pretrained(videos, tmp_path / "parts", observer=Told(act))
    again = pretrained(videos, tmp_path / "parts").state_dict()
    assert [name for name in whole if not whole[name].equal(again[name])] == []


def test_finished_it_is_not_done_again(videos, tmp_path, monkeypatch, capsys):
    first = pretrained(videos, tmp_path).state_dict()
    capsys.readouterr()
    monkeypatch.setattr(module.Fit, "_train", lambda *_: pytest.fail("trained again"))
    again = pretrained(videos, tmp_path).state_dict()
    assert torch.equal(first["head.weight"], again["head.weight"])
    assert capsys.readouterr().out == ""
