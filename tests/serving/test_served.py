"""`mlflow models serve`, started for real on the champion that `dvc repro` has registered, and called over HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest
import requests
import yaml

from tests.conftest import Checkout
from tests.tracking.servers import free_port
from tests.tracking.trainings import wait_for
from tests.video import clips

FLAT = 40e6
"""Bytes by which 100 requests may leave the server larger: allocators keep some of what was used once."""


@dataclass
class Served:
    """A server, its processes, and the folder whose files it takes."""

    port: int
    process: psutil.Process
    folder: Path

    def ask(self, *rows: dict[str, str]) -> requests.Response:
        return requests.post(
            f"http://127.0.0.1:{self.port}/invocations", json={"dataframe_records": list(rows)}, timeout=300
        )

    def memory(self) -> int:
        """Bytes of all its processes."""
        return sum(each.memory_info().rss for each in (self.process, *self.process.children(recursive=True)))


@pytest.fixture(scope="module")
def served(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("videos"), free_port()
    command = ["mlflow", "models", "serve", "-m", "models:/slowfast@champion", "--env-manager", "local"]
    env = reproduced.env | {"SERVE_FOLDER": str(folder)}
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        started = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=reproduced.path,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(lambda: _answers(port))
            yield Served(port, psutil.Process(started.pid), folder)
        finally:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).ok
    except requests.RequestException:
        return False


def as_base64(file: Path) -> dict[str, str]:
    return {"video": base64.b64encode(file.read_bytes()).decode()}


def test_it_answers_as_predict_does_with_the_same_calibration(served: Served, reproduced: Checkout):
    videos = sorted((reproduced.path / "data/raw").rglob("*.avi"))[::9]
    assert len(videos) > 2
    said = reproduced.run("python", "-m", "src.predict", "--json", *map(str, videos)).stdout
    expected = [{k: v for k, v in json.loads(line).items() if k != "video"} for line in said.splitlines()]
    answer = served.ask(*map(as_base64, videos))
    assert answer.status_code == 200
    assert answer.json() == {"predictions": expected}
    (served.folder / "one.mp4").write_bytes(videos[0].read_bytes())
    assert served.ask({"path": "one.mp4"}).json() == {"predictions": expected[:1]}
    champion = reproduced.run(
        "python", "-m", "src.predict", "--json", "--model", "models:/slowfast@champion", videos[0]
    )
    assert champion.stdout.splitlines() == said.splitlines()[:1]


def test_what_cannot_be_answered_is_a_400_that_says_why_and_the_next_is_served(served: Served, tmp_path: Path):
    whole = clips.write(tmp_path / "whole.mp4", clips.numbered(20))
    outside = served.folder.with_name("outside.mp4")
    outside.write_bytes(whole.read_bytes())
    (served.folder / "link.mp4").symlink_to(outside)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole.read_bytes()[:200])
    long = clips.write(tmp_path / "long.mp4", clips.numbered(3), times=[0, 4_000_000, 8_000_000])
    for rows, reason in (
        ([], "there is no video in the request"),
        ([{}], "there is no video in the request"),
        ([{"video": ""}], "expected a video"),
        ([{"video": "a video, please"}], "`video` is not base64"),
        ([{"video": base64.b64encode(b"a video, please" * 9).decode()}], "Invalid data"),
        ([as_base64(broken)], "video 1: "),
        ([as_base64(whole), as_base64(broken)], "video 2: "),
        ([as_base64(long)], "longer than the 7200 seconds"),
        ([{"video": "A" * 140_000_000}], "105.0 MB, and at most 100 are taken"),
        ([{"path": "../outside.mp4"}], "there is no file"),
        ([{"path": str(outside)}], "there is no file"),
        ([{"path": "link.mp4"}], "there is no file"),
    ):
        answer = served.ask(*rows)
        assert answer.status_code == 400, rows
        assert reason in answer.json()["message"]
    assert served.ask(as_base64(whole)).status_code == 200


def test_a_hundred_requests_of_eight_clients_are_all_answered_and_leave_no_memory(served: Served, tmp_path: Path):
    videos = [as_base64(clips.write(tmp_path / f"{n}.mp4", clips.numbered(31)[n : n + 20])) for n in range(10)]
    alone = [served.ask(video).json() for video in videos]

    def hundred() -> None:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda n: served.ask(videos[n % 10]), range(100)))
        assert [answer.status_code for answer in answers] == [200] * 100
        assert [answer.json() for answer in answers] == [alone[n % 10] for n in range(100)]

    hundred()
    before = served.memory()
    hundred()
    assert served.memory() < before + FLAT


def test_the_registered_model_says_what_it_is_and_is_no_pickle(reproduced: Checkout):
    client = mlflow.MlflowClient(f"sqlite:///{reproduced.path / 'mlflow.db'}")
    version = client.get_model_version_by_alias("slowfast", "champion")
    folder = Path(version.source.removeprefix("file://"))
    described = yaml.safe_load((folder / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert [each["name"] for each in json.loads(described["signature"]["inputs"])] == ["video", "path"]
    classes = (reproduced.path / "data/splits/classes.txt").read_text().split()
    assert described["metadata"]["labels"] == classes
    assert described["metadata"]["preprocessing"]["short_side"] == 36
    assert [path.name for path in folder.rglob("*.p*kl*")] == []
    assert (folder / "code/src/serving/pyfunc.py").exists()
    assert version.run_id in {run.info.run_id for run in client.search_runs(["1"])}
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert list(example["dataframe_split"]["columns"]) == ["video"]
