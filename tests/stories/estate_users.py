"""What MLflow's users do to an estate, in any order: rules for hypothesis."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from mlflow_cleanup.model.shape import MODEL_FILE
from tests.stories.estate import Estate
from tests.stories.estate_rows import Experiment, Sort, Standing, Thing, Version

NAMES = ("model/weights", "log.txt", "nested/deep/er.txt")
FOREIGN = ("notes/a.txt", "models/b.txt", "c.txt")
PLACES = ("usual", "usual", "shared", "inner", "team", "in a thing", "out")
KINDS = ("run", "run", "model", "model of a run", "trace", "trace of a run")
LEFT = ("run", "model", "trace", "run in a backup")
COPIES = ("number", "number", "registry", "base", "base", "thing")
HOW = ("MLflow", "MLflow", "MLflow", "gc", "script")
WHERE = ("tag", "experiment's tag", "id", "place", "file", "experiment's place")
OFTEN = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])
RARELY = st.sampled_from([False] * 11 + [True])
MOST_THINGS = 16
MOST_EXPERIMENTS = 6

Versions = MultipleResults[Version]


def has_room(play: Users) -> bool:
    """Tell whether something more can be added."""
    return len(play.estate.rows.things) < MOST_THINGS


class Users(RuleBasedStateMachine):
    """What users do; each rule does nothing where MLflow would not let them."""

    experiments = Bundle("experiments")
    things = Bundle("things")
    versions = Bundle("versions")
    estate: Estate

    @initialize(target=experiments)
    def begin(self) -> MultipleResults[Experiment]:
        """Begin with two experiments, one under each root."""
        self.estate.begin()
        return multiple(*self.estate.rows.experiments)

    @initialize(
        target=things,
        one=experiments,
        kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=5),
        left=st.lists(st.sampled_from(LEFT), max_size=3),
        ends=st.booleans(),
    )
    def settle(
        self, one: Experiment, kinds: list[str], left: list[str], ends: bool
    ) -> MultipleResults[Thing]:
        """Begin with something in them, and some leftovers that nobody knows."""
        made = [add(self.estate, kind, one, ends=ends) for kind in kinds]
        return multiple(*made, *(leave(self.estate, kind, one) for kind in left))

    @rule(target=experiments, where=st.sampled_from(PLACES), thing=things)
    @precondition(lambda self: len(self.estate.rows.experiments) < MOST_EXPERIMENTS)
    def add_experiment(self, where: str, thing: Thing) -> Experiment:
        """Add an experiment: at a place of its own, a shared one, or inside another place."""
        estate = self.estate
        base = {
            "usual": estate.root / estate.rows.next_experiment_id(),
            "shared": estate.root / "shared",
            "inner": estate.root / "shared" / "inner",
            "team": estate.shelf / "team",
            "in a thing": thing.path / "nested",
            "out": estate.outside / "experiment",
        }[where]
        return estate.rows.add_experiment(base, estate.text(base))

    @rule(one=experiments, is_gc=st.booleans())
    def flip_experiment(self, one: Experiment, is_gc: bool) -> None:
        """Delete an experiment, restore it, or remove it with all its rows."""
        flip_experiment(self.estate, one, is_gc=is_gc)

    @rule(
        target=things, kind=st.sampled_from(KINDS), one=experiments, run=things, ends=st.booleans()
    )
    @precondition(has_room)
    def add(
        self, kind: str, one: Experiment, run: Thing, ends: bool
    ) -> Thing | MultipleResults[Thing]:
        """Add a run, or a model or trace that a run made, or nobody."""
        if not (one.has_row and one.is_live):
            return multiple()
        return add(self.estate, kind, one, run if run.experiment is one else None, ends=ends)

    @rule(target=things, kind=st.sampled_from(LEFT), one=experiments)
    @precondition(has_room)
    def leave(self, kind: str, one: Experiment) -> Thing:
        """Leave files where an entity's would be, without a row."""
        return leave(self.estate, kind, one)

    @rule(thing=things)
    def commit(self, thing: Thing) -> None:
        """Give files their row at last, as a slow client does."""
        commit(self.estate, thing)

    @rule(thing=things, one=experiments, name=st.sampled_from(NAMES + FOREIGN), is_large=RARELY)
    def write(self, thing: Thing, one: Experiment, name: str, is_large: bool) -> None:
        """Write a file where an entity's belong, or beside: whatever MLflow thinks of it."""
        top = one.base if name in FOREIGN else thing.path
        self.estate.files.write(top / name, 70_000 if is_large else 20)

    @rule(some=st.lists(things, min_size=1, max_size=4, unique_by=id), how=st.sampled_from(HOW))
    def flip(self, some: list[Thing], how: str) -> None:
        """Delete entities, restore them where MLflow can, or let their rows go."""
        for thing in some:
            flip(self.estate, thing, how)

    @rule(target=versions, thing=things, is_by_id=st.booleans(), is_stored=st.booleans())
    def register(self, thing: Thing, is_by_id: bool, is_stored: bool) -> Version | Versions:
        """Register what an entity holds, by its id or its place."""
        if not thing.has_row or thing.sort is Sort.COPY:
            return multiple()
        return register(self.estate, thing, is_by_id=is_by_id, is_stored=is_stored)

    @rule(target=versions, version=versions)
    def register_again(self, version: Version) -> Version | Versions:
        """Register a version of a version, as MLflow copies them."""
        if not version.is_live:
            return multiple()
        again = Version(len(self.estate.rows.versions) + 1, None, None, None, version)
        self.estate.rows.register(again, f"models:/telling/{version.number}")
        return again

    @rule(
        target=things,
        where=st.sampled_from(COPIES),
        one=experiments,
        thing=things,
        is_anything=SELDOM,
    )
    @precondition(has_room)
    def register_copy(self, where: str, one: Experiment, thing: Thing, is_anything: bool) -> Thing:
        """Register a version with files of its own, or so it says: they may lie anywhere."""
        number, registry = len(self.estate.rows.versions) + 1, self.estate.root / "registry"
        path = {
            "number": registry / str(number),
            "registry": registry,
            "base": one.base,
            "thing": thing.path / "copy",
        }[where]
        version = Version(number, path, None, path)
        self.estate.rows.register(version, self.estate.text(path))
        copy = Thing(Sort.COPY, f"telling version {number}", path, version=version)
        self.estate.rows.things.append(copy)
        if not is_anything:
            self.estate.files.write(path / MODEL_FILE)
        return filled(self.estate, copy)

    @rule(version=versions, is_dropped=SELDOM)
    def unregister(self, version: Version, is_dropped: bool) -> None:
        """Delete a version, or the whole registered model with it."""
        if version.has_row and is_dropped:
            self.estate.rows.drop_version(version)
        elif version.is_live:
            self.estate.rows.unregister(version)

    @rule(what=things, run=things, is_data=st.booleans())
    def use(self, what: Thing, run: Thing, is_data: bool) -> None:
        """Let a run have a model, or another entity's files, as its input."""
        if run.sort is not Sort.RUN or not run.has_row or run is what:
            return
        if is_data:
            self.estate.rows.use_data(what.path / NAMES[0], run)
        elif what.sort is Sort.MODEL:
            self.estate.rows.use_model(what, run)

    @rule(thing=things, one=experiments, where=st.sampled_from(WHERE), is_undone=st.booleans())
    def keep(self, thing: Thing, one: Experiment, where: str, is_undone: bool) -> None:
        """Pin something by a tag or in the ledger, or take all pins back."""
        if is_undone:
            let_go(self.estate)
        else:
            keep(self.estate, thing, one, where)


