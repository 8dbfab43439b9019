"""A TCP proxy between a process and a server, whose wire can be cut without a word to either."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress


class Proxy:
    """Forwards every connection, until the wire is cut: then nothing arrives, and nothing ends."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._is_cut, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    @contextmanager
    def before(cls, port: int) -> Iterator[Proxy]:
        """Forward to a server's port, until the end."""
        made = cls(port)
        made._thread.start()
        try:
            yield made
        finally:
            made._is_over.set()
            made._thread.join(30)

    def cut(self) -> None:
        """Cut the wire."""
        self._is_cut.set()

    def mend(self) -> None:
        """Let new connections through; those of before stay dead."""
        self._is_cut.clear()

    def _run(self) -> None:
        with ExitStack() as opened, self._listening:
            partners: dict[socket.socket, socket.socket] = {}
            while not self._is_over.is_set():
                if self._is_cut.is_set():
                    partners.clear()  # they stay open, and nobody listens to them any more
                    self._is_over.wait(0.05)
                    continue
                for one in _ready([self._listening, *partners]):
                    if one is self._listening:
                        self._accept(partners, opened)
                    elif one in partners:
                        _forward(one, partners)

    def _accept(self, partners: dict[socket.socket, socket.socket], opened: ExitStack) -> None:
        client, _ = self._listening.accept()
        opened.enter_context(client)
        with suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._server_port), 5)
            opened.enter_context(server)
            partners[client], partners[server] = server, client


def _ready(some: Iterable[socket.socket]) -> list[socket.socket]:
    """Wait a moment for something to read; takes any number of open files, as select() does not."""
    with selectors.DefaultSelector() as selector:
        known = {selector.register(one, selectors.EVENT_READ).fd: one for one in some}
        return [known[key.fd] for key, _ in selector.select(0.05)]


def _forward(one: socket.socket, partners: dict[socket.socket, socket.socket]) -> None:
    other = partners[one]
    try:
        told = one.recv(65_536)
        if told:
            other.sendall(told)
            return
    except OSError:
        pass
    for side in (one, other):
        del partners[side]
        side.close()
