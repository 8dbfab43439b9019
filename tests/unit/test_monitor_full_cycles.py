"""Full cycles beside a running monitor: on its schedule, and asked for by verbs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup import Event, EventKind
from mlflow_cleanup.cli import full
from mlflow_cleanup.cli.by_hand import Values, _await, do_to_items
from mlflow_cleanup.cli.progress import Bar
from mlflow_cleanup.cycle import Workplace
from mlflow_cleanup.cycle.sweep import look
from mlflow_cleanup.errors import NotAnswered, PlanOutdated, SweepRefused
from mlflow_cleanup.ledger.lease import MONITOR, Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.requests import Progress
from mlflow_cleanup.ledger.sqlite import FILE
from mlflow_cleanup.model.plan import SweepPlan, Terms
from mlflow_cleanup.monitor import cleaner
from mlflow_cleanup.report.plans import plan_values
from mlflow_cleanup.report.status import status_values
from tests.kit.programs import until
from tests.kit.site import Site
from tests.kit.tracking_db import run_id

DAILY = timedelta(hours=24)


def model_id(number: int) -> str:
    """Make a logged model's id."""
    return f"m-{number:032x}"


def deleted_model(site: Site, number: int, size: int = 10) -> Path:
    """Add a logged model that was deleted, with a file."""
    place = site.root / "0" / "models" / model_id(number) / "artifacts"
    place.mkdir(parents=True)
    (place / "model").write_bytes(b"x" * size)
    site.db.logged_model(
        model_id(number),
        f"mlflow-artifacts:/0/models/{model_id(number)}/artifacts",
        stage="deleted",
    )
    return place


@pytest.fixture
def site(site: Site) -> Site:
    """A site with one large run in use, so that no plan takes most of it."""
    site.run(99, size=1_000_000)
    return site


