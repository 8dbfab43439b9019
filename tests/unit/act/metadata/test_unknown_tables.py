"""Tables that MLflow does not have: what their keys say is done, or their entity stays."""

from __future__ import annotations

import pytest

from mlflow_cleanup.act.metadata import Outcome, Pace, Result, TargetKind, remove_rows, vacuum
from mlflow_cleanup.act.metadata.targets import NOT_LET_GO
from mlflow_cleanup.errors import TrackingUnwritable
from tests.kit.rows import Filled, World

RUN = TargetKind.RUN
ONE_BY_ONE = Pace(hold_s=1e-6, rest_s=0.0, quiet_hold_s=1e-6)


@pytest.fixture
def filled(in_sqlite: Filled) -> Filled:
    """A database of SQLite: its tables can be of kinds that servers do not have."""
    return in_sqlite


def plug_in(filled: Filled, *definition: str) -> World:
    """Add tables, and a row in `plug_in` for each of two runs; returns the deleted one's world."""
    for statement in definition:
        filled.file.execute(statement)
    world = filled.world(2, "deleted")
    other = filled.world(3, "deleted")
    for one in (world, other):
        filled.file.execute("INSERT INTO plug_in (id, run) VALUES (?, ?)", one.number, one.run)
    return world


def remove(filled: Filled, world: World) -> Outcome:
    """Remove the run; whatever becomes of it, no key may be broken then."""
    (outcome,) = remove_rows(filled.database, [filled.target(RUN, world)])
    assert filled.broken_keys() == []
    return outcome


def rows(filled: Filled, name: str = "plug_in") -> list[tuple[object, ...]]:
    """Read a plug-in's table."""
    return list(filled.file.execute(f"SELECT * FROM {name} ORDER BY 1"))


@pytest.mark.parametrize("index", ["", "CREATE INDEX i ON plug_in (run)"])
def test_cascade_goes_along(filled: Filled, index: str) -> None:
    """With an index and without."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR "
        "REFERENCES runs (run_uuid) ON DELETE CASCADE)",
        *([index] if index else []),
    )
    assert remove(filled, world).result is Result.REMOVED
    assert [row[0] for row in rows(filled)] == [3]


@pytest.mark.parametrize("index", ["", "CREATE INDEX i ON plug_in (run)"])
def test_set_null_stays_and_names_nothing(filled: Filled, index: str) -> None:
    """With an index and without."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR "
        "REFERENCES runs ON DELETE SET NULL)",
        *([index] if index else []),
    )
    assert remove(filled, world).result is Result.REMOVED
    assert rows(filled) == [(2, None), (3, f"{3:032x}")]


@pytest.mark.parametrize("action", ["", "ON DELETE RESTRICT", "ON DELETE SET DEFAULT"])
@pytest.mark.parametrize("columns", ["id INTEGER PRIMARY KEY, run", "id INTEGER, run PRIMARY KEY"])
def test_any_other_word_keeps_the_run(filled: Filled, action: str, columns: str) -> None:
    """Nobody knows what such rows are worth; without the row the run goes."""
    name, _, key = columns.partition(", run")
    world = plug_in(
        filled, f"CREATE TABLE plug_in ({name}, run VARCHAR {key} REFERENCES runs {action})"
    )
    before = filled.content()
    outcome = remove(filled, world)
    assert outcome.reason == "rows of table plug_in refer to it, by run"
    assert filled.content() == before

    filled.file.execute("DELETE FROM plug_in WHERE run = ?", world.run)
    assert remove(filled, world).result is Result.REMOVED
    assert [row[0] for row in rows(filled)] == [3]


def test_set_null_where_null_may_not_be_keeps_the_run(filled: Filled) -> None:
    """The database itself would refuse it, in words that help nobody."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR NOT NULL "
        "REFERENCES runs ON DELETE SET NULL)",
    )
    assert remove(filled, world).reason == "rows of table plug_in refer to it, by run"


def test_what_hangs_on_a_plug_ins_rows_goes_first(filled: Filled) -> None:
    """Down a chain of cascades, each without an index."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR "
        "REFERENCES runs ON DELETE CASCADE)",
        "CREATE TABLE part (name TEXT, of INTEGER REFERENCES plug_in (id) ON DELETE CASCADE)",
    )
    filled.file.execute("INSERT INTO part VALUES ('mine', 2), ('other', 3)")
    assert remove(filled, world).result is Result.REMOVED
    assert rows(filled, "part") == [("other", 3)]


