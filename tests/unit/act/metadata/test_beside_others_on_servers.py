"""Two clients at once on a server: what another is doing is waited for, seen, and never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mlflow_cleanup.act.metadata import (
    CHANGED,
    Outcome,
    Pace,
    Result,
    Target,
    TargetKind,
    remove_rows,
)
from mlflow_cleanup.act.metadata.servers import removal
from mlflow_cleanup.act.metadata.targets import LOCKED
from mlflow_cleanup.errors import DatabaseBusy, TrackingUnwritable
from tests.kit.rows import DELETED_MS, World
from tests.kit.served import Served, Talk

SERVERS = ("postgresql", "mariadb")
RUN, EXPERIMENT, TRACE = TargetKind.RUN, TargetKind.EXPERIMENT, TargetKind.TRACE
GUARDS = ("guardrails", "guardrail_configs")
PACE = Pace(hold_s=0.1, rest_s=0.0, quiet_hold_s=0.1, wait_s=1.0)
WAITS_S = 30.0


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A database of the newest release on a server."""
    made = Served(request.getfixturevalue(request.param))
    yield made
    made.release()


@contextmanager
def transaction(served: Served) -> Iterator[Talk]:
    """Open a transaction of another client's, which ends when it says so."""
    with closing(served.served.server.connection(served.served.name)) as connection:
        talk = Talk(connection)
        if served.served.kind == "mysql":
            talk.execute("SET check_constraint_checks = 0")  # no value of the tests is one of them
        talk.execute("BEGIN")
        yield talk


@dataclass
class Removal:
    """A removal in a thread of its own."""

    served: Served
    targets: list[Target]
    outcomes: list[Outcome] = field(default_factory=list)
    told: list[DatabaseBusy] = field(default_factory=list)
    trouble: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Remove."""
        try:
            found = remove_rows(
                self.served.database, self.targets, tell=self.told.append, pace=PACE
            )
            self.outcomes += found
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.trouble.append(error)

    @property
    def results(self) -> dict[str, str]:
        """What became of each, with the reason where it stays."""
        assert self.trouble == []
        return {one.target.id: one.reason or one.result.value for one in self.outcomes}


@contextmanager
def removing(served: Served, *targets: Target) -> Iterator[Removal]:
    """Remove beside what is done inside, and wait for the end."""
    made = Removal(served, list(targets))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        thread.join(WAITS_S)
    assert not thread.is_alive()


def wait_until_blocked(served: Served) -> None:
    """Wait until some connection waits for a lock of another one."""
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity "
        f"WHERE wait_event_type = 'Lock' AND datname = '{served.served.name}'",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }[served.served.kind]
    ticks = threading.Event()
    # InnoDB answers from a copy that it makes anew only when nobody asked for a tenth of a second.
    for _ in range(int(WAITS_S / 0.15)):
        if served.served.execute(query) != [(0,)]:
            return
        ticks.wait(0.15)
    raise AssertionError("nobody waits")


def held_at(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Do something right before a step of the removal, once, while it has its locks."""
    original: Callable[..., Any] = getattr(removal.Remover, name)
    left = [act]

    def first(self: removal.Remover, *given: Any) -> Any:  # noqa: ANN401 - whatever it takes
        if left:
            left.pop()()
        return original(self, *given)

    monkeypatch.setattr(removal.Remover, name, first)


def deleted(served: Served, *numbers: int) -> list[World]:
    """Fill deleted worlds."""
    return [served.world(number, "deleted", without=GUARDS) for number in numbers]


def test_a_run_being_restored_right_now_stays(served: Served) -> None:
    """The restore is waited for, and seen though it was not committed when the removal began."""
    (world,) = deleted(served, 2)
    before = served.content()
    with transaction(served) as other:
        other.execute(
            "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = ?",
            (world.run,),
        )
        with removing(served, served.target(RUN, world)) as done:
            wait_until_blocked(served)
            other.execute("COMMIT")
    assert done.results == {world.run: CHANGED}
    after = served.content()
    assert {name for name in before if before[name] != after[name]} == {"runs"}
    assert len(after["runs"]) == 1


