"""A real MLflow server on this machine, which may be killed, and a proxy before it that is slow or loses answers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mlflow import MlflowClient


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def healthy(address: str) -> bool:
    """Whether a server of MLflow's is up there."""
    try:
        urllib.request.urlopen(f"{address}/health", timeout=5).close()
    except OSError:  # refused, or it came too late
        return False
    return True


class Server:
    """`mlflow server` with its store in `folder`, always on the same port."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
        end = time.monotonic() + 300
        while not healthy(self.uri):
            assert time.monotonic() < end, (self.folder / "server.log").read_text()
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its workers."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    @property
    def client(self) -> MlflowClient:
        """To look into it with."""
        return MlflowClient(self.uri)


class Proxy:
    """Passes requests on to `target`. `before` is called with each path, and `loses` says whose answers never come."""

    def __init__(self, target: int, *, port: int = 0):
        self.before: Callable[[str], None] = lambda path: None
        self.loses: Callable[[str], bool] = lambda path: False
        self.lost: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                proxy.before(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                upstream = http.client.HTTPConnection("127.0.0.1", target)
                headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Connection")}
                upstream.request(self.command, self.path, self.rfile.read(length), headers)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                self.close_connection = True
                if proxy.loses(self.path):
                    proxy.lost.append(self.path)
                    return
                self.send_response_only(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        class Listening(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, address: object) -> None:
                """Whoever asked may be gone before the answer."""

        self.server = Listening(("127.0.0.1", port), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
