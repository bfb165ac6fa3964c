"""docs/team.md: its commands, run by two checkouts that share PostgreSQL, an MLflow server, a git and a DVC remote."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.entities import Run

from src.search.storage import connect
from src.search.study import slots
from tests.browser import DESKTOP, chromium
from tests.conftest import ROOT, Checkout
from tests.search.postgres import Postgres
from tests.test_pipeline import ran
from tests.tracking.servers import free_port, healthy
from tests.tracking.trainings import wait_for

TRIALS = 4
SMALL = "--set tune.finalists=1 --set tune.seeds=2 --set tune.prune=false"


@dataclass(frozen=True)
class Team:
    """What all share; `said` has the commands of the page by heading, in order, with the addresses of the test."""

    said: dict[str, list[str]]
    folder: Path
    database: str
    server: str

    def machine(self, name: str, *, env: dict[str, str]) -> Checkout:
        own = {"DVC_SITE_CACHE_DIR": str(self.folder / f"{name}-site-cache"), "MLFLOW_TRACKING_URI": self.server}
        return Checkout(self.folder / name, env | own)

    def do(self, machine: Checkout, heading: str) -> str:
        """Run a heading's commands one after the other, as a person would; returns what they print."""
        return "".join(machine.run("bash", "-ec", block).stdout for block in self.said[heading])


def read_page(changes: dict[str, str]) -> dict[str, list[str]]:
    """The blocks of commands under each heading of the page, with changes."""
    text = (ROOT / "docs/team.md").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"^```sh\n(.+?)^```", part, flags=re.MULTILINE | re.DOTALL)
        for heading, part in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """The server as the page sets it up, until the test ends."""
    postgres, port = Postgres(), free_port()
    postgres.start()
    database = postgres.url.removesuffix("/postgres")
    changes = {
        "postgresql://team:PASSWORD@db.example.org": database,
        "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {port} --workers 1",
        "mlflow.example.org:5000": f"127.0.0.1:{port}",
        "/srv/mlflow": str(tmp_path / "served"),
        "/srv/dvc": str(tmp_path / "store"),
        "--trials 50": f"--trials {TRIALS} --workers 1 {SMALL}",
    }
    team = Team(read_page(changes), tmp_path, database, f"http://127.0.0.1:{port}")
    yield team
    postgres.remove()


