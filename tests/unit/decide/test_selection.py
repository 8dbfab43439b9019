"""What the flags of `gc` select, and which of them are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mlflow_cleanup.decide.selection import UNDATED, YOUNGER, Chooser, problems
from mlflow_cleanup.model.deleted import Deleted, Named, Selection
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone

NOW_MS = 1_000_000_000
DAY = timedelta(days=1)
DAY_MS = 86_400_000

RUN, MODEL, TRACE = TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.TRACE
EXPERIMENT, JOB = TargetKind.EXPERIMENT, TargetKind.JOB


def row(
    kind: TargetKind, id_: str, *, age_ms: int | None = DAY_MS, gone: Gone | None = None
) -> Deleted:
    """Make a deleted row of experiment 7 that was deleted so long ago; None: nobody says when."""
    since_ms = None if age_ms is None else NOW_MS - age_ms
    if gone is None and kind in (RUN, MODEL):
        gone = Gone.DELETED if kind is RUN else Gone.MODEL_DELETED
    return Deleted(Target(kind, id_, since_ms), gone, since_ms=since_ms, experiment_id="7")


def chooser(*experiments: str, seen_s: dict[Target, float] | None = None, **flags: Any) -> Chooser:  # noqa: ANN401 - the fields' own types
    """Make a chooser of some flags, with these experiments chosen."""
    return Chooser(Selection(**flags), NOW_MS, seen_s or {}, frozenset(experiments))


class TestAge:
    """`--older-than` counts from the time that the row says."""

    @pytest.mark.parametrize("age_ms", [DAY_MS, DAY_MS + 1, 10 * DAY_MS])
    def test_what_is_as_old_or_older_goes(self, age_ms: int) -> None:
        """A day is a day, as MLflow compares it."""
        assert chooser(older_than=DAY).left(row(RUN, "a", age_ms=age_ms)) is None

    @pytest.mark.parametrize("age_ms", [0, DAY_MS - 1, -DAY_MS])
    def test_what_is_younger_is_not_asked_for(self, age_ms: int) -> None:
        """Not a word about it, nor about what was deleted in the future."""
        assert chooser(older_than=DAY).left(row(RUN, "a", age_ms=age_ms)) == ""

    @pytest.mark.parametrize("age_ms", [0, DAY_MS, -DAY_MS, None])
    def test_without_it_every_age_goes(self, age_ms: int | None) -> None:
        """Also what was deleted at a time that nobody noted."""
        assert chooser().left(row(RUN, "a", age_ms=age_ms)) is None

    def test_undated_counts_from_when_it_was_first_seen(self) -> None:
        """Until then it stays, and that is said."""
        undated = row(RUN, "a", age_ms=None)
        almost, old = DAY.total_seconds() - 1, DAY.total_seconds()

        assert chooser(older_than=DAY).left(undated) == UNDATED
        assert chooser(older_than=DAY, seen_s={Target(RUN, "a"): almost}).left(undated) == UNDATED
        assert chooser(older_than=DAY, seen_s={Target(RUN, "a"): old}).left(undated) is None
        assert chooser(older_than=DAY, seen_s={Target(MODEL, "a"): old}).left(undated) == UNDATED

    def test_seen_long_ago_says_nothing_of_what_has_a_date(self) -> None:
        """It was restored and deleted again since: its own time counts."""
        seen = {Target(RUN, "a"): 1e9}
        assert chooser(older_than=DAY, seen_s=seen).left(row(RUN, "a", age_ms=1)) == ""


class TestIds:
    """Each id list limits its own kind only, as in MLflow."""

    def test_only_the_named_run_goes(self) -> None:
        """Of the others not a word."""
        named = chooser(run_ids=("a",))
        assert named.left(row(RUN, "a")) is None
        assert named.left(row(RUN, "b")) == ""

    @pytest.mark.parametrize("kind", [MODEL, EXPERIMENT])
    def test_naming_runs_limits_nothing_else(self, kind: TargetKind) -> None:
        """`--run-ids X` still removes every deleted experiment and model."""
        assert chooser(run_ids=("a",)).chooses(row(kind, "b"))

    def test_the_same_id_of_another_kind_is_not_meant(self) -> None:
        """An experiment may be called as a model is."""
        named = chooser(experiment_ids=("a",), logged_model_ids=("b",))
        assert not named.chooses(row(MODEL, "a"))
        assert named.chooses(row(MODEL, "b"))

    def test_what_is_in_a_chosen_experiment_goes_with_it(self) -> None:
        """Though other runs were named."""
        assert chooser("7", run_ids=("a",)).left(row(RUN, "b")) is None

    def test_job_ids_are_passed_over(self) -> None:
        """MLflow looks for finished jobs among them, and misses none."""
        assert JOB not in chooser(takes_jobs=True, job_ids=("j",)).selection.named


class TestInsideAnExperiment:
    """What is in an experiment that was chosen, and in one that was not."""

    @pytest.mark.parametrize("kind", [MODEL, TRACE])
    def test_what_left_with_it_goes_with_it_only(self, kind: TargetKind) -> None:
        """A model or trace is not deleted itself."""
        left_with_it = row(kind, "x", age_ms=None, gone=Gone.EXPERIMENT_DELETED)
        assert chooser("7").left(left_with_it) is None
        assert chooser("8").left(left_with_it) == ""
        assert chooser("7", older_than=DAY).left(left_with_it) is None

    @pytest.mark.parametrize("kind", [RUN, MODEL])
    def test_younger_one_stays_and_says_so(self, kind: TargetKind) -> None:
        """It keeps the experiment, where MLflow stops with everything."""
        assert chooser("7", older_than=DAY).left(row(kind, "x", age_ms=1)) == YOUNGER

    def test_undated_one_stays_and_says_so(self) -> None:
        """Nobody knows how old it is."""
        assert chooser("7", older_than=DAY).left(row(RUN, "x", age_ms=None)) == UNDATED


class TestProblems:
    """Ids that MLflow would refuse, too."""

    def told(self, flags: dict[str, Any], named: Named, *rows: Deleted) -> list[str]:
        """Name the problems."""
        return list(problems(chooser(**flags), named, rows))

    def test_what_is_deleted_and_old_enough_is_none(self) -> None:
        """Twice the same id is none, either."""
        named = Named({Target(RUN, "a"): "deleted", Target(EXPERIMENT, "7"): "deleted"})
        flags = {"run_ids": ("a", "a"), "experiment_ids": ("7",), "older_than": DAY}
        assert self.told(flags, named, row(RUN, "a"), row(EXPERIMENT, "7")) == []

    def test_each_missing_id_is_told_once(self) -> None:
        """Whatever kind it is of."""
        flags: dict[str, Any] = {
            "run_ids": ("a", "a"),
            "experiment_ids": ("b",),
            "logged_model_ids": ("c",),
        }
        assert self.told(flags, Named()) == [
            "there is no run a",
            "there is no experiment b",
            "there is no logged model c",
        ]
        assert self.told({**flags, "tolerates_missing": True}, Named()) == []

    @pytest.mark.parametrize("stage", ["active", "", "DELETED"])
    @pytest.mark.parametrize("tolerates_missing", [False, True])
    def test_what_is_not_deleted_is_refused(self, stage: str, tolerates_missing: bool) -> None:
        """Also where missing ids are no error."""
        named = Named({Target(RUN, "a"): stage})
        (told,) = self.told({"run_ids": ("a",), "tolerates_missing": tolerates_missing}, named)
        assert told.startswith("run a is not deleted")

    @pytest.mark.parametrize(("age_ms", "why"), [(1, "not older"), (None, UNDATED)])
    def test_what_is_too_young_is_refused(self, age_ms: int | None, why: str) -> None:
        """Somebody asked for it by name, so it is not passed over."""
        named = Named({Target(RUN, "a"): "deleted"})
        flags = {"run_ids": ("a",), "older_than": DAY}
        (told,) = self.told(flags, named, row(RUN, "a", age_ms=age_ms))
        assert told.startswith("run a: ")
        assert why in told

    def test_young_ones_that_nobody_named_are_none(self) -> None:
        """They are left, as without ids."""
        assert self.told({"older_than": DAY}, Named(), row(RUN, "a", age_ms=1)) == []

    def test_workspace_that_is_not_there(self) -> None:
        """Told with those that there are."""
        flags = {"workspace": "team"}
        assert self.told(flags, Named(workspaces=frozenset({"team", "default"}))) == []
        (told,) = self.told(flags, Named(workspaces=frozenset({"other", "default"})))
        assert told == "there is no workspace 'team'; there are: default, other"

    def test_no_word_where_there_are_several(self) -> None:
        """One with no experiments does not count; nor does what is said of all."""
        several = Named(workspaces=frozenset({"team", "default"}), used=frozenset({"team"}))
        (told,) = self.told({}, several)
        assert "default one: team; say which one" in told
        assert self.told({"tolerates_missing": True}, several) == []
        one = Named(workspaces=frozenset({"team", "default"}), used=frozenset({"default"}))
        assert self.told({}, one) == []

    def test_workspace_of_a_database_that_knows_none(self) -> None:
        """Everything would be meant, which nobody asked for."""
        (told,) = self.told({"workspace": "team"}, Named())
        assert "knows no workspaces" in told
        assert self.told({}, Named()) == []
