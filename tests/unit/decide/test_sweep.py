from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mlflow_cleanup.decide.planner import Ground
from mlflow_cleanup.decide.sweep import Spot, View, make_sweep_plan
from mlflow_cleanup.model.claim import Claim, ClaimIndex
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.inventory import Inventory, Place, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location, Misread, Unplaced
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import Judged, Refusal, RootSummary, SweepPlan, Terms
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, ROOT, candidate, claim_on, ground

DAY_S, HOUR_S = 86_400.0, 3_600.0
AGED_S = 100 * DAY_S
OLD = NOW.timestamp() - 30 * DAY_S
CHANGED = 3.0
IDENTITY = BackendIdentity({"0": 1_700_000_000_001})
LARGE = 1_000_000


def place(inside: str, size: int = 10, **more: Any) -> Place:  # noqa: ANN401 - the fields' own types
    """Make a run's place of one old file, or what `more` says of it."""
    names = tuple(inside.split("/"))
    id_ = next(name for name in names if len(name) >= 32)
    above = names[: names.index(id_)]
    kind = EntityKind.RUN
    if id_.startswith(("m-", "tr-")):
        kind = EntityKind.LOGGED_MODEL if id_.startswith("m-") else EntityKind.TRACE
        above = above[:-1]
    values = {
        "is_shell": names[-1] != "artifacts",
        "size": Size(1 if size else 0, size),
        "newest": OLD,
        "changed": CHANGED,
        **more,
    }
    return Place(Entity(kind, id_), names, above, **values)


def of(number: int, size: int = 10, **more: Any) -> Place:  # noqa: ANN401 - likewise
    """Make the place of a run in experiment 0."""
    return place(f"0/{run_id(number)}/artifacts", size, **more)


def shell(inside: str, newest: float = OLD) -> Place:
    """Make an empty directory that an entity left behind."""
    return place(inside, 0, newest=newest)


def inventory(*places: Place, root: str = ROOT, **more: Any) -> Inventory:  # noqa: ANN401 - likewise
    """Make a root's inventory, with much beside it that nobody wants to take."""
    total = sum((one.size for one in places), Size(1, LARGE))
    values = {"foreign": {"backup": Size(1, LARGE)}, "total": total, **more}
    return Inventory(root, {one.inside: one for one in places}, **values)


def spot(number: int) -> Spot:
    """Name a run's place as the ledger remembers it."""
    return ROOT, ("0", run_id(number), "artifacts")


@dataclass
class Case:
    """What a full cycle saw, with an adopted root where everything was seen long ago."""

    inventories: tuple[Inventory, ...]
    departed: tuple[Candidate, ...] = ()
    ground: Ground = field(default_factory=ground)
    experiments: frozenset[Spot] = frozenset()
    first_seen: Mapping[Spot, float] | None = None
    adopted: frozenset[str] = frozenset({ROOT})
    released: frozenset[str] = frozenset()
    models: frozenset[Spot] | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    at: datetime = NOW

    def plan(self, **terms: Any) -> SweepPlan:  # noqa: ANN401 - the terms' own types
        """Judge it."""
        every = ((one.root, inside) for one in self.inventories for inside in one.places)
        view = View(
            ground=self.ground,
            now=Moment(self.at, AGED_S),
            inventories=self.inventories,
            departed=self.departed,
            experiments=self.experiments,
            first_seen=dict.fromkeys(every, 0.0) if self.first_seen is None else self.first_seen,
            adopted=self.adopted,
            released=self.released,
            unlisted=dict(map(copy_of, self.departed)),
            models=self.models if self.models is not None else copies_among(self.departed),
            problems=self.problems,
        )
        return make_sweep_plan(view, Terms(**terms), "/home/mlflow.db", IDENTITY)


def copies_among(departed: tuple[Candidate, ...]) -> frozenset[Spot]:
    """Name the places of versions' copies: a model lies in each of them."""
    return frozenset(copy_of(one)[0] for one in departed)


def copy_of(candidate: Candidate) -> tuple[Spot, Place]:
    """Say what was found where a version's copy lies, which no listing tells."""
    place = candidate.place
    is_copy = candidate.entity.kind is EntityKind.MODEL_VERSION and isinstance(place, Location)
    if not is_copy or not isinstance(place, Location):
        return ("", ()), Place(candidate.entity, (), (), is_shell=False)
    return (
        (place.root, place.inside),
        Place(candidate.entity, place.inside, (), False, Size(1, 10), 0.0),
    )