def add(
    estate: Estate, kind: str, one: Experiment, run: Thing | None = None, *, ends: bool = True
) -> Thing:
    """Add a run, or a model or trace that a run made, or nobody."""
    name, _, made_by = kind.partition(" of ")
    made = run if run is not None and run.sort is Sort.RUN else None
    if made_by and made is None:
        made = add(estate, "run", one, ends=ends)
    sort = {"run": Sort.RUN, "model": Sort.MODEL, "trace": Sort.TRACE}[name]
    thing = estate.add(sort, one, made if made_by else None, has_ended=ends)
    return filled(estate, thing, 2 if sort is Sort.RUN else 1)


def leave(estate: Estate, kind: str, one: Experiment) -> Thing:
    """Leave files where an entity's would be: in an experiment, or in a backup of one."""
    name, _, is_backup = kind.partition(" in ")
    sort = {"run": Sort.RUN, "model": Sort.MODEL, "trace": Sort.TRACE}[name]
    base = estate.root / "backup of 2024" / one.id if is_backup else one.base
    return filled(estate, estate.add_orphan(sort, base, None if is_backup else one))


def commit(estate: Estate, thing: Thing) -> None:
    """Give files their row at last, as a slow client does."""
    one = thing.experiment
    if not thing.has_row and one is not None and one.has_row and one.is_live:
        estate.rows.add_row(thing, estate.text(thing.path))


