"""Models in MLflow's registry: a run's model becomes a version, and one version of a name is the champion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.command import UserError
from src.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")

CHAMPION = "champion"
"""The alias of the version that is served."""

FOLDER = "model"
"""Where a run's model lies among its artifacts."""

CONTENT = "content"
"""The tag with the fingerprint of what a version holds."""


def find(address: str) -> ModelVersion:
    """`models:/NAME@ALIAS` or `models:/NAME/VERSION`. Raises `UserError` if there is none such."""
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{address}: expected models:/NAME@ALIAS or models:/NAME/VERSION, e.g. models:/slowfast@champion"
        )
    client, _ = store.configured()
    import mlflow

    try:
        if match["alias"]:
            return client.get_model_version_by_alias(match["name"], match["alias"])
        return client.get_model_version(match["name"], match["version"])
    except mlflow.MlflowException as error:
        names = [model.name for model in client.search_registered_models()]
        there = (
            f"there are {', '.join(names)}" if names else "none is registered; a run's id or mlflow:RUN does as well"
        )
        raise UserError(f"{address}: {error.message.rstrip('.')}: {there}") from None


def file(client: MlflowClient, version: ModelVersion, name: str) -> Path:
    """One of the files that a version was made of, copied here if the store is elsewhere.

    Raises `UserError` if it has none such, and what MLflow raises if it is away.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(version.source, tracking_uri=client.tracking_uri)
    if name not in {Path(each.path).name for each in repository.list_artifacts("artifacts")}:
        raise UserError(f"models:/{version.name}/{version.version} has no {name}: it is no model of this pipeline")
    return store.fetched(repository, f"artifacts/{name}")


def with_content(client: MlflowClient, name: str, content: str) -> ModelVersion | None:
    """The version that holds the same already, if there is one."""
    found = client.search_model_versions(f"name = '{name}' and tags.{CONTENT} = '{content}'")
    return min(found, key=lambda version: int(version.version), default=None)


def register(client: MlflowClient, name: str, run_id: str, *, tags: Mapping[str, str]) -> ModelVersion:
    """A new version of `name`: the model that lies in a run's artifacts."""
    import mlflow

    try:
        client.create_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"
    return client.create_model_version(name, source, run_id, tags=dict(tags))


def champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The version that is served; None if none is yet."""
    import mlflow

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