def case(*places: Place, **more: Any) -> Case:  # noqa: ANN401 - the fields' own types
    """See one root with the given places."""
    return Case((inventory(*places),), **more)


def taken(plan: SweepPlan) -> list[tuple[str, Gone]]:
    """Say what a plan takes, in its order, and why."""
    return [(item.candidate.entity.id, item.candidate.gone) for item in plan.take]


def kept(plan: SweepPlan) -> dict[str, Kept]:
    """Say what is told as kept, and why."""
    assert all(isinstance(item.verdict, Keep) for item in plan.keep)
    return {
        item.candidate.entity.id: item.verdict.reason
        for item in plan.keep
        if isinstance(item.verdict, Keep)
    }


def test_a_whole_root_is_judged_from_one_look() -> None:
    """One of everything, each in its place with its reason; the largest is taken first."""
    deleted, vanished = candidate(1, deleted_at=NOW), candidate(2, gone=Gone.VANISHED)
    gone_already, claimed = candidate(3), candidate(4)
    remote = candidate(5, Unplaced(Misread.REMOTE, "s3://b"))
    model = Entity(EntityKind.LOGGED_MODEL, f"m-{run_id(6)}")
    dead_model = Candidate(
        model, Location(ROOT, ("0", "models", model.id, "artifacts")), Gone.MODEL_DELETED
    )

    plan = case(
        of(1, 10),
        of(2, 100),
        of(4, 1_000),
        place(f"0/models/{model.id}/artifacts", 10_000),
        of(7, 1),  # an orphan
        of(8, 100_000),  # in use
        of(9, 2, newest=NOW.timestamp()),  # a young orphan
        shell(f"0/{run_id(10)}"),
        place(f"backup/0/{run_id(11)}/artifacts", 5),
        departed=(deleted, vanished, gone_already, claimed, remote, dead_model),
        ground=ground(claim_on(4), active=(8,)),
    ).plan()

    assert plan.take == (
        Judged(dead_model, Garbage(Gone.MODEL_DELETED), Size(1, 10_000), OLD, CHANGED),
        Judged(vanished, Garbage(Gone.VANISHED), Size(1, 100), OLD, CHANGED),
        Judged(deleted, Garbage(Gone.DELETED, NOW), Size(1, 10), OLD, CHANGED),
        Judged(
            candidate(7, gone=Gone.ORPHAN, experiment_id="0"),
            Garbage(Gone.ORPHAN),
            Size(1, 1),
            OLD,
            CHANGED,
        ),
    )
    assert plan.empty == (
        Judged(
            candidate(10, Location(ROOT, ("0", run_id(10))), gone=Gone.EMPTY, experiment_id="0"),
            Garbage(Gone.EMPTY),
            Size(),
            OLD,
            CHANGED,
        ),
    )
    assert [(item.candidate, item.verdict) for item in plan.keep] == [
        (claimed, Keep(Kept.LIVE_CLAIM, "logged model m-1")),
        (remote, Keep(Kept.REMOTE, "s3://b")),
        (candidate(9, gone=Gone.ORPHAN, experiment_id="0"), Keep(Kept.TOO_YOUNG)),
    ]
    assert plan.roots == (
        RootSummary(
            ROOT,
            total=Size(9, LARGE + 111_118),
            live=Size(1, 100_000),
            live_places=1,
            foreign={"backup": Size(1, LARGE), "backup/0": Size(1, 5)},
        ),
    )
    assert plan.unclaimed == {ROOT: (spot(7)[1], spot(9)[1])}
    assert (plan.made_at, plan.database, plan.identity) == (NOW, "/home/mlflow.db", IDENTITY)
    assert plan.refusal is None


def test_nothing_makes_an_empty_plan() -> None:
    """An empty root, or none at all."""
    for seen in (case(), Case(())):
        plan = seen.plan()
        assert (plan.take, plan.empty, plan.keep, plan.refusal) == ((), (), (), None)