@pytest.fixture
def served(team: Team, reproduced: Checkout) -> Iterator[None]:
    databases, server = team.said["Once, on a server"]
    here = team.machine("server", env=reproduced.env)
    here.path.mkdir()
    here.run("bash", "-ec", databases)
    with (team.folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {server}"],
            cwd=here.path,
            env=here.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(lambda: healthy(team.server))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(300)


def of(runs: list[Run], study: str) -> list[Run]:
    return [run for run in runs if run.data.tags["study"] == study]


def change_rate(machine: Checkout, rate: str) -> None:
    """Write another `train.lr` to params.yaml, as a person would."""
    file = machine.path / "params.yaml"
    text, count = re.subn(r"^  lr: 0\.\d+", f"  lr: {rate}", file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def test_two_machines_train_hand_over_and_search_together(team: Team, served: None, reproduced: Checkout):
    one = team.machine("one", env=reproduced.env)
    shutil.copytree(reproduced.path, one.path, symlinks=True)
    one.run("git", "clone", "-q", "--bare", ".", str(team.folder / "git"))
    one.run("git", "remote", "add", "origin", str(team.folder / "git"))
    one.run("bash", "-ec", "git fetch -q origin; git branch -q --set-upstream-to origin/$(git branch --show-current)")
    team.do(one, "Once, in the repository")

    two = team.machine("two", env=reproduced.env)
    one.run("git", "clone", "-q", str(team.folder / "git"), str(two.path))

    # The first one trains, the second takes it over: nothing is trained there.
    change_rate(one, "0.004")
    assert ran(team.do(one, "Training")) == ["download", "train", "evaluate"]
    pull, repro = team.said["Taking it over"]
    two.run("bash", "-ec", pull)
    for name in ("artifacts/model.pt", "artifacts/evaluation/predictions.csv", "data/splits/test.csv"):
        assert (two.path / name).read_bytes() == (one.path / name).read_bytes()
    without = two.run("python", "-m", "src.evaluate", check=False)
    assert without.returncode == 1
    assert "run `dvc repro extract_frames`" in without.stderr
    # Videos and frames do not travel: they come from where they came from the first time.
    assert ran(two.run("bash", "-ec", repro).stdout) == ["download", "extract_frames"]
    metrics = (two.path / "artifacts/metrics.json").read_text()
    (two.path / "artifacts/metrics.json").unlink()
    two.run("python", "-m", "src.evaluate")
    assert json.loads((two.path / "artifacts/metrics.json").read_text()) == json.loads(metrics)
    assert two.run("git", "status", "--porcelain").stdout == ""

    # Both search at once: the total is one.
    (search,) = team.said["Searching together"]
    together = [machine.start("bash", "-ec", search) for machine in (one, two)]
    said = [each.communicate(timeout=1200)[0] for each in together]
    assert [each.returncode for each in together] == [0, 0], said
    storage = connect(f"{team.database}/optuna")
    names = sorted(optuna.get_all_study_names(storage))
    study = optuna.load_study(storage=storage, study_name=names[0])
    assert len(names) == 2
    assert len(slots(study, range(TRIALS)).done) == len(study.trials) == TRIALS
    trials = {trial.number: trial.state.name.lower() for trial in study.trials}
    storage.remove_session()
    storage.engine.dispose()
    assert (one.path / "recipes/tuned.yaml").read_bytes() == (two.path / "recipes/tuned.yaml").read_bytes()

    # The second trains something else.
    change_rate(two, "0.003")
    assert ran(two.run("dvc", "repro").stdout) == ["download", "train", "evaluate"]

    # Every run is in one MLflow, with its files behind the server.
    client = mlflow.MlflowClient(team.server)
    experiments = client.search_experiments()
    runs = client.search_runs([each.experiment_id for each in experiments], max_results=500)
    assert {run.info.status for run in runs} == {"FINISHED"}
    own = [run for run in runs if "study" not in run.data.tags]
    trainings = [run for run in own if client.list_artifacts(run.info.run_id, "checkpoints")]
    tried = [run for run in runs if "trial" in run.data.tags]
    searched = {int(run.data.tags["trial"]): run.data.tags["trial.state"] for run in of(tried, names[0])}
    assert searched == trials
    assert (len(trainings), len(own)) == (2, 3)  # the other is what the second made of the first one's model
    assert len(runs) == len(own) + 2 + len(tried)  # a run of each machine holds the trials that it carried out
    assert {run.data.tags["mlflow.parentRunId"] for run in of(tried, names[0])} <= {run.info.run_id for run in runs}
    assert list((team.folder / "served").rglob("model.pt"))
    for machine in (one, two):
        assert not (machine.path / "optuna.db").exists()
        assert not list((machine.path / ".state/spool").iterdir())
    versions = client.search_model_versions("name = 'slowfast'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in trainings}

    # Either answers with the champion.
    video = next((one.path / "data/raw").rglob("*.avi")).resolve()
    shutil.copy(video, one.path / "clip.mp4")
    shutil.copy(video, two.path / "clip.mp4")
    answered = [json.loads(team.do(machine, "One registry")) for machine in (one, two)]
    assert answered[0] == answered[1]

    with chromium(team.folder / "chromium") as browser:
        browser.size(*DESKTOP)
        browser.open(f"{team.server}/#/experiments/{runs[0].info.experiment_id}/runs")
        for run in runs:
            if "mlflow.parentRunId" not in run.data.tags:
                browser.until(f"return document.body.innerText.includes('{run.info.run_name}')")
        browser.screenshot(team.folder / "runs.png")
