"""Reasons to refuse everything: what looks like an accident is treated as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mlflow_cleanup.model.plan import Refusal
from mlflow_cleanup.model.snapshot import BackendIdentity, Schema


@dataclass(frozen=True, slots=True)
class Facts:
    """What the safeguards look at.

    `vanished` are known active runs whose rows are gone without a delete, out of `known_active`;
    `returned` are runs that had left and are active again in the same read.
    """

    known_identity: BackendIdentity | None
    found_identity: BackendIdentity
    schema: Schema
    known_active: int
    vanished: frozenset[str]
    returned: frozenset[str]
    problems: tuple[str, ...] = ()
    foreign_roots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may set: how much may vanish, and whether to act on an unknown revision."""

    vanished_share: float
    vanished_minimum: int
    allow_unknown_schema: bool = False


def examine(
    facts: Facts, limits: Limits, confirmed: AbstractSet[str] = frozenset()
) -> Refusal | None:
    """Return why the whole plan is refused, or None when nothing is suspicious.

    Plans that an operator confirmed are passed over, each by itself: confirming one waves no other
    safeguard through. Claims that could not be read are no matter of opinion.
    """
    if (incomplete := _incomplete_claims(facts)) is not None:
        return incomplete
    waiting = (item for item in suspicions(facts, limits) if item.plan_id not in confirmed)
    return next(waiting, None)


def suspicions(facts: Facts, limits: Limits) -> list[Refusal]:
    """Return everything that is suspicious, each with the plan id that a confirmation names."""
    found = (
        _unknown_schema(facts, limits),
        _replaced(facts),
        _rolled_back(facts),
        _foreign_root(facts),
        _mass_vanishing(facts, limits),
    )
    return [refusal for refusal in found if refusal is not None]


def _unknown_schema(facts: Facts, limits: Limits) -> Refusal | None:
    if facts.schema.is_known or limits.allow_unknown_schema:
        return None
    return _refusal(
        f"the database's schema revision {facts.schema.revision} is not known to this version, so "
        "not every claim may have been read (--allow-unknown-schema acts all the same)",
        "schema",
        [facts.schema.revision],
    )


def _incomplete_claims(facts: Facts) -> Refusal | None:
    if not facts.problems:
        return None
    return _refusal(
        "not every claim could be read: " + "; ".join(facts.problems), "claims", facts.problems
    )


def _replaced(facts: Facts) -> Refusal | None:
    known, found = facts.known_identity, facts.found_identity
    if known is None or known.is_same_as(found):
        return None
    return _refusal(
        f"the tracking database is another one than before (was: {known}, is: {found})",
        "replaced",
        [str(known), str(found)],
    )


def _rolled_back(facts: Facts) -> Refusal | None:
    known, found = facts.known_identity, facts.found_identity
    if (
        known is not None
        and known.change_count is not None
        and found.change_count is not None
        and found.change_count < known.change_count
    ):
        return _refusal(
            "the tracking database went back in time: its change counter fell from "
            f"{known.change_count} to {found.change_count}, as after restoring a backup",
            "rolled back",
            [str(known.change_count)],
        )
    if facts.vanished and facts.returned:
        return _refusal(
            f"the tracking database seems to have gone back in time: {len(facts.vanished)} active "
            f"run(s) vanished and {len(facts.returned)} that had left are active again",
            "rolled back",
            [*sorted(facts.vanished), "|", *sorted(facts.returned)],
        )
    return None


def _foreign_root(facts: Facts) -> Refusal | None:
    if not facts.foreign_roots:
        return None
    return _refusal(
        "an artifact root carries the owner marker of another tracking database: "
        + ", ".join(facts.foreign_roots),
        "foreign",
        facts.foreign_roots,
    )


def _mass_vanishing(facts: Facts, limits: Limits) -> Refusal | None:
    vanished = len(facts.vanished)
    every_one = vanished > 0 and vanished == facts.known_active
    most = (
        vanished >= limits.vanished_minimum
        and vanished > limits.vanished_share * facts.known_active
    )
    if not (every_one or most):
        return None
    return _refusal(
        f"the rows of {vanished} of {facts.known_active} known active runs vanished at once "
        "without having been deleted",
        "vanished",
        sorted(facts.vanished),
    )


def _refusal(reason: str, kind: str, facts: Iterable[str]) -> Refusal:
    digest = hashlib.sha256("\n".join([kind, *facts]).encode("utf-8", "backslashreplace"))
    return Refusal(plan_id=digest.hexdigest()[:8], reason=reason)
