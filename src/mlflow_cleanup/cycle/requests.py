"""What verbs ask for while a monitor holds the lease: done here, the outcome left in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlflow_cleanup.cycle.turn import Cycle
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.errors import LedgerFull
from mlflow_cleanup.ledger.journal import Request
from mlflow_cleanup.model.item import Item

RESTORE, PURGE = "restore", "purge"


def answer_requests(cycle: Cycle, workplace: Workplace) -> None:
    """Carry out every waiting request; one that fails is answered with its error."""
    for request in workplace.ledger.requests.waiting():
        try:
            outcome: dict[str, Any] = {
                "items": [outcome_of(item) for item in carry_out(cycle, request)]
            }
        except Exception as error:  # noqa: BLE001 - whatever it was, the next one is answered too
            outcome = {"error": str(error), "type": type(error).__name__, "items": []}
        workplace.ledger.requests.settle(request.id, outcome)


def carry_out(cycle: Cycle, request: Request) -> list[Item]:
    """Do what a request asks."""
    verbs: dict[str, Callable[[Sequence[str]], list[Item]]] = {
        RESTORE: lambda run_ids: cycle.restore(list(run_ids)),
        PURGE: lambda ids: cycle.purge(list(ids)),
    }
    try:
        return verbs[request.verb](request.run_ids)
    except LedgerFull:
        return verbs[request.verb](request.run_ids)


def outcome_of(item: Item) -> dict[str, Any]:
    """Say what became of one item, as JSON values."""
    return {
        "id": item.id,
        "run_id": item.entity.id,
        "state": item.state.value,
        "path": item.location.path,
        "bytes": item.size.bytes if item.size else None,
        "error": item.error,
    }
