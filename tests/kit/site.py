"""A directory with an MLflow in it, and monitors with real threads and clocks at work there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlflow_cleanup import Event, EventKind, MLflowDatabaseMonitor, Settings
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.tracking import TrackingDatabase
from mlflow_cleanup.report.status import status_values
from tests.kit.programs import until
from tests.kit.tracking_db import TrackingFile, run_id
from tests.kit.tracking_server import TrackingServer


class Site:
    """A directory with a tracking database, an artifact root, and the monitors started there."""

    def __init__(self, home: Path, db: TrackingServer | None = None) -> None:
        self.home = home
        self.root = home / "mlartifacts"
        self.root.mkdir()
        self.db: TrackingFile = db or TrackingFile.make(home / "mlflow.db")
        self.events: list[Event] = []
        self.monitors: list[MLflowDatabaseMonitor] = []
        self.settings = Settings(
            database=db.database if db else Database.of_file(str(self.db.path)),
            roots=(str(self.root),),
            artifacts_destination=str(self.root),
            working_directory=str(home),
            state_dir=home / ".mlflow-cleanup",
            poll_interval_s=0.05,
        )

    def place(self, number: int) -> Path:
        """Say where a run's artifacts lie."""
        return self.root / "0" / run_id(number) / "artifacts"

    def run(self, number: int, size: int = 10) -> Path:
        """Add an active run with one file."""
        place = self.place(number)
        place.mkdir(parents=True)
        (place / "model").write_bytes(b"x" * size)
        self.db.run(run_id(number))
        return place

    def delete(self, number: int) -> None:
        """Delete a run as MLflow does."""
        self.db.set_stage(run_id(number), "deleted")

    def monitor(
        self, on_event: Callable[[Event], None] | None = None, **changes: object
    ) -> MLflowDatabaseMonitor:
        """Make a monitor that tells its events here."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        made = MLflowDatabaseMonitor(settings, on_event=on_event or self.events.append)
        self.monitors.append(made)
        return made

    def start(self, **changes: object) -> MLflowDatabaseMonitor:
        """Start a monitor and wait until its first cycle is over."""
        made = self.monitor(None, **changes)
        made.start()
        self.knows(made)
        return made

    def knows(self, monitor: MLflowDatabaseMonitor) -> None:
        """Wait until a monitor knows every active run of the database."""
        active = TrackingDatabase(self.settings.database).heads().active
        until(lambda: monitor.last_known_runs == active, "its runs are known")
        until(lambda: status_values(self.settings.home)["roots"], "its first cycle is over")

    def told(self, kind: EventKind, number: int | None = None) -> list[Event]:
        """List the events of a kind, of one run where given."""
        return [
            event
            for event in list(self.events)
            if event.kind is kind
            and (number is None or (event.entity is not None and event.entity.id == run_id(number)))
        ]

    def wait(self, kind: EventKind, number: int | None = None) -> Event:
        """Wait for an event."""
        return until(lambda: self.told(kind, number), f"{kind.value} {number}")[0]
