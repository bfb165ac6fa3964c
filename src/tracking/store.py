"""The connection to MLflow: its experiment, its runs by either name, and their checkpoints."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from src import files, paths
from src.command import UserError
from src.tracking.lock import Lock
from src.tracking.recorder import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

FOLDER = "checkpoints"
NAME = re.compile(r"epoch-(\d+)\.pt")


def configured() -> tuple[MlflowClient, str]:
    """MLflow's client and the experiment's id, for the store that the environment names.

    Raises `UserError` if it does not answer.
    """
    # Otherwise a server that is down is tried for minutes before anything is said.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    try:
        return connect(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME", "slowfast"))
    except mlflow.MlflowException as error:
        raise UserError(
            f"MLflow at {shown(uri)} does not answer: {error}\n"
            "start it, or unset MLFLOW_TRACKING_URI to log to mlflow.db here"
        ) from None


def connect(uri: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """MLflow's client for a tracking server (None: the store here), and the id of its experiment, made if need be."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what fails is raised too, and said once
    with _one_at_a_time() if uri is None else contextlib.nullcontext():
        if uri is None and not paths.MLFLOW_DB.exists():
            _make_tables()
        # Not mlflow.set_tracking_uri: it changes the environment, which says where the next run goes.
        client = mlflow.MlflowClient(uri or f"sqlite:///{paths.MLFLOW_DB}")
        found = client.get_experiment_by_name(experiment)
        if found is None:
            location = None if uri else paths.MLFLOW_ARTIFACTS.as_uri()
            try:
                client.create_experiment(experiment, artifact_location=location)
            except mlflow.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                    raise
            found = client.get_experiment_by_name(experiment)
        kind = ("mlflow.experimentKind", "custom_model_development")  # the page opens on its runs
        if found.tags.get(kind[0]) != kind[1]:
            client.set_experiment_tag(found.experiment_id, *kind)
    return client, found.experiment_id


def _make_tables() -> None:
    """mlflow.db, whole or not at all: of one that was killed while it made them, MLflow could not make the rest."""
    import mlflow

    with files.replacing(paths.MLFLOW_DB) as beside:
        mlflow.MlflowClient(f"sqlite:///{beside}").search_experiments(max_results=1)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """MLflow makes its tables as it finds none, and fails if another process does so at the same time."""
    paths.STATE.mkdir(exist_ok=True)
    with Lock(paths.STATE / "mlflow.lock").held():
        yield


def find(client: MlflowClient, experiment: str, run: str) -> Run | None:
    """The run of this id, or whose spool has this name; None if there is none, or it has been deleted."""
    import mlflow

    by_spool = of_spool(client, experiment, run)
    if by_spool:
        return by_spool[0]
    try:
        found = client.get_run(run)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
    return found if found.info.lifecycle_stage == "active" else None


def of_spool(client: MlflowClient, experiment: str, name: str) -> list[Run]:
    """The runs that a spool has made. More than one, if an answer was lost and the run was made again."""
    if not re.fullmatch("[0-9a-f]{16}", name):
        return []
    found = client.search_runs([experiment], f"tags.spool = '{name}'")
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def artifacts(client: MlflowClient, run: Run) -> ArtifactRepository:
    """Where a run's artifacts lie, to list and delete them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)


def checkpoint(run: str, epoch: int | None = None) -> Path:
    """A run's checkpoint of `epoch`, or its best one, copied here if the store is elsewhere.

    Raises `UserError` if there is no such run or checkpoint; it names the epochs that there are.
    """
    client, experiment = configured()
    import mlflow
    import requests

    where = f"MLflow at {shown(os.environ.get('MLFLOW_TRACKING_URI') or None)}"
    try:
        found = find(client, experiment, run)
        if found is None:
            raise UserError(f"{where} has no checkpoint of run {run}: there is no such run")
        names = {Path(each.path).name for each in client.list_artifacts(found.info.run_id, FOLDER)}
        epochs = sorted(int(match[1]) for name in names if (match := NAME.fullmatch(name)))
        chosen = epoch if epoch is not None else found.data.tags.get("checkpoint.best")
        name = f"epoch-{int(chosen):04}.pt" if chosen is not None else "best.pt"  # as runs were kept before
        if name not in names:
            there = f"there is {', '.join(map(str, epochs))}" if epochs else "it has none; see runtime.checkpoints"
            which = f"epoch {epoch} of run {run}" if epoch is not None else f"run {run}"
            raise UserError(f"{where} has no checkpoint of {which}: {there}")
        return fetched(artifacts(client, found), f"{FOLDER}/{name}")
    except (mlflow.MlflowException, requests.RequestException, OSError) as error:
        raise UserError(f"{where} has no checkpoint of run {run} to give: {error}") from None


def fetched(repository: ArtifactRepository, path: str) -> Path:
    """An artifact where it lies, or if the store is elsewhere a copy, which goes when this process ends."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    if isinstance(repository, LocalArtifactRepository):
        return Path(repository.download_artifacts(path))
    return Path(repository.download_artifacts(path, _copies.enter_context(tempfile.TemporaryDirectory())))