def test_a_restore_that_comes_too_late_finds_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the removal is committed, and restores no half of a run."""
    (world,) = deleted(served, 2)
    restored: list[int] = []

    def restore() -> None:
        with closing(served.served.server.connection(served.served.name)) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = %s", (world.run,)
            )
            restored.append(cursor.rowcount)

    thread = threading.Thread(target=restore)

    def begin() -> None:
        thread.start()
        wait_until_blocked(served)

    held_at(monkeypatch, "_take", begin)
    with removing(served, served.target(RUN, world)) as done:
        pass
    thread.join(WAITS_S)
    assert done.results == {world.run: "removed"}
    assert restored == [0]
    assert served.broken_keys() == []
    assert served.content()["metrics"] == set()


@pytest.mark.parametrize("kind", [RUN, TRACE])
def test_an_experiment_being_restored_right_now_keeps_what_goes_with_it(
    served: Served, kind: TargetKind
) -> None:
    """Its traces are deleted only as it is; its runs have a stage of their own."""
    (world,) = deleted(served, 2)
    before = served.content()["trace_info"]
    with transaction(served) as other:
        other.execute("UPDATE experiments SET lifecycle_stage = 'active'")
        other.execute("UPDATE runs SET lifecycle_stage = 'active'")
        with removing(served, served.target(kind, world)) as done:
            wait_until_blocked(served)
            other.execute("COMMIT")
    assert set(done.results.values()) == {CHANGED}
    assert served.content()["trace_info"] == before


def test_an_experiment_cannot_be_restored_while_its_traces_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would come back without them; the restore waits its turn."""
    (world,) = deleted(served, 2)
    order: list[str] = []

    def restore() -> None:
        served.served.execute("UPDATE experiments SET lifecycle_stage = 'active'")
        order.append("restored")

    thread = threading.Thread(target=restore)

    def begin() -> None:
        thread.start()
        wait_until_blocked(served)
        order.append("removing")

    held_at(monkeypatch, "_take", begin)
    with removing(served, served.target(TRACE, world)) as done:
        pass
    thread.join(WAITS_S)
    assert (set(done.results.values()), order) == ({"removed"}, ["removing", "restored"])


def test_a_metric_being_logged_right_now_goes_along(served: Served) -> None:
    """MLflow lets a client log to a deleted run: the row is waited for, and then it is seen."""
    (world,) = deleted(served, 2)
    with transaction(served) as other:
        row = served._row("metrics", world, {"key": "late"})
        columns = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        other.execute(f"INSERT INTO metrics ({columns}) VALUES ({marks})", tuple(row.values()))
        with removing(served, served.target(RUN, world)) as done:
            wait_until_blocked(served)
            other.execute("COMMIT")
    assert done.results == {world.run: "removed"}
    assert served.content()["metrics"] == set()
    assert served.broken_keys() == []


def test_a_metric_logged_while_its_run_goes_is_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client waits, and then hears that there is no such run."""
    (world,) = deleted(served, 2)
    heard: list[str] = []

    def log() -> None:
        try:
            served.add("metrics", {"key": "late"}, world)
        except Exception as error:  # noqa: BLE001 - of either driver
            heard.append(type(error).__name__)

    thread = threading.Thread(target=log)

    def begin() -> None:
        thread.start()
        wait_until_blocked(served)

    held_at(monkeypatch, "_take", begin)
    with removing(served, served.target(RUN, world)) as done:
        pass
    thread.join(WAITS_S)
    assert done.results == {world.run: "removed"}
    assert heard in (["ForeignKeyViolation"], ["IntegrityError"])
    assert served.broken_keys() == []


def test_a_living_models_metric_being_logged_right_now_keeps_its_run(served: Served) -> None:
    """The row was not committed when the removal began, and is asked for after it was."""
    (world,) = deleted(served, 2)
    living = served.world(9, "active")
    with transaction(served) as other:
        other.execute(
            "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, "
            "metric_step, experiment_id, run_id) VALUES (?, 'm', 1, 1, ?, ?)",
            (living.model, living.experiment, world.run),
        )
        with removing(served, served.target(RUN, world)) as done:
            wait_until_blocked(served)
            other.execute("COMMIT")
    assert done.results == {world.run: "metrics of a logged model that is not deleted name it"}
    assert len(served.content()["logged_model_metrics"]) == 3


def test_what_is_put_into_an_experiment_right_now_keeps_it(served: Served) -> None:
    """A run that another client is just creating there."""
    (world,) = deleted(served, 2)
    rest = [one for one in served.targets(world) if one.kind is not EXPERIMENT]
    list(remove_rows(served.database, rest))
    with transaction(served) as other:
        other.execute(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) VALUES ('new', ?, ?)",
            (world.experiment, "active"),
        )
        with removing(served, served.target(EXPERIMENT, world)) as done:
            wait_until_blocked(served)
            other.execute("COMMIT")
    assert done.results == {str(world.experiment): "a run in it is not deleted"}


def test_a_run_elsewhere_that_takes_up_a_dataset_keeps_its_experiment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key says so; whoever writes it must wait, or have been seen."""
    (world,) = deleted(served, 2)
    other = served.world(9, "active")
    rest = [one for one in served.targets(world) if one.kind is not EXPERIMENT]
    list(remove_rows(served.database, rest))
    order: list[str] = []

    def use() -> None:
        served.add(
            "inputs",
            {
                "input_uuid": "late",
                "source_type": "DATASET",
                "source_id": world.rows["datasets"][0]["dataset_uuid"],
                "destination_type": "RUN",
                "destination_id": other.run,
            },
            other,
        )
        order.append("used")

    thread = threading.Thread(target=use)

    def begin() -> None:
        thread.start()
        wait_until_blocked(served)
        order.append("removing")

    held_at(monkeypatch, "_remove", begin)
    with removing(served, served.target(EXPERIMENT, world)) as done:
        pass
    thread.join(WAITS_S)
    assert (done.results, order) == ({str(world.experiment): "removed"}, ["removing", "used"])


