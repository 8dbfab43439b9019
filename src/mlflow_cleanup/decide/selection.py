"""What an operator's selection means, given what is deleted; and when it is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta

from mlflow_cleanup.model.deleted import DEFAULT_WORKSPACE, Deleted, Named, Selection
from mlflow_cleanup.model.target import DELETED, Target
from mlflow_cleanup.model.verdict import Gone

UNDATED = "no row says when it was deleted; --older-than counts from when it was first seen so"
YOUNGER = "it was deleted later than --older-than allows, though its experiment was not"

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses from what is deleted.

    `now_ms` is Unix time, as it surely is by now; `seen_s` for how many seconds something that no
    row dates is known to have been deleted; `experiments` are those chosen.
    """

    selection: Selection
    now_ms: int
    seen_s: Mapping[Target, float] = field(default_factory=dict)
    experiments: AbstractSet[str] = frozenset()

    def chooses(self, row: Deleted) -> bool:
        """Tell whether something is chosen by itself, whatever experiment it is in."""
        ids = self.selection.named.get(row.target.kind)
        return row.target.id in ids if ids is not None else self.is_old(row)

    def left(self, row: Deleted) -> str | None:
        """Say why something stays that is deleted, "" where it was not asked for; None: it goes."""
        is_inside = row.experiment_id in self.experiments
        if row.gone is Gone.EXPERIMENT_DELETED:
            return None if is_inside else ""
        if self.chooses(row) or (is_inside and self.is_old(row)):
            return None
        if row.target.kind in self.selection.named and not is_inside:
            return ""
        if row.since_ms is None:
            return UNDATED
        return YOUNGER if is_inside else ""

    def is_old(self, row: Deleted) -> bool:
        """Tell whether something was deleted long enough ago."""
        older_than = self.selection.older_than
        if older_than is None:
            return True
        if row.since_ms is None:
            return self.seen_s.get(row.target, 0.0) >= older_than.total_seconds()
        return self.now_ms - row.since_ms >= older_than / _MILLISECOND


def problems(chooser: Chooser, named: Named, rows: Iterable[Deleted]) -> Iterator[str]:
    """Say which of the given ids MLflow would refuse; `rows` are the deleted ones among them."""
    selection = chooser.selection
    yield from _workspace_problems(selection, named)
    too_young = {
        Target(row.target.kind, row.target.id): row for row in rows if not chooser.is_old(row)
    }
    for kind, ids in selection.named.items():
        for target in dict.fromkeys(Target(kind, id_) for id_ in ids):
            stage = named.stages.get(target)
            if stage is None:
                if not selection.tolerates_missing:
                    yield f"there is no {target}"
            elif stage != DELETED:
                yield f"{target} is not deleted; only what is deleted in MLflow can be removed"
            elif target in too_young:
                row = too_young[target]
                yield f"{target}: " + (UNDATED if row.since_ms is None else "not older than asked")


def _workspace_problems(selection: Selection, named: Named) -> Iterator[str]:
    if selection.workspace is None:
        others = sorted(named.used - {DEFAULT_WORKSPACE})
        if others and not selection.tolerates_missing:
            yield (
                f"there are experiments in other workspaces than the default one: "
                f"{', '.join(others)}; say which one with --workspace, or --all-workspaces"
            )
        return
    if named.workspaces is None:
        yield "this database knows no workspaces (MLflow has them since 3.10)"
    elif selection.workspace not in named.workspaces:
        known = ", ".join(sorted(named.workspaces))
        yield f"there is no workspace {selection.workspace!r}; there are: {known}"
