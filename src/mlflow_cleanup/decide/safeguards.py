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
    `vanished_before` counts those that went the same way lately. `returned` are runs that had left
    and are active again in the same read.
    """

    known_identity: BackendIdentity | None
    found_identity: BackendIdentity
    schema: Schema
    known_active: int
    vanished: frozenset[str]
    returned: frozenset[str]
    vanished_before: int = 0
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
    safeguard through. Claims that could not be read are no matter of opinion, and a server that
    follows another one may be behind it.
    """
    if (certain := _standby(facts) or _incomplete_claims(facts)) is not None:
        return certain
    waiting = (item for item in suspicions(facts, limits) if item.plan_id not in confirmed)
    return next(waiting, None)


def suspicions(facts: Facts, limits: Limits) -> list[Refusal]:
    """Return everything that is suspicious, each with the plan id that a confirmation names."""
    found = (
        _unknown_schema(facts, limits),
        _replaced(facts),
        _rolled_back(facts),
        _foreign_root(facts),
        mass_vanishing(facts, limits),
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


def _standby(facts: Facts) -> Refusal | None:
    if not facts.found_identity.is_standby:
        return None
    return _refusal(
        "the server of the tracking database is a standby, a replica, or read-only: what it says "
        "may be old, so it is only watched (connect to the primary with --backend-store-uri)",
        "standby",
        [str(facts.found_identity.server)],
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
    if known is None:
        return None
    vanished, returned = sorted(facts.vanished), sorted(facts.returned)
    if known.went_back(found):
        how = f"its change counter fell from {known.change_count} to {found.change_count}"
        signs = [str(known.change_count)]  # not what was found: that goes on counting
    elif vanished and returned:
        how = (
            f"{len(vanished)} active run(s) vanished and {len(returned)} that had left are active "
            "again"
        )
        signs = [*vanished, "|", *returned]
    elif vanished and known.was_written_over(found):
        how = f"{len(vanished)} active run(s) vanished as its file was replaced or written anew"
        signs = [str(known.file), str(known.schema_count), *vanished]
    else:
        return None
    return _refusal(
        f"the tracking database went back in time, as after restoring a backup: {how}",
        "rolled back",
        signs,
        # Later commits make the counter catch up: that is no sign that all is well.
        is_lasting=True,
    )


def _foreign_root(facts: Facts) -> Refusal | None:
    if not facts.foreign_roots:
        return None
    return _refusal(
        "an artifact root carries the owner marker of another tracking database: "
        + ", ".join(facts.foreign_roots),
        "foreign",
        facts.foreign_roots,
    )


def mass_vanishing(facts: Facts, limits: Limits) -> Refusal | None:
    """Refuse when every known active run vanished, or most of them within the window."""
    if not facts.vanished:
        return None
    vanished = len(facts.vanished) + facts.vanished_before
    known = facts.known_active + facts.vanished_before
    every_one = len(facts.vanished) == facts.known_active
    most = vanished >= limits.vanished_minimum and vanished > limits.vanished_share * known
    if not (every_one or most):
        return None
    when = "within an hour" if facts.vanished_before else "at once"
    return _refusal(
        f"the rows of {vanished} of {known} known active runs vanished {when} without having been "
        "deleted",
        "vanished",
        sorted(facts.vanished),
    )


def _refusal(reason: str, kind: str, facts: Iterable[str], *, is_lasting: bool = False) -> Refusal:
    digest = hashlib.sha256("\n".join([kind, *facts]).encode("utf-8", "backslashreplace"))
    return Refusal(digest.hexdigest()[:8], reason, is_lasting)
