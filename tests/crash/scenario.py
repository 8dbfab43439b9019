"""A life of several runs with everything that can happen to them, as steps that can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mlflow_cleanup.errors import PlanRefused
from mlflow_cleanup.ledger.items import OPEN
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.ledger_home import LedgerServer
from mlflow_cleanup.model.location import RESERVED
from tests.kit.world import Run, World, tree


@dataclass(frozen=True)
class Cast:
    """The runs of the scenario: what each is there for."""

    plain: Run
    """Deleted and purged."""
    back: Run
    """Deleted, restored, deleted again and purged."""
    late: Run
    """Deleted, written to afterwards, restored with all of it."""
    clash: Run
    """Deleted, written to, restored with a collision, deleted again and purged."""
    rest: Run
    """Deleted, written to, restored with a collision: the rest stays in the trash."""
    waits: Run
    """Deleted last, still in the trash at the end."""
    vanishes: Run
    """Its row is removed with the next one's, which is refused at first, then confirmed; purged."""
    vanishes_too: Run
    """Likewise."""
    old: Run
    """Deleted before the very first cycle, and left alone."""
    empty: Run
    """Deleted without any files."""
    live: Run
    """Never touched."""


Step = Callable[[World, Cast], object]


def cycle(world: World, _: Cast) -> None:
    """Run one cycle, refused or not: the only kind of step in which a process is killed."""
    with suppress(PlanRefused):
        world.cycle()


def confirm(world: World, _: Cast) -> None:
    """Confirm what was refused."""
    standing = world.ledger.refusals.current()
    assert standing is not None
    assert world.ledger.refusals.answer(standing.refusal.plan_id, "confirmed")


def write_clash(world: World, cast: Cast) -> None:
    """Write where files in the trash came from: the same names, others, and a new directory."""
    world.write_late(cast.clash, "model.bin", 2_000)
    world.write_late(cast.clash, "log/two.txt", 200)
    world.write_late(cast.clash, "new/three.txt", 20)
    world.write_late(cast.rest, "log/one.txt", 2)


STEPS: tuple[Step, ...] = (
    cycle,
    lambda world, cast: world.delete(cast.plain, cast.back, cast.late, cast.empty),
    lambda world, cast: world.delete(cast.clash, cast.rest),
    cycle,
    lambda world, _: world.advance(days=1),
    lambda world, cast: world.hard_delete(cast.vanishes, cast.vanishes_too),
    cycle,
    confirm,
    cycle,
    lambda world, cast: world.undelete(cast.back),
    lambda world, cast: world.write_late(cast.late, "late/four.txt", 4),
    cycle,
    write_clash,
    lambda world, cast: world.undelete(cast.clash, cast.late, cast.rest),
    cycle,
    lambda world, _: world.advance(days=7),
    lambda world, cast: world.delete(cast.clash, cast.back),
    cycle,
    lambda world, _: world.advance(days=7),
    lambda world, cast: world.delete(cast.waits),
    cycle,
)


def open_stage(home: Path, ledger: LedgerServer | None = None) -> tuple[World, Cast]:
    """Make a world with all runs in it, which no cycle has seen yet."""
    world = World.make(home, vanished_share=0.1, vanished_minimum=2, ledger=ledger)
    cast = Cast(
        plain=world.run({"model.bin": 1_000, "deep/er/one.txt": 100, "deep/two.txt": 10}),
        back=world.run({"model.bin": 3_000}),
        late=world.run({"model.bin": 5_000, "log/one.txt": 500}),
        clash=world.run({"model.bin": 7_000, "log/one.txt": 700, "log/two.txt": 70}),
        rest=world.run({"model.bin": 11, "log/one.txt": 1}),
        waits=world.run({"model.bin": 13}),
        vanishes=world.run({"model.bin": 19}),
        vanishes_too=world.run({"model.bin": 23}),
        old=world.run({"model.bin": 29}),
        empty=world.run({}),
        live=world.run({"model.bin": 17}),
    )
    world.delete(cast.old)
    return world, cast


@dataclass(frozen=True)
class Outcome:
    """What is there in the end: everything but ids and times."""

    files: dict[str, str]
    directories: frozenset[str]
    trash: Counter[str]
    states: Counter[str]
    told: Counter[str]


def outcome(world: World, cast: Cast) -> Outcome:
    """Look at what is there in the end; a move that was finished later counts as any other."""
    names = {run.id: name for name, run in vars(cast).items()}
    owners = {item.id: names[item.entity.id] for item in world.items()}
    files, trash = {}, Counter[str]()
    for place in (world.root / RESERVED / "trash").glob("*"):
        trash[f"{owners.get(place.name, 'nobody')}: its directory"] += 1
    for path, data in tree(world.root).items():
        digest = sha256(data).hexdigest()[:16]
        if not path.startswith(RESERVED):
            files[path] = digest
        elif path.startswith(f"{RESERVED}/trash/"):
            item_id, _, inside = path.removeprefix(f"{RESERVED}/trash/").partition("/")
            note = "" if inside == "origin.json" else digest
            trash[f"{owners.get(item_id, 'nobody')}: {inside} {note}"] += 1
    return Outcome(
        files=files,
        directories=frozenset(
            path.relative_to(world.root).as_posix()
            for path in world.root.rglob("*")
            if path.is_dir() and RESERVED not in path.parts
        ),
        trash=trash,
        states=Counter(
            f"{names[item.entity.id]}: {item.state.value}"
            for item in world.items()
            if item.state is not ItemState.ABANDONED
        ),
        told=Counter(
            f"{names.get(event.entity.id) if event.entity else 'nobody'}: "
            f"{event.kind.value.replace('recovered', 'quarantined')}"
            for event in world.ledger.history.latest(1_000_000)
        ),
    )


def open_intents(world: World) -> list[ItemState]:
    """List what was meant and is not settled."""
    return [item.state for item in world.items() if item.state in OPEN]
