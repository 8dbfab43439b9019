"""`status`, `trash list` and `history` as values, and those values as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from mlflow_cleanup.ledger.ageing import read_clocks
from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.ledger.lease import current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.event import Event
from mlflow_cleanup.model.item import Held, Item, ItemState, Size
from mlflow_cleanup.model.ledger_home import LedgerHome
from mlflow_cleanup.model.location import scheme_of
from mlflow_cleanup.model.verdict import Kept
from mlflow_cleanup.report.collected import schemes_text
from mlflow_cleanup.report.lines import sentence_of
from mlflow_cleanup.report.text import length_text, minute, printable, size_text, table

Values = dict[str, Any]

_DEFAULT_RETENTION_S = 7 * 86_400.0


def status_values(home: LedgerHome) -> Values:
    """Say what is watched, what is quarantined, what failed, how much was freed."""
    ledger = Ledger.read(home)
    try:
        holder, refusal = current_holder(home), ledger.refusals.current()
        watching = ledger.watching or {}
        counts, freed = ledger.items.count(), ledger.items.freed()
        # One without a reason yet has just left and is being dealt with.
        kept = [run for run in ledger.known.in_state(RunState.ORPHANED) if run.kept]
        return {
            "running": None if holder is None else str(holder),
            "watching": watching,
            "complaint": watching.get("complaint"),
            "refused_plan": refusal
            and {"id": refusal.refusal.plan_id, "reason": refusal.refusal.reason, "at": refusal.at},
            "refused_full_cycle": _braked(ledger),
            "roots": [
                {"path": printable(root.path), "is_marked": root.is_marked, "problem": root.problem}
                for root in ledger.roots().values()
            ],
            "known_active_runs": len(ledger.known.active),
            "kept": [{"run_id": run.run_id, "reason": run.kept} for run in kept],
            "unhandled": _unhandled(kept),
            "backlog": _backlog(ledger),
            "items": {
                state.value: {"count": count, "files": size.files, "bytes": size.bytes}
                for state, (count, size) in counts.items()
            },
            "failed": [_failure(item) for item in _held(ledger) if item.error],
            "held_in_place": _in_place(ledger),
            "freed": {"files": freed.files, "bytes": freed.bytes},
        }
    finally:
        ledger.close()


def _backlog(ledger: Ledger) -> Values | None:
    """Say what is left of the backlog; its size was measured when all of it was there."""
    told, left = ledger.fact("backlog"), len(ledger.known.ids(RunState.BACKLOG))
    if told is None or not left:
        return None
    measured = json.loads(told)
    return {**measured, "runs": min(left, measured["runs"])}


def status_text(values: Values) -> str:
    """Render what `status_values` returned."""
    watching, items = values["watching"], values["items"]
    held = items.get(ItemState.QUARANTINED.value, {"count": 0, "bytes": 0})
    lines = [
        f"monitor      {values['running'] or 'not running'}",
        f"database     {printable(watching.get('database', 'none watched yet'))}",
        *(_root_line(root) for root in values["roots"]),
        f"active runs  {values['known_active_runs']}",
        f"in the trash {held['count']} item(s), {size_text(held['bytes'])}",
        *_in_place_lines(values["held_in_place"], indent="  "),
        f"freed so far {size_text(values['freed']['bytes'])} in {values['freed']['files']} file(s)",
    ]
    if watching:
        kept_for = timedelta(seconds=watching["retention_s"])
        lines.append(f"retention    {length_text(kept_for)}")
    if (backlog := values["backlog"]) and backlog["runs"]:
        size = size_text(backlog["bytes"])
        lines.append(
            f"backlog      {backlog['runs']} run(s), {size} (--backlog include reclaims them)"
        )
    if values["unhandled"]:
        lines.append(f"unhandled    {schemes_text(values['unhandled'])}")
    lines += [f"kept         run {run['run_id']}: {run['reason']}" for run in values["kept"]]
    lines += [
        f"FAILED       {item['entity']} {item['run_id']}: {item['error']}"
        for item in values["failed"]
    ]
    if values["complaint"]:
        lines.append(f"WAITING      {values['complaint']}")
    if refused := values["refused_plan"]:
        lines.append(f"REFUSED      plan {refused['id']}: {refused['reason']}")
    if braked := values["refused_full_cycle"]:
        what = "goes ahead with the next full cycle" if braked["is_confirmed"] else "full cycle"
        lines.append(f"REFUSED      plan {braked['id']}, {what}: {braked['reason']}")
    return "\n".join(printable(line) for line in lines)


def trash_values(home: LedgerHome) -> list[Values]:
    """List what the trash holds, oldest first."""
    ledger = Ledger.read(home)
    try:
        now = ledger.peek(read_clocks())
        watching = ledger.watching or {}
        retention = timedelta(seconds=watching.get("retention_s", _DEFAULT_RETENTION_S))
        return [
            {
                "id": item.id,
                "entity": item.entity.kind.value,
                "run_id": item.entity.id,
                "reason": item.reason,
                "name": item.name,
                "experiment_id": item.experiment_id,
                "state": item.state.value,
                "held": item.held.value,
                "origin": printable(item.location.path),
                "files": item.size.files if item.size else None,
                "bytes": item.size.bytes if item.size else None,
                "quarantined_at": item.quarantined_at and item.quarantined_at.isoformat(),
                "purge_at": None
                if item.state is ItemState.CONFLICT
                else now.due_at(item.quarantined_s, retention).isoformat(),
                "error": item.error,
            }
            for item in _held(ledger)
        ]
    finally:
        ledger.close()


def trash_text(values: list[Values]) -> str:
    """Render what `trash_values` returned."""
    if not values:
        return "the trash is empty"
    rows = [
        [
            item["entity"],
            printable(item["run_id"]),
            printable(item["name"] or "-"),
            _state_text(item),
            "?" if item["bytes"] is None else size_text(item["bytes"]),
            minute(datetime.fromisoformat(item["purge_at"]))
            if item["purge_at"]
            else "never by itself",
            item["origin"],
        ]
        for item in values
    ]
    shown = table(["WHAT", "ID", "NAME", "STATE", "SIZE", "PURGED AT", "ORIGIN"], rows)
    there = [item for item in values if item["held"] == Held.IN_PLACE.value]
    size = sum(item["bytes"] or 0 for item in there)
    return "\n".join([shown, *_in_place_lines({"count": len(there), "bytes": size})])


def _state_text(item: Values) -> str:
    is_there = item["held"] == Held.IN_PLACE.value
    return f"{item['state']}, {item['held']}" if is_there else str(item["state"])


def _unhandled(kept: Iterable[KnownRun]) -> dict[str, int]:
    """Count the kept runs whose artifacts are in storage that is not handled, by its kind."""
    far = (run for run in kept if str(run.kept).startswith(Kept.REMOTE.value))
    return dict(Counter(scheme_of(run.artifact_uri) for run in far))


def _in_place(ledger: Ledger) -> Values:
    sizes = [item.size or Size() for item in ledger.items.held_in_place()]
    total = sum(sizes, Size())
    return {"count": len(sizes), "files": total.files, "bytes": total.bytes}


def _in_place_lines(there: Values, indent: str = "") -> list[str]:
    """Say what still takes up room where it always was: in object stores nothing is moved."""
    if not there["count"]:
        return []
    return [
        f"{indent}held in place: {there['count']} item(s), {size_text(there['bytes'])}, which lie "
        "where they were and take up room there until they are purged"
    ]


def history_values(home: LedgerHome, limit: int, run_ids: tuple[str, ...] = ()) -> list[Values]:
    """List the latest events, oldest of them first."""
    ledger = Ledger.read(home)
    try:
        return [event_values(event) for event in ledger.history.latest(limit, run_ids)]
    finally:
        ledger.close()


def event_values(event: Event) -> Values:
    """Turn an event into JSON values."""
    return {
        "at": event.at.isoformat(),
        "event": event.kind.value,
        "entity": None if event.entity is None else event.entity.kind.value,
        "run_id": None if event.entity is None else event.entity.id,
        "name": event.name,
        "item_id": event.item_id,
        "detail": printable(event.detail),
        "files": event.size.files if event.size else None,
        "bytes": event.size.bytes if event.size else None,
        "sentence": sentence_of(event),
    }


def history_text(values: list[Values]) -> str:
    """Render what `history_values` returned."""
    if not values:
        return "nothing has happened yet"
    return "\n".join(
        f"{minute(datetime.fromisoformat(item['at']))}  {item['event']:<11}  {item['sentence']}"
        for item in values
    )


def outcome_text(values: Values) -> str:
    """Render what became of items that a verb worked on."""
    lines = []
    for item in values["items"]:
        size = "" if item["bytes"] is None else f" ({size_text(item['bytes'])})"
        problem = f": {item['error']}" if item["error"] else ""
        what = f"{item['entity']} {item['run_id']}"
        lines.append(f"{what}: {item['state']}{size}, {item['path']}{problem}")
    return "\n".join(printable(line) for line in lines) or "nothing to do"


def _braked(ledger: Ledger) -> Values | None:
    braked = ledger.brakes.current()
    if braked is None:
        return None
    return {
        "id": braked.plan_id,
        "reason": braked.reason,
        "at": braked.at,
        "is_confirmed": braked.is_confirmed,
    }


def _held(ledger: Ledger) -> list[Item]:
    held = ledger.items.in_state(*HELD, ItemState.RESTORING, ItemState.QUARANTINING)
    return sorted(held, key=lambda item: item.quarantined_s)


def _failure(item: Item) -> Values:
    return {
        "entity": item.entity.kind.value,
        "run_id": item.entity.id,
        "id": item.id,
        "error": item.error,
        "attempts": item.attempts,
    }


def _root_line(root: Values) -> str:
    return f"root         {root['path']}" + (
        f"  PROBLEM: {root['problem']}" if root["problem"] else ""
    )