class TestDeparted:
    """What the database says has left."""

    def test_what_is_not_there_any_more_needs_no_word(self) -> None:
        """Neither taken nor kept: there is nothing."""
        plan = case(of(2), departed=(candidate(1),), ground=ground(active=(2,))).plan()

        assert (plan.take, plan.keep) == ((), ())

    def test_version_is_taken_without_having_been_listed(self) -> None:
        """A copy has no shape by which it would be found, and was looked at by itself."""
        version = version_at("exported", "model")
        plan = case(departed=(version,)).plan()

        assert plan.take == (Judged(version, Garbage(Gone.VERSION_DELETED), Size(1, 10), 0.0, 0.0),)

    def test_version_is_kept_where_no_model_lies(self) -> None:
        """Its place is any client's text, and whoever wrote it may have meant something else."""
        plan = case(departed=(version_at("theses"),), models=frozenset()).plan()

        assert plan.take == ()
        assert kept(plan) == {"net version 1": Kept.NOT_ITS_OWN}
        assert ["MLmodel" in str(item.verdict) for item in plan.keep] == [True]

    def test_place_of_two_versions_is_one_step(self) -> None:
        """Both are gone: the first of them stands for it."""
        one, other = version_at("exported"), version_at("exported", id_="net version 2")
        plan = case(departed=(one, other)).plan()

        assert [item.candidate for item in plan.take] == [one]

    def test_place_of_two_is_kept_when_one_was_restored_by_hand(self) -> None:
        """An operator's word holds for the bytes, whoever asks for them."""
        one, other = version_at("exported"), version_at("exported", id_="net version 2")
        plan = case(departed=(one, other), released=frozenset({other.entity.id})).plan()

        assert plan.take == ()

    @pytest.mark.parametrize(
        "inside", [("0", "models"), ("workspaces", "team"), ("shared",), ("x", "y")]
    )
    def test_version_around_what_others_have_is_kept(self, inside: tuple[str, ...]) -> None:
        """Around a recognised place, claimed or not, or around another artifact root."""
        beside = {
            "0/models": place(f"0/models/m-{run_id(1)}/artifacts"),
            "workspaces/team": place(f"workspaces/team/0/{run_id(1)}/artifacts"),
            "x/y": shell(f"x/y/z/{run_id(1)}"),
        }.get("/".join(inside))
        version = version_at(*inside)
        inner = inventory(root=f"{ROOT}/shared/inner")
        plan = Case(
            (inventory(*filter(None, [beside])), inner),
            (version,),
            replace(ground(), roots=(ROOT, inner.root)),
            first_seen={},
        ).plan()

        assert kept(plan)[version.entity.id] is Kept.NOT_ITS_OWN
        assert plan.take == ()

    @pytest.mark.parametrize(
        "inside", [("0", "model"), ("models",), ("workspaces", "teams"), ("x",)]
    )
    def test_version_beside_what_others_have_is_taken(self, inside: tuple[str, ...]) -> None:
        """A longer or shorter name is another directory."""
        places = [
            place(f"0/models/m-{run_id(1)}/artifacts"),
            place(f"workspaces/team/0/{run_id(1)}/artifacts"),
            place(f"xx/{run_id(1)}/artifacts"),
        ]
        version = version_at(*inside)
        plan = Case((inventory(*places),), (version,), first_seen={}).plan()

        assert [item.candidate for item in plan.take] == [version]

    @pytest.mark.parametrize(
        "inside", [("0",), ("0", run_id(1)), ("0", run_id(1), "artifacts", "x")]
    )
    def test_version_in_what_has_a_shape_is_kept(self, inside: tuple[str, ...]) -> None:
        """Files that belong to a run or an experiment stay theirs."""
        plan = case(departed=(version_at(*inside),)).plan()

        assert kept(plan) == {"net version 1": Kept.NOT_ITS_OWN}

    @pytest.mark.parametrize("cascade", [False, True])
    def test_model_of_a_deleted_run_is_taken_only_when_asked_for(self, *, cascade: bool) -> None:
        """It can still be opened by its id; a plan that takes it says so."""
        model = model_of_deleted_run(1)
        seen = case(place(f"0/models/m-{run_id(1)}/artifacts"), departed=(model,))
        seen.ground = with_soft_claim(1)

        plan = seen.plan(cascade_models=cascade)

        if cascade:
            assert [item.candidate for item in plan.take] == [replace(model, cascade=True)]
        else:
            assert kept(plan) == {model.entity.id: Kept.MODEL_OF_DELETED_RUN}
            assert plan.unclaimed == {ROOT: ()}

    def test_cascade_does_not_reach_further(self) -> None:
        """What is claimed by others, or left in another way, is judged as ever."""
        model, claimed = model_of_deleted_run(1), candidate(4)
        place_of_it = place(f"0/models/m-{run_id(1)}/artifacts")
        inside = f"{ROOT}/0/models/m-{run_id(1)}/artifacts/data"
        version = Claim(Entity(EntityKind.MODEL_VERSION, "net version 1"), inside, (inside,))
        seen = case(place_of_it, of(4), departed=(model, claimed))
        seen.ground = replace(with_soft_claim(1), claims=ClaimIndex([version, claim_on(4)]))

        plan = seen.plan(cascade_models=True)

        assert kept(plan) == {
            model.entity.id: Kept.LIVE_CLAIM,
            claimed.entity.id: Kept.LIVE_CLAIM,
        }
        assert not any(item.candidate.cascade for item in plan.keep[1:])

    def test_what_was_restored_by_hand_is_left_alone(self) -> None:
        """A run, and an orphan too, though MLflow does not want them."""
        plan = case(
            of(1),
            of(2),
            departed=(candidate(1),),
            released=frozenset({run_id(1), run_id(2)}),
        ).plan()

        assert plan.take == ()
        assert kept(plan) == dict.fromkeys((run_id(1), run_id(2)), Kept.RELEASED)

    def test_needs_neither_age_nor_adoption_nor_a_second_look(self) -> None:
        """The database itself says that it left: only what nobody knows has to wait."""
        plan = case(
            of(1, newest=NOW.timestamp()),
            departed=(candidate(1),),
            first_seen={},
            adopted=frozenset(),
            problems={ROOT: "not everything was seen"},
        ).plan()

        assert taken(plan) == [(run_id(1), Gone.DELETED)]

    def test_unreachable_root_keeps_everything(self) -> None:
        """A root that cannot be seen is not judged."""
        plan = case(
            of(1), of(2), departed=(candidate(1),), ground=ground(unreachable=(ROOT,))
        ).plan()

        assert kept(plan) == dict.fromkeys((run_id(1), run_id(2)), Kept.UNREACHABLE)
        assert plan.take == ()


