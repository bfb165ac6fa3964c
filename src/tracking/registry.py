"""`models:/NAME@ALIAS` or `models:/NAME/VERSION`, a model in MLflow's registry → the run that it came from."""

from __future__ import annotations

import re

from src.command import UserError
from src.tracking import store

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def run_of(address: str) -> str:
    """The run's id. Raises `UserError` if there is no such model, or it came from no run."""
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{address}: expected models:/NAME@ALIAS or models:/NAME/VERSION, e.g. models:/slowfast@champion"
        )
    client, _ = store.configured()
    import mlflow

    try:
        if match["alias"]:
            found = client.get_model_version_by_alias(match["name"], match["alias"])
        else:
            found = client.get_model_version(match["name"], match["version"])
    except mlflow.MlflowException as error:
        names = [model.name for model in client.search_registered_models()]
        there = (
            f"there are {', '.join(names)}" if names else "none is registered; a run's id or mlflow:RUN does as well"
        )
        raise UserError(f"{address}: {error.message.rstrip('.')}: {there}") from None
    if not found.run_id:
        raise UserError(f"{address}: version {found.version} came from no run, so no checkpoint is known for it")
    return found.run_id
