"""The command on videos as people have them: evaluation's answers, a line for what cannot be read, bounded memory."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from src import paths, predict, trained
from src.command import UserError
from src.settings import Params, Predict
from src.training.calibration import Calibration
from src.training.predictor import Predictor
from tests.conftest import Checkout
from tests.test_pipeline import runs
from tests.training.test_predictor import checkpoint
from tests.video import clips

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    model = checkpoint()
    return Predictor(model, Calibration(0.5, 0.6, 0.95, 1, 1, 60, model.fingerprint()), views=1, crops=1, device="cpu")


def said(predictor: Predictor, *videos: Path | str, capsys, target: Path | None = None) -> tuple[list[dict], list[str]]:
    """What is printed for some videos, as JSON and on stderr."""
    settings = Predict(long=8, window=4, hop=2)
    failed = predict.answer_all(predictor, [str(each) for each in videos], settings, as_json=True, target=target)
    printed = capsys.readouterr()
    errors = printed.err.splitlines()
    assert failed == len(errors)
    return [json.loads(line) for line in printed.out.splitlines()], errors


# The real pipeline's model


def test_the_answers_to_test_videos_are_those_of_evaluation(reproduced: Checkout):
    with (reproduced.path / "artifacts/evaluation/predictions.csv").open() as file:
        evaluated = {row["video"]: row for row in csv.DictReader(file)}
    videos = [str(reproduced.path / "data/raw" / name) for name in evaluated]
    done = subprocess.run(
        [sys.executable, "-m", "src.predict", "--json", "-"],
        cwd=reproduced.path,
        env=reproduced.env,
        input="\n".join(videos),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calibration = json.loads((reproduced.path / "artifacts/calibration.json").read_text())
    assert calibration["views"] == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["video"] for each in lines] == videos
    for answer, row in zip(lines, evaluated.values(), strict=True):
        best = answer["top"][0]
        assert best["class"] == row["predicted"]
        assert best["probability"] == pytest.approx(float(row["confidence"]), abs=2e-6)
        sure = calibration["threshold"] is not None and best["probability"] >= calibration["threshold"]
        assert answer["answer"] == (row["predicted"] if sure else "uncertain")


def test_a_run_and_a_registered_model_answer_as_the_file_does(reproduced: Checkout, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{reproduced.path / 'mlflow.db'}")
    run = runs(reproduced)[0].info.run_id
    file, calibration = trained.find(str(reproduced.path / "artifacts/model.pt"))
    for model in (run, f"mlflow:{run}", "models:/slowfast@champion", "models:/slowfast/1"):
        found, beside = trained.find(model)
        assert (found.fingerprint(), beside) == (file.fingerprint(), calibration)
    for model, reason in (
        ("models:/slowfast@another", "another.*: there are slowfast"),
        ("models:/slowfast/7", "7.*: there are slowfast"),
        ("models:/nothing@champion", "nothing.*: there are slowfast"),
        ("models:/slowfast", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("mlflow:0123", "has no checkpoint of run 0123: there is no such run"),
    ):
        with pytest.raises(UserError, match=reason):
            trained.find(model)
    assert "note:" not in capsys.readouterr().err


# A calibration belongs to one network


def test_a_model_without_its_calibration_answers_and_says_so(tmp_path, capsys):
    model = checkpoint()
    model.save(tmp_path / "model.pt")
    assert trained.find(str(tmp_path / "model.pt"))[1] is None
    assert "model.pt: there is no calibration beside it: probabilities are the network's own" in capsys.readouterr().err
    Calibration(1.0, 0.5, 0.95, 2, 1, 60, checkpoint(seed=1).fingerprint()).save(tmp_path / "calibration.json")
    assert trained.find(str(tmp_path / "model.pt"))[1] is None
    assert "the calibration beside it is another network's" in capsys.readouterr().err
    Calibration(1.0, 0.5, 0.95, 2, 1, 60, model.fingerprint()).save(tmp_path / "calibration.json")
    loaded = predict.load(str(tmp_path / "model.pt"), Params())
    assert (loaded.look["views"], loaded.look["crops"]) == (2, 1)
    assert capsys.readouterr().err == (
        "note: the model was calibrated with views 2 and crops 1, and looks so; evaluate has 4 and 1\n"
    )
    with pytest.raises(UserError, match=r"--model .*: a folder; name a file"):
        trained.find(str(tmp_path))
    with pytest.raises(UserError, match=r"gone.pt: no such file; `dvc repro` trains a model"):
        trained.find(str(tmp_path / "gone.pt"))


# Files as people have them


def hostile(folder: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is not a video.\n" * 50)
    clips.cut(clips.write(folder / "truncated.mp4", noise, container={"movflags": "faststart"}), 0.7)
    with av.open(folder / "no_frames.avi", "w") as output:
        output.add_stream("mpeg4", rate=Fraction(25), width=64, height=48, pix_fmt="yuv420p")
        output.start_encoding()
    clips.write_sound(folder / "sound.mp4")
    clips.write(folder / "one_frame.mp4", noise[:1])
    clips.write(folder / "odd.webm", [frame[:47, :63] for frame in noise], codec="libvpx-vp9")
    clips.write(folder / "huge.avi", noise, codec="mpeg4")
    header = (folder / "huge.avi").read_bytes()
    at = header.index(b"avih") + 8
    # 2 ** 31 frames of 2 ** 31 by 2 ** 31 pixels (AVIMAINHEADER: dwTotalFrames, dwWidth, dwHeight).
    claims = (2**31 - 1).to_bytes(4, "little")
    header = header[: at + 16] + claims + header[at + 20 : at + 32] + claims * 2 + header[at + 40 :]
    (folder / "huge.avi").write_bytes(header)


def test_every_hostile_file_is_answered_or_named_with_the_reason(tmp_path, predictor, capsys):
    hostile(tmp_path)
    answers, errors = said(predictor, tmp_path, tmp_path / "gone.mp4", capsys=capsys)
    assert [Path(each["video"]).name for each in answers] == ["huge.avi", "odd.webm", "one_frame.mp4"]
    assert all(len(each["top"]) == 3 for each in answers)
    assert answers[2]["seconds"] == 0.08  # a single frame is one of the store's
    invalid = "Invalid data found when processing input"
    assert errors == [
        f"error: {tmp_path / name}: {reason}"
        for name, reason in {
            "empty.mp4": "the file is empty",
            "no_frames.avi": "no frame in it could be decoded",
            "sound.mp4": "no video stream in it",
            "text.mp4": invalid,
            "truncated.mp4": invalid,
            "gone.mp4": "No such file or directory",
        }.items()
    ]


def test_a_video_is_annotated_with_the_answer_of_each_moment(tmp_path, predictor, capsys):
    """Black for six seconds, then noise: two kinds of answers."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path = clips.write(tmp_path / "a.mp4", [np.zeros_like(noise)] * 60 + [noise] * 60, rate=10)
    ((whole,), _) = said(predictor, path, capsys=capsys, target=tmp_path / "out.mp4")
    assert [(part["start"], part["end"]) for part in whole["parts"]] == [(0, 4), (2, 6), (4, 8), (6, 10), (8, 12)]
    with av.open(tmp_path / "out.mp4") as container:
        assert float(container.streams.video[0].average_rate) == 10
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert (len(frames), frames[0].shape) == (120, (48, 64, 3))
    for moment, part in ((0, 0), (119, 4)):
        bar = frames[moment][-2, :, 1] > 100
        assert bar[: round(64 * whole["parts"][part]["top"][0]["probability"]) - 4].all()


