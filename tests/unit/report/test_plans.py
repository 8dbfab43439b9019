from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.entity import Entity, EntityKind, plain
from mlflow_cleanup.model.inventory import Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location, Misread, Unplaced
from mlflow_cleanup.model.plan import (
    Judged,
    Refusal,
    RootSummary,
    Step,
    StepResult,
    SweepPlan,
    digest_of,
)
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept
from mlflow_cleanup.report.plans import (
    _seal_of,
    plan_from,
    plan_text,
    plan_values,
    steps_text,
    steps_values,
)
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, candidate, location

HOSTILE = "x\n\x1b[2J\u202e\udcff\x00é"


def judged(number: int, gone: Gone = Gone.DELETED, **more: Any) -> Judged:  # noqa: ANN401 - the fields' own types
    """Make a verdict on a run's place of `number` bytes."""
    one = candidate(number, gone=gone, **more)
    return Judged(one, Garbage(gone, one.deleted_at), Size(1, number), 1_700_000_000.25 + number)


def sealed(**changes: Any) -> SweepPlan:  # noqa: ANN401 - likewise
    """Make a plan with an id of its own."""
    values = {
        "made_at": NOW,
        "database": "/home/mlflow.db",
        "identity": BackendIdentity({"0": 1_700_000_000_001, "1": None}),
        **changes,
    }
    plan = SweepPlan("", **values)
    return replace(plan, id=digest_of(plan.made_at, (*plan.take, *plan.empty)))


def rich() -> SweepPlan:
    """Make a plan with something in every field."""
    model = Entity(EntityKind.LOGGED_MODEL, f"m-{run_id(3)}")
    version = Entity(EntityKind.MODEL_VERSION, "net version 1")
    remote = candidate(6, Unplaced(Misread.REMOTE, "s3://b"), name=HOSTILE)
    return sealed(
        take=(
            judged(1, name="telling name", experiment_id="7", deleted_at=NOW - timedelta(days=9)),
            judged(10, Gone.ORPHAN),
            Judged(
                Candidate(
                    model,
                    Location("/art", ("0", "models", model.id, "artifacts")),
                    Gone.RUN_DELETED,
                    cascade=True,
                ),
                Garbage(Gone.RUN_DELETED),
                Size(0, 0),
                0.0,
            ),
            Judged(
                Candidate(version, Location("/art", ("exported", HOSTILE)), Gone.VERSION_DELETED),
                Garbage(Gone.VERSION_DELETED),
            ),
        ),
        empty=(replace(judged(4, Gone.EMPTY), size=Size()),),
        keep=(
            Judged(remote, Keep(Kept.REMOTE, HOSTILE)),
            Judged(candidate(100), Keep(Kept.LIVE_CLAIM, "logged model m-1"), Size(1, 100), 5.0),
        ),
        roots=(
            RootSummary(
                "/art",
                total=Size(10, 10_000),
                live=Size(1, 1_000),
                live_places=3,
                foreign={"": Size(1, 1), "backup": Size(2, 20)},
                unseen=(Unseen("/art/closed", "Permission denied"),),
                problem="/art/closed could not be seen",
            ),
        ),
        refusal=Refusal("1f2e3d4c", "it would take 77% of the bytes under /art"),
    )


def saved(plan: SweepPlan) -> Any:  # noqa: ANN401 - JSON values
    """Return what a saved plan says, written as UTF-8 and read back."""
    return json.loads(json.dumps(plan_values(plan), indent=1).encode("utf-8"))


class TestThereAndBack:
    """A plan as it was made is the plan that is carried out."""

    def test_everything_that_is_carried_out_comes_back(self) -> None:
        """All but what is only shown: that is not needed, and so it is not read."""
        plan = rich()

        assert plan_from(saved(plan)) == replace(plan, keep=(), roots=(), unclaimed={})

    @pytest.mark.parametrize("gone", Gone)
    @pytest.mark.parametrize("kind", EntityKind)
    def test_every_kind_and_reason(self, kind: EntityKind, gone: Gone) -> None:
        """Whatever can be taken for whatever reason."""
        one = judged(1, gone)
        plan = sealed(
            take=(replace(one, candidate=replace(one.candidate, entity=Entity(kind, "x"))),)
        )

        assert plan_from(saved(plan)).take == plan.take

    def test_nothing(self) -> None:
        """An empty plan is one too."""
        plan = sealed(identity=BackendIdentity({}))

        assert plan_from(saved(plan)) == plan

    @given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
    def test_any_text(self, text: str) -> None:
        """Names, ids and paths as clients and file systems have them."""
        place = Location(f"/{text}", (text, "artifacts"))
        one = candidate(1, place, name=text, experiment_id=plain(text))
        one = replace(one, entity=Entity(EntityKind.MODEL_VERSION, plain(text)))
        plan = sealed(take=(Judged(one, Garbage(Gone.DELETED)),), database=text)

        assert plan_from(saved(plan)) == plan

    @given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**60))
    def test_any_number(self, newest: float, size: int) -> None:
        """Times to the last bit, as what was written to since is told by them."""
        plan = sealed(take=(replace(judged(1), newest=newest, size=Size(size, size)),))

        assert plan_from(saved(plan)) == plan


