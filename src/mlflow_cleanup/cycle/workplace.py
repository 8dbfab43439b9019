"""Everything a cycle works with, opened once: tracking database, ledger, stores."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from mlflow_cleanup.backends.base import Probe
from mlflow_cleanup.backends.files import file_id
from mlflow_cleanup.backends.opening import is_there
from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle.pauses import Pauses
from mlflow_cleanup.errors import (
    CleanupError,
    ForeignOwner,
    LedgerMissing,
    NoRoot,
    RegistryGone,
    RegistryNotGiven,
    RootTwice,
    StoreUnreachable,
)
from mlflow_cleanup.ledger.ageing import Reading, read_clocks, utc
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.claim import Claim
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.inventory import Inventory
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED, Location, Whereabouts
from mlflow_cleanup.model.objects import is_object
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.observe.places import (
    Places,
    fold_for,
    is_not_made_yet,
    real_root,
    slashed,
    spelled_out,
)
from mlflow_cleanup.observe.tracking import TrackingDatabase
from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.opening import open_store


def real_roots(settings: Settings) -> list[str]:
    """Return the configured roots by their one name each."""
    return sorted({real_root(root) for root in settings.roots})


def _is_left(root: str, here: AbstractSet[str]) -> bool:
    """Tell whether a root is not there any more: gone, a link to its new place, or only a shell."""
    if is_object(root):
        return False  # what lies there is only known when it is configured again
    if real_root(root) in here:
        return True
    return not os.path.lexists(os.path.join(root, RESERVED))


def _ignore(_: Event) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Workplace:
    """The open parts. One thread at a time works here.

    `stop` ends long work between two steps; `is_called` says that something more urgent came in.
    `listers` are processes that help to list large roots: none where nobody waits for it.
    `still_ours` raises LeaseLost where the lease is not held any more.
    """

    settings: Settings
    ledger: Ledger
    tell: Callable[[Event], None] = _ignore
    clock: Callable[[], Reading] = read_clocks
    stop: threading.Event = field(default_factory=threading.Event)
    is_called: Callable[[], bool] = lambda: False
    listers: int = 0
    still_ours: Callable[[], None] = lambda: None
    tracking: TrackingDatabase = field(init=False)
    registry: TrackingDatabase | None = field(init=False, default=None)
    pauses: Pauses = field(init=False, default_factory=Pauses)
    """Before something is looked at again that costs a request."""
    backlog_sizes: dict[Location, Size | None] = field(init=False, default_factory=dict)
    """What was measured of the backlog so far."""
    probe: Probe = field(init=False)
    _marked: dict[str, Mapping[str, int | None]] = field(init=False, default_factory=dict)
    """By which experiments the marker of each root recognises the database."""
    _stores: dict[str, ArtifactStore] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.tracking = TrackingDatabase(self.settings.database)
        registry = self.settings.registry or self._registry_of_before()
        if registry is not None and registry != self.settings.database:
            self.registry = TrackingDatabase(registry)
        self.probe = self.tracking.probe()

    @classmethod
    def to_read(
        cls, settings: Settings, stop: threading.Event | None = None, *, listers: int = 0
    ) -> Workplace:
        """Open everything to read only; where nothing was watched yet there is no ledger."""
        try:
            ledger = Ledger.read(settings.home)
        except LedgerMissing:
            ledger = Ledger.empty()
        return cls(settings, ledger, stop=stop or threading.Event(), listers=listers)

    def _registry_of_before(self) -> Database | None:
        """Return the registry that an earlier start was given, as far as its file is known."""
        known = self.ledger.registry
        if known is None or known == self.settings.database.name:
            return None
        return None if "://" in known else Database.of_file(known)

    def registry_claims(self) -> list[Claim]:
        """Read what a model registry kept apart claims; raises TrackingUnreadable."""
        known = self.ledger.registry
        is_asked_for = self.settings.registry is None and known != self.settings.database.name
        if is_asked_for and known is not None and "://" in known:
            raise RegistryNotGiven(known)
        if self.registry is None:
            return []
        if self.settings.registry is None and not is_there(self.registry.database):
            raise RegistryGone(self.registry.database.name, self.settings.database.name)
        return self.registry.version_claims()

    def remember_registry(self) -> None:
        """Let later starts that are told of no model registry read the one of this start too."""
        if self.settings.registry is not None:
            self.ledger.set_registry(self.registry.database.name if self.registry else None)

    @property
    def fold(self) -> Callable[[str], str]:
        """The folding of paths that this system's file systems do."""
        return fold_for(platform.system())

    def places(self, listed: Iterable[Inventory] = ()) -> Places:
        """Return a fresh view of where artifact URIs lead; `listed` saves looking there again."""
        listings = {one.root: one.places for one in listed}
        return Places(self.settings.roots, self.whereabouts, listings)

    @property
    def whereabouts(self) -> Whereabouts:
        """What relative and proxied URIs are relative to."""
        destination = self.settings.artifacts_destination
        return Whereabouts(
            working_directory=slashed(self.settings.working_directory),
            artifacts_destination=spelled_out(destination) if destination else None,
            windows=platform.system() == "Windows",
        )

    def may_go_on(self) -> bool:
        """Tell whether long work may go on, however urgent something else is."""
        return not self.stop.is_set() and self.ledger.may_go_on()

    def unhurried(self) -> bool:
        """Tell whether long work may go on."""
        return self.may_go_on() and not self.is_called()

    def store_of(self, root: str) -> ArtifactStore:
        """Return the store of an artifact root, by its one name; raises StoreUnreachable.

        Under a root that is another one as well nothing is done.
        What the ledger holds of a root that is not configured (any more) is left alone: a copied or
        moved state directory still names the places it came from.
        """
        if root not in self._stores:
            if root not in real_roots(self.settings):
                raise NoRoot(root)
            self._require_one_name(root)
            known = self.ledger.roots().get(root)
            store = open_store(
                root,
                self._owner(self.ledger.identity or BackendIdentity({})),
                is_marked=known is not None and known.is_marked,
                tokens=self.ledger.tokens(),
                wait=self.stop.wait,
                listers=self.listers,
                purges_versions=self.settings.purge_versions,
            )
            self._require_no_twin(store)
            self._stores[root] = store
        return self._stores[root]

    def _require_no_twin(self, store: ArtifactStore) -> None:
        """Refuse what another configured root is as well, which buckets' names alone do not tell.

        An access point is a name of its own for a bucket; the marker says under which it is ours.
        """
        if not is_object(store.root):
            return
        try:
            was_at = store.moved_from()
        except CleanupError:
            return  # whatever is asked of it next meets it as well
        if was_at is not None and was_at in real_roots(self.settings):
            hint = f"; if it is only a copy, run `mlflow-cleanup adopt {store.root}`"
            raise RootTwice(store.root, was_at, hint=hint)

    def _require_one_name(self, root: str) -> None:
        if is_object(root):
            return  # see `_require_no_twin`
        directory = file_id(root)
        for other in real_roots(self.settings) if directory else ():
            if other != root and file_id(other) == directory:
                raise RootTwice(root, other)

    def forget_stores(self) -> None:
        """Open stores anew: whose root it is, or whether it was marked, has changed."""
        self._stores.clear()

    def check_roots(self) -> tuple[frozenset[str], dict[str, str]]:
        """Look at every configured root; return the unreachable ones, and foreign ones' owners."""
        self._follow_moved_roots()
        unreachable, foreign = set(), {}
        known = self.ledger.roots()
        for root in real_roots(self.settings):
            problem = None
            try:
                self._require_one_name(root)  # may be so only by now
                self._mark(root)
            except ForeignOwner as error:
                foreign[root] = error.owner
                problem = str(error)
            except StoreUnreachable as error:
                unreachable.add(root)
                problem = str(error)
            was = known.get(root)
            if problem is not None and was is None and is_not_made_yet(root):
                continue  # MLflow makes it with the first artifact; until then it is no news
            is_marked = problem is None or (was is not None and was.is_marked)
            if was is None or (was.is_marked, was.problem) != (is_marked, problem):
                self.ledger.note_root(root, is_marked=is_marked, problem=problem)
        return frozenset(unreachable), foreign

    def adopt(self, root: str, *, alone: bool = False) -> None:
        """Make a root this database's own, whatever its marker says: on the operator's word.

        `alone`: no other database uses it, so what this one does not claim nobody does.
        """
        self._require_one_name(root)
        owner, token = self._owner(self.tracking.identity()), secrets.token_hex(8)
        self.ledger.note_tokens(root, [*self.ledger.tokens_of(root), token])
        open_store(root, owner, wait=self.stop.wait).adopt(token, alone=alone)
        self.ledger.note_tokens(root, [token])
        self.ledger.note_root(root, is_marked=True, problem=None)
        event = Event(EventKind.ADOPTED, utc(self.clock().wall_s), detail=root)
        self.ledger.history.add([event])
        self.forget_stores()

    def _owner(self, identity: BackendIdentity) -> Owner:
        database = self.settings.database
        file = None if database.path is None else file_id(database.path)
        return Owner(
            database.name,
            identity,
            self.ledger.id,
            file=f"{file[0]}:{file[1]}" if file else identity.file,
        )

    def _mark(self, root: str) -> None:
        """Mark a root as ours, with a token of its own for each start.

        The marker follows the database: experiments by which it was recognised may be removed.
        """
        anchors = (self.ledger.identity or BackendIdentity({})).anchors
        if self._marked.get(root) == anchors:
            self.store_of(root).mark()
            return
        before = self._stores.pop(root, None)
        try:
            self._mark_anew(root)
        except ForeignOwner:
            if before is None or root not in self._marked:
                raise
            # It has none of the experiments that are there now, and yet is the one written here.
            self._stores[root] = before
            before.mark()
            return
        self._marked[root] = anchors

    def _mark_anew(self, root: str) -> None:
        store = self.store_of(root)
        was_at = store.moved_from()
        if was_at not in self.ledger.items.roots_held():
            was_at = None
        token, before = secrets.token_hex(8), self.ledger.tokens_of(root)
        # Both count until the marker is written: killed in between, it must be known again.
        self.ledger.note_tokens(root, [*before, token])
        store.mark(token, was_at=was_at)
        self.ledger.note_tokens(root, [token])

    def _follow_moved_roots(self) -> None:
        """Let items follow a root that was moved: its marker, which came along, says from where."""
        here = set(real_roots(self.settings))
        lost = {root for root in self.ledger.items.roots_held() - here if _is_left(root, here)}
        for root in here if lost else ():
            try:
                was = self.store_of(root).moved_from()
            except StoreUnreachable:
                continue
            if was in lost:
                event = Event(
                    EventKind.MOVED, utc(self.clock().wall_s), detail=f"{was} is now {root}"
                )
                with self.ledger.transaction():
                    self.ledger.items.move_root(was, root)
                    self.ledger.history.add([event])
                self.tell(event)

    def close(self) -> None:
        """Close what is open."""
        self.probe.close()
        self.ledger.close()