class TestSchedule:
    """`--full-cycle every 24h`."""

    def test_what_leaked_is_reclaimed_without_being_asked(self, site: Site) -> None:
        """The first full cycle comes soon after the start, and is told with what it took."""
        place = deleted_model(site, 1, size=100)
        site.start(full_cycle=DAILY)

        swept = site.wait(EventKind.SWEPT)

        assert not place.exists()
        assert swept.detail == "1 moved to the trash; 100 B"

    def test_without_a_schedule_none_is_made(self, site: Site) -> None:
        """By default storage is only listed when somebody asks."""
        place = deleted_model(site, 1)
        site.run(1)
        site.start()
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)
        assert site.monitors[0].stop()

        assert place.exists()
        assert not site.told(EventKind.SWEPT)

    def test_a_restart_does_not_begin_the_interval_anew_or_cut_it_short(self, site: Site) -> None:
        """The last full cycle is remembered: the next monitor makes none within the day."""
        site.start(full_cycle=DAILY)
        site.wait(EventKind.SWEPT)
        assert site.monitors[0].stop()
        place = deleted_model(site, 1)
        site.run(1)
        site.start(full_cycle=DAILY)
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)

        assert place.exists()
        assert len(site.told(EventKind.SWEPT)) == 1

    def test_the_backlog_is_left_alone_unless_it_is_included(self, site: Site) -> None:
        """What had been deleted before the first start is not taken by a cycle nobody asked for."""
        place = site.run(1)
        site.delete(1)
        site.start(full_cycle=DAILY)
        site.wait(EventKind.SWEPT)
        assert place.exists()
        assert site.monitors[0].stop()

        site.start(full_cycle=DAILY, include_backlog=True)
        site.wait(EventKind.QUARANTINED, 1)
        assert not place.exists()

    def test_a_delete_in_the_middle_is_noticed_at_once(self, site: Site) -> None:
        """Somebody who deletes a run while thousands of places are reclaimed does not wait."""
        for number in range(200):
            deleted_model(site, number)
        place = site.run(1)

        def delete_at_the_first(event: Event) -> None:
            site.events.append(event)
            if len(site.told(EventKind.QUARANTINED)) == 1:
                site.delete(1)
                until(monitor._calls.work.is_set, "the change was seen")

        monitor = site.monitor(delete_at_the_first, full_cycle=DAILY)
        monitor.start()
        site.wait(EventKind.SWEPT)

        assert not place.exists()
        kinds = [
            event.entity.kind.value for event in site.told(EventKind.QUARANTINED) if event.entity
        ]
        assert kinds.count("logged model") == 200
        assert kinds.index("run") < 150

    def test_one_that_would_take_too_much_waits_for_its_confirmation(self, site: Site) -> None:
        """It is told once, shown by the status, and goes ahead when it was confirmed."""
        place = deleted_model(site, 1, size=9_000_000)
        site.start(full_cycle=DAILY)
        told = site.wait(EventKind.BRAKED)
        assert place.exists()
        refused = status_values(site.settings.state_dir)["refused_full_cycle"]
        assert (refused["id"], refused["is_confirmed"]) == (told.item_id, False)
        assert "of the bytes under" in refused["reason"]

        ledger = Ledger.open(site.settings.state_dir)
        assert ledger.brakes.confirm(told.item_id or "")
        ledger.close()
        (site.settings.state_dir / "wake").touch()

        site.wait(EventKind.SWEPT)
        assert not place.exists()
        assert status_values(site.settings.state_dir)["refused_full_cycle"] is None
        assert len(site.told(EventKind.BRAKED)) == 1

    def test_a_survey_that_fails_is_told_and_tried_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The monitor goes on watching meanwhile."""
        place = deleted_model(site, 1)
        failing = [OSError("the disk is unwell")]

        def look_once(*values: object, **named: object) -> object:
            if failing:
                raise failing.pop()
            return look(*values, **named)  # type: ignore[arg-type]

        monkeypatch.setattr("mlflow_cleanup.monitor.full_cycles.look", look_once)
        site.start(full_cycle=DAILY)

        assert "the disk is unwell" in site.wait(EventKind.WAITING).detail
        site.wait(EventKind.SWEPT)
        assert not place.exists()


def carry_out(site: Site, make: full.MakePlan = look, **terms: object) -> Values:
    """Do what `sweep --apply` does, with other terms where given."""
    settings = replace(site.settings, terms=Terms(**terms))  # type: ignore[arg-type]
    return full.carry_out_once(settings, make, "sweep", quiet=True)


class TestVerbsBesideAMonitor:
    """`sweep --apply` and `apply` while a monitor holds the lease."""

    def test_the_monitor_carries_the_plan_out(self, site: Site) -> None:
        """The verb makes the plan, the holder of the lease acts, and says what became of it."""
        place = deleted_model(site, 1, size=100)
        site.start()

        values = carry_out(site)

        assert not place.exists()
        assert values["counts"]["quarantined"] == 1
        assert values["bytes"] == 100
        assert f"process {os.getpid()}" in values["done_by"]
        assert [event.entity.id for event in site.told(EventKind.QUARANTINED) if event.entity] == [
            model_id(1)
        ]

    def test_what_was_unclaimed_is_remembered_for_the_next(self, site: Site) -> None:
        """It counts as a full cycle like any other."""
        site.start()
        ledger = Ledger.open(site.settings.state_dir)
        place = site.root / "0" / ("f" * 32) / "artifacts"
        place.mkdir(parents=True)
        (place / "model").write_bytes(b"x")

        carry_out(site)

        assert list(ledger.sightings.first_seen()) == [
            (str(site.root), ("0", "f" * 32, "artifacts"))
        ]
        ledger.close()

    def test_without_a_monitor_it_takes_the_lease_itself(self, site: Site) -> None:
        """The same, done by the command."""
        place = deleted_model(site, 1, size=100)

        values = carry_out(site)

        assert not place.exists()
        assert values["done_by"] == "this command"
        assert values["counts"]["quarantined"] == 1

    @pytest.mark.parametrize("has_monitor", [False, True])
    def test_plan_by_its_id_is_carried_out_while_nothing_changes(
        self, site: Site, *, has_monitor: bool
    ) -> None:
        """The id is that of what would be done; one change more or less is another plan."""
        place = deleted_model(site, 1)
        if has_monitor:
            site.start()
        with full.reading(site.settings) as workplace:
            shown = look(workplace)
        late = deleted_model(site, 2)

        with pytest.raises(PlanOutdated, match="something changed since"):
            carry_out(site, full.plan_shown_as(shown.id))
        assert place.exists()
        assert late.exists()

        with full.reading(site.settings) as workplace:
            carry_out(site, full.plan_shown_as(look(workplace).id))
        assert not place.exists()
        assert not late.exists()

    @pytest.mark.parametrize("has_monitor", [False, True])
    def test_saved_plan_is_carried_out_once(
        self, site: Site, tmp_path: Path, *, has_monitor: bool
    ) -> None:
        """The second time it is refused, whoever did it the first time."""
        place = deleted_model(site, 1)
        if has_monitor:
            site.start()
        with full.reading(site.settings) as workplace:
            saved = tmp_path / "plan.json"
            saved.write_text(json.dumps(plan_values(look(workplace))), encoding="utf-8")
        late = deleted_model(site, 2)

        carry_out(site, full.saved_plan(saved))
        with pytest.raises(PlanOutdated, match="carried out already"):
            carry_out(site, full.saved_plan(saved))

        assert not place.exists()
        assert late.exists()

    def test_refusal_of_the_monitor_is_the_verbs_own(self, site: Site) -> None:
        """A plan that is too large is refused with its id, and nothing moves."""
        place = deleted_model(site, 1)
        deleted_model(site, 2)
        site.start()

        with pytest.raises(SweepRefused, match="mlflow-cleanup confirm"):
            carry_out(site, most_entities=1)

        assert place.exists()

    def test_ctrl_c_leaves_the_rest(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """The monitor finishes the step in hand; carried out again, it goes on."""
        places = [deleted_model(site, number) for number in range(120)]
        monkeypatch.setattr("mlflow_cleanup.cycle.requests.REPORT_S", 0.0)

        def interrupt_at_the_first(event: Event) -> None:
            if event.kind is EventKind.QUARANTINED and not site.told(EventKind.QUARANTINED):
                os.kill(os.getpid(), signal.SIGINT)
                site.events.append(event)
                until(is_asked_to_stop(site), "the verb asked it to stop")

        monitor = site.monitor(interrupt_at_the_first)
        monitor.start()
        site.knows(monitor)

        values = carry_out(site)

        assert 0 < values["left"] < 120
        assert sum(place.exists() for place in places) == values["left"]
        again = carry_out(site)
        assert again["left"] == 0
        assert not any(place.exists() for place in places)

    def test_restore_does_not_wait_for_the_end_of_a_plan(self, site: Site) -> None:
        """What is asked for in the middle of a long plan is done in between."""
        for number in range(120):
            deleted_model(site, number)
        site.run(1)
        asked: list[int] = []

        def ask_at_the_first_model(event: Event) -> None:
            site.events.append(event)
            is_model = event.entity is not None and event.entity.id.startswith("m-")
            if event.kind is EventKind.QUARANTINED and is_model and not asked:
                ledger = Ledger.open(site.settings.state_dir)
                asked.append(ledger.requests.post("restore", [run_id(1)]))
                ledger.close()
                (site.settings.state_dir / "wake").write_text("now", encoding="ascii")
                until(monitor._calls.work.is_set, "the request was seen")

        monitor = site.monitor(ask_at_the_first_model)
        monitor.start()
        site.knows(monitor)
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)

        carry_out(site)

        told = [event for event in site.events if event.entity is not None]
        restored = next(at for at, event in enumerate(told) if event.kind is EventKind.RESTORED)
        assert restored < len(told) - 1

    def test_a_monitor_that_ends_in_the_middle_is_told(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The verb does not wait for ever, and says how to go on."""
        monkeypatch.setattr("mlflow_cleanup.cli.by_hand._HOLDER_S", 0.05)
        ledger = Ledger.open(site.settings.state_dir)
        number = ledger.requests.post("apply", ["{}"])
        assert ledger.requests.begin(number)

        with pytest.raises(NotAnswered, match="has ended; the next start finishes"):
            _await(ledger.requests, number, lambda _: True, site.settings.state_dir)
        ledger.close()