def version_at(*inside: str, id_: str = "net version 1") -> Candidate:
    """Make a deleted version with a place."""
    return Candidate(
        Entity(EntityKind.MODEL_VERSION, id_), Location(ROOT, inside), Gone.VERSION_DELETED
    )


def model_of_deleted_run(number: int) -> Candidate:
    """Make an active model of which only the run was deleted."""
    model = Entity(EntityKind.LOGGED_MODEL, f"m-{run_id(number)}")
    inside = ("0", "models", model.id, "artifacts")
    return Candidate(model, Location(ROOT, inside), Gone.RUN_DELETED)


def with_soft_claim(number: int) -> Ground:
    """Make a ground on which that model claims its own place, softly."""
    model = model_of_deleted_run(number)
    assert isinstance(model.place, Location)
    path = model.place.path
    return replace(ground(), soft=ClaimIndex([Claim(model.entity, path, (path,))]))


class TestOrphans:
    """What has a recognised shape, and nobody who says that it is theirs."""

    @pytest.mark.parametrize(
        ("age_s", "is_taken"),
        [(3 * DAY_S, True), (3 * DAY_S - 1, False), (0.0, False), (-DAY_S, False), (1e9, True)],
    )
    def test_has_to_be_three_days_old(self, age_s: float, *, is_taken: bool) -> None:
        """To the second; what claims to come from the future is young."""
        plan = case(of(1, newest=NOW.timestamp() - age_s)).plan()

        assert taken(plan) == ([(run_id(1), Gone.ORPHAN)] if is_taken else [])
        assert kept(plan) == ({} if is_taken else {run_id(1): Kept.TOO_YOUNG})

    @pytest.mark.parametrize(
        ("first_s", "is_taken"),
        [
            (AGED_S - 4 * HOUR_S, True),
            (AGED_S - 4 * HOUR_S + 1, False),
            (AGED_S, False),
            (AGED_S + DAY_S, False),
            (0.0, True),
            (None, False),
        ],
    )
    def test_has_to_be_seen_twice_four_hours_apart(
        self, first_s: float | None, *, is_taken: bool
    ) -> None:
        """In ledger time, to the second; never seen is seen for the first time now."""
        seen = {} if first_s is None else {spot(1): first_s}
        plan = case(of(1), first_seen={**seen, spot(2): 0.0}).plan()

        assert taken(plan) == ([(run_id(1), Gone.ORPHAN)] if is_taken else [])
        assert kept(plan) == ({} if is_taken else {run_id(1): Kept.SEEN_ONCE})

    def test_same_place_in_another_root_was_another_one(self) -> None:
        """What was seen is remembered by root and place."""
        plan = case(of(1), first_seen={("/other", spot(1)[1]): 0.0}).plan()

        assert kept(plan) == {run_id(1): Kept.SEEN_ONCE}

    def test_has_to_lie_under_an_adopted_root(self) -> None:
        """Another database may use this one too."""
        plan = case(of(1), adopted=frozenset({"/other"})).plan()

        assert kept(plan) == {run_id(1): Kept.NOT_ADOPTED}

    def test_is_never_taken_where_not_everything_is_known(self) -> None:
        """Whatever its age, whatever was asked for; the reason is told."""
        seen = case(of(1), shell(f"0/{run_id(2)}"), problems={ROOT: "/art/x could not be seen"})
        for at_once in (False, True):
            plan = seen.plan(at_once=at_once)
            assert (plan.take, plan.empty) == ((), ())
            assert [item.verdict for item in plan.keep] == [
                Keep(Kept.REPORT_ONLY, "/art/x could not be seen")
            ]
            assert plan.roots[0].problem == "/art/x could not be seen"

    def test_problem_of_one_root_is_none_of_another(self) -> None:
        """Each root by itself."""
        seen = case(of(1), problems={"/other": "unmounted"}).plan()

        assert taken(seen) == [(run_id(1), Gone.ORPHAN)]

    def test_at_once_asks_for_neither_age_nor_a_second_look(self) -> None:
        """That is what the words say; adoption is needed all the same."""
        seen = case(of(1, newest=NOW.timestamp()), first_seen={})
        assert taken(seen.plan(at_once=True)) == [(run_id(1), Gone.ORPHAN)]

        seen.adopted = frozenset()
        assert kept(seen.plan(at_once=True)) == {run_id(1): Kept.NOT_ADOPTED}

    @pytest.mark.parametrize(
        "now",
        [
            ground(active=(1,)),
            ground(pinned=(1,)),
            ground(claim_on(1)),
            ground(Claim(Entity(EntityKind.PIN, "x"), run_id(1))),
            ground(Claim(Entity(EntityKind.PIN, ROOT), ROOT, (ROOT,))),
        ],
    )
    def test_is_none_when_anybody_wants_it(self, now: Ground) -> None:
        """An active run, a pin by tag, id or path, a claim: it is in use, and needs no word."""
        plan = case(of(1, 100), ground=now).plan(at_once=True)

        assert (plan.take, plan.keep) == ((), ())
        assert (plan.roots[0].live, plan.roots[0].live_places) == (Size(1, 100), 1)
        assert plan.unclaimed == {ROOT: ()}

    def test_that_is_a_departed_ones_place_is_judged_once(self) -> None:
        """As what it is: not also as an orphan, whatever became of it."""
        plan = case(of(1), of(4), departed=(candidate(1), candidate(4)), ground=ground(claim_on(4)))

        made = plan.plan()

        assert taken(made) == [(run_id(1), Gone.DELETED)]
        assert kept(made) == {run_id(4): Kept.LIVE_CLAIM}
        assert made.unclaimed == {ROOT: ()}

    @pytest.mark.parametrize(
        "inside",
        [
            f"backup/0/{run_id(1)}/artifacts",
            f"{run_id(1)}/artifacts",
            f"0/1/{run_id(1)}/artifacts",
            f"workspaces/{run_id(1)}/artifacts",
            f"backup/models/m-{run_id(1)}/artifacts",
            f"0/traces/{run_id(1)}/artifacts",
        ],
    )
    def test_where_mlflow_does_not_write_is_foreign(self, inside: str) -> None:
        """A copy that somebody keeps is counted, and not even judged."""
        plan = case(place(inside, 100)).plan(at_once=True)

        assert (plan.take, plan.keep, plan.unclaimed) == ((), (), {ROOT: ()})
        top = "/".join(inside.split("/")[:2])
        assert plan.roots[0].foreign == {"backup": Size(1, LARGE), top: Size(1, 100)}

    def test_where_an_experiment_of_this_database_lies_it_counts(self) -> None:
        """At a location of its own, which its row names, dead or alive."""
        seen = case(place(f"own/place/{run_id(1)}/artifacts"))
        seen.experiments = frozenset({(ROOT, ("own", "place"))})
        assert taken(seen.plan()) == [(run_id(1), Gone.ORPHAN)]

        seen.experiments = frozenset({("/other", ("own", "place")), (ROOT, ("own",))})
        assert taken(seen.plan()) == []

    @pytest.mark.parametrize("inside", [f"0/models/m-{run_id(1)}", f"0/traces/tr-{run_id(1)}"])
    def test_of_every_kind_is_found(self, inside: str) -> None:
        """Models and traces like runs, in workspaces too."""
        for above in ("", "workspaces/team/"):
            plan = case(place(f"{above}{inside}/artifacts")).plan()
            assert [gone for _, gone in taken(plan)] == [Gone.ORPHAN]

    def test_those_that_wait_are_remembered(self) -> None:
        """Young, seen once, not adopted or taken: unclaimed. In use or restored: not."""
        places = [of(1), of(2, newest=NOW.timestamp()), of(3), of(4), of(5)]
        seen = case(
            *places,
            first_seen={spot(1): 0.0},
            ground=ground(active=(4,)),
            released=frozenset({run_id(5)}),
        )
        assert set(seen.plan().unclaimed[ROOT]) == {spot(number)[1] for number in (1, 2, 3)}

        seen.adopted = frozenset()
        assert set(seen.plan().unclaimed[ROOT]) == {spot(number)[1] for number in (1, 2, 3)}

    def test_root_that_was_not_listed_whole_remembers_nothing(self) -> None:
        """What was not seen now may have been claimed meanwhile, or gone."""
        other = inventory(of(2), root="/other")
        seen = Case((inventory(of(1)), other), problems={"/other": "unseen"})

        assert seen.plan().unclaimed == {ROOT: (spot(1)[1],), "/other": ()}