def test_what_refuses_down_a_chain_keeps_the_run(filled: Filled) -> None:
    """And the rows in between."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR "
        "REFERENCES runs ON DELETE CASCADE)",
        "CREATE TABLE part (name TEXT, of INTEGER REFERENCES plug_in (id))",
    )
    filled.file.execute("INSERT INTO part VALUES ('mine', 2)")
    before = filled.content()
    assert remove(filled, world).reason == "rows of table part refer to it, by of"
    assert filled.content() == before


def test_a_circle_of_tables_keeps_what_is_in_it(filled: Filled) -> None:
    """A tree in one table: a row that others of it name stays, a leaf goes."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER PRIMARY KEY, run VARCHAR REFERENCES runs "
        "ON DELETE CASCADE, above INTEGER REFERENCES plug_in (id) ON DELETE CASCADE)",
    )
    filled.file.execute("UPDATE plug_in SET above = 2 WHERE id = 3")
    assert remove(filled, world).result is Result.KEPT
    filled.file.execute("UPDATE plug_in SET above = 3 WHERE id = 2")
    filled.file.execute("UPDATE plug_in SET above = NULL WHERE id = 3")
    assert remove(filled, world).result is Result.REMOVED
    assert [row[0] for row in rows(filled)] == [3]


def test_a_key_of_several_columns_is_matched_by_all(filled: Filled) -> None:
    """A row that agrees in one of them only is somebody else's."""
    world = plug_in(
        filled,
        "CREATE TABLE plug_in (id INTEGER, run VARCHAR, key VARCHAR DEFAULT 'tags key 2', "
        "FOREIGN KEY (key, run) REFERENCES tags (key, run_uuid) ON DELETE CASCADE)",
        "CREATE TABLE bystander (a)",
    )
    filled.file.execute("UPDATE plug_in SET key = 'tags key 3' WHERE id = 3")
    assert remove(filled, world).result is Result.REMOVED
    assert [row[0] for row in rows(filled)] == [3]


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE TABLE plug_in (id INTEGER, run VARCHAR REFERENCES runs ON DELETE CASCADE, "
        "PRIMARY KEY (id)) WITHOUT ROWID",
        "CREATE TABLE plug_in (rowid, run VARCHAR REFERENCES runs ON DELETE CASCADE)",
        "CREATE TABLE plug_in (id INTEGER, run VARCHAR REFERENCES runs (no_column) "
        "ON DELETE CASCADE)",
    ],
)
def test_what_cannot_be_followed_keeps_every_run(filled: Filled, definition: str) -> None:
    """A key that does not fit, or a table that can be looked through only as a whole."""
    filled.file.execute(definition)
    world = filled.world(2, "deleted", without=["plug_in"])
    before = filled.content()
    (outcome,) = remove_rows(filled.database, [filled.target(RUN, world)])
    assert outcome.result is Result.KEPT
    assert "plug_in" in outcome.reason
    assert filled.content() == before


@pytest.mark.parametrize(
    "name", ['a "quoted" one', "select", "plug'in", "ünï", "per%cent :colon ?"]
)
def test_names_are_only_names(filled: Filled, name: str) -> None:
    """Tables and columns may be called anything."""
    quoted = '"' + name.replace('"', '""') + '"'
    filled.file.execute(
        f"CREATE TABLE {quoted} ({quoted} VARCHAR REFERENCES runs ON DELETE CASCADE)"
    )
    world, other = (
        filled.world(2, "deleted", without=[name]),
        filled.world(3, "active", without=[name]),
    )
    for one in (world, other):
        filled.file.execute(f"INSERT INTO {quoted} VALUES (?)", one.run)
    assert remove(filled, world).result is Result.REMOVED
    assert filled.file.execute(f"SELECT * FROM {quoted}") == [(other.run,)]


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE VIEW plug_in AS SELECT run_uuid FROM runs",
        "CREATE VIRTUAL TABLE plug_in USING fts5 (run)",
        "CREATE TABLE plug_in (run VARCHAR, twice AS (run || run) VIRTUAL)",
        "CREATE INDEX plug_in ON runs (lower(name)) WHERE status = 'FAILED'",
        "CREATE TRIGGER plug_in AFTER DELETE ON tags BEGIN UPDATE params SET value = 1; END",
        "CREATE TABLE plug_in (run VARCHAR REFERENCES no_table ON DELETE CASCADE)",
    ],
)
def test_whatever_else_a_database_has_stands_in_nobodys_way(
    filled: Filled, definition: str
) -> None:
    """Views, virtual tables, columns that are computed, keys that lead nowhere."""
    filled.file.execute(definition)
    world = filled.world(2, "deleted", without=["plug_in", "plug_in_data", "plug_in_idx"])
    (outcome,) = remove_rows(filled.database, [filled.target(RUN, world)])
    assert outcome.result is Result.REMOVED
    assert filled.file.execute("SELECT * FROM metrics") == []


