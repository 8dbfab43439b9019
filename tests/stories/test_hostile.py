"""Artifact URIs are text that any client can set: what is odd is kept, with a reason, told once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.tracking_db import Value, run_id
from tests.kit.world import Run, Tree, World, tree

ID = run_id(0xBAD)
OTHER = run_id(0xA)


@dataclass(frozen=True)
class Odd:
    """A URI that must not be acted on, and the reason that is to be told."""

    uri: Value
    reason: str


MALFORMED = "its artifact location is malformed"
AMBIGUOUS = "its artifact location can be read in more than one way"
REMOTE = "its artifact location is in storage that is not handled"
OUTSIDE = "not under a configured artifact root"
NOT_ITS_OWN = "its artifact location is not a directory of its own"
RESERVED = "it lies in mlflow-cleanup's own directory"
SYMLINK = "its path runs through a symbolic link"

URIS = {
    "nothing": Odd(None, MALFORMED),
    "empty": Odd("", MALFORMED),
    "bytes": Odd(b"\x00\xff\x80", MALFORMED),
    "dots": Odd("mlflow-artifacts:/0/x/../{id}/artifacts", MALFORMED),
    "dots out of the root": Odd("mlflow-artifacts:/../outside/{id}/artifacts", MALFORMED),
    "dots percent-encoded": Odd("mlflow-artifacts:/%2e%2e/outside/{id}/artifacts", MALFORMED),
    "dots in a path": Odd("{root}/../outside/{id}/artifacts", MALFORMED),
    "line break": Odd("mlflow-artifacts:/0/{id}/artifacts\n", MALFORMED),
    "escape sequence": Odd("\x1b[2Jmlflow-artifacts:/0/{id}/artifacts", MALFORMED),
    "broken host": Odd("http://[::1/{id}/artifacts", MALFORMED),
    "percent-encoded twice": Odd("mlflow-artifacts:/0/%2530/{id}/artifacts", AMBIGUOUS),
    "NUL": Odd("mlflow-artifacts:/0/{id}/artifacts%00", AMBIGUOUS),
    "backslash": Odd("mlflow-artifacts:/0\\{id}\\artifacts", AMBIGUOUS),
    "query": Odd("mlflow-artifacts:/0/{id}/artifacts?a=b", AMBIGUOUS),
    "fragment": Odd("file://{root}/0/{id}/artifacts#top", AMBIGUOUS),
    "scheme in capitals": Odd("FILE://{root}/0/{id}/artifacts", AMBIGUOUS),
    "s3": Odd("s3://bucket/0/{id}/artifacts", OUTSIDE),
    "hdfs": Odd("hdfs://host/0/{id}/artifacts", REMOTE),
    "unknown scheme": Odd("telling+scheme://host/0/{id}/artifacts", REMOTE),
    "web address": Odd("https://server/0/{id}/artifacts", REMOTE),
    "file of another host": Odd("file://server{root}/0/{id}/artifacts", REMOTE),
    "absolute elsewhere": Odd("{home}/outside/{id}/artifacts", OUTSIDE),
    "file elsewhere": Odd("file://{home}/outside/{id}/artifacts", OUTSIDE),
    "relative elsewhere": Odd("outside/{id}/artifacts", OUTSIDE),
    "root of the file system": Odd("/", OUTSIDE),
    "working directory": Odd(".", OUTSIDE),
    "home directory": Odd("~/{id}/artifacts", OUTSIDE),
    "root with a longer name": Odd("{root}-backup/{id}/artifacts", OUTSIDE),
    "root itself": Odd("{root}", OUTSIDE),
    "root itself proxied": Odd("mlflow-artifacts:/", OUTSIDE),
    "bytes that are no text": Odd("{home}/outside/%FF/{id}/artifacts", OUTSIDE),
    "experiment": Odd("mlflow-artifacts:/0", NOT_ITS_OWN),
    "another run": Odd("mlflow-artifacts:/0/{other}/artifacts", NOT_ITS_OWN),
    "inside another run": Odd("mlflow-artifacts:/0/{other}/artifacts/model", NOT_ITS_OWN),
    "run's directory": Odd("mlflow-artifacts:/0/{id}", NOT_ITS_OWN),
    "inside its own": Odd("mlflow-artifacts:/0/{id}/artifacts/model", NOT_ITS_OWN),
    "long name": Odd("mlflow-artifacts:/" + "x" * 10_000, MALFORMED),
    "long way": Odd("mlflow-artifacts:/" + "x/" * 5_000, MALFORMED),
    "our own directory": Odd("mlflow-artifacts:/.mlflow-cleanup/{id}/artifacts", RESERVED),
    "our own trash": Odd("{root}/.mlflow-cleanup/trash/{id}/artifacts", RESERVED),
    "link in the root": Odd("mlflow-artifacts:/link/{id}/artifacts", SYMLINK),
    "link to elsewhere": Odd("mlflow-artifacts:/out/{id}/artifacts", SYMLINK),
    "link at the end": Odd("mlflow-artifacts:/linked/{id}/artifacts", SYMLINK),
}


@pytest.fixture(params=URIS)
def odd(request: pytest.FixtureRequest) -> Odd:
    """Each odd URI."""
    return URIS[request.param]


@pytest.fixture
def bystanders(world: World) -> World:
    """A world full of files that no hostile URI may reach, all where a careless reading leads."""
    world.run({"model/weights": 100, "log.txt": 10}, id_=OTHER)
    for inside in ("outside", "mlartifacts-backup", "mlartifacts/x"):
        world.write(world.home / inside / ID / "artifacts", "precious", 1_000)
    (world.root / "link").symlink_to("0")
    (world.root / "out").symlink_to(world.home / "outside")
    (world.root / "linked" / ID).mkdir(parents=True)
    (world.root / "linked" / ID / "artifacts").symlink_to(world.home / "outside" / ID)
    world.cycle()
    return world


def everything(world: World) -> Tree:
    """Read all files of the world but the databases."""
    found = tree(world.home)
    return {name: data for name, data in found.items() if ".db" not in name}


def hostile(world: World, uri: Value) -> Run:
    """Add an active run with an odd URI, and files where MLflow would have put them."""
    if isinstance(uri, str):
        uri = uri.format(id=ID, other=OTHER, home=world.home, root=world.root)
    run = world.run({"model/weights": 100}, id_=ID, uri=uri)
    world.cycle()
    return run


def test_odd_uri_is_kept_and_told_once(bystanders: World, odd: Odd) -> None:
    """Nothing moves anywhere, and the reason is told once, whatever is started and stopped."""
    world = bystanders
    run = hostile(world, odd.uri)
    before = everything(world)

    world.delete(run)
    for _ in range(2):
        world.cycle()
        world.restart()
    world.cycle()

    assert everything(world) == before
    assert world.history(run) == ["kept"]
    assert (world.kept_because(run) or "").startswith(odd.reason)


def test_odd_uri_stops_no_other_run(bystanders: World, odd: Odd) -> None:
    """Beside a hostile run every other deleted run is cleaned up."""
    world = bystanders
    run, good = hostile(world, odd.uri), world.run({"a": 1})
    world.cycle()
    world.delete(run, good)
    world.cycle()

    assert world.bytes_in_trash(good) == 1


def test_odd_uri_of_a_run_that_vanished_is_kept(bystanders: World, odd: Odd) -> None:
    """A hostile run whose row is gone is judged by what was known of it, no differently."""
    world = bystanders
    run = hostile(world, odd.uri)
    before = everything(world)

    world.hard_delete(run)
    world.cycle()
    world.cycle()

    assert everything(world) == before
    assert world.history(run) == ["kept"]


def test_odd_uri_of_a_live_run_disturbs_nothing(bystanders: World, odd: Odd) -> None:
    """A live run may say what it likes: others are cleaned up, unless it says their place."""
    world = bystanders
    hostile(world, odd.uri)
    elsewhere = world.run({"a": 1}, id_=run_id(5), experiment="5")
    world.cycle()
    world.delete(elsewhere)
    world.cycle()

    claims_everything = {"/", ".", "{root}", "mlflow-artifacts:/"}
    assert world.bytes_in_trash() == (0 if odd.uri in claims_everything else 1)


def test_directory_swapped_for_a_link_after_the_verdict_is_not_followed(world: World) -> None:
    """A run's directory that becomes a link to elsewhere right before the move is left alone."""
    run, victim = world.run(), world.run({"a": 1_000})
    world.cycle()
    world.delete(run)

    def swap() -> None:
        run.place.parent.rename(world.home / "aside")
        run.place.parent.symlink_to(victim.place.parent)

    world.faults.before("quarantine", swap)
    world.cycle()

    assert world.bytes_at(victim) == 1_000
    assert world.bytes_at(world.home / "aside") == 10
    assert world.bytes_in_trash() == 0