class TestShells:
    """Empty directories."""

    @pytest.mark.parametrize(
        ("age_s", "is_taken"), [(3 * DAY_S, True), (3 * DAY_S - 1, False), (-1.0, False)]
    )
    @pytest.mark.parametrize("inside", [f"0/{run_id(1)}", f"0/models/m-{run_id(1)}"])
    def test_is_removed_when_three_days_old(
        self, inside: str, age_s: float, *, is_taken: bool
    ) -> None:
        """Nothing can be lost with it: no adoption, no second look."""
        seen = case(shell(inside, NOW.timestamp() - age_s), adopted=frozenset(), first_seen={})
        plan = seen.plan()

        assert [item.place.inside for item in plan.empty] == (
            [tuple(inside.split("/"))] if is_taken else []
        )
        assert (plan.take, plan.unclaimed) == ((), {ROOT: ()})
        assert len(seen.plan(at_once=True).empty) == 1

    @pytest.mark.parametrize("now", [ground(active=(1,)), ground(pinned=(1,)), ground(claim_on(1))])
    def test_of_what_is_in_use_is_kept(self, now: Ground) -> None:
        """A run that is there may write its first file any time."""
        assert case(shell(f"0/{run_id(1)}"), ground=now).plan(at_once=True).empty == ()

    def test_beside_artifacts_is_kept(self) -> None:
        """An empty directory in a run's directory is not the run's."""
        beside = replace(of(1), inside=("0", run_id(1), "notes"), is_shell=True, size=Size())
        plan = case(beside).plan(at_once=True)

        assert (plan.empty, plan.take) == ((), ())

    def test_elsewhere_is_kept(self) -> None:
        """In somebody's own copy of a tree."""
        assert case(shell(f"backup/{run_id(1)}")).plan(at_once=True).empty == ()


