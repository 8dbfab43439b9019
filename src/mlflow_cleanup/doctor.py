"""What `doctor` finds: each finding says what it means and what to do. Changes nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.errors import CleanupError, ForeignOwner, LedgerMissing, StoreUnreachable
from mlflow_cleanup.ledger.holder import Holder
from mlflow_cleanup.ledger.lease import current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.ledger_home import LedgerHome, LedgerServer
from mlflow_cleanup.model.location import RESERVED, Misread, Unplaced, scheme_of
from mlflow_cleanup.model.objects import home_of, is_object
from mlflow_cleanup.observe.tracking import TrackingDatabase
from mlflow_cleanup.report.text import counted, printable
from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.opening import open_store

_NAME_IT = "name its place with --artifact-root"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `level` is "good", "note" or "bad"."""

    level: str
    subject: str
    text: str

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"level": self.level, "subject": self.subject, "text": self.text}


def examine(settings: Settings) -> list[Finding]:
    """Look at database, roots and state directory."""
    return [
        *_database(settings),
        *_roots(settings),
        *_elsewhere(settings),
        *_state(settings),
    ]


def findings_text(findings: list[Finding]) -> str:
    """Render findings, one line each."""
    marks = {"good": "ok  ", "note": "note", "bad": "BAD "}
    return "\n".join(
        printable(f"{marks[item.level]}  {item.subject}: {item.text}") for item in findings
    )


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        layout = TrackingDatabase(settings.database).layout()
        heads, identity = TrackingDatabase(settings.database).glance()
    except CleanupError as error:
        yield Finding("bad", "database", str(error))
        return
    counts = f"{len(heads.active)} active and {len(heads.deleted)} deleted run(s)"
    yield Finding("good", "database", f"{settings.database} can be read: {counts}")
    if identity.is_standby:
        meaning = "what it says may be old, so it is watched, but nothing is taken away"
        yield Finding("bad", "database", f"its server is a standby, or read-only; {meaning}")
    revision = layout.schema.revision
    if layout.schema.is_known:
        yield Finding("good", "schema", f"revision {revision} is known")
    else:
        meaning = "it is watched, but nothing is moved unless --allow-unknown-schema is given"
        yield Finding(
            "bad", "schema", f"revision {revision} is not known to this version; {meaning}"
        )


def _roots(settings: Settings) -> Iterator[Finding]:
    for root in real_roots(settings):
        if is_object(root):
            yield from _object_root(settings, root)
            continue
        if not os.path.exists(root):
            meaning = "MLflow makes it with the first artifact; until then nothing there is judged"
            yield Finding("note", f"root {root}", f"does not exist yet; {meaning}")
            continue
        problem = _owner_problem(settings, root)
        yield from _strangers(settings, root)
        if problem is not None:
            yield Finding("bad", f"root {root}", problem)
        elif not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            meaning = "runs cannot be moved to the trash; run this as the user that MLflow runs as"
            yield Finding("bad", f"root {root}", f"cannot be written; {meaning}")
        else:
            yield Finding("good", f"root {root}", "can be read and written")
            yield from _other_file_systems(root)


def _object_root(settings: Settings, root: str) -> Iterator[Finding]:
    """Nothing is moved there, so there is no more to it than what its store answers."""
    problem = _owner_problem(settings, root)
    if problem is not None:
        yield Finding("bad", f"root {root}", problem)
        return
    meaning = "what is deleted is held in place, and takes up room there until it is purged"
    yield Finding("good", f"root {root}", f"can be read; {meaning}")
    try:
        keeps = _store(settings, root).keeps_versions()
    except CleanupError as error:
        yield Finding("bad", f"root {root}", str(error))
        return
    if keeps and not settings.purge_versions:
        meaning = "what is purged is out of sight only, and its bytes are not freed"
        todo = "--purge-versions removes versions too, or a lifecycle rule of yours"
        yield Finding("note", f"root {root}", f"the bucket keeps versions: {meaning}; {todo}")


