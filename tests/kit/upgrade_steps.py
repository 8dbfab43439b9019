"""MLflow's migrations of one database, as a program that waits before each change for a line.

`python -m tests.kit.upgrade_steps PATH` writes a line before each statement that changes something,
and goes on when one was sent.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.server import environment_of

_CHANGES = ("CREATE", "DROP", "ALTER", "INSERT", "UPDATE", "DELETE")
_READY = "ready"


@contextmanager
def upgrading_in_steps(database: Path) -> Iterator[Iterator[str]]:
    """Upgrade a database to the installed MLflow's schema; yields the statements to come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kit.upgrade_steps", str(database)],
        cwd=Path(__file__).parents[2],
        env=environment_of(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reading, writing = process.stdout, process.stdin

    def steps() -> Iterator[str]:
        for line in reading:
            if line.startswith(_READY):
                yield line.removeprefix(_READY).strip()
                writing.write("\n")
                writing.flush()
        assert process.wait() == 0

    try:
        yield steps()
    finally:
        process.kill()
        process.wait()
        for pipe in (reading, writing):
            pipe.close()


def main(path: str) -> None:
    """Upgrade, step by step."""
    import mlflow.store.db.utils as theirs  # noqa: PLC0415 - slow, and only for this program
    from sqlalchemy import create_engine, event  # noqa: PLC0415

    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "before_cursor_execute")
    def _(_: object, __: object, statement: str, *___: object) -> None:
        if statement.lstrip().upper().startswith(_CHANGES):
            first = " ".join(statement.split())[:80]
            sys.stdout.write(f"{_READY} {first}\n")
            sys.stdout.flush()
            sys.stdin.readline()

    theirs._upgrade_db(engine)


if __name__ == "__main__":
    main(sys.argv[1])