class TestBrakes:
    """What would take too much at once is refused until somebody says that it is meant."""

    @pytest.mark.parametrize(
        ("sizes", "total", "share", "is_refused"),
        [
            ([10], 20, 0.5, False),
            ([11], 20, 0.5, True),
            ([1, 10, 100], 222, 0.5, False),
            ([1, 10, 100], 221, 0.5, True),
            ([100], 100, 1.0, False),
            ([1], 100, 0.0, True),
            ([0], 100, 0.0, False),
            ([], 0, 0.5, False),
            ([0, 0], 0, 0.5, False),
        ],
    )
    def test_share_of_a_root(
        self, sizes: Iterable[int], total: int, share: float, *, is_refused: bool
    ) -> None:
        """More than the share, not exactly it; what holds nothing is no share."""
        places = [of(number, size) for number, size in enumerate(sizes, 1)]
        seen = Case((inventory(*places, total=Size(1, total)),))

        refusal = seen.plan(most_share=share).refusal

        assert (refusal is not None) is is_refused
        if refusal:
            assert f"{sum(sizes) / total:.0%} of the bytes under {ROOT}" in refusal.reason

    @pytest.mark.parametrize(
        ("count", "most", "is_refused"),
        [(1, 1, False), (2, 1, True), (10, 10, False), (11, 10, True)],
    )
    def test_number_of_entities(self, count: int, most: int, *, is_refused: bool) -> None:
        """More than so many."""
        refusal = case(*map(of, range(1, count + 1))).plan(most_entities=most).refusal

        assert (refusal is not None) is is_refused
        if refusal:
            assert refusal.reason == f"it would take {count} entities, more than {most}"

    def test_files_with_other_names_count_in_full(self) -> None:
        """Taking them frees nothing, and loses as much as ever."""
        linked = replace(of(1), size=Size(1, 0, shared=60))
        for beside, share in ((60, None), (59, "50%")):
            total = Size(2, beside, shared=60)
            refusal = Case((inventory(linked, total=total),)).plan().refusal

            assert (refusal is None) is (share is None)
            assert share is None or share in str(refusal)

    def test_each_root_has_a_share_of_its_own(self) -> None:
        """All of a small root is too much, whatever lies in a large one."""
        small = inventory(replace(of(1, 100)), root="/small", total=Size(1, 100))
        seen = Case((inventory(of(2)), small), adopted=frozenset({ROOT, "/small"}))

        refusal = seen.plan().refusal

        assert refusal is not None
        assert refusal.reason == "it would take 100% of the bytes under /small"

    def test_one_root_has_no_part_in_what_another_holds(self) -> None:
        """What is in use is counted where it lies."""
        seen = Case((inventory(of(1, 100)), inventory(of(2, 10), root="/other")))
        seen.ground = ground(active=(1, 2))

        assert [(root.live, root.live_places) for root in seen.plan().roots] == [
            (Size(1, 100), 1),
            (Size(1, 10), 1),
        ]

    def test_is_the_same_situation_at_any_time(self) -> None:
        """A confirmation holds for exactly what was refused, whenever it is seen again."""
        seen = case(of(1), of(2))
        first = seen.plan(most_entities=1)
        seen.at += timedelta(hours=1)
        again = seen.plan(most_entities=1)
        other = case(of(1), of(3)).plan(most_entities=1)

        assert isinstance(first.refusal, Refusal)
        assert first.refusal == again.refusal
        assert first.id == again.id == first.refusal.plan_id
        assert first.stamp != again.stamp
        assert other.refusal is not None
        assert other.refusal.plan_id != first.refusal.plan_id

    def test_empty_directories_are_not_counted(self) -> None:
        """They hold nothing that could be missed."""
        shells = [shell(f"0/{run_id(number)}") for number in range(1, 12)]

        assert case(*shells).plan(most_entities=1).refusal is None


def test_what_could_not_be_seen_is_told_by_root() -> None:
    """With its reason, as the store gave it."""
    unseen = (Unseen(f"{ROOT}/closed", "Permission denied"),)
    (summary,) = Case((inventory(unseen=unseen),)).plan().roots

    assert summary.unseen == unseen


def test_equal_sizes_are_taken_in_the_order_of_names() -> None:
    """So that two plans of one situation are the same."""
    plan = case(of(3), of(1), of(2, 100)).plan()

    assert [id_ for id_, _ in taken(plan)] == [run_id(2), run_id(1), run_id(3)]


def test_plan_is_for_its_own_moment() -> None:
    """Its id says when it was made, of what: a later one can be carried out again."""
    view_of = case(of(1))
    first = view_of.plan()
    assert first.id == view_of.plan().id
    shells = [case(shell(f"0/{run_id(number)}")).plan() for number in (1, 2)]
    others = [case(of(2)).plan(), case().plan(), *shells]
    assert len({plan.id for plan in (first, *others)}) == 5