def _elsewhere(settings: Settings) -> Iterator[Finding]:
    """Count the experiments whose runs are kept because of where they lie."""
    where: Counter[str] = Counter()
    hints: dict[str, str] = {}
    try:
        workplace = Workplace.to_read(settings)
        try:
            places = workplace.places()
            for _, text in workplace.tracking.experiments():
                spot = places.locate(text)
                if not isinstance(spot, Unplaced) or places.holder(text) is not None:
                    continue
                kind = home_of(spot.detail) or f"{scheme_of(text)}:"
                where[kind] += 1
                is_handled = spot.why is Misread.OUTSIDE_ROOTS
                hints[kind] = _NAME_IT if is_handled else "such storage is not handled"
        finally:
            workplace.close()
    except CleanupError:
        return  # the database's own finding says it
    for kind, count in sorted(where.items()):
        if kind != "file:":
            what = f"{counted(count, 'experiment')} in {kind} under no artifact root"
            yield Finding(
                "note", "elsewhere", f"{what}; what is deleted there stays: {hints[kind]}"
            )


def _strangers(settings: Settings, root: str) -> Iterator[Finding]:
    """The ledger is what counts: what it does not know, nobody restores or purges."""
    try:
        ledger = Ledger.read(settings.home)
        try:
            known = {item.id for item in ledger.items.in_state(*ItemState)}
        finally:
            ledger.close()
        unknown = _store(settings, root).held_ids() - known
    except CleanupError:
        return  # the other findings say why it cannot be looked at
    if unknown:
        where = os.path.join(root, RESERVED, "trash")
        yield Finding(
            "bad",
            f"root {root}",
            f"the trash holds {len(unknown)} item(s) that the ledger does not know, as after it "
            f"was restored from a backup; they stay. {where}/ITEM/origin.json says where each came "
            "from: move its `content` back, or remove it, by hand",
        )


def _store(settings: Settings, root: str) -> ArtifactStore:
    identity = TrackingDatabase(settings.database).identity()
    ledger_id, tokens = _ledger_says(settings)
    owner = Owner(settings.database.name, identity, ledger_id, file=identity.file)
    return open_store(root, owner, tokens=tokens, wait=lambda _: None)


def _owner_problem(settings: Settings, root: str) -> str | None:
    try:
        _store(settings, root).check()
    except (ForeignOwner, StoreUnreachable) as error:
        return str(error)
    except CleanupError:
        return None  # the database's own finding says it
    return None


def _ledger_says(settings: Settings) -> tuple[str | None, frozenset[str]]:
    try:
        ledger = Ledger.read(settings.home)
    except CleanupError:
        return None, frozenset()
    try:
        return ledger.id, ledger.tokens()
    finally:
        ledger.close()


def _other_file_systems(root: str) -> Iterator[Finding]:
    """Quarantine is a rename, which cannot leave a file system."""
    device = os.stat(root).st_dev
    try:
        children = [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
        other = [
            entry.name for entry in children if entry.stat(follow_symlinks=False).st_dev != device
        ]
    except OSError as error:
        yield Finding("bad", f"root {root}", f"cannot be listed: {error}")
        return
    for name in other:
        what = (
            "has the trash on another file system"
            if name == RESERVED
            else "is a file system of its own"
        )
        meaning = "deleted runs there are held in place until they are purged"
        yield Finding("note", f"root {root}", f"{name} {what}; {meaning}")


def _state(settings: Settings) -> Iterator[Finding]:
    if isinstance(settings.home, LedgerServer):
        yield _on_server(settings.home)
    else:
        yield _in_directory(settings.home)
    holder = _holder(settings.home)
    if holder is None:
        yield Finding("note", "monitor", "none is running; deletes are found at the next start")
    else:
        yield Finding("good", "monitor", f"running: {holder}")


def _holder(home: LedgerHome) -> Holder | None:
    try:
        return current_holder(home)
    except CleanupError:
        return None  # the ledger's own finding says it


def _on_server(server: LedgerServer) -> Finding:
    try:
        Ledger.read(server).close()
    except LedgerMissing:
        return Finding("note", "ledger", f"{server} is not there yet; the first start makes it")
    except CleanupError as error:
        return Finding("bad", "ledger", str(error))
    return Finding("good", "ledger", f"{server} can be read")


def _in_directory(directory: Path) -> Finding:
    where = directory if directory.exists() else directory.parent
    if not os.access(where, os.W_OK | os.X_OK):
        return Finding(
            "bad", "ledger", f"{directory} cannot be written; nothing is moved without it"
        )
    return Finding("good", "ledger", f"{directory} can be written")
