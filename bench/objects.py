"""How fast an object store is listed and emptied, beside obstore alone on the same keys."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import obstore
from obstore.store import S3Store

from bench.kit.machine import Spent, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab
from mlflow_cleanup.act.workers import AT_ONCE, Workers
from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.observe.listing import take_inventory
from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.opening import open_store
from tests.kit.servers.seaweedfs import KEY, SECRET, SeaweedFS, seaweedfs

OBJECTS = 100
"""Objects of each run."""

_PUTS = 64
_OURS, _BARE, _KNOWN = "mlflow-cleanup", "obstore, list and delete", "obstore, keys known"


def measure(lab: Lab) -> Result:
    """Empty 500 prefixes of 100 objects (100 when quick), and list 200,000 objects (20,000)."""
    rounds, prefixes, listed = (1, 100, 20_000) if lab.is_quick else (3, 500, 200_000)
    with seaweedfs() as server, _as_users_set_it(server):
        removal, memory = _remove(server, rounds, prefixes)
        listing = _list(server, listed // OBJECTS)
    aims = (
        Aim(f"removing: times {_BARE}, median", _times(removal, _BARE), 1 / 0.9),
        Aim("listing: times obstore's plain list, median", _times(listing, "obstore"), 1 / 0.8),
    )
    about = f"SeaweedFS, {prefixes} prefixes of {OBJECTS} objects, and {listed} objects listed"
    return Result("objects", about, (*removal, *listing, memory), aims)


def _times(series: list[Series], base: str) -> float:
    """Return how many times as long as the base our wall time is."""
    walls = {one.contender: one.quantile(0.5) for one in series if one.group.endswith("wall s")}
    ours = next(seconds for name, seconds in walls.items() if name.startswith(_OURS))
    return ours / walls[base]


def _remove(server: SeaweedFS, rounds: int, prefixes: int) -> tuple[list[Series], Series]:
    ways: dict[str, Callable[[SeaweedFS, str, int], object]] = {
        _OURS: _by_us,
        _BARE: _by_obstore,
        _KNOWN: _with_keys_known,
    }
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in names:
            bucket = server.bucket()
            _fill(server, bucket, prefixes)
            with spending() as one:
                ways[name](server, bucket, prefixes)
            spent[name].append(one)
            rate = prefixes * OBJECTS / one.wall_s
            say(f"objects: {name}: {one.wall_s:.2f} s, {rate:,.0f} objects/s")
    return _series("removing", spent, _BARE), _peak()


def _list(server: SeaweedFS, prefixes: int) -> list[Series]:
    bucket = server.bucket()
    _fill(server, bucket, prefixes)
    store, bare = _open(bucket), _obstore(server, bucket)
    ways: dict[str, Callable[[], object]] = {
        f"{_OURS}, listing": lambda: sum(1 for _ in store.listing(None, lambda: True)),
        f"{_OURS}, inventory": lambda: take_inventory(
            store.root, store.listing(None, lambda: True)
        ),
        "obstore": lambda: sum(len(rows) for rows in obstore.list(bare, chunk_size=1_000)),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            with spending() as one:
                way()
            spent[name].append(one)
            rate = prefixes * OBJECTS / one.wall_s
            say(f"objects: {name}: {one.wall_s:.2f} s, {rate:,.0f} objects/s")
    return _series("listing", spent, "obstore")


def _series(group: str, spent: dict[str, list[Spent]], base: str) -> list[Series]:
    return [
        Series(f"{group}, {what}", name, tuple(map(of, runs)), is_baseline=name == base)
        for what, of in (("wall s", _wall), ("CPU s", _cpu))
        for name, runs in spent.items()
    ]


def _wall(spent: Spent) -> float:
    return spent.wall_s


def _cpu(spent: Spent) -> float:
    return spent.cpu_s


def _by_us(server: SeaweedFS, bucket: str, prefixes: int) -> None:  # noqa: ARG001 - as the others
    """Purge each prefix as an item, through the workers of a purge."""
    store = _open(bucket)
    store.mark("token")
    workers = Workers(lambda _: store, lambda: True, prefixes)
    done = 0
    for number in range(prefixes):
        done += sum(_complete(one[1]) for one in workers.make_room())
        done += sum(_complete(one[1]) for one in workers.remove(_item(store.root, number)))
    done += sum(_complete(one[1]) for one in workers.rest())
    workers.close()
    if done != prefixes:
        raise AssertionError(f"{done} of {prefixes} were purged")


def _complete(result: object) -> bool:
    return bool(getattr(result, "complete", False))


def _by_obstore(server: SeaweedFS, bucket: str, prefixes: int) -> None:
    """List and delete each prefix, as many at once as we do; look at nothing."""
    store = _obstore(server, bucket)

    def one(number: int) -> None:
        prefix = "/".join(_inside(number))
        obstore.delete(store, [row["path"] for rows in obstore.list(store, prefix) for row in rows])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(prefixes)))


def _with_keys_known(server: SeaweedFS, bucket: str, prefixes: int) -> None:
    """Delete all keys in one call, without asking what is there."""
    obstore.delete(_obstore(server, bucket), list(_keys(prefixes)))


def _inside(number: int) -> tuple[str, ...]:
    return (str(number % 10), f"{number:032x}", "artifacts")


def _keys(prefixes: int) -> Iterator[str]:
    for number in range(prefixes):
        for name in range(OBJECTS):
            yield "/".join((*_inside(number), f"part-{name:03}"))


def _item(root: str, number: int) -> Item:
    place = Location(root, _inside(number))
    return Item(f"item{number}", run("0" * 32), place, ItemState.PURGING, "", held=Held.IN_PLACE)


def _open(bucket: str) -> ArtifactStore:
    owner = Owner("sqlite:////bench.db", BackendIdentity({"0": 1}))
    return open_store(f"s3://{bucket}", owner, tokens={"token"}, wait=time.sleep)


def _obstore(server: SeaweedFS, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
    )


def _fill(server: SeaweedFS, bucket: str, prefixes: int) -> None:
    say(f"objects: storing {prefixes * OBJECTS} objects")
    store, turns = _obstore(server, bucket), asyncio.Semaphore(_PUTS)

    async def put(key: str) -> None:
        async with turns:
            await obstore.put_async(store, key, b"0123456789abcdef", use_multipart=False)

    async def fill() -> None:
        keys = list(_keys(prefixes))
        for start in range(0, len(keys), 10_000):
            await asyncio.gather(*map(put, keys[start : start + 10_000]))

    asyncio.run(fill())


@contextmanager
def _as_users_set_it(server: SeaweedFS) -> Iterator[None]:
    ours = {
        "MLFLOW_S3_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _peak() -> Series:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Series("memory, MiB", "this process, peak", (peak,))