def test_what_cannot_be_annotated_is_answered_all_the_same(tmp_path, predictor, capsys):
    path = clips.write(tmp_path / "a.mp4", clips.numbered(31))
    with pytest.raises(UserError, match=r"--annotate .*a\.mp4/out\.mp4: "):
        said(predictor, path, capsys=capsys, target=path / "out.mp4")
    assert json.loads(capsys.readouterr().out)["video"] == str(path)


def test_a_stream_is_watched_part_after_part(tmp_path, predictor, capsys):
    """Over a socket, as an IP camera sends; what a camera at this machine sends differs by FFmpeg's reader alone."""
    content = clips.write(tmp_path / "a.ts", clips.numbered(31) * 8, codec="mpeg2video").read_bytes()

    def send(server: socket.socket) -> None:
        with server.accept()[0] as viewer:
            viewer.sendall(content)

    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=send, args=[server])
        sender.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        predict.watch(predictor, address, Predict(long=9, window=4, hop=2), as_json=True)
        sender.join()
    parts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(part["start"], part["end"]) for part in parts[:3]] == [(0, 4), (2, 6), (4, 8)]
    with pytest.raises(UserError, match=r"--camera 99: .*; there is "):
        predict.watch(predictor, "99", Predict(), as_json=False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "name videos, or a camera with --camera"),
        (["a.mp4", "--camera", "0"], "name videos, or a camera with --camera"),
        (["--camera", "0", "--annotate", "out.mp4"], "--annotate is for one video file"),
        (["a.mp4", "a.mp4", "--annotate", "out.mp4"], "--annotate is for one video file"),
        (["a.mp4", "--annotate", "a.mp4"], "--annotate would write over the video itself"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(sys, "argv", ["predict", *options])
    with pytest.raises(SystemExit) as ended:
        predict.main()
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


# Memory

GROWTH = """
import resource, sys, torch
from pathlib import Path
from src import predict
from src.settings import Predict
from src.training.predictor import Predictor
from src.video.decode import Source
from tests.training.test_predictor import checkpoint
torch.set_num_threads(1)
predictor = Predictor(checkpoint(), None, views=1, crops=1, device="cpu")
for name in sys.argv[1:]:
    whole = predict.one(predictor, Path(name), Predict(hop=10.0), Source())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(whole["seconds"], len(whole.get("parts", [])), peak)
"""


def test_forty_minutes_and_4k_stay_within_a_bounded_memory(tmp_path):
    still = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    shapes = {"minutes": (2, still), "long": (40, still)}
    for name, (minutes, image) in shapes.items():  # a frame every five seconds, of which the store's rate makes 62
        times = [5000 * number for number in range(12 * minutes)]
        clips.write(tmp_path / f"{name}.mkv", [image] * len(times), codec="mpeg4", times=times)
    large = np.zeros((2160, 3840, 3), np.uint8)
    clips.write(tmp_path / "large.mp4", [large] * 20, options={"preset": "ultrafast"})
    names = ["minutes.mkv", "long.mkv", "large.mp4"]
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, *(str(tmp_path / name) for name in names)],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    short, long, large = (tuple(map(float, line.split())) for line in done.stdout.splitlines())
    assert short[:2] == (120, 12)
    assert long[:2] == (2400, 240)
    assert large[:2] == (0.8, 0)
    assert long[2] - short[2] < 20  # MB; the JPEGs of 40 minutes would take 90
    assert large[2] - long[2] < 400  # a picture takes 12 as it is coded and 25 as RGB
