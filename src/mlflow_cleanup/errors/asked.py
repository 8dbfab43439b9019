"""Why something that was asked for is not done."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_cleanup.errors.base import CleanupError


class PlanRefused(CleanupError):
    """A safeguard stopped the whole plan."""

    def __init__(self, plan_id: str, reason: str) -> None:
        self.plan_id, self.reason = plan_id, reason
        super().__init__(
            f"refused plan {plan_id}: {reason}. Nothing was moved. "
            f"If it was meant: `mlflow-cleanup confirm {plan_id}`; if this is another database on "
            f"purpose: `mlflow-cleanup confirm {plan_id} --forget`, which leaves all files alone."
        )


class SweepRefused(PlanRefused):
    """A plan would take more at once than is believed without asking."""

    def __init__(self, plan_id: str, reason: str) -> None:
        self.plan_id, self.reason = plan_id, reason
        CleanupError.__init__(
            self,
            f"refused plan {plan_id}: {reason}. Nothing was moved. Look at `mlflow-cleanup plan`; "
            f"if it was meant: `mlflow-cleanup confirm {plan_id}`, and once more.",
        )


class PlanOutdated(CleanupError):
    """A saved plan that may not be carried out (any more)."""

    def __init__(self, plan_id: str, why: str) -> None:
        self.plan_id, self.why = plan_id, why
        super().__init__(
            f"plan {plan_id} was not carried out: {why}; nothing was moved. "
            "Make a new one with `mlflow-cleanup plan -o FILE`."
        )


class BadSelection(CleanupError):
    """Something was selected for removal that is not there, or may not be removed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = problems
        super().__init__("nothing was removed: " + "; ".join(problems))


class PlanBrokenOff(CleanupError):
    """Something ended a plan in the middle."""

    def __init__(self, plan_id: str, done: int, steps: int, why: str) -> None:
        self.plan_id, self.done, self.steps, self.why = plan_id, done, steps, why
        super().__init__(
            f"plan {plan_id} was broken off after {done} of {steps} steps: {why}. What was in hand "
            "is finished or taken back by the next cycle; `mlflow-cleanup history` shows what was "
            "done. Carry the plan out again to go on."
        )


class UnknownItems(CleanupError):
    """Ids were named that the ledger has nothing in the trash for."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        super().__init__(
            f"nothing in the trash for {', '.join(self.ids)}; nothing was changed. "
            "`mlflow-cleanup trash list` shows what is there."
        )


class ServerMissing(CleanupError):
    """MLflow itself is not installed beside us."""

    def __init__(self) -> None:
        super().__init__(
            "MLflow is not installed in this environment, so its UI cannot be started. "
            "Install it with `pip install 'mlflow-cleanup[mlflow]'`."
        )


class OutputLost(CleanupError):
    """What a verb has to say could not be written to standard output."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(
            f"the output could not be written ({detail}). Whatever was done is done: "
            "`mlflow-cleanup history` and `mlflow-cleanup status` show it."
        )


class NotAnswered(CleanupError):
    """The process that holds the lease did not take up a request in time."""


class FailedThere(CleanupError):
    """The process that holds the lease could not do what was asked."""