def leaves(told: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON values
    """Name the way to every single value."""
    items = told.items() if isinstance(told, dict) else enumerate(told)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*way, key))
        else:
            yield (*way, key)


def other_than(value: Any) -> Any:  # noqa: ANN401 - JSON values
    """Change one value to another of its kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value.replace("2025", "2026") if "2025-" in value else f"{value}x"
    return "x" if value is None else ["x"]


WAYS = list(leaves(saved(rich())))
INNER_WAYS = list(
    dict.fromkeys(
        way[:length]
        for way in WAYS
        for length in range(1, len(way) + 1)
        if way[0] not in ("keep", "roots", "bytes", "seal")  # which are not read
    )
)


class TestChanged:
    """A plan that is not what was shown is not carried out."""

    @pytest.mark.parametrize("way", WAYS, ids=lambda way: ".".join(map(str, way)))
    def test_any_value_changed_by_hand_is_noticed(self, way: tuple[Any, ...]) -> None:
        """What is taken, from where, when it was written to, for what database, what refused it."""
        told = saved(rich())
        inner = told
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = other_than(inner[way[-1]])

        with pytest.raises(BadUsage):
            plan_from(told)

    @pytest.mark.parametrize("name", saved(rich()))
    def test_anything_left_out_is_noticed(self, name: str) -> None:
        """A refusal above all."""
        told = saved(rich())
        del told[name]

        with pytest.raises(BadUsage):
            plan_from(told)

    @pytest.mark.parametrize("name", ["take", "empty", "refusal"])
    def test_anything_emptied_is_noticed(self, name: str) -> None:
        """To take less is another plan too: it would be done with this one's id."""
        told = saved(rich())
        told[name] = None if name == "refusal" else []

        with pytest.raises(BadUsage, match="changed after it was made"):
            plan_from(told)

    def test_anything_added_is_noticed(self) -> None:
        """A place of another plan."""
        told = saved(rich())
        told["take"] += saved(sealed(take=(judged(5),)))["take"]

        with pytest.raises(BadUsage, match="changed after it was made"):
            plan_from(told)

    @pytest.mark.parametrize(
        "told", [None, 7, "plan", [], [1], {}, {"format": 1}, {"format": 1, "take": [1]}, [[]]]
    )
    def test_anything_else_is_no_plan(self, told: Any) -> None:  # noqa: ANN401 - JSON values
        """It is told in a word, whatever it is."""
        with pytest.raises(BadUsage, match=r"no plan of mlflow-cleanup|has format"):
            plan_from(told)

    @pytest.mark.parametrize("format_", [0, 2, "1", None])
    def test_plan_of_another_version_is_left_to_it(self, format_: object) -> None:
        """What its fields mean is not known."""
        with pytest.raises(BadUsage, match="has format"):
            plan_from({**saved(rich()), "format": format_})


ODD: list[Any] = [
    *(None, True, False, 0, -1, 0.5, 2**63, 10**400, float("inf"), float("nan")),
    *("", "x", "\udcff", "2025-03-10", "2025-03-10T12:00:00", "0001-01-01T00:00:00+14:00"),
    *([], [[]], [None], [7], {}, {"x": None}, {"x": 7}, {"x": [["\udcff", 7]]}),
]
ODD_VALUES = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=5) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