def test_a_guard_put_on_an_endpoint_meanwhile_is_not_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its foreign key would go down with the scorer: what it hangs on is locked before."""
    world = served.world(2, "deleted")
    rest = [one for one in served.targets(world) if one.kind is not EXPERIMENT]
    list(remove_rows(served.database, rest))
    row = served.content()["guardrail_configs"]
    served.served.execute("DELETE FROM guardrail_configs")
    heard: list[str] = []

    def guard() -> None:
        try:
            served.add("guardrail_configs", {}, world)
        except Exception as error:  # noqa: BLE001 - of either driver
            heard.append(type(error).__name__)

    thread = threading.Thread(target=guard)

    def begin() -> None:
        thread.start()
        wait_until_blocked(served)

    held_at(monkeypatch, "_remove", begin)
    with removing(served, served.target(EXPERIMENT, world)) as done:
        pass
    thread.join(WAITS_S)
    assert row
    assert done.results == {str(world.experiment): "removed"}
    # InnoDB may find a deadlock and tell the client to try again.
    assert heard in (["ForeignKeyViolation"], ["IntegrityError"], ["OperationalError"])
    assert served.broken_keys() == []


def test_a_forgotten_transaction_holds_up_its_own_run_only(served: Served) -> None:
    """It stays, with the reason, and all others go."""
    worlds = deleted(served, 2, 3, 4, 5)
    with transaction(served) as other:
        other.execute("UPDATE runs SET name = 'busy' WHERE run_uuid = ?", (worlds[1].run,))
        with removing(served, *(served.target(RUN, world) for world in worlds)) as done:
            pass
        other.execute("COMMIT")
    expected = dict.fromkeys((world.run for world in worlds), "removed")
    assert done.results == {**expected, worlds[1].run: LOCKED}
    assert done.told
    assert served.broken_keys() == []


def test_a_locked_table_is_waited_for(served: Served) -> None:
    """That is no word on any run: nothing is told until it is over."""
    worlds = deleted(served, 2, 3)
    lock, unlock = {
        "postgresql": ("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE", "COMMIT"),
        "mysql": ("LOCK TABLES runs WRITE", "UNLOCK TABLES"),
    }[served.served.kind]
    with transaction(served) as other:
        other.execute(lock)
        with removing(served, *(served.target(RUN, world) for world in worlds)) as done:
            ticks = threading.Event()
            while len(done.told) < 5:
                assert not ticks.wait(0.05)
            assert done.outcomes == []
            other.execute(unlock)
    assert set(done.results.values()) == {"removed"}


def test_nothing_of_a_run_goes_when_its_batch_is_broken_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the connection in the middle: all that was told stays told, no more."""
    worlds = deleted(served, 2, 3)
    before = served.content()
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE application_name = 'mlflow-cleanup' AND datname = '{served.served.name}'",
        "mysql": "SELECT id FROM information_schema.processlist "
        f"WHERE db = '{served.served.name}' AND id <> connection_id()",
    }[served.served.kind]

    def end() -> None:
        found = served.served.execute(kill)
        if served.served.kind == "mysql":
            for (number,) in found:
                served.served.execute(f"KILL {number!s}")

    held_at(monkeypatch, "_held", end)
    with removing(served, *(served.target(RUN, world) for world in worlds)) as done:
        pass
    (trouble,) = done.trouble
    assert isinstance(trouble, TrackingUnwritable)
    assert "s3cr" not in str(trouble)
    assert served.content() == before
    again = list(remove_rows(served.database, [served.target(RUN, world) for world in worlds]))
    assert {one.result for one in again} == {Result.REMOVED}


