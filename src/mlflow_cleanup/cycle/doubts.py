"""Why it cannot be told from an artifact root that something has no files any more."""

from __future__ import annotations

from mlflow_cleanup.cycle.roots import holds_any_of
from mlflow_cleanup.cycle.workplace import Workplace


class Doubts:
    """Asks each root once what speaks against believing it.

    A root in which nothing of this database was ever seen may be a wrong one, or not be mounted;
    and the trash may hold what the ledger does not know, as after it was lost.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._answers: dict[str, str | None] = {}

    def on(self, root: str) -> str | None:
        """Say why what is not there under a root may be elsewhere; None: it is gone.

        Raises StoreUnreachable.
        """
        if root not in self._answers:
            self._answers[root] = self._on(root)
        return self._answers[root]

    def _on(self, root: str) -> str | None:
        store, items = self._workplace.store_of(root), self._workplace.ledger.items
        was_used = items.has_any_under(root) or store.is_adopted()
        if not was_used and not holds_any_of(self._workplace, root):
            return (
                f"nothing of this database was ever seen under {root}: say where its artifacts are "
                "with --artifacts-destination or --artifact-root, or that nothing was ever stored "
                f"there with `mlflow-cleanup adopt {root}`"
            )
        held = store.held_ids()
        if unknown := held - items.among(held):
            return (
                f"the trash under {root} holds {len(unknown)} item(s) that the ledger does not "
                "know; `mlflow-cleanup doctor` names them"
            )
        return None