_copies = contextlib.ExitStack()
atexit.register(_copies.close)


def _run(client: MlflowClient, experiment: str, run: str) -> Run:
    if (found := find(client, experiment, run)) is None:
        raise UserError(f"MLflow has no run {run}")
    return found


def settings(run: str) -> dict[str, str]:
    """A run's settings, `section.key`, as text; of an evaluation's own run also those of the training behind it.

    Raises `UserError` if there is no such run.
    """
    client, experiment = configured()
    found = _run(client, experiment, run)
    training = find(client, experiment, found.data.tags.get("trained in", ""))
    own = {key: value for key, value in found.data.tags.items() if key.startswith("evaluate.")}
    return (training.data.params if training else {}) | found.data.params | own


def artifact(run: str, path: str) -> Path | None:
    """One of a run's artifacts by its path, copied here if the store is elsewhere; None if the run has none such.

    Raises `UserError` if there is no such run, or MLflow does not answer.
    """
    client, experiment = configured()
    import mlflow
    import requests

    try:
        found = find(client, experiment, run)
        if found is None:
            raise UserError(f"MLflow has no run {run}")
        there = {each.path for each in client.list_artifacts(found.info.run_id, str(Path(path).parent))}
        return fetched(artifacts(client, found), path) if path in there else None
    except (mlflow.MlflowException, requests.RequestException, OSError) as error:
        raise UserError(f"MLflow does not give {path} of run {run}: {error}") from None


def prune(gigabytes: float, *, dry_run: bool) -> Iterator[str]:
    """Remove the checkpoints of the oldest runs until all take at most `gigabytes` (10⁹ bytes); yields what it did.

    Those of a run that is RUNNING, or that a registered model came from, stay.
    """
    client, experiment = configured()
    runs = pages(client.search_runs, [experiment], order_by=["attributes.start_time ASC"])
    sizes = {}
    for run in runs:
        found = client.list_artifacts(run.info.run_id, FOLDER)
        if found:
            sizes[run.info.run_id] = sum(each.file_size or 0 for each in found)
    registered = {text for version in pages(client.search_model_versions) for text in (version.run_id, version.source)}
    total = sum(sizes.values())
    yield f"{len(sizes)} runs have checkpoints, {total / 1e9:.3f} GB"
    for run in runs:
        number = run.info.run_id
        if number not in sizes or total <= gigabytes * 1e9:
            continue
        title = f"{run.info.run_name} ({number})"
        if any(number in (text or "") for text in registered):
            yield f"{title}: kept, a registered model came from it"
        elif run.info.status == "RUNNING":
            yield f"{title}: kept, it is running"
        else:
            if not dry_run:
                artifacts(client, run).delete_artifacts(FOLDER)
                for tag in ("checkpoint.best", "checkpoint.last"):
                    if tag in run.data.tags:
                        client.delete_tag(number, tag)
            total -= sizes[number]
            yield f"{title}: {'would remove' if dry_run else 'removed'} {sizes[number] / 1e9:.3f} GB"
    left = f"{total / 1e9:.3f} GB {'would be' if dry_run else 'are'} left"
    yield left if total <= gigabytes * 1e9 else f"{left}, more than {gigabytes:g}: the others are in use"


def pages(search, *arguments, **options) -> list:
    """All that a search finds, page after page."""
    found = search(*arguments, **options)
    everything = list(found)
    while found.token:
        found = search(*arguments, page_token=found.token, **options)
        everything += found
    return everything
