"""All safety margins in one place, each with its reason."""

from __future__ import annotations

from datetime import timedelta

DEFAULT_RETENTION = timedelta(days=7)
"""A week: a deletion by mistake is noticed by the end of the next working week."""

QUIET_BEFORE_IRREVERSIBLE = timedelta(hours=1)
"""With retention 0, a run that never ended is left until nothing was written for so long: nothing
could give back what a process still writing loses."""

VANISHED_SHARE = 0.5
VANISHED_MINIMUM = 10
"""Rows of active runs that disappear without a delete are an accident until shown otherwise: more
than this share, and at least this many, refuse the plan. Every known one always does."""

VANISHED_WINDOW = timedelta(hours=1)
"""Rows that go a few at a time are counted together for so long: what loses rows slowly is as much
of an accident as what loses them at once."""

ORPHAN_AGE = timedelta(days=3)
ORPHAN_INTERVAL = timedelta(hours=4)
"""An orphan is taken only when its newest file is older than the first, and it was unclaimed in two
full cycles at least the second apart: a client that writes before its row is committed, or a
database that was looked at in the middle of a restore, is seen again by then."""

MOST_OF_A_ROOT = 0.5
MOST_ENTITIES = 10_000
"""A full cycle that would take more than this share of a root's bytes, or more entities, is refused
until confirmed: mistakes take everything, and real garbage seldom does."""

PLAN_GOOD_FOR = timedelta(hours=24)
"""A saved plan older than this is made again: what it showed is no longer what there is."""

FAILURES_IN_A_ROW = 10
"""After so many, something is wrong with the whole root, and the rest of it waits."""

RETRY_FIRST = timedelta(minutes=1)
RETRY_LONGEST = timedelta(hours=6)
"""Pauses between attempts to purge what would not go: doubled each time, so that a file somebody
holds open for a day costs a handful of attempts."""

LATE_WRITES_WATCHED = timedelta(days=7)
"""A process may go on writing into a deleted run; for so long after the purge its place is looked
at again. What is written later is found by comparing storage with the database."""
