"""One training → one MLflow run. The only file that talks to MLflow while training.

With nothing configured, runs go to mlflow.db at the root, which is what a bare `mlflow ui` there opens;
MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are honoured. A tracker that fails in mid-run costs no training:
what it did not take is sent with the next epoch.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src import paths
from src.command import UserError

Epoch = dict[str, float]


class Tracker:
    """A run: settings are in it already; epochs, results and files come."""

    def __init__(self, run_id: str, *, logged: int = 0):
        self.run_id, self.logged = run_id, logged

    def epochs(self, history: list[Epoch]) -> None:
        """Log the epochs of `history` that the run does not have yet, each once."""
        import mlflow

        try:
            for row in history[self.logged :]:
                values = {key: value for key, value in row.items() if key != "epoch"}
                mlflow.log_metrics(values, step=int(row["epoch"]), run_id=self.run_id)
                self.logged += 1
        except mlflow.MlflowException as error:
            missed = f"MLflow did not take epoch {self.logged + 1}, which is sent with the next"
            print(f"warning: {missed}: {error}", file=sys.stderr)

    def results(self, values: dict[str, float], files: Sequence[Path] = (), *, folder: str | None = None) -> None:
        """Log final numbers, and copy files into the run's artifacts below `folder`.

        Raises `UserError` if the tracking server does not take them.
        """
        import mlflow
        import requests

        try:
            for path in files:
                mlflow.log_artifact(str(path), folder, run_id=self.run_id)
            # Last, so that sending again what failed half way leaves one point of each.
            mlflow.log_metrics(values, run_id=self.run_id)
        except (mlflow.MlflowException, requests.RequestException) as error:
            raise UserError(f"MLflow did not take the results; the same command sends them again: {error}") from None


@contextmanager
def run(
    *, run_id: str | None, settings: dict[str, Any], tags: dict[str, str], name: str | None = None
) -> Iterator[Tracker]:
    """Open a new run, or `run_id` again, for as long as the context lasts; within another one, nested under it.

    It ends FINISHED, FAILED, or KILLED after Ctrl-C; a small process at its side marks it KILLED if this one dies
    without a word. `settings` is a nested mapping, logged as `section.key`. Raises `UserError` if the tracking
    server cannot be reached.
    """
    mlflow = _configured()
    _end_what_died(mlflow)
    known = run_id is not None and _exists(run_id)
    logged = _epochs_in(run_id) if known else 0
    nested = mlflow.active_run() is not None
    options = {"run_id": run_id if known else None, "run_name": name, "nested": nested, "log_system_metrics": True}
    active = mlflow.start_run(**options, tags=tags | _commit() | _source()).info
    guard = _guard(active.run_id)
    status = "FAILED"
    try:
        if not known:
            mlflow.log_params({f"{s}.{k}": v for s, section in settings.items() for k, v in section.items()})
        yield Tracker(active.run_id, logged=logged)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        try:
            mlflow.end_run(status)
        except mlflow.MlflowException as error:
            print(f"warning: MLflow was not told that run {active.run_id} is {status}: {error}", file=sys.stderr)
        guard.communicate(b"ended")


def checkpoint(run_id: str) -> Path:
    """The best checkpoint of a run, copied here if the store is elsewhere. Raises `UserError` if there is none."""
    mlflow = _configured()
    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="checkpoints/best.pt"))
    except (mlflow.MlflowException, OSError) as error:
        raise UserError(f"MLflow at {mlflow.get_tracking_uri()} has no checkpoint of run {run_id}: {error}") from None


def for_evaluation(run_id: str | None, *, settings: dict[str, Any]) -> Tracker:
    """The training run that an evaluation with `settings` belongs to.

    A new one, tagged with the training run's, if that has been evaluated before or is not in the store.
    """
    mlflow = _configured()
    tags = {f"evaluate.{key}": str(value) for key, value in settings.items()}
    if run_id is not None and _exists(run_id):
        if not any(name.startswith("test.") for name in mlflow.get_run(run_id).data.metrics):
            for key, value in tags.items():
                mlflow.MlflowClient().set_tag(run_id, key, value)
            return Tracker(run_id)
        print(f"note: run {run_id} has been evaluated before; this evaluation is a run of its own", file=sys.stderr)
    else:
        print(f"note: MLflow has no run {run_id}; this evaluation is a run of its own", file=sys.stderr)
    with mlflow.start_run(
        run_name="evaluation", tags=tags | {"trained in": str(run_id)} | _commit() | _source()
    ) as active:
        return Tracker(active.info.run_id)


def _configured() -> Any:
    """MLflow, pointed at its store and experiment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "5")
    # Otherwise a server that is down is tried for minutes before anything is said.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "slowfast")
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    if local:
        mlflow.set_tracking_uri(f"sqlite:///{paths.MLFLOW_DB}")
    try:
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=paths.MLFLOW_ARTIFACTS.as_uri() if local else None)
        mlflow.set_experiment(name)
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")  # the page opens on its runs
    except mlflow.MlflowException as error:
        raise UserError(
            f"MLflow at {mlflow.get_tracking_uri()} does not answer: {error}\n"
            "start it, or unset MLFLOW_TRACKING_URI to log to mlflow.db here"
        ) from None
    return mlflow


def _exists(run_id: str) -> bool:
    import mlflow

    try:
        return mlflow.get_run(run_id).info.lifecycle_stage == "active"
    except mlflow.MlflowException:
        return False


def _epochs_in(run_id: str) -> int:
    import mlflow

    return len(mlflow.MlflowClient().get_metric_history(run_id, "val_top1"))


def _commit() -> dict[str, str]:
    """The commit that runs, and whether the tree differs from it, apart from what the pipeline itself writes."""

    def git(*arguments: str) -> str | None:
        answer = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "none"}
    changes = git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!artifacts", ":!data")
    return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}


def _source() -> dict[str, str]:
    """What `download` noted about the videos: of which archive, and whether its server's identity was verified."""
    try:
        noted = json.loads(paths.SOURCE.read_text())
    except (FileNotFoundError, ValueError):  # none, or one that a power cut has emptied
        return {}
    return {f"source.{key}": str(value) for key, value in noted.items()}


def _end_what_died(mlflow: Any) -> None:
    """Mark runs KILLED whose process on this machine is gone: after a power cut its guard is gone too."""
    for run in mlflow.search_runs(filter_string="attributes.status = 'RUNNING'", output_format="list"):
        host, process = run.data.tags.get("host"), run.data.tags.get("process")
        if host == socket.gethostname() and process and not _lives(int(process)):
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _guard(run_id: str) -> subprocess.Popen:
    """A process that outlives this one and ends the run as KILLED if nobody else has ended it."""
    import mlflow

    command = [sys.executable, "-m", "src.tracking", run_id, mlflow.get_tracking_uri(), str(os.getpid())]
    mlflow.set_tags({"host": socket.gethostname(), "process": str(os.getpid())})
    return subprocess.Popen(command, cwd=paths.ROOT, stdin=subprocess.PIPE, start_new_session=True)


def _wait_and_mark(run_id: str, tracking_uri: str, process: str) -> None:
    if sys.stdin.buffer.read():
        return
    import mlflow

    client = mlflow.MlflowClient(tracking_uri)
    run = client.get_run(run_id)
    # The tag is another process's once the training goes on.
    if run.info.status == "RUNNING" and run.data.tags.get("process") == process:
        client.set_terminated(run_id, "KILLED")


if __name__ == "__main__":
    _wait_and_mark(*sys.argv[1:])
