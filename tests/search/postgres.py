"""A real PostgreSQL server on this machine, which may be restarted in the middle of whatever it does."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.tracking.servers import free_port


def programs() -> Path:
    """Where Debian, or the path, has its programs."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    return found[-1]


class Postgres:
    """One cluster in a folder of its own; it refuses to run as root, and runs as `postgres` then."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.as_user = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._do("initdb", "-D", str(self.folder / "data"), "-U", "tuner", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql://tuner@127.0.0.1:{self.port}/postgres"

    def _do(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(programs() / program), *arguments]
        # Its output is not a pipe: the server would keep that open.
        with (Path(tempfile.gettempdir()) / f"{self.folder.name}.log").open("a") as log:
            subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, check=True)

    def _control(self, *what: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        log = str(self.folder / "server.log")
        self._do("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", *what)

    def start(self) -> None:
        self._control("start")

    def restart(self) -> None:
        """At once: whoever is connected is thrown out."""
        self._control("-m", "immediate", "restart")

    def remove(self) -> None:
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self.folder)
        (Path(tempfile.gettempdir()) / f"{self.folder.name}.log").unlink()