def test_links_inside_a_run_are_moved_and_purged_as_links(world: World) -> None:
    """Where a run's own files are links, they go and what they lead to stays."""
    outside = world.home / "outside"
    world.write(outside, "precious", 1_000)
    run = world.run({"a": 10})
    (run.place / "file").symlink_to(outside / "precious")
    (run.place / "directory").symlink_to(outside)
    before = world.files_at(run)
    world.cycle()

    world.delete(run)
    world.cycle()
    assert [one.files for one in world.trash()] == [before]

    world.advance(days=7)
    world.cycle()
    assert world.trash() == []
    assert world.bytes_at(outside) == 1_000


def test_link_that_takes_the_place_of_a_quarantined_run_is_not_followed(world: World) -> None:
    """Restoring never writes through a link that has come to lie at the origin."""
    outside = world.home / "outside"
    outside.mkdir()
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    run.place.parent.mkdir()
    run.place.symlink_to(outside)

    world.undelete(run)
    world.cycle()

    assert os.listdir(outside) == []
    assert world.bytes_in_trash(run) == 10
    assert "conflict" in world.history(run)


@pytest.mark.parametrize(
    "id_",
    [
        "m-" + "a" * 32,
        "A" * 32,
        "run with spaces",
        "läuft",
        "-rf",
        "artifacts",
        "0",
        ".hidden",
        "x" * 32,
        "a'; DROP TABLE runs; --",
        "*",
    ],
)
def test_run_with_an_odd_id_lives_like_any_other(world: World, id_: str) -> None:
    """Ids that MLflow does not make today: quarantined, restored and purged all the same."""
    run, other = world.run(id_=id_), world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.undelete(run)
    world.cycle()
    assert world.bytes_at(run) == 10

    world.delete(run)
    world.cycle()
    world.advance(days=7)
    world.cycle()
    assert world.ledger.items.freed().bytes == 10
    assert world.bytes_at(other) == 10


