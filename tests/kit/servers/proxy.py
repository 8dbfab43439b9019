"""A proxy before an S3 server, which lets requests fail as networks and stores do."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape, unescape

_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    body: bytes

    @property
    def is_bulk_delete(self) -> bool:
        """Tell whether it deletes many keys."""
        return self.method == "POST" and "delete" in self.path.partition("?")[2]

    @property
    def is_listing(self) -> bool:
        """Tell whether it lists a bucket."""
        return self.method == "GET" and "list-type=2" in self.path

    @property
    def keys(self) -> list[str]:
        """The keys that a bulk delete names."""
        return [unescape(key) for key in _KEY.findall(self.body.decode())]


@dataclass(frozen=True)
class Reply:
    """What is answered; status 0: the connection is reset, -1: nothing, until the proxy ends."""

    status: int
    body: bytes = b""


RESET, SILENCE = Reply(0), Reply(-1)

Fault = Callable[[Asked], "Reply | None"]
"""Answers in place of the server, or lets a request through with None."""


@dataclass
class Proxy:
    """A running proxy. `fault` may be set at any time; `asked` is what came in."""

    port: int
    target: int
    fault: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def deletes(self) -> list[Asked]:
        """The bulk deletes that came in."""
        return [one for one in self.asked if one.is_bulk_delete]

    def answer(self, asked: Asked, headers: dict[str, str]) -> tuple[Reply, list[tuple[str, str]]]:
        """Answer a request, or have the server do so."""
        self.asked.append(asked)
        reply = self.fault(asked) if self.fault is not None else None
        if reply is not None:
            return reply, [("Content-Type", "application/xml")]
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.body or None, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read()), answer.getheaders()
        except (OSError, http.client.HTTPException):
            return RESET, []
        finally:
            connection.close()


def error(status: int, code: str, message: str = "as the test wants it") -> Reply:
    """Make an S3 error."""
    return Reply(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def refused_keys(keys: list[str], code: str = "AccessDenied") -> Reply:
    """Make the answer to a bulk delete of which some keys would not go."""
    rows = "".join(
        f"<Error><Key>{escape(key)}</Key><Code>{code}</Code><Message>no</Message></Error>"
        for key in keys
    )
    return Reply(200, f"<DeleteResult>{rows}</DeleteResult>".encode())


@contextmanager
def proxy_to(target: int) -> Iterator[Proxy]:
    """Run a proxy to a port until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = Proxy(server.server_address[1], target)
    server.proxy = proxy  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, body)
        reply, headers = proxy.answer(asked, dict(self.headers))
        if reply.status <= 0:
            self._fail(proxy, reply)
            return
        self.send_response(reply.status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - their names

    def _fail(self, proxy: Proxy, reply: Reply) -> None:
        self.close_connection = True
        if reply is SILENCE:
            proxy.ended.wait()
            return
        # Closing with this set sends a reset in place of an orderly end.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - told to nobody
        """Say nothing."""
