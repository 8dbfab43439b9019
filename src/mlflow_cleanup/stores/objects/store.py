"""The store of an artifact root in an object store: what is quarantined stays where it is.

There is no rename there, and a copy would cost as much as the bytes. So quarantine is what the
ledger says, and only a purge changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from mlflow_cleanup.errors import ForeignOwner, UnsafePlace
from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.stores import marker
from mlflow_cleanup.stores.base import KeepGoing, Mark, Presence, Purged, Restored, Unfinished
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.objects import ownership
from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.bucket import ERRORS, Bucket, Content, Unnameable, is_nameable
from mlflow_cleanup.stores.objects.clock import lag_of
from mlflow_cleanup.stores.objects.flow import Gate
from mlflow_cleanup.stores.objects.listing import Grouping, with_markers
from mlflow_cleanup.stores.objects.removal import Removal, Tally
from mlflow_cleanup.stores.objects.versions import remove_versions

KEPT_VERSIONS = (
    "the bucket keeps versions: what was removed is out of sight, and its bytes are freed only "
    "when its versions go (--purge-versions, or a lifecycle rule)"
)


class ObjectStore:
    """One artifact root in a bucket.

    `owner` is what its marker must say, with one of `tokens`; `is_marked` whether a marker was
    written there before. `wait` pauses between attempts. `purges_versions`: a purge removes what
    the bucket keeps as versions, too.
    """

    def __init__(  # noqa: PLR0913 - what it must know is given, never asked for
        self,
        address: Address,
        bucket: Bucket,
        owner: Owner,
        *,
        is_marked: bool = False,
        tokens: AbstractSet[str] = frozenset(),
        wait: Callable[[float], object],
        purges_versions: bool = False,
    ) -> None:
        self._address, self._bucket, self._wait = address, bucket, wait
        self._purges_versions = purges_versions
        self._owner = replace(owner, root=address.root)
        self._is_marked, self._tokens, self._known = is_marked, tokens, tokens
        self._gate = Gate()
        self._marker: Content | None = None
        self._alone = set[tuple[str, ...]]()

    @cached_property
    def _lag_s(self) -> float:
        return lag_of(self._bucket.endpoint)

    @property
    def root(self) -> str:
        """The root's URI."""
        return self._address.root

    def check(self) -> None:
        """See `ArtifactStore.check`."""
        self._require()

    def mark(self, token: str | None = None, *, was_at: str | None = None) -> None:
        """See `ArtifactStore.mark`."""
        found, content = self._require()
        ours = replace(
            self._owner,
            root=was_at or self.root,
            is_adopted=found is not None and found.is_adopted,
            token=token or (found.token if found else None),
        )
        if found is None or found.token != ours.token or not found.says_the_same_as(ours):
            self._write(ours, content)
        self._is_marked = True
        if token is not None:
            self._tokens = {token}

    def adopt(self, token: str | None = None, *, alone: bool = False) -> None:
        """See `ArtifactStore.adopt`."""
        with self._seen():
            content = self._bucket.read(self._address.own(marker.NAME), marker.LARGEST_BYTES)
            if content is None:
                ownership.require_bucket(self._bucket, self._address)
        self._write(replace(self._owner, is_adopted=alone, token=token), content)
        self._is_marked = True
        if token is not None:
            self._tokens = {token}

    def moved_from(self) -> str | None:
        """See `ArtifactStore.moved_from`."""
        found, _ = self._require()
        return None if found is None or found.root == self.root else found.root

    def is_adopted(self) -> bool:
        """See `ArtifactStore.is_adopted`."""
        found, _ = self._require()
        return found is not None and found.is_adopted

    def quarantine(
        self,
        location: Location,
        item_id: str,  # noqa: ARG002 - the ledger alone knows the item
        note: Mapping[str, str] | None,  # noqa: ARG002 - likewise
    ) -> Held | None:
        """See `ArtifactStore.quarantine`: nothing moves."""
        self._require_alone(location)
        return Held.IN_PLACE if self.exists(location) else None

    def restore(self, item: Item) -> Restored:
        """See `ArtifactStore.restore`: what is held never left."""
        self._address.key(item.location.inside)
        self._require_bucket()
        return Restored()

    def purge(self, item: Item, keep_going: KeepGoing) -> Purged:
        """See `ArtifactStore.purge`."""
        prefix = self._address.below(item.location.inside)
        self._require_alone(item.location)
        with self._seen():
            if item.held is not Held.IN_PLACE:
                ownership.require_bucket(self._bucket, self._address)
                return Purged(Size(), complete=True)
            if self._purges_versions and self._bucket.archive is not None:
                emptied = remove_versions(self._bucket.archive, prefix, keep_going)
                if emptied.complete and self._holds_any(prefix):
                    why = f"{prefix}: it holds objects of which the store tells no versions"
                    return Purged(emptied.freed, False, (why,))
                return Purged(emptied.freed, emptied.complete, _told(emptied.failures))
            version = self._some_version(prefix)
            keeps = version is not None and self._bucket.keeps_versions(version)
            if self._purges_versions and keeps:
                return Purged(Size(), False, (f"{prefix}: {self._bucket.why_no_archive}",))
            removed = Removal(self._bucket, self._gate, self._wait).run(prefix, keep_going)
        unfreed = KEPT_VERSIONS if keeps and removed.freed.files else None
        freed = Size() if unfreed else removed.freed
        return Purged(freed, removed.complete, _told(removed.failures), unfreed)

    def find(self, item: Item) -> Presence:
        """See `ArtifactStore.find`."""
        return Presence(at_origin=self.exists(item.location), in_trash=False)

    def held_ids(self) -> frozenset[str]:
        """See `ArtifactStore.held_ids`: there is no trash."""
        self._require_bucket()
        return frozenset()

    def tidy(self, item: Item) -> None:  # noqa: ARG002 - no step leaves anything behind
        """See `ArtifactStore.tidy`."""
        self._require_bucket()

    def exists(self, location: Location) -> bool:
        """See `ArtifactStore.exists`."""
        prefix = self._address.below(location.inside)
        with self._seen():
            try:
                return self._holds_any(prefix)
            except Unnameable:
                return True  # something is there that cannot be named

    def holds_file(self, location: Location, name: str) -> bool:
        """See `ArtifactStore.holds_file`."""
        key = self._address.key((*location.inside, name))
        with self._seen():
            if self._bucket.has_object(key):
                return True
            ownership.require_bucket(self._bucket, self._address)
        return False

    def measure(self, what: Item | Location, keep_going: KeepGoing) -> Size | None:
        """See `ArtifactStore.measure`; a directory's own object counts as a file."""
        inside = what.location.inside if isinstance(what, Item) else what.inside
        prefix = self._address.below(inside)
        tally = Tally()
        with self._seen():
            if isinstance(what, Item) and what.held is not Held.IN_PLACE:
                ownership.require_bucket(self._bucket, self._address)
                return Size()
            for page in self._bucket.pages(prefix, tally.start_over):
                if not keep_going():
                    return None
                tally.add(page)
        return tally.size

    def listing(self, mark: Mark | None, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """See `ArtifactStore.listing`; a directory's own object is no file in it."""
        test = mark.test if isinstance(mark, Globs) else mark
        grouping = Grouping(self._address.base, test, RESERVED)
        try:
            with self._seen():
                for page in self._bucket.pages(self._address.base):
                    whole = with_markers(page, self._bucket.which_exist)
                    for one in grouping.add(whole, self._lag_s):
                        if not keep_going():
                            yield self._stopped()
                            return
                        yield one
        except UnsafePlace as error:
            yield Unseen(self.root, error.detail)
            return
        for one in grouping.rest():
            if not keep_going():
                yield self._stopped()
                return
            yield one

    def own_listing(self, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """See `ArtifactStore.own_listing`: the marker, and no items."""
        grouping = Grouping(self._address.own(), None, None)
        with self._seen():
            for page in self._bucket.pages(self._address.own()):
                if not keep_going():
                    yield self._stopped()
                    return
                yield from (one._replace(inside=()) for one in grouping.add(page, self._lag_s))
        yield from (one._replace(inside=()) for one in grouping.rest())

    def remove_empty(self, location: Location) -> bool:
        """See `ArtifactStore.remove_empty`: an object that stands for a directory and no other."""
        prefix = self._address.below(location.inside)
        with self._seen():
            exact = self._bucket.exact
            if exact is None:
                self._holds_any(prefix)  # unreachable is not the same as not empty
                return False
            found = [one for page in self._bucket.exact_pages(prefix) for one in page]
            if [(one.key, one.size) for one in found] != [(prefix, 0)]:
                return False
            return not exact.delete([prefix])

    def newest_write(self, location: Location) -> float | None:
        """See `ArtifactStore.newest_write`."""
        found = self.newest_times(location)
        return None if found is None else found[0]

    def newest_times(self, location: Location) -> tuple[float, float] | None:
        """See `ArtifactStore.newest_times`: an object is written once, so both are one."""
        prefix = self._address.below(location.inside)
        newest: float | None = None
        with self._seen():
            for page in self._bucket.pages(prefix):
                newest = max((one.written_at for one in page), default=newest or 0.0)
        if newest is None:
            return None
        return newest + self._lag_s, newest + self._lag_s

    def keeps_versions(self) -> bool:
        """See `ArtifactStore.keeps_versions`; yes on S3 where that may not be asked."""
        with self._seen():
            if self._bucket.archive is not None:
                return self._bucket.archive.keeps_versions()
            return self._bucket.keeps_versions(None)

    def unfinished(self, keep_going: KeepGoing) -> Iterator[Unfinished]:
        """See `ArtifactStore.unfinished`: uploads in parts, on S3 and where boto3 is installed."""
        archive, base = self._bucket.archive, self._address.base
        with self._seen():
            for one in archive.uploads(base) if archive is not None else ():
                if not keep_going():
                    return
                if one.path.startswith(base) and not one.path.startswith(self._address.own()):
                    yield one._replace(
                        path=one.path[len(base) :], begun_at=one.begun_at + self._lag_s
                    )

    def give_up(self, unfinished: Unfinished) -> bool:
        """See `ArtifactStore.give_up`."""
        if self._bucket.archive is None:
            return False
        with self._seen():
            key = self._address.base + unfinished.path
            return self._bucket.archive.abort(unfinished._replace(path=key))

    def _some_version(self, prefix: str) -> str | None:
        """Return the version of something in the bucket: of the marker, or else below a prefix."""
        if self._marker is not None:
            return self._marker.version
        keys = (one.key for page in self._bucket.pages(prefix) for one in page)
        try:
            return next((self._bucket.version_of(key) for key in keys), None)
        except Unnameable:
            return None  # the removal says what it is

    def _require_alone(self, location: Location) -> None:
        """Raise ForeignOwner where a directory on the way is another database's root.

        Each is looked at once until the root's own marker is looked at again.
        """
        for depth in range(1, len(location.inside) - 1):
            above = location.inside[:depth]
            if above in self._alone:
                continue
            key = self._address.key((*above, RESERVED, marker.NAME))
            with self._seen():
                found = self._bucket.read(key, marker.LARGEST_BYTES) if is_nameable(key) else None
            where = Location(self.root, above).path
            if found is not None and not marker.decoded(where, found.body).is_ours(
                self._owner, self._known
            ):
                raise ForeignOwner(where, marker.decoded(where, found.body).database)
            self._alone.add(above)

    def _require(self) -> tuple[Owner | None, Content | None]:
        found, content = ownership.read(self._bucket, self._address)
        self._marker = content
        self._alone.clear()
        ours = marker.require(self.root, found, self._owner, self._tokens, expected=self._is_marked)
        return ours, content

    def _write(self, owner: Owner, over: Content | None) -> None:
        ownership.write(self._bucket, self._address, owner, over)

    def _require_bucket(self) -> None:
        with self._seen():
            ownership.require_bucket(self._bucket, self._address)

    def _holds_any(self, prefix: str) -> bool:
        return any(self._bucket.pages(prefix))

    def _stopped(self) -> Unseen:
        return Unseen(self.root, "the listing was stopped before its end")

    @contextmanager
    def _seen(self) -> Iterator[None]:
        """Turn what obstore raises into what a store raises."""
        try:
            yield
        except Unnameable as error:
            raise UnsafePlace(self.root, str(error)) from error
        except ERRORS as error:
            raise ownership.unreachable(self._address, error) from error


def _told(failures: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}: {why}" for key, why in sorted(failures.items()))