@pytest.mark.parametrize(
    ("id_", "uri"),
    [
        ("..", "mlflow-artifacts:/0/artifacts"),
        (".", "mlflow-artifacts:/0/./artifacts"),
        ("", "mlflow-artifacts:/0//artifacts"),
        ("0/1", "mlflow-artifacts:/0/1/artifacts"),
        (".mlflow-cleanup", "mlflow-artifacts:/.mlflow-cleanup/artifacts"),
    ],
)
def test_id_that_is_no_directory_name_is_kept(world: World, id_: str, uri: str) -> None:
    """Ids that would lead elsewhere as a path component match no place at all."""
    world.write(world.root / "0/artifacts", "precious", 100)
    world.write(world.root / "0/1/artifacts", "precious", 100)
    run = world.run({}, id_=id_, uri=uri)
    world.cycle()
    before = everything(world)

    world.delete(run)
    world.cycle()

    assert everything(world) == before
    assert world.history(run) == ["kept"]


def test_id_of_bytes_is_kept_and_told_once(world: World) -> None:
    """An id that is no text at all: kept, and nothing stumbles."""
    good = world.run()
    world.db.execute(
        "INSERT INTO runs (run_uuid, experiment_id, artifact_uri, lifecycle_stage) "
        "VALUES (x'FF00', 0, 'mlflow-artifacts:/0/x/artifacts', 'active'), "
        "(CAST(x'FFFE' AS TEXT), 0, 'mlflow-artifacts:/0/y/artifacts', 'active')"
    )
    world.cycle()
    world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    world.cycle()
    world.cycle()

    assert sorted(world.told()) == ["kept", "kept", "quarantined"]
    assert world.bytes_in_trash(good) == 10


def test_uri_that_is_no_text_is_kept_and_told_once(world: World) -> None:
    """Bytes that are not UTF-8 in a text column: kept, and the next cycles go on."""
    run = world.run({})
    world.db.execute(
        "UPDATE runs SET artifact_uri = CAST(x'2F6F7574FF' AS TEXT) WHERE run_uuid = ?", run.id
    )
    world.cycle()
    world.delete(run)
    world.cycle()
    world.cycle()

    assert world.history(run) == ["kept"]


@pytest.mark.parametrize("length", [255, 10_000])
def test_place_of_a_name_too_long_to_be_there_is_told_once(world: World, length: int) -> None:
    """A directory of its own whose path no file system can hold is told of once."""
    uri = "mlflow-artifacts:/" + "x" * length + f"/{ID}/artifacts"
    run = hostile(world, uri)
    world.delete(run)
    for _ in range(4):
        world.cycle()

    assert len(world.history(run)) == 1
    assert world.bytes_at(run) == 100


def test_directory_that_cannot_be_moved_is_told_once_and_tried_again_later(world: World) -> None:
    """A file where the run's directory belongs: told once, tried again, not in every cycle."""
    run = world.run({})
    run.place.parent.mkdir(parents=True)
    run.place.write_bytes(b"x")
    world.cycle()
    world.delete(run)
    for _ in range(10):
        world.advance(seconds=2)
        world.cycle()
    assert world.history(run) == ["failed"]
    assert world.faults.calls["quarantine"] <= 2

    run.place.unlink()
    world.write(run, "model.bin", 10)
    world.advance(hours=6)
    world.cycle()
    assert world.bytes_in_trash(run) == 10


def test_world_is_full_of_traps(bystanders: World) -> None:
    """The bystanders are where the URIs above lead: without that, this file would test nothing."""
    root = bystanders.root
    assert (root / "out" / ID / "artifacts").is_dir()
    assert Path(f"{root}-backup", ID, "artifacts/precious").is_file()
    assert (root / "linked" / ID / "artifacts" / "artifacts/precious").is_file()
