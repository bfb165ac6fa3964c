"""Where a search is kept: Optuna's storage, a file here or a PostgreSQL server, which workers on any machine share."""

from __future__ import annotations

import functools
import signal
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import tenacity
from optuna.storages import RDBStorage

from src import children, paths
from src.command import UserError
from src.tracking.lock import Lock
from src.tracking.recorder import shown

HEARTBEAT = 30
"""Seconds from one sign of life of a worker to the next."""

GRACE = 4
"""So many heartbeats without one, and a worker counts as dead."""

PATIENCE = 600.0
"""Seconds that a server which is away is waited for."""

CONNECTING = {
    "connect_timeout": 10,
    **{"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000},
}
"""Of libpq: after a minute without an answer a connection is gone, also where the machine at its end vanished; the
last, in milliseconds, is for when something was on its way there."""

LAST_BEAT = 5.0
"""Seconds that a sign of life on its way is waited for when a trial has ended; the server may be away."""

REQUESTS = (
    *("create_new_study", "get_all_studies", "get_study_id_from_name", "get_study_name_from_id"),
    *("get_study_directions", "get_study_user_attrs", "set_study_user_attr", "get_study_system_attrs"),
    *("set_study_system_attr", "_create_new_trial", "get_trial", "_get_trials", "_set_trial_param"),
    *("get_trial_id_from_study_id_trial_number", "set_trial_state_values", "set_trial_intermediate_value"),
    *("set_trial_user_attr", "set_trial_system_attr", "record_heartbeat", "_get_stale_trial_ids"),
)
"""What Optuna asks its storage for, also where it keeps a part in memory."""


def _is_away(error: BaseException) -> bool:
    """Whether another try may find the server there again, or the file not locked by another process."""
    while isinstance(error, Exception):  # not Ctrl-C, in whatever it fell
        if isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)):
            return not any(sign in str(error) for sign in ("disk is full", "readonly", "unable to open"))
        if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__ or error.__context__
    return False


class Storage(RDBStorage):
    """Optuna's, whose every request waits for a server that is away, and ends before Ctrl-C comes."""


def _stop_if_told(_: tenacity.RetryCallState) -> None:
    """Not to outlast Ctrl-C: a worker's comes to its main thread, which may be the one that waits."""
    if threading.current_thread() is threading.main_thread():
        children.stop_if_told()


def _patient(method: Any) -> Any:
    return tenacity.retry(
        before_sleep=_stop_if_told,
        retry=tenacity.retry_if_exception(_is_away),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_after_delay(PATIENCE),
        reraise=True,
    )(method)


def _whole(method: Any) -> Any:
    """Of a file, have Ctrl-C wait for the request to end.

    What Ctrl-C falls into keeps the file locked for as long as Python keeps the exception: for all who write, and those
    are waited for. A server's lock ends with the connection.
    """

    @functools.wraps(method)
    def request(storage: Storage, *arguments: Any, **named: Any) -> Any:
        if storage.engine.dialect.name != "sqlite":
            return method(storage, *arguments, **named)
        with without_ctrl_c():
            return method(storage, *arguments, **named)

    return request


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Ctrl-C comes when the context ends. Python has only its main thread see it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


for _name in REQUESTS:
    setattr(Storage, _name, _patient(_whole(getattr(RDBStorage, _name))))


def connect(url: str | None, *, heartbeat: int = HEARTBEAT, wait: bool = False) -> Storage:
    """The storage at `url`, or optuna.db at the root. Raises `UserError` if it does not answer, or is of no known kind.

    A worker counts as dead after `GRACE` times `heartbeat` seconds without a sign of life. With `wait` a server that is
    away is waited for, as it is by every later request.
    """
    expected = "expected postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE"
    url = url or f"sqlite:///{paths.OPTUNA_DB}"
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # the latter for a port that is no number
        raise UserError(f"--storage {shown(url)}: {expected}") from None
    if parsed.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": 60}}
    elif parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        options = {"pool_pre_ping": True, "connect_args": CONNECTING}
    else:
        raise UserError(f"--storage {shown(url)}: {expected}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def connected() -> Storage:
        with _making_tables(parsed):
            return Storage(
                parsed.render_as_string(hide_password=False),
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                grace_period=GRACE * heartbeat,
            )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return _patient(connected)() if wait else connected()
        except sqlalchemy.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise UserError(f"--storage {shown(url)} does not answer: {reason}") from None


@contextmanager
def _making_tables(url: sqlalchemy.URL) -> Iterator[None]:
    """Have a server's database for oneself: of two who come to an empty one, Optuna would have both make its tables."""
    if url.get_backend_name() == "postgresql":
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=CONNECTING)
        with _locked(engine, "", seconds=60):  # it is free when it is closed
            yield
    else:
        yield


@contextmanager
def turn(storage: Storage, study: str) -> Iterator[None]:
    """Have the study for oneself, among all workers: by a lock of the server, or a file's where the storage is one."""
    if storage.engine.dialect.name == "postgresql":
        seconds = max(10, GRACE * storage.heartbeat_interval)
        connection = _patient(_locked)(storage.engine, study, seconds=seconds)
        try:
            yield
        finally:
            connection.invalidate()  # closed, not kept: the server frees what a connection holds
            connection.close()
        return
    with Lock(Path(f"{storage.engine.url.database}.lock")).held():  # beside the file, which other checkouts may share
        yield


def _locked(engine: sqlalchemy.Engine, name: str, *, seconds: int) -> sqlalchemy.Connection:
    """A connection that holds the server's lock of this name, for no more `seconds` than that if it falls asleep."""
    connection = engine.connect()
    try:
        setting = "SELECT set_config('idle_in_transaction_session_timeout', :limit, false)"
        connection.execute(sqlalchemy.text(setting), {"limit": f"{seconds}s"})
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": zlib.crc32(name.encode())})
    except BaseException:
        connection.invalidate()
        raise
    return connection


@contextmanager
def alive(storage: Storage, trial: optuna.Trial) -> Iterator[None]:
    """Say of a trial, for as long as the context lasts, that its worker lives."""
    number = trial._trial_id
    storage.record_heartbeat(number)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(storage.heartbeat_interval):
            storage.record_heartbeat(number)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LAST_BEAT)