def test_a_plug_ins_trigger_that_raises_keeps_its_run(served: Served) -> None:
    """With what it says; the others go."""
    worlds = deleted(served, 2, 3)
    if served.served.kind == "postgresql":
        served.served.define(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$",
            "CREATE TRIGGER t BEFORE DELETE ON runs FOR EACH ROW "
            f"WHEN (old.run_uuid = '{worlds[0].run}') EXECUTE FUNCTION no()",
        )
    else:
        served.served.define(
            "CREATE TRIGGER t BEFORE DELETE ON runs FOR EACH ROW BEGIN IF old.run_uuid = "
            f"'{worlds[0].run}' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; "
            "END IF; END"
        )
    targets = [served.target(RUN, world) for world in worlds]
    reasons = {one.target.id: one.reason for one in remove_rows(served.database, targets)}
    assert "not this one" in reasons.pop(worlds[0].run)
    assert reasons == {worlds[1].run: ""}
    assert len(served.content()["metrics"]) == 1


@pytest.mark.parametrize("action", ["ON DELETE CASCADE", "ON DELETE SET NULL", ""])
def test_a_plug_ins_key_without_an_index_is_obeyed(served: Served, action: str) -> None:
    """What cascades goes, what sets NULL stays, and any other keeps its run."""
    worlds = deleted(served, 2, 3)
    served.served.define(
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR(32), "
        f"FOREIGN KEY (run) REFERENCES runs (run_uuid) {action})"
    )
    for number, world in enumerate(worlds):
        served.served.execute("INSERT INTO plug_in VALUES (?, ?)", number, world.run)
    (outcome,) = remove_rows(served.database, [served.target(RUN, worlds[0])])
    rows = {
        "ON DELETE CASCADE": [(1, worlds[1].run)],
        "ON DELETE SET NULL": [(0, None), (1, worlds[1].run)],
        "": [(0, worlds[0].run), (1, worlds[1].run)],
    }[action]
    assert served.served.execute("SELECT * FROM plug_in ORDER BY id") == rows
    assert (outcome.result is Result.KEPT) is (action == "")
    assert outcome.is_trouble is False


def test_a_key_that_came_after_the_first_look_keeps_its_run(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server itself refuses what was not foreseen."""
    (world,) = deleted(served, 2)
    before = served.content()["metrics"]

    def plug_in() -> bool:
        if not made:
            made.append(True)
            served.served.define(
                "CREATE TABLE plug_in (run VARCHAR(32), "
                "FOREIGN KEY (run) REFERENCES runs (run_uuid))"
            )
            served.served.execute("INSERT INTO plug_in VALUES (?)", world.run)
        return True

    made: list[bool] = []
    monkeypatch.setattr(
        "mlflow_cleanup.act.metadata.servers.job.take_down",
        _after(plug_in, "mlflow_cleanup.act.metadata.servers.job.take_down"),
    )
    (outcome,) = remove_rows(served.database, [served.target(RUN, world)])
    assert (outcome.result, outcome.is_trouble) == (Result.KEPT, True)
    assert "plug_in" in outcome.reason
    assert served.content()["metrics"] == before


def _after(act: Callable[[], object], path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    original = getattr(__import__(module, fromlist=[name]), name)

    def called(*given: Any) -> Any:  # noqa: ANN401 - whatever it takes
        act()
        return original(*given)

    return called


def test_time_and_stage_are_asked_for_again_in_the_end(served: Served) -> None:
    """A target decided on at another time is another delete."""
    (world,) = deleted(served, 2)
    (outcome,) = remove_rows(served.database, [Target(RUN, world.run, DELETED_MS + 1)])
    assert outcome == Outcome(outcome.target, Result.KEPT, CHANGED)