def filled(estate: Estate, thing: Thing, count: int = 1) -> Thing:
    """Write some files into a new place."""
    for name in NAMES[:count]:
        estate.files.write(thing.path / name)
    return thing


def flip(estate: Estate, thing: Thing, how: str = "MLflow") -> None:
    """Delete what is live, restore what is deleted and can be."""
    rows, standing = estate.rows, estate.rows.standing(thing)
    if standing is Standing.NO_ROW:
        return
    if thing.version is not None:
        (rows.drop_version if how == "script" else rows.unregister)(thing.version)
    elif how == "script" or thing.sort is Sort.TRACE:
        rows.drop(thing)
    elif how == "gc" and standing is Standing.LEFT:
        rows.drop(thing)
        if estate.can_be_written(thing.path):
            estate.files.remove(thing.path)
    elif thing.sort is Sort.RUN:
        rows.set_run(thing, estate.now_ms, is_live=not thing.is_live)
    else:
        rows.delete_model(thing)


def flip_experiment(estate: Estate, one: Experiment, *, is_gc: bool = False) -> None:
    """Delete an experiment, restore it, or remove it with all its rows."""
    if not one.has_row or one.id == "0":
        return
    if is_gc and not one.is_live:
        estate.rows.drop_experiment(one)
    else:
        estate.rows.set_experiment(one, estate.now_ms, is_live=not one.is_live)


def register(estate: Estate, thing: Thing, *, is_by_id: bool, is_stored: bool) -> Version:
    """Register what an entity holds, by its id or its place."""
    inside = thing.path / "model" if thing.sort is Sort.RUN else thing.path
    scheme = {Sort.RUN: f"runs:/{thing.id}/model", Sort.MODEL: f"models:/{thing.id}"}
    source = scheme.get(thing.sort) if is_by_id else None
    version = Version(
        number=len(estate.rows.versions) + 1,
        leads_to=inside,
        by=thing if source else None,
        stored_at=inside if is_stored else None,
    )
    estate.rows.register(version, source or estate.text(inside))
    return version


def keep(estate: Estate, thing: Thing, one: Experiment, where: str) -> None:
    """Pin something by a tag or in the ledger, or take that pin back."""
    match where:
        case "tag" if thing.sort is Sort.RUN and thing.has_row:
            estate.rows.tag(thing)
        case "experiment's tag" if one.has_row:
            estate.rows.tag(one)
        case "id" if thing.sort is not Sort.COPY:
            estate.pin(thing)
        case "place":
            estate.pin(thing.path)
        case "file":
            estate.pin(thing.path / NAMES[0])
        case "experiment's place":
            estate.pin(one.base)


def let_go(estate: Estate) -> None:
    """Take all pins back."""
    rows = estate.rows
    pinned: list[Thing | Experiment] = [*rows.things, *rows.experiments]
    for one in pinned:
        if one.is_pinned:
            rows.tag(one)
    held: list[Thing | Path] = [*rows.pinned_things, *rows.pinned_paths]
    for what in held:
        estate.pin(what)


def delete(estate: Estate, *some: Thing) -> None:
    """Delete those that are live."""
    for thing in some:
        if estate.rows.standing(thing) in (Standing.LIVE, Standing.SOFT):
            flip(estate, thing)