class TestResealed:
    """A plan that was changed by somebody who knows how to seal it."""

    @pytest.mark.parametrize("way", INNER_WAYS, ids=lambda way: ".".join(map(str, way)))
    def test_is_fit_to_be_carried_out_or_refused(self, way: tuple[Any, ...]) -> None:
        """Whatever stands in any place of it."""
        for value in ODD:
            require_fit_or_refused(changed(saved(rich()), way, value))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(INNER_WAYS), ODD_VALUES), min_size=1, max_size=3))
    def test_is_fit_or_refused_whatever_else_was_changed(
        self, changes: list[tuple[tuple[Any, ...], object]]
    ) -> None:
        """Any values, at several places."""
        told = saved(rich())
        for way, value in changes:
            with suppress(KeyError, IndexError, TypeError):  # it lay in what was changed before
                changed(told, way, value)
        require_fit_or_refused(told)

    def test_that_names_a_place_twice_is_refused(self) -> None:
        """Among what is taken, or once more as an empty directory."""
        for name in ("take", "empty"):
            told = saved(sealed(take=(judged(1), judged(10))))
            told[name].append(told["take"][0])

            with pytest.raises(BadUsage, match="names a place more than once"):
                plan_from(resealed(told))

    def test_seal_is_looked_at_first(self) -> None:
        """What nobody vouches for is not even read."""
        told = {**saved(rich()), "made_at": "never"}

        with pytest.raises(BadUsage, match="changed after it was made"):
            plan_from(told)
        with pytest.raises(BadUsage, match="no plan of mlflow-cleanup"):
            plan_from(resealed(told))


def require_fit_or_refused(told: Any) -> None:  # noqa: ANN401 - JSON values
    """Seal it anew: BadUsage, or every value of it can be recorded, shown and compared."""
    try:
        plan = plan_from(resealed(told))
    except BadUsage:
        return
    anchors = plan.identity.anchors.values()
    assert all(at is None or (type(at) is int and abs(at) < 2**63) for at in anchors)
    times = [plan.made_at, *(item.candidate.deleted_at for item in plan.steps)]
    assert all(at is None or (at.tzinfo is not None and 1 < at.year < 9999) for at in times)
    for item in plan.steps:
        candidate, size, newest = item.candidate, item.size, item.newest
        (plan.id + candidate.entity.id + (candidate.experiment_id or "")).encode()
        assert isinstance(candidate.name or "", str)
        assert isinstance(candidate.cascade, bool)
        assert newest is None or (type(newest) in (int, float) and math.isfinite(newest))
        counts = [0] if size is None else [size.files, size.bytes]
        assert all(type(count) is int and 0 <= count < 2**63 for count in counts)
    assert all(
        type(name) is str for places in plan.unclaimed.values() for at in places for name in at
    )
    if plan.refusal is not None:
        assert isinstance(plan.refusal.reason, str)
        plan.refusal.plan_id.encode()
    assert isinstance(plan.database, str)
    assert plan.stamp
    assert plan_text(plan, everything=True)
    steps = [Step(item, StepResult.SKIPPED, "why") for item in plan.steps]
    assert json.dumps(steps_values(plan, steps), allow_nan=False)


def changed(told: Any, way: tuple[Any, ...], value: object) -> Any:  # noqa: ANN401 - JSON values
    """Put another value in one place of it."""
    inner = told
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = deepcopy(value)  # or it could come to lie in itself
    return told


def resealed(told: Any) -> Any:  # noqa: ANN401 - JSON values
    """Seal it anew, written to a file and read back."""
    read = json.loads(json.dumps(told))
    return {**read, "seal": _seal_of(read)}


