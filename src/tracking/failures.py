"""What MLflow's stores fail with: which errors pass, which stay, and how long to wait before another try."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from src.tracking.spool import now

REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")
REFUSING = (400, 405, 409, 413, 414, 415, 422)


class WaitError(Exception):
    """What is to be sent depends on a run that another process is about to make."""


class Patience:
    """How long to wait before something that failed is tried again, and whether that has been said."""

    def __init__(self, *, limit: float = 5.0):
        self.limit, self.failures, self.until = limit, 0, 0.0
        self.since: int | None = None
        self.why = ""

    @property
    def ready(self) -> bool:
        """Whether to try now."""
        return time.monotonic() >= self.until

    def failed(self, error: Exception) -> bool:
        """Wait longer; whether this is the first failure in a row."""
        self.failures += 1
        self.why = reason(error)
        self.since = self.since or now()
        self.until = time.monotonic() + min(self.limit, 0.25 * 2 ** min(self.failures, 10))
        return self.failures == 1

    def worked(self) -> bool:
        """Start afresh; whether it had failed."""
        had, self.failures, self.until, self.since = self.failures > 0, 0, 0.0, None
        return had


class DeletedError(Exception):
    """The run is not there any more."""


def refuses(error: Exception) -> bool:
    """Whether the same request would be refused for ever: not so if nobody answered, or not just now.

    Nor if it is the user who is not known: another password may be.
    """
    if isinstance(error, DeletedError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)  # of a file, by HTTP
    return getattr(error, "error_code", None) in REFUSALS or status in REFUSING


def believed(request: Callable[[], Any]) -> None:
    """Call `request`; MLflow calls some errors of a busy database a bad request, so that is tried three times."""
    for left in (2, 1, 0):
        try:
            return request()
        except Exception as error:
            if getattr(error, "error_code", None) != "BAD_REQUEST" or not left:
                raise
        time.sleep(0.3)


def reason(error: Exception) -> str:
    """An error in a few words."""
    text = str(error)
    if not refuses(error) and "timed out" in text:
        return "timed out"
    if found := re.search(r"\[Errno -?\d+\] ([\w ]+)", text):
        return found[1].lower()
    line = (text.splitlines() or [""])[0] or type(error).__name__
    return line if len(line) <= 200 else f"{line[:200]}…"


@contextmanager
def http_timeout(seconds: float) -> Iterator[None]:
    """MLflow's requests may take so long: a server answers a large file once it has stored it."""
    before = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(int(before), round(seconds)))
    try:
        yield
    finally:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = before


def be_brief() -> None:
    """Have MLflow say soon that a server does not answer: who asks tries again."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
