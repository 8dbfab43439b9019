"""Points at which a process is killed: around every commit and every change on the disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mlflow_cleanup.ledger.database import LedgerDatabase
from mlflow_cleanup.ledger.postgresql import LedgerSchema
from mlflow_cleanup.ledger.sqlite import LedgerFile
from mlflow_cleanup.stores.local.directory import DescriptorDirectory
from tests.kit.faults import Killed

_CHANGES = ("mkdir", "rmdir", "unlink", "rename", "link", "chmod", "write", "note")


class Points:
    """Counts the points that a process passes, and kills it at the one that was asked for."""

    def __init__(self, deadly: int | None = None) -> None:
        self.passed = 0
        self._deadly = deadly

    def pass_one(self) -> None:
        """Pass a point, or die there."""
        self.passed += 1
        if self.passed == self._deadly:
            self._die()

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """Place the points: before and after each commit and each change, and within a write."""
        with pytest.MonkeyPatch.context() as patch:
            for home in (LedgerFile, LedgerSchema):
                around = self._around_commit(home.transaction)
                patch.setattr(home, "transaction", around)
            for name in _CHANGES:
                patch.setattr(
                    DescriptorDirectory, name, self._around(getattr(DescriptorDirectory, name))
                )
            # A file is synced when it is written and does not have its name yet.
            patch.setattr(os, "fsync", self._around(lambda _: None))
            yield

    def _die(self) -> None:
        """End this process without any goodbye."""
        os.kill(os.getpid(), signal.SIGKILL)

    def _around(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*values: Any, **named: Any) -> Any:  # noqa: ANN401 - any method's
            self.pass_one()
            result = change(*values, **named)
            self.pass_one()
            return result

        return changed

    def _around_commit(self, transaction: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def surrounded(file: LedgerDatabase) -> Iterator[Any]:
            if file.connection.in_transaction:
                with transaction(file) as connection:
                    yield connection
                return
            with transaction(file) as connection:
                yield connection
                self.pass_one()
            self.pass_one()

        return surrounded


class Mortal(Points):
    """Ends what this process does instead of the process: from its death on nothing changes."""

    def pass_one(self) -> None:
        """Pass a point, unless dead."""
        if self._deadly is not None and self.passed >= self._deadly:
            raise Killed
        super().pass_one()

    def _die(self) -> None:
        raise Killed
