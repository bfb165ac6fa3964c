"""An HTTP server on this machine that misbehaves as told, and keeps book of what it was asked and what it sent."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import trustme

DAY = "Mon, 05 Jan 2026 10:00:00 GMT"


@dataclass(frozen=True)
class File:
    """What is served, and what the server tells of it."""

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = DAY
    tells_length: bool = True
    """Where not, the body comes in chunks."""


@dataclass(frozen=True)
class Reply:
    """How one request is answered; as it stands, by the book."""

    file: File | None = None
    """What is served from now on."""
    status: int | None = None
    """Instead of the file: an error of this number."""
    headers: dict[str, str] = field(default_factory=dict)
    """In place of those that the reply would have."""
    page: bytes | None = None
    """Instead of the file, with status 200."""
    hangs_up: bool = False
    """Without a word."""
    drop_after: int | None = None
    """Bytes of the body, and then the connection ends."""
    with_reset: bool = False
    """And ends by a TCP reset, which may overtake bytes that were sent."""
    stall_after: int | None = None
    """Bytes of the body, and then nothing comes."""
    chunked: bool = False
    until_close: bool = False
    """No length: the end of the connection is the end of the body."""
    ignores_range: bool = False
    ignores_if_range: bool = False
    shifts_range: int = 0
    """Bytes that the reply starts too late."""
    adds_to_length: int = 0
    """To Content-Length, which the body then does not have."""
    compressed: bool = False
    """With gzip, asked or not."""


@dataclass
class Request:
    """One entry in the server's book."""

    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    served: int = 0
    """Bytes of the reply's body that were handed to the network."""


class Server:
    """Serves `file` at every address but `/redirect/N`, which leads there in N steps; `replies` are used up in turn."""

    def __init__(self, file: File, certificate: ssl.SSLContext | None = None):
        self.file = file
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        if certificate:
            self._http.socket = certificate.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.root = f"{'https' if certificate else 'http'}://localhost:{self._http.server_port}"
        self.url = f"{self.root}/videos.zip"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def reset(self, file: File, replies: Iterable[Reply] = ()) -> None:
        """Serve another file from now on, answered as `replies` say, with a clean book."""
        self.file = file
        self.replies = list(replies)
        self.requests = []

    @property
    def ranges(self) -> list[str | None]:
        """What each request asked for."""
        return [request.headers.get("range") for request in self.requests]

    @property
    def served(self) -> int:
        """Bytes of all bodies together."""
        return sum(request.served for request in self.requests)


def certified_by(authority: trustme.CA) -> ssl.SSLContext:
    """For a server named localhost that sends its own certificate, signed by `authority`, and no other of a chain."""
    issued = authority.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()).tempfile() as pem:
        context.load_cert_chain(pem)
    return context


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: Server

    def handle_error(self, request, client_address) -> None:
        """Nothing: that clients break connections off is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.server.owner.connections += 1
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        server = self.server.owner
        path = urlsplit(self.path).path
        self.entry = Request(path, {name.lower(): value for name, value in self.headers.items()})
        server.requests.append(self.entry)
        if step := re.fullmatch(r"/redirect/(\d+)", path):
            left = int(step[1]) - 1
            self._head(302, {"Location": f"/redirect/{left}" if left else "/videos.zip", "Content-Length": "0"})
            return
        reply = server.replies.pop(0) if server.replies else Reply()
        server.file = reply.file or server.file
        if reply.hangs_up:
            self.close_connection = True
        elif reply.status:
            self._send(reply.status, b"sorry", {"Content-Length": "5"}, reply)
        elif reply.page is not None:
            length = {"Transfer-Encoding": "chunked"} if reply.chunked else {"Content-Length": str(len(reply.page))}
            self._send(200, reply.page, {"Content-Type": "text/html"} | length, reply)
        else:
            self._serve(server.file, reply)

    def _serve(self, file: File, reply: Reply) -> None:
        headers = {"Content-Type": "application/zip"}
        headers |= {"ETag": file.etag} if file.etag else {}
        headers |= {"Last-Modified": file.modified} if file.modified else {}
        start, total = self._start(file, reply), len(file.content)
        if start is not None and start >= total:
            self._send(416, b"", {"Content-Range": f"bytes */{total}", "Content-Length": "0"}, reply)
            return
        body = file.content
        if start is not None:
            start += reply.shifts_range
            body = body[start:]
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total if file.tells_length else '*'}"
        if reply.compressed:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        if reply.until_close:
            self.close_connection = True
        elif reply.chunked or not file.tells_length:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(body) + reply.adds_to_length)
            self.close_connection = bool(reply.adds_to_length)
        self._send(200 if start is None else 206, body, headers, reply)

    def _start(self, file: File, reply: Reply) -> int | None:
        """The byte that the request asks to start at; None where the whole file is the right answer."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked is None or reply.ignores_range:
            return None
        if condition not in (None, file.etag, file.modified) and not reply.ignores_if_range:
            return None
        return int(asked[1])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, str], reply: Reply) -> None:
        headers |= reply.headers
        self._head(status, headers)
        chunked = headers.get("Transfer-Encoding") == "chunked"
        for end, then in ((reply.stall_after, self._stall), (reply.drop_after, self._drop)):
            if end is not None and end < len(body):
                self._write(body[:end], len(body) if chunked else None)
                then(reply)
                return
        self._write(body, len(body) if chunked else None)
        if chunked:
            self.wfile.write(b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n")

    def _write(self, body: bytes, announced: int | None) -> None:
        if announced:
            self.wfile.write(b"%x\r\n" % announced)
        self.entry.served += len(body)
        self.wfile.write(body)

    def _stall(self, reply: Reply) -> None:
        self.server.owner.stopping.wait(300)
        self._drop(reply)

    def _drop(self, reply: Reply) -> None:
        self.close_connection = True
        if reply.with_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
