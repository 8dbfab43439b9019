"""Listing a large root with several processes: the system calls of one fill one core.

We list ourselves all the while, and give parts of what is left to processes that have nothing to
do. What such a process does not answer, because it could not be started or died, we list as well:
at worst this takes as long as without them. They are started by a command line of our own, as
`multiprocessing` would run the main program of whoever uses us as a library once more.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import count
from pathlib import Path

from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.local.directory import DescriptorDirectory, Directory
from mlflow_cleanup.stores.local.lister import Answer, identity_of, receive, send
from mlflow_cleanup.stores.local.listing import Listing, Piece, stopped

STARTS_AFTER = 1000
"""Directories that are listed sooner than a process is started."""

MOST = 3
"""Processes beside our own: more only wait for the same disk."""

PATIENCE_S = 30.0
"""How long we wait for the others when all that is left is theirs: one may have been stopped."""

_LOOK_EVERY = 16  # directories between two looks at what the others do
_AHEAD = 2  # pieces that a process is given at a time, so that it need not wait for the next
_TURN_S = 0.05
_TEXTS = 2  # what an unseen directory is told by; one that was listed has more to it
_NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows only
_GONE = (OSError, EOFError, ValueError, subprocess.SubprocessError)
_CODE = (
    "import marshal, sys; told = marshal.loads(bytes.fromhex(sys.argv[1])); "
    "sys.path[:] = told['path']; "
    "from mlflow_cleanup.stores.local.lister import main; sys.exit(main(told))"
)


def spare_cores() -> int:
    """Return how many processes can list beside this one without standing in each other's way."""
    with suppress(AttributeError, OSError):  # not on every system
        return min(len(os.sched_getaffinity(0)) - 1, MOST)
    return min((os.cpu_count() or 1) - 1, MOST)


def list_together(
    root: Directory, globs: Globs | None, keep_going: KeepGoing, listers: int
) -> Iterator[Listed | Unseen]:
    """Yield what `list_root` does, in another order, with the help of so many processes."""
    listing, crew = Listing(root, globs), Crew(root, globs, listers)
    try:
        yield listing.begin(RESERVED)
        for number in count():
            if not keep_going():
                if listing.has_more or crew.is_busy:
                    yield stopped(root)
                return
            if number > STARTS_AFTER and number % _LOOK_EVERY == 0:
                yield from crew.collect(listing)
                crew.hand_out(listing)
            if (found := listing.step()) is not None:
                yield found
            elif not crew.is_busy:
                return
            else:
                crew.wait()
                yield from crew.collect(listing)
    finally:
        crew.close()
        listing.close()


class Crew:
    """The other processes, and what each of them has been asked."""

    def __init__(self, root: Directory, globs: Globs | None, listers: int) -> None:
        words = _command(root, globs)
        self._listers = [_Lister(words) for _ in range(listers)]
        self._asked: dict[Future[Answer], tuple[_Lister, Piece]] = {}
        self._silent_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Tell whether answers are outstanding."""
        return bool(self._asked)

    def hand_out(self, listing: Listing) -> None:
        """Give work to whoever has too little."""
        for lister in self._listers:
            while lister.has_time and (piece := listing.give()) is not None:
                self._asked[lister.ask(piece)] = (lister, piece)

    def collect(self, listing: Listing) -> Iterator[Listed | Unseen]:
        """Yield what has been answered; what has not been done goes back to the listing."""
        for future in [one for one in self._asked if one.done()]:
            lister, piece = self._asked.pop(future)
            lister.outstanding -= 1
            try:
                found, rest = future.result()
            except _GONE:
                lister.is_gone = True
                listing.take(piece)
                continue
            for piece in rest:
                listing.take(piece)
            for one in found:
                yield Listed._make(one) if len(one) > _TEXTS else Unseen(*one)

    def wait(self) -> None:
        """Wait for the next answer, for a moment; do without those that stay silent for long."""
        done, _ = wait(self._asked, timeout=_TURN_S, return_when=FIRST_COMPLETED)
        self._silent_s = 0.0 if done else self._silent_s + _TURN_S
        if self._silent_s > PATIENCE_S:
            self._silent_s = 0.0
            for lister, _ in self._asked.values():
                lister.kill()  # its pieces come back unanswered

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for lister in self._listers:
            lister.close()


class _Lister:
    """One process, started when it is first asked; questions queue in a thread of its own."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lister")
        self.outstanding, self.is_gone, self._is_closed = 0, False, False

    @property
    def has_time(self) -> bool:
        return not self.is_gone and self.outstanding < _AHEAD

    def ask(self, piece: Piece) -> Future[Answer]:
        self.outstanding += 1
        return self._thread.submit(self._answer, piece)

    def kill(self) -> None:
        self._is_closed = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        self.kill()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread.shutdown()  # one that was just starting sees that it is not wanted
        if self._process is not None:
            self._process.communicate()

    def _answer(self, piece: Piece) -> Answer:
        if self._process is None:
            self._process = _start(self._words)
        process = self._process
        if self._is_closed:
            process.kill()
        if process.stdin is None or process.stdout is None:
            raise EOFError
        send(process.stdin, piece)
        answer = receive(process.stdout)
        if answer is None:
            raise EOFError
        return Answer(*answer)


def _start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        creationflags=_NO_WINDOW,
    )


def _command(root: Directory, globs: Globs | None) -> list[str]:
    """Return the command line of a lister; it imports what we do, and nothing from elsewhere."""
    package = Path(__file__).parents[3]
    told = {
        "path": [*sys.path, str(package)],
        "root": root.path,
        "identity": identity_of(root),
        "by_descriptor": isinstance(root, DescriptorDirectory),
        "globs": None if globs is None else globs.patterns,
    }
    flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable or "python", *flags, "-c", _CODE, marshal.dumps(told).hex()]
