"""A full cycle's plan as JSON values, there and back, and as text."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location, scheme_of
from mlflow_cleanup.model.objects import is_object
from mlflow_cleanup.model.plan import (
    Judged,
    Refusal,
    RootSummary,
    Step,
    StepResult,
    SweepPlan,
)
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept
from mlflow_cleanup.report import fields
from mlflow_cleanup.report.text import counted, minute, printable, size_text, table

FORMAT = 1
_LARGEST = 10
_IN_WORDS = {
    StepResult.QUARANTINED.value: "moved to the trash",
    StepResult.PURGED.value: "removed for good",
    StepResult.REMOVED.value: "empty removed",
}
_TOLD_EACH = (StepResult.FAILED, StepResult.SKIPPED, StepResult.NOT_OURS)
_COLUMNS = ["what", "size", "deleted"]


def plan_values(plan: SweepPlan) -> dict[str, Any]:
    """Return a plan as JSON values; `plan_from` reads them back."""
    values = {
        "format": FORMAT,
        "id": plan.id,
        "made_at": plan.made_at.isoformat(),
        "database": plan.database,
        "anchors": dict(plan.identity.anchors),
        "take": [_judged_values(item) for item in plan.take],
        "empty": [_judged_values(item) for item in plan.empty],
        "keep": [_judged_values(item) for item in plan.keep],
        "roots": [_root_values(root) for root in plan.roots],
        "refusal": (
            {"plan_id": plan.refusal.plan_id, "reason": plan.refusal.reason}
            if plan.refusal
            else None
        ),
        "unclaimed": {
            root: [list(place) for place in places] for root, places in plan.unclaimed.items()
        },
        "bytes": sum(item.size.bytes for item in plan.take if item.size),
    }
    return {**values, "seal": _seal_of(values)}


def plan_from(told: Any) -> SweepPlan:  # noqa: ANN401 - JSON values
    """Read what `plan_values` wrote; raises BadUsage for anything else, or what was changed."""
    if not isinstance(told, dict) or "format" not in told:
        raise BadUsage("this is no plan of mlflow-cleanup")
    if told["format"] != FORMAT:
        raise BadUsage(f"the plan has format {told['format']!r:.50}, not {FORMAT}")
    try:
        if told["seal"] != _seal_of(told):
            raise BadUsage("the plan was changed after it was made; make a new one")
        plan = _plan_from(told)
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise BadUsage(f"this is no plan of mlflow-cleanup: {error!r}") from error
    require_distinct(plan)
    return plan


def require_distinct(plan: SweepPlan) -> None:
    """Raise BadUsage for a plan that names a place twice, which none that was made does."""
    if len({item.place for item in plan.steps}) < len(plan.steps):
        raise BadUsage(f"plan {plan.id} names a place more than once; nothing was done")


def _plan_from(told: Mapping[str, Any]) -> SweepPlan:
    return SweepPlan(
        id=fields.word(told["id"]),
        made_at=fields.moment(told["made_at"]),
        database=fields.text(told["database"]),
        identity=BackendIdentity(_anchors_from(told["anchors"])),
        take=tuple(map(_judged_from, fields.entries(told["take"]))),
        empty=tuple(map(_judged_from, fields.entries(told["empty"]))),
        refusal=None if told["refusal"] is None else _refusal_from(told["refusal"]),
        unclaimed={
            root: tuple(tuple(map(fields.text, fields.entries(place))) for place in places)
            for root, places in fields.entry(told["unclaimed"]).items()
        },
    )


def plan_text(plan: SweepPlan, *, everything: bool = False, for_good: bool = False) -> str:
    """Lay out a plan for a terminal: what goes, what stays and why, what was not seen."""
    parts = [
        _head(plan),
        *_would_go(plan.take, for_good=for_good),
        _largest(plan.take, everything=everything),
        f"{len(plan.empty)} empty directories would be removed." if plan.empty else "",
        _by_reason("Stays, and why", plan.keep),
        _stays(plan.keep) if everything else "",
        *map(_root_text, plan.roots),
        _refusal_text(plan.refusal),
    ]
    return "\n\n".join(part for part in parts if part)


def steps_values(plan: SweepPlan, steps: Sequence[Step]) -> dict[str, Any]:
    """Return what became of a plan's steps as JSON values."""
    return {
        "plan": plan.id,
        "steps": [
            {
                **_judged_values(step.judged),
                "result": step.result.value,
                "detail": printable(step.detail),
                "bytes": step.size.bytes if step.size else None,
            }
            for step in steps
        ],
        "counts": {
            result.value: sum(step.result is result for step in steps) for result in StepResult
        },
        "held_in_place": sum(map(_is_held_in_place, steps)),
        "bytes": sum(step.size.bytes for step in steps if step.size),
        "left": len(plan.take) + len(plan.empty) - len(steps),
    }


def _is_held_in_place(step: Step) -> bool:
    return step.result is StepResult.QUARANTINED and is_object(step.judged.place.root)