def test_tables_and_columns_are_named_in_any_case(filled: Filled) -> None:
    """As SQLite itself reads them."""
    world = plug_in(
        filled, "CREATE TABLE Plug_In (ID, Run REFERENCES RUNS (Run_UUID) ON DELETE CASCADE)"
    )
    assert remove(filled, world).result is Result.REMOVED
    assert [row[0] for row in rows(filled)] == [3]


def test_a_trigger_that_refuses_keeps_only_its_run(filled: Filled) -> None:
    """What the database does not let go stays altogether; the rest of the batch goes."""
    worlds = [filled.world(number, "deleted") for number in range(2, 6)]
    filled.file.execute(
        "CREATE TRIGGER keeps BEFORE DELETE ON runs WHEN old.run_uuid LIKE '%3' "
        "BEGIN SELECT RAISE(ABORT, 'not this one, it is locked'); END"
    )
    targets = [filled.target(RUN, world) for world in worlds]
    outcomes = {item.target.id: item.reason for item in remove_rows(filled.database, targets)}
    assert [bool(outcomes[world.run]) for world in worlds] == [False, True, False, False]
    assert outcomes[worlds[1].run] == "not this one, it is locked"
    assert [row[0] for row in filled.file.execute("SELECT run_uuid FROM metrics")] == [
        worlds[1].run
    ]


def test_a_trigger_that_takes_everything_back_ends_it(filled: Filled) -> None:
    """Nothing of its batch is told as removed, and nothing is removed outside of a batch."""
    worlds = [filled.world(number, "deleted") for number in range(2, 6)]
    filled.file.execute(
        "CREATE TRIGGER ends BEFORE DELETE ON runs WHEN old.run_uuid LIKE '%4' "
        "BEGIN SELECT RAISE(ROLLBACK, 'no way'); END"
    )
    before = filled.content()
    outcomes = remove_rows(filled.database, [filled.target(RUN, world) for world in worlds])
    with pytest.raises(TrackingUnwritable, match="no way"):
        next(outcomes)
    assert filled.content() == before


def test_a_trigger_that_ignores_keeps_its_run_whole(filled: Filled) -> None:
    """A delete that did nothing, without a word, is noticed: none of the run's rows go."""
    world = filled.world(2, "deleted")
    filled.file.execute(
        "CREATE TRIGGER keeps BEFORE DELETE ON runs BEGIN SELECT RAISE(IGNORE); END"
    )
    before = filled.content()
    assert remove(filled, world).reason == NOT_LET_GO
    assert filled.content() == before


def test_tables_changed_meanwhile_end_it(filled: Filled) -> None:
    """What hangs on what could be another thing now: nothing more is removed."""
    worlds = [filled.world(number, "deleted") for number in range(2, 6)]
    targets = [filled.target(kind, world) for kind in (RUN, TargetKind.TRACE) for world in worlds]
    outcomes = remove_rows(filled.database, targets)
    next(outcomes)
    filled.file.execute("CREATE TABLE plug_in (run VARCHAR REFERENCES runs)")
    before = filled.content()
    with pytest.raises(TrackingUnwritable, match="changed meanwhile"):
        list(outcomes)
    assert filled.content() == before


def test_a_vacuum_meanwhile_ends_nothing(filled: Filled) -> None:
    """It leaves the tables the same; only rows of one without any index get other numbers."""
    filled.file.execute("CREATE TABLE plug_in (id, run REFERENCES runs ON DELETE CASCADE)")
    worlds = [filled.world(number, "deleted", without=["plug_in"]) for number in range(2, 8)]
    runs, last = [world.run for world in worlds], worlds[-1].run
    for number, run in enumerate(["", *runs]):
        filled.file.execute("INSERT INTO plug_in VALUES (?, ?)", number, run or None)
    targets = [filled.target(RUN, world) for world in worlds]
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    filled.file.execute("DELETE FROM plug_in WHERE run IS NULL")
    filled.file.execute("CREATE TABLE large AS SELECT zeroblob(100000)")
    filled.file.execute("DROP TABLE large")
    vacuum(filled.database)
    # The number that the last row had is given again, and to a row that says the same.
    filled.file.execute("INSERT INTO plug_in VALUES (10, ?), (11, ?)", last, last)
    assert filled.file.execute("SELECT max(rowid) FROM plug_in") == [(7,)]
    for outcome in outcomes:
        assert outcome.result is Result.REMOVED
        assert filled.broken_keys() == []
    assert rows(filled) == []
