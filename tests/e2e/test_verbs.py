from __future__ import annotations

import pytest

from tests.kit.programs import until
from tests.kit.rest import Run
from tests.kit.server import Site

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


def test_status_shows_the_running_monitor(served: Site) -> None:
    """`status` names the monitor, database, roots and amounts, as text and as JSON alike."""
    run = _deleted(served)

    text, values = served.say("status"), served.say("status", "--json")

    assert (text.code, values.code) == (0, 0)
    told = values.json()
    assert told["watching"]["database"] == str(served.database)
    assert told["watching"]["is_stopped"] is False
    assert str(served.root) in {root["path"] for root in told["roots"]}
    assert told["items"]["quarantined"]["bytes"] >= 110
    assert told["refused_plan"] is None
    assert told["failed"] == []
    assert f"monitor      {told['running']}" in text.out
    assert str(served.database) in text.out
    assert run.id in {item["run_id"] for item in served.held()}


def test_trash_list_shows_what_the_trash_holds(served: Site) -> None:
    """`trash list` has each item with its run, size and origin, as text and as JSON alike."""
    run = _deleted(served)

    text, values = served.say("trash", "list"), served.say("trash", "list", "--json")

    assert (text.code, values.code) == (0, 0)
    (item,) = (item for item in values.json() if item["run_id"] == run.id)
    assert item["origin"] == str(served.place_of(run) / "artifacts")
    assert (item["state"], item["files"], item["bytes"]) == ("quarantined", 2, 110)
    assert item["purge_at"] > item["quarantined_at"]
    (row,) = (row for row in text.out.splitlines() if f"  {run.id}  " in row)
    assert run.name in row
    assert "110 B" in row


@pytest.mark.parametrize("as_json", [False, True])
def test_restore_by_hand_gives_the_files_back_to_a_run_that_stays_deleted(
    served: Site, as_json: bool
) -> None:
    """`restore` has the running monitor put the files back, and they are then left alone."""
    run = served.tracking.log_run(FILES)
    before = served.tree(run)
    _delete(served, run)

    said = served.say("restore", run.id, *(["--json"] if as_json else []))

    assert said.code == 0
    assert served.tree(run) == before
    assert served.tracking.stage(run) == "deleted"
    assert served.events(run) == ["quarantined", "restored"]
    if as_json:
        (item,) = said.json()["items"]
        assert (item["run_id"], item["state"]) == (run.id, "restored")
        assert "mlflow-cleanup monitor" in said.json()["done_by"]
    else:
        assert f"run {run.id}: restored" in said.out
    # Whatever else is deleted now, this one is not taken again.
    _deleted(served)
    assert served.tree(run) == before


@pytest.mark.parametrize("as_json", [False, True])
def test_purge_by_hand_frees_the_named_runs_only(served: Site, as_json: bool) -> None:
    """`trash purge RUN --yes` has the running monitor remove that run's bytes and nobody else's."""
    run, other = _deleted(served), _deleted(served)

    said = served.say("trash", "purge", run.id, "--yes", *(["--json"] if as_json else []))

    assert said.code == 0
    held = {item["run_id"] for item in served.held()}
    assert run.id not in held
    assert other.id in held
    assert served.events(run) == ["quarantined", "purged"]
    if as_json:
        (item,) = said.json()["items"]
        assert (item["run_id"], item["state"]) == (run.id, "purged")
    else:
        assert f"run {run.id}: purged" in said.out


@pytest.mark.parametrize(
    "words", [["--all"], ["{run}"], [], ["--all", "{run}"], ["--all", "--json"]]
)
def test_purge_without_yes_and_without_a_terminal_is_refused(
    served: Site, words: list[str]
) -> None:
    """Nobody to ask, or nothing named clearly: exit code 2, and nothing was purged."""
    run = _deleted(served)

    said = served.say("trash", "purge", *(word.format(run=run.id) for word in words))

    assert said.code == 2
    assert "nothing was purged" in said.err.lower()
    assert said.out == ""
    assert run.id in {item["run_id"] for item in served.held()}


def test_history_tells_what_was_done(served: Site) -> None:
    """`history RUN` lists what happened to a run in order, as text and as JSON alike."""
    run = _deleted(served)
    served.tracking.restore(run)
    until(lambda: "restored" in served.events(run), "the run is back")

    text, values = served.say("history", run.id), served.say("history", run.id, "--json")

    assert (text.code, values.code) == (0, 0)
    told = values.json()
    assert [item["event"] for item in told] == ["quarantined", "restored"]
    assert {item["run_id"] for item in told} == {run.id}
    assert told[0]["at"] <= told[1]["at"]
    assert [line.split()[2] for line in text.out.splitlines()] == ["quarantined", "restored"]


def test_doctor_finds_nothing_bad_in_a_plain_setup(served: Site) -> None:
    """`doctor` looks at database, schema, roots, ledger and monitor, as text and as JSON alike."""
    text, values = served.say("doctor"), served.say("doctor", "--json")

    assert (text.code, values.code) == (0, 0)
    levels = {item["subject"]: item["level"] for item in values.json()}
    assert "bad" not in levels.values()
    assert {"database", "schema", "ledger", "monitor", f"root {served.root}"} <= set(levels)
    assert levels["monitor"] == "good"
    assert len(text.out.splitlines()) == len(values.json())


@pytest.mark.parametrize("verb", [["restore"], ["trash", "purge", "--yes"]])
def test_unknown_run_id_among_others_is_told_and_nothing_changes(
    served: Site, verb: list[str]
) -> None:
    """Where one of the named runs is not in the trash, exit code 2 says so and none is touched."""
    run = _deleted(served)

    said = served.say(*verb, run.id, "f" * 32)

    assert said.code == 2
    assert f"nothing in the trash for {'f' * 32}; nothing was changed" in said.err
    assert served.events(run) == ["quarantined"]


def test_purge_of_everything_empties_the_trash(served: Site) -> None:
    """`trash purge --all --yes` removes all that is held, on the disk too."""
    runs = [_deleted(served) for _ in range(3)]

    said = served.say("trash", "purge", "--all", "--yes")

    assert said.code == 0
    assert [served.events(run) for run in runs] == [["quarantined", "purged"]] * 3
    assert served.held() == []
    assert served.trash() == []
    assert "the trash is empty" in served.say("trash", "list").out


def _deleted(site: Site) -> Run:
    """Make a run with artifacts, delete it, and wait until it is in the trash."""
    run = site.tracking.log_run(FILES)
    _delete(site, run)
    return run


def _delete(site: Site, run: Run) -> None:
    site.tracking.delete(run)
    until(lambda: run.id in {item["run_id"] for item in site.held()}, "the run is in the trash")
    until(lambda: site.events(run), "its history")
