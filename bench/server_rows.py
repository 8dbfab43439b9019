"""Removing rows on PostgreSQL and MariaDB: how fast, and how long a writer beside it waits.

On PostgreSQL also what its missing index on `logged_model_metrics.run_id` costs: the server itself
looks through that table for each run that goes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.kit.machine import environment, say
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL

METRICS = 50
_DELETED_MS = 1_700_000_000_000
_PROGRAM = Path(__file__).with_name("server_row_worker.py")
_ALONE_S = 3.0
_P99_MS = 20.0
_SPEED = {"mlflow-cleanup": "ours", "plain SQL": "floor", "MLflow's store, one by one": "mlflow"}
_MODEL_METRICS = 1_000_000
_RUNS_BESIDE_MODELS = 50

Server = PostgreSQL | MariaDB


def measure(lab: Lab) -> Result:
    """Remove 1,000 of 20,000 runs with 50 metrics each (quick: 200 of 2,000)."""
    runs, deleted, rounds = (2_000, 200, 1) if lab.is_quick else (20_000, 1_000, 3)
    series: list[Series] = []
    aims: list[Aim] = []
    with PostgreSQL.running() as postgresql, MariaDB.running() as mariadb:
        for name, server in (("PostgreSQL", postgresql), ("MariaDB", mariadb)):
            series += _speed(name, server, (runs, deleted, rounds))
            waits = _waits(name, server, (runs, deleted, rounds))
            series += waits
            aims.append(
                Aim(f"{name}: a writer's p99 beside it, ms", waits[1].quantile(0.99), _P99_MS)
            )
        series += _indexes(postgresql, _MODEL_METRICS // (10 if lab.is_quick else 1))
    about = f"{deleted} deleted of {runs} runs, {METRICS} metrics each, {rounds} rounds"
    return Result("server-rows", about, tuple(series), tuple(aims))


def _speed(name: str, server: Server, sizes: tuple[int, int, int]) -> list[Series]:
    took_s: dict[str, list[float]] = {contender: [] for contender in _SPEED}
    for number in range(sizes[2]):
        for contender, how in _SPEED.items():
            say(f"server-rows: {name}, round {number + 1} of {sizes[2]}, {contender}")
            with _filled(server, *sizes[:2]) as url:
                took_s[contender].append(_seconds(how, url))
    return [
        Series(f"{name}, s", contender, tuple(some), is_baseline=contender == "plain SQL")
        for contender, some in took_s.items()
    ]


def _waits(name: str, server: Server, sizes: tuple[int, int, int]) -> list[Series]:
    took_ms: dict[str, list[float]] = {
        "alone": [],
        "beside mlflow-cleanup": [],
        "beside plain SQL": [],
    }
    hows = {"beside mlflow-cleanup": "ours", "beside plain SQL": "floor"}
    for number in range(sizes[2]):
        for contender, some in took_ms.items():
            say(f"server-rows: {name}, round {number + 1} of {sizes[2]}, a writer {contender}")
            with _filled(server, *sizes[:2]) as url:
                writer = _start("write", url)
                _expect_ready(writer)
                how = hows.get(contender)
                if how is None:
                    _finish(_start("sleep", str(_ALONE_S)))
                else:
                    _seconds(how, url)
                some.extend(json.loads(_finish(writer, "stop\n")))
    return [
        Series(f"{name}, a metric, ms", contender, tuple(some), is_baseline=contender == "alone")
        for contender, some in took_ms.items()
    ]


def _indexes(server: PostgreSQL, metrics: int) -> list[Series]:
    """Measure a run's removal beside many metrics of logged models, as MLflow has it, and not."""
    found: list[Series] = []
    for contender, index in (
        ("as MLflow makes it", ""),
        ("with an index", "CREATE INDEX ON logged_model_metrics (run_id)"),
    ):
        say(f"server-rows: PostgreSQL, {metrics} metrics of logged models, {contender}")
        with _filled(server, 1_000, _RUNS_BESIDE_MODELS) as url:
            database = url.rpartition("/")[2]
            server.execute(
                "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, "
                "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage) "
                "VALUES ('m', 1, 'm', '', 1, 1, 2, 'active')",
                database,
            )
            server.execute(
                "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, "
                "metric_step, metric_value, experiment_id, run_id) SELECT 'm', 'loss', n, n, 1, 1, "
                f"lpad('0', 32, '0') FROM generate_series(1, {metrics}) n",
                database,
            )
            if index:
                server.execute(index, database)
            server.execute("ANALYZE", database)
            each_ms = _seconds("ours", url) * 1000 / _RUNS_BESIDE_MODELS
        group = f"PostgreSQL, {metrics:,} metrics of logged models, ms a run"
        found.append(Series(group, contender, (each_ms,), is_baseline=not index))
    return found


@contextmanager
def _filled(server: Server, runs: int, deleted: int) -> Iterator[str]:
    """Make a database with runs, whose ids are as spread as MLflow's; run 0 is never deleted."""
    name = server.new_database()
    is_postgresql = isinstance(server, PostgreSQL)
    numbers = (
        f"generate_series(0, {runs - 1}) AS n(i)"
        if is_postgresql
        else f"(SELECT seq AS i FROM seq_0_to_{runs - 1}) AS n"
    )
    steps = (
        f"generate_series(0, {METRICS - 1}) AS s(j)"
        if is_postgresql
        else f"(SELECT seq AS j FROM seq_0_to_{METRICS - 1}) AS s"
    )
    no = "false" if is_postgresql else "0"
    key = '"key"' if is_postgresql else "`key`"
    id_ = "CASE WHEN i = 0 THEN lpad('0', 32, '0') ELSE md5(CAST(i AS CHAR(9))) END"
    stage = f"CASE WHEN i BETWEEN 1 AND {deleted} THEN 'deleted' ELSE 'active' END"
    at = f"CASE WHEN i BETWEEN 1 AND {deleted} THEN {_DELETED_MS} END"
    for statement in (
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace) "
        "VALUES (1, 'e', 'active', 'default')",
        "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, deleted_time, artifact_uri) "
        f"SELECT {id_}, 1, {stage}, {at}, '' FROM {numbers}",
        f"INSERT INTO metrics ({key}, value, timestamp, run_uuid, step, is_nan) "
        f"SELECT 'loss', 0.5, {_DELETED_MS} + j, {id_}, j, {no} FROM {numbers}, {steps}",
        f"INSERT INTO latest_metrics ({key}, value, timestamp, step, is_nan, run_uuid) "
        f"SELECT 'loss', 0.5, {_DELETED_MS}, 49, {no}, {id_} FROM {numbers}",
        f"INSERT INTO params ({key}, value, run_uuid) SELECT 'p', '1', {id_} FROM {numbers}",
    ):
        server.execute(statement, name)
    if is_postgresql:
        server.execute("ANALYZE", name)
    try:
        yield server.url(name)
    finally:
        server.execute(f"DROP DATABASE {name}")


def _seconds(how: str, url: str) -> float:
    return float(_finish(_start(how, url)))


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_PROGRAM), *words],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _expect_ready(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or not process.stdout.readline():
        raise RuntimeError("the writer failed; its error is above")


def _finish(process: subprocess.Popen[str], said: str = "") -> str:
    output, _rest = process.communicate(said)
    if process.returncode:
        raise RuntimeError("a contender failed; its error is above")
    return output.splitlines()[-1] if output else ""