def test_ctrl_c_without_a_monitor_leaves_the_rest_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step in hand is finished, and the same command goes on."""
    places = [deleted_model(site, number) for number in range(120)]
    interrupts = [signal.SIGINT]

    def interrupt_once(*_: object) -> None:
        if interrupts:
            os.kill(os.getpid(), interrupts.pop())

    monkeypatch.setattr(Bar, "count", interrupt_once)

    values = carry_out(site)

    assert 0 < values["left"] < 120
    assert sum(place.exists() for place in places) == values["left"]
    assert carry_out(site)["left"] == 0
    assert not any(place.exists() for place in places)


@pytest.mark.parametrize("has_monitor", [False, True])
def test_places_of_roots_that_are_not_configured_are_not_ours(
    site: Site, *, has_monitor: bool
) -> None:
    """Each is told as such, and what is ours goes all the same."""
    ours, other = deleted_model(site, 1), site.home / "other"
    theirs = other / "0" / "models" / model_id(2) / "artifacts"
    theirs.mkdir(parents=True)
    (theirs / "model").write_bytes(b"x")
    site.db.logged_model(model_id(2), str(theirs), stage="deleted")
    wider = replace(site.settings, roots=(str(site.root), str(other)), terms=Terms(most_share=1.0))
    with full.reading(wider) as workplace:
        plan = look(workplace)
    if has_monitor:
        site.start()

    values = carry_out(site, lambda _: plan)

    assert (values["counts"]["quarantined"], values["counts"]["not ours"]) == (1, 1)
    assert theirs.exists()
    assert not ours.exists()


def is_asked_to_stop(site: Site) -> Callable[[], bool]:
    """Tell whether any request was asked to stop."""

    def look_it_up() -> bool:
        ledger = Ledger.read(site.settings.state_dir)
        try:
            return any(ledger.requests.is_to_stop(one.id) for one in ledger.requests.waiting())
        finally:
            ledger.close()

    return look_it_up


def test_progress_is_reported_to_whoever_waits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and bytes, while the monitor works."""
    for number in range(60):
        deleted_model(site, number, size=10)
    monkeypatch.setattr("mlflow_cleanup.cycle.requests.REPORT_S", 0.0)
    seen: list[Progress] = []
    monkeypatch.setattr(Bar, "move_to", lambda _, done, bytes_: seen.append(Progress(done, bytes_)))
    site.start()

    carry_out(site)

    assert seen
    assert all(one.bytes == 10 * one.done for one in seen)
    assert sorted(seen, key=lambda one: one.done) == seen