def in_short(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of what `steps_values` returned all steps but the first that are told one by one.

    For where there is no room for all of it; `steps_left_out` says how many are missing.
    """
    shown = [step for step in values["steps"] if StepResult(step["result"]) in _TOLD_EACH]
    shown = shown[:_LARGEST]
    return {**values, "steps": shown, "steps_left_out": len(values["steps"]) - len(shown)}


def steps_text(values: Mapping[str, Any]) -> str:
    """Say what became of a plan, with each failure and each skip."""
    lines = [f"plan {values['plan']}: {_counts_text(values)}"]
    lines += [
        f"  {step['result']}: {step['entity']} at {step['path']}: {step['detail']}"
        for step in values["steps"]
        if StepResult(step["result"]) in _TOLD_EACH
    ]
    if values.get("steps_left_out"):
        lines.append(
            f"  {values['steps_left_out']} step(s) are not listed, as the disk had no room for it: "
            "`mlflow-cleanup history` has them"
        )
    if values["left"]:
        lines.append(f"  {values['left']} step(s) are left: carry the plan out again to go on")
    if values["counts"][StepResult.QUARANTINED.value]:
        lines.append("  what can be restored, and until when: `mlflow-cleanup trash list`")
    return "\n".join(map(printable, lines))


def steps_summary(plan: SweepPlan, steps: Sequence[Step]) -> str:
    """Say in a few words what became of a plan."""
    values = steps_values(plan, steps)
    left = f"; {values['left']} left for the next" if values["left"] else ""
    return _counts_text(values) + left


def _counts_text(values: Mapping[str, Any]) -> str:
    there = values.get("held_in_place", 0)
    told = {**values["counts"], "held in place": there}
    told[StepResult.QUARANTINED.value] -= there
    counts = [f"{count} {_IN_WORDS.get(name, name)}" for name, count in told.items() if count]
    return f"{', '.join(counts)}; {size_text(values['bytes'])}" if counts else "nothing to reclaim"


def _head(plan: SweepPlan) -> str:
    total = sum(item.size.bytes for item in plan.take if item.size)
    places = counted(len(plan.take), "place")
    what = f"{places}, {size_text(total)}" if plan.take else "nothing to reclaim"
    return printable(f"Plan {plan.id} for {plan.database}, {minute(plan.made_at)}: {what}.")


def _would_go(take: Sequence[Judged], *, for_good: bool) -> list[str]:
    """Sum up what goes, and where to: in an object store nothing is moved."""
    if for_good:
        return [_by_reason("Would be removed for good", take)]
    there = [item for item in take if is_object(item.place.root)]
    moving = [item for item in take if not is_object(item.place.root)]
    return [
        _by_reason("Would go to the trash", moving),
        _by_reason("Would be held in place until it is purged", there),
    ]


def _by_reason(head: str, judged: Iterable[Judged]) -> str:
    counts: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for item in judged:
        verdict = item.verdict
        counts[item.candidate.entity.kind.value, _reason(verdict)].append(item)
    rows = [
        [kind, reason, str(len(items)), size_text(_bytes(items))]
        for (kind, reason), items in sorted(counts.items(), key=lambda pair: -_bytes(pair[1]))
    ]
    return f"{head}:\n{table(['what', 'why', 'count', 'size'], rows)}" if rows else ""


def _reason(verdict: Garbage | Keep) -> str:
    """Say why, told apart by the kind of storage where that is the reason."""
    reason: str = verdict.reason.value
    if isinstance(verdict, Keep) and verdict.reason is Kept.REMOTE:
        return f"{reason} ({scheme_of(verdict.detail)}:)"
    return reason


def _largest(judged: Sequence[Judged], *, everything: bool) -> str:
    shown = sorted(judged, key=lambda item: -_bytes([item]))
    shown = shown if everything else shown[:_LARGEST]
    rows = [[*_what(item), _where(item)] for item in shown]
    title = "All of it:" if everything else "The largest:"
    return f"{title}\n{table([*_COLUMNS, 'where'], rows)}" if rows else ""


def _stays(judged: Iterable[Judged]) -> str:
    """List what is kept, each with its own reason: who claims it, above all."""
    shown = sorted(judged, key=lambda item: -_bytes([item]))
    rows = [[*_what(item), _why(item), _where(item)] for item in shown]
    return f"Stays:\n{table([*_COLUMNS, 'why', 'where'], rows)}" if rows else ""


def _what(item: Judged) -> list[str]:
    candidate = item.candidate
    name = f' "{candidate.name}"' if candidate.name else ""
    return [
        printable(f"{candidate.entity}{name}"),
        size_text(_bytes([item])) if item.size else "?",
        minute(candidate.deleted_at) if candidate.deleted_at else "-",
    ]


def _why(item: Judged) -> str:
    # Where there is no place, the detail is what stands there instead.
    is_placed = isinstance(item.candidate.place, Location)
    return printable(str(item.verdict) if is_placed else item.verdict.reason.value)


def _where(item: Judged) -> str:
    place = item.candidate.place
    return printable(str(place) if isinstance(place, Location) else place.detail)


def _root_text(root: RootSummary) -> str:
    total = f"{size_text(root.total.bytes)} in {counted(root.total.files, 'file')}"
    live = f"{counted(root.live_places, 'place')} in use, {size_text(root.live.bytes)}"
    lines = [f"Artifact root {root.root}: {total}; {live}"]
    foreign = sorted(root.foreign.items(), key=lambda pair: -pair[1].bytes)
    lines += [
        f"  foreign, never touched: {name or 'files at the top'}, {size_text(size.bytes)} in "
        f"{counted(size.files, 'file')}"
        for name, size in foreign[:_LARGEST]
    ]
    if len(foreign) > _LARGEST:
        lines.append(f"  and {len(foreign) - _LARGEST} more foreign directories")
    if root.unfinished.files:
        uploads = counted(root.unfinished.files, "unfinished upload")
        lines.append(f"  {uploads}, {size_text(root.unfinished.bytes)}, given up with the plan")
    lines += [f"  not seen: {one.path}: {one.why}" for one in root.unseen[:_LARGEST]]
    if root.problem:
        lines.append(f"  nothing here counts as unclaimed: {root.problem}")
    return "\n".join(map(printable, lines))


def _refusal_text(refusal: Refusal | None) -> str:
    if refusal is None:
        return ""
    return printable(
        f"It will be REFUSED at first, as plan {refusal.plan_id}: {refusal.reason}. "
        f"If it is meant: `mlflow-cleanup confirm {refusal.plan_id}` after that, and once more."
    )


def _bytes(items: Iterable[Judged]) -> int:
    return sum(item.size.bytes for item in items if item.size)


def _seal_of(values: Mapping[str, Any]) -> str:
    """Sum up all that a plan says: what is looked at again goes by its times and refusals too."""
    whole = {name: value for name, value in values.items() if name != "seal"}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _judged_values(item: Judged) -> dict[str, Any]:
    candidate, verdict = item.candidate, item.verdict
    place = candidate.place if isinstance(candidate.place, Location) else None
    return {
        "entity": str(candidate.entity),
        "kind": candidate.entity.kind.value,
        "entity_id": candidate.entity.id,
        "name": candidate.name,
        "experiment_id": candidate.experiment_id,
        "gone": candidate.gone.name.lower(),
        "cascade": candidate.cascade,
        "verdict": "garbage" if isinstance(verdict, Garbage) else "keep",
        "reason": verdict.reason.value,
        "detail": verdict.detail if isinstance(verdict, Keep) else "",
        "deleted_at": candidate.deleted_at.isoformat() if candidate.deleted_at else None,
        "root": place.root if place else None,
        "inside": list(place.inside) if place else None,
        "path": place.path if place else None,
        "files": item.size.files if item.size else None,
        "bytes": item.size.bytes if item.size else None,
        "newest": item.newest,
        "changed": item.changed,
    }


def _anchors_from(told: object) -> dict[str, int | None]:
    anchors = fields.entry(told).items()
    return {id_: None if at is None else fields.whole(at) for id_, at in anchors}


def _refusal_from(told: Mapping[str, Any]) -> Refusal:
    return Refusal(fields.word(told["plan_id"]), fields.text(told["reason"]))


def _judged_from(told: Mapping[str, Any]) -> Judged:
    gone = Gone[fields.text(told["gone"]).upper()]
    name, experiment_id, at = told["name"], told["experiment_id"], told["deleted_at"]
    candidate = Candidate(
        entity=Entity(EntityKind(told["kind"]), fields.word(told["entity_id"])),
        place=Location(
            fields.text(told["root"]), tuple(map(fields.text, fields.entries(told["inside"])))
        ),
        gone=gone,
        name=None if name is None else fields.text(name),
        experiment_id=None if experiment_id is None else fields.word(experiment_id),
        deleted_at=None if at is None else fields.moment(at),
        cascade=fields.flag(told["cascade"]),
    )
    files, size, newest, changed = (told[key] for key in ("files", "bytes", "newest", "changed"))
    return Judged(
        candidate,
        Garbage(gone, candidate.deleted_at),
        None if size is None else Size(fields.count(files), fields.count(size)),
        None if newest is None else fields.number(newest),
        None if changed is None else fields.number(changed),
    )


def _root_values(root: RootSummary) -> dict[str, Any]:
    return {
        "root": root.root,
        "files": root.total.files,
        "bytes": root.total.bytes,
        "live_places": root.live_places,
        "live_bytes": root.live.bytes,
        "foreign": {
            name: {"files": size.files, "bytes": size.bytes} for name, size in root.foreign.items()
        },
        "unseen": [{"path": one.path, "why": one.why} for one in root.unseen],
        "problem": root.problem,
        "unfinished": {"files": root.unfinished.files, "bytes": root.unfinished.bytes},
    }