class TestText:
    """What is shown before anything is done."""

    def test_everything_is_told(self) -> None:
        """What goes, by kind and reason and the largest by name; what stays; what was not seen."""
        text = plan_text(rich())

        for words in (
            f"Plan {rich().id} for /home/mlflow.db",
            "4 places, 11 B",
            "run           its run was deleted",
            "model version  the model version was deleted",
            "1 empty directories would be removed",
            "a live entity still claims it",
            'run 00000000000000000000000000000001 "telling name"',
            "Artifact root /art: 10.0 kB in 10 files; 3 places in use, 1.0 kB",
            "foreign, never touched: backup, 20 B in 2 files",
            "foreign, never touched: files at the top, 1 B in 1 file",
            "not seen: /art/closed: Permission denied",
            "nothing here counts as unclaimed: /art/closed could not be seen",
            "REFUSED at first, as plan 1f2e3d4c: it would take 77% of the bytes under /art",
            "mlflow-cleanup confirm 1f2e3d4c",
        ):
            assert " ".join(words.split()) in " ".join(text.split()), words

    @pytest.mark.parametrize("count", [1, 10, 11, 100])
    def test_the_largest_are_shown_unless_all_are_asked_for(self, count: int) -> None:
        """Ten of them, the largest first; all of them with what stays, when asked."""
        plan = sealed(
            take=tuple(judged(number) for number in range(1, count + 1)),
            keep=(Judged(candidate(1_000), Keep(Kept.PINNED), Size(1, 5), 1.0),),
        )
        few, every = plan_text(plan), plan_text(plan, everything=True)

        assert few.count("/artifacts") == min(count, 10)
        assert every.count("/artifacts") == count + 1
        assert f"run {run_id(count)}" in few
        assert few.index(run_id(count)) < few.index(location(max(count - 9, 1)).path)
        assert f"{count} places, {sum(range(1, count + 1)) / 1_000:.1f} kB" in few or count < 45
        assert f"run {run_id(1_000)}" in every

    def test_nothing_to_do_is_said(self) -> None:
        """In so many words."""
        assert "nothing to reclaim" in plan_text(sealed())

    def test_hostile_text_stays_on_its_line(self) -> None:
        """Whatever clients, file systems or other databases put there."""
        hostile = Entity(EntityKind.MODEL_VERSION, HOSTILE)
        place = Location("/art", (HOSTILE, "artifacts"))
        one = Candidate(hostile, place, Gone.VERSION_DELETED, name=HOSTILE)

        def plan(text: str) -> SweepPlan:
            return sealed(
                take=(Judged(replace(one, name=text), Garbage(Gone.VERSION_DELETED)),),
                keep=(Judged(replace(one, name=text), Keep(Kept.PINNED, text)),),
                roots=(
                    RootSummary(
                        text, foreign={text: Size(1, 1)}, unseen=(Unseen(text, text),), problem=text
                    ),
                ),
                database=text,
                refusal=Refusal(text, text),
            )

        odd, even = (plan_text(plan(text), everything=True) for text in (HOSTILE, "even"))

        assert len(odd.splitlines()) == len(even.splitlines())
        assert all(line.isprintable() for line in odd.split("\n"))
        odd.encode("utf-8")

    def test_many_foreign_directories_are_summed_up(self) -> None:
        """The ten largest, and how many more there are."""
        foreign = {f"directory {number}": Size(1, number) for number in range(100)}
        text = plan_text(sealed(roots=(RootSummary("/art", foreign=foreign),)))

        assert text.count("foreign, never touched") == 10
        assert "directory 99," in text
        assert "and 90 more foreign directories" in text


class TestSteps:
    """What became of a plan."""

    def steps(self) -> tuple[SweepPlan, list[Step]]:
        """Carry out most of a plan."""
        plan = sealed(take=tuple(map(judged, (1, 10, 100, 1_000))), empty=(judged(5, Gone.EMPTY),))
        one, ten, hundred, _ = plan.take
        return plan, [
            Step(one, StepResult.QUARANTINED, size=Size(1, 1)),
            Step(ten, StepResult.FAILED, HOSTILE),
            Step(hundred, StepResult.SKIPPED, "its run is active"),
            Step(plan.empty[0], StepResult.REMOVED),
        ]

    def test_each_is_told_with_its_result(self) -> None:
        """Counts, the bytes that were measured, and what is left for another time."""
        plan, steps = self.steps()
        values = json.loads(json.dumps(steps_values(plan, steps)))

        assert values["plan"] == plan.id
        assert (values["bytes"], values["left"]) == (1, 1)
        assert values["counts"] == {
            "quarantined": 1,
            "purged": 0,
            "removed": 1,
            "skipped": 1,
            "failed": 1,
            "not ours": 0,
        }
        told = [(step["entity_id"], step["result"], step["bytes"]) for step in values["steps"]]
        assert told == [
            (run_id(1), "quarantined", 1),
            (run_id(10), "failed", None),
            (run_id(100), "skipped", None),
            (run_id(5), "removed", None),
        ]
        assert values["steps"][1]["detail"].isprintable()

    def test_failures_and_skips_have_a_line_each(self) -> None:
        """And so has what was not reached."""
        text = steps_text(steps_values(*self.steps()))

        assert len(text.split("\n")) == 5
        assert all(line.isprintable() for line in text.split("\n"))
        assert "1 moved to the trash, 1 empty removed, 1 skipped, 1 failed; 1 B" in text
        assert f"skipped: run {run_id(100)} at {location(100)}: its run is active" in text
        assert "1 step(s) are left" in text

    def test_nothing_done_is_said(self) -> None:
        """An empty plan had nothing to do."""
        assert "nothing to reclaim" in steps_text(steps_values(sealed(), []))