@pytest.mark.parametrize("is_begun", [False, True])
def test_what_was_asked_of_another_monitor_is_not_done_by_the_next(
    site: Site, *, is_begun: bool
) -> None:
    """Whoever asked has given up by then, and would be surprised by it days later."""
    place = site.run(1)
    site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    assert site.monitors[0].stop()
    ledger = Ledger.open(site.settings.state_dir)
    number = ledger.requests.post("purge", [run_id(1)])
    if is_begun:
        assert ledger.requests.begin(number)

    site.start()
    site.run(2)
    site.knows(site.monitors[1])
    site.delete(2)
    site.wait(EventKind.QUARANTINED, 2)

    assert not ledger.requests.is_there(number)
    assert not site.told(EventKind.PURGED)
    assert not place.exists()
    ledger.close()


def test_who_stops_waiting_does_not_want_it_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while nothing was begun yet, the request is taken back."""
    ledger = Ledger.open(site.settings.state_dir)

    def interrupted(*_: object) -> None:
        assert len(ledger.requests.waiting()) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("mlflow_cleanup.cli.by_hand._await", interrupted)
    with (
        Lease(site.settings.lease_places, MONITOR),
        pytest.raises(KeyboardInterrupt),
    ):
        do_to_items(site.settings, "purge", ["x"])

    assert ledger.requests.waiting() == []
    ledger.close()


def in_ledger(site: Site, *statements: str) -> None:
    """Change the ledger's tables from outside."""
    with closing(sqlite3.connect(site.settings.state_dir / FILE)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


NO_ROOM = (
    "CREATE TRIGGER no_room BEFORE UPDATE OF outcome ON requests "
    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
)


def test_outcome_is_told_when_there_is_room_again(site: Site) -> None:
    """Whoever asked waits meanwhile, and nothing is done twice."""
    site.run(1)
    site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    in_ledger(site, NO_ROOM)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(do_to_items, site.settings, "purge", [run_id(1)])
        try:
            assert "what was done is done" in site.wait(EventKind.WAITING).detail
        finally:
            in_ledger(site, "DROP TRIGGER no_room")
        values = asked.result(timeout=60)

    assert [item["state"] for item in values["items"]] == ["purged"]
    assert len(site.told(EventKind.PURGED, 1)) == 1
    site.wait(EventKind.RESUMED)


def test_outcome_that_can_never_be_told_is_told_as_such(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever for a ledger that cannot be written, or hears that nothing happened."""
    monkeypatch.setattr("mlflow_cleanup.cli.by_hand._HOLDER_S", 0.05)
    monkeypatch.setattr("mlflow_cleanup.cli.by_hand._WAIT_S", 0.2)
    ledger = Ledger.open(site.settings.state_dir)
    number = ledger.requests.post("apply", ["{}"])
    assert ledger.requests.begin(number)
    in_ledger(
        site,
        "CREATE TRIGGER no_room BEFORE UPDATE ON requests "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )

    with (
        Lease(site.settings.lease_places, MONITOR),
        pytest.raises(NotAnswered, match="it was begun, but what became of it cannot be told"),
    ):
        _await(ledger.requests, number, lambda _: True, site.settings.state_dir)
    ledger.close()


def test_request_that_cannot_be_taken_back_is_not_called_undone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be done later, when the holder of the lease gets to it."""
    monkeypatch.setattr("mlflow_cleanup.cli.by_hand._WAIT_S", 0.1)
    Ledger.open(site.settings.state_dir).close()
    in_ledger(
        site,
        "CREATE TRIGGER no_room BEFORE DELETE ON requests "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )

    with (
        Lease(site.settings.lease_places, MONITOR),
        pytest.raises(NotAnswered, match="it may be done later"),
    ):
        do_to_items(site.settings, "purge", ["x"])


def test_call_in_the_middle_of_a_plan_is_not_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is pinned meanwhile is looked at when the plan has ended, not a minute later."""
    monkeypatch.setattr(cleaner, "UPKEEP_S", 3_600.0)
    for number in range(120):
        deleted_model(site, number)
    place = site.run(1)

    def pin_at_the_first_model(event: Event) -> None:
        site.events.append(event)
        is_model = event.entity is not None and event.entity.id.startswith("m-")
        if is_model and len(site.told(EventKind.QUARANTINED)) == 2:
            ledger = Ledger.open(site.settings.state_dir)
            ledger.pins.add([run_id(1)], event.at, None)
            ledger.close()
            (site.settings.state_dir / "wake").write_text("now", encoding="ascii")
            until(monitor._calls.work.is_set, "it was seen")

    monitor = site.monitor(pin_at_the_first_model)
    monitor.start()
    site.knows(monitor)
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)

    carry_out(site)

    site.wait(EventKind.RESTORED, 1)
    assert place.exists()


def test_ctrl_c_before_it_was_begun_takes_it_back(site: Site) -> None:
    """At once, whatever holds the monitor up, and nothing is done later."""
    place = deleted_model(site, 1)
    Ledger.open(site.settings.state_dir).close()

    def interrupt(workplace: Workplace) -> SweepPlan:
        plan = look(workplace)
        os.kill(os.getpid(), signal.SIGINT)
        return plan

    with (
        Lease(site.settings.lease_places, MONITOR),  # which answers nothing
        pytest.raises(NotAnswered, match="taken back before anybody began with it"),
    ):
        carry_out(site, interrupt)

    ledger = Ledger.read(site.settings.state_dir)
    assert ledger.requests.waiting() == []
    ledger.close()
    assert place.exists()
