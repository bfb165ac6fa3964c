"""Where a run comes from, as its tags say it: the commit, the videos' source, who ran what, on which machine."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys

from src import paths


def tags() -> dict[str, str]:
    """All of it, with what MLflow itself would note."""
    noted = commit()
    return {
        **noted,
        **source(),
        **process(),
        "mlflow.user": _user(),
        "mlflow.source.name": _command(),
        "mlflow.source.type": "LOCAL",
        **({} if noted["git.commit"] == "none" else {"mlflow.source.git.commit": noted["git.commit"]}),
    }


def commit() -> dict[str, str]:
    """The commit that runs, and whether the tree differs from it, apart from what the pipeline itself writes."""

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
        except FileNotFoundError:  # no git, as in a slim container
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "none"}
    changes = git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!artifacts", ":!data")
    return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}


def source() -> dict[str, str]:
    """What `download` noted about the videos: of which archive, and whether its server's identity was verified."""
    try:
        noted = json.loads(paths.SOURCE.read_text())
    except (FileNotFoundError, ValueError):  # none, or one that a power cut has emptied
        return {}
    return {f"source.{key}": str(value) for key, value in noted.items()}


def process() -> dict[str, str]:
    """This process, and its machine."""
    return {"host": socket.gethostname(), "process": str(os.getpid())}


def _user() -> str:
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return "unknown"


def _command() -> str:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {module.name.removesuffix('.__main__')}" if module else sys.argv[0] or "<console>"
