"""Scenes full of traps, made from a number: what is in use, what left, and where it says it was.

What left aims at places that are not its own: through traversal, encodings, other spellings, links
at every level, other entities' directories. A scene knows by itself what nobody may touch; it asks
nothing of the code under test for that.
"""

from __future__ import annotations

import os
import random
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.plan import Terms
from tests.kit.children import mount_bind, mount_tmpfs
from tests.kit.faults import before
from tests.kit.tracking_db import run_id
from tests.kit.world import World

HOSTILE = 8
"""How many hostile locations a scene has."""

NAMES = (
    "0",
    "exp",
    "Exp-É",
    unicodedata.normalize("NFD", "exp-é"),
    "a b",
    "new\nline",
    "\x1b[2J",
    os.fsdecode(b"caf\xe9"),
    "%2e%2e",
    "%2F",
    "...",
    "-rf",
    "~",
    "٣",
    "workspaces",
    "models",
)

KINDS = ("run", "run", "vanished run", "model", "trace", "version")

Entry = tuple[Any, ...]
Random = random.Random


@dataclass
class Scene:
    """A world, the places in it that nobody may touch, those that have to go, and the rest."""

    world: World
    rng: Random
    kept: set[Path] = field(default_factory=set)
    used: list[Path] = field(default_factory=list)
    going: list[Path] = field(default_factory=list)
    swappable: list[Path] = field(default_factory=list)
    said: list[object] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    numbers: int = 0

    @property
    def outside(self) -> Path:
        """A directory beside the roots."""
        return self.world.home / "outside"

    def new_id(self, kind: str) -> str:
        """Name one more entity, as MLflow does."""
        self.numbers += 1
        prefix = {"model": "m-", "trace": "tr-"}.get(kind, "")
        return prefix + run_id(0xABC000 + self.numbers)

    def fill(self, place: Path) -> Path:
        """Write something at a place, and now and then a link that leads away."""
        self.world.write(place, "data/model.bin", self.rng.randrange(1, 50))
        if self.rng.random() < 0.3:
            (place / "leads away").symlink_to(self.outside)
        return place

    def keep(self, place: Path) -> Path:
        """Fill a place in which nothing may change."""
        self.kept.add(self.fill(place))
        return place


def make(home: Path, seed: int) -> Scene:
    """Build a scene: first all is in use, then some of it leaves."""
    rng = Random(seed)
    inner = rng.choice([(), (), ("inner",), ("workspaces", "team"), ("7",)])
    root = home.resolve() / "mlartifacts"
    roots = [str(root), *([str(root.joinpath(*inner))] if inner else [])]
    terms = Terms(cascade_models=rng.random() < 0.5, at_once=True, most_share=1.0)
    world = World.make(
        home, roots=tuple(roots), vanished_share=1.0, vanished_minimum=1_000, terms=terms
    )
    for path in roots[1:]:
        Path(path).mkdir(parents=True)
    scene = Scene(world, rng)
    world.write(scene.outside, "theirs", 10)
    (scene.outside / "empty").mkdir()
    (world.home / "aside").mkdir()
    _use(scene)
    _nest(scene)
    _lose(scene)
    world.cycle()
    for path in roots:
        world.workplace.adopt(path, alone=True)
    world.restart()
    left = [_aim(scene) for _ in range(HOSTILE)]
    world.cycle()
    for leave in left:
        leave()
    return scene


# ── What is in use, and what leaves as it should ─────────────────────────────────────────────────


def _use(scene: Scene) -> None:
    """Let entities of every kind be in use, each with a location written in some honest way."""
    world, root = scene.world, scene.world.root
    for number in range(6):
        kind = scene.rng.choice(("run", "run", "model", "trace", "version"))
        id_ = scene.new_id(kind)
        above = root / scene.rng.choice(["0", "1", "workspaces/team/0", "Exp-É", "a b"])
        place = scene.keep(above.joinpath(*_shape(kind, id_)))
        scene.used.append(place)
        _add(scene, kind, id_, spell(scene.rng, place, world), number)
    for inside in ("backup/0", "0/notes", f"0/{run_id(0xABC001)}/notes", f"x/{RESERVED}"):
        scene.keep(root / inside)


def _nest(scene: Scene) -> None:
    """Put experiments into what others have: into what stays, and into what would go but for it."""
    world, rng = scene.world, scene.rng
    around = [rng.choice(scene.used)]
    for kind in ("run", "model"):
        id_ = scene.new_id(kind)
        around.append(scene.fill((world.root / "0").joinpath(*_shape(kind, id_))))
        _add(scene, kind, id_, spell(rng, around[-1], world), 1)
        _leave(scene, kind, id_)
    for number, place in enumerate(around, 20):
        stage = rng.choice(["active", "deleted"])
        world.db.experiment(str(number), spell(rng, place / "exp", world), stage=stage)
        kind = rng.choice(["run", "model", "version"])
        id_ = scene.new_id(kind)
        inside = scene.keep((place / "exp").joinpath(*_shape(kind, id_)))
        _add(scene, kind, id_, spell(rng, inside, world), 1)


def _lose(scene: Scene) -> None:
    """Leave what is garbage beyond doubt: without it, keeping everything would pass for safe."""
    world = scene.world
    run = scene.new_id("run")
    place = scene.fill(world.root / "0" / run / "artifacts")
    world.db.run(run, f"mlflow-artifacts:/0/{run}/artifacts")
    world.cycle()
    world.db.set_stage(run, "deleted")
    orphan = scene.fill(world.root / "0" / "models" / scene.new_id("model") / "artifacts")
    shell = world.root / "0" / scene.new_id("run")
    shell.mkdir()
    scene.going += [place, orphan, shell]
    scene.swappable += [place, place.parent, orphan, orphan.parent, shell]


def _shape(kind: str, id_: str) -> tuple[str, ...]:
    """Say where an entity's place is in its experiment."""
    return {
        "model": ("models", id_, "artifacts"),
        "trace": ("traces", id_, "artifacts"),
        "version": ("copies", id_),
    }.get(kind, (id_, "artifacts"))


def _add(scene: Scene, kind: str, id_: str, uri: Any, number: int) -> None:  # noqa: ANN401 - text or bytes
    """Let MLflow know an entity."""
    db = scene.world.db
    if kind == "model":
        db.logged_model(id_, uri)
    elif kind == "trace":
        db.trace(id_, uri)
    elif kind == "version":
        db.version(f"model of {id_}", number, uri, storage_location=uri)
    else:
        db.run(id_, uri)


def _leave(scene: Scene, kind: str, id_: str) -> None:
    """Let an entity leave, in its own way."""
    db = scene.world.db
    if kind == "model":
        db.execute("UPDATE logged_models SET lifecycle_stage = 'deleted' WHERE model_id = ?", id_)
    elif kind == "trace":
        if not db.execute("SELECT 1 FROM experiments WHERE experiment_id = 99"):
            db.experiment("99", "mlflow-artifacts:/99", stage="deleted")
        db.execute("UPDATE trace_info SET experiment_id = 99 WHERE request_id = ?", id_)
    elif kind == "version":
        db.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal', source = 'gone' "
            "WHERE name = ?",
            f"model of {id_}",
        )
    elif kind == "vanished run":
        db.drop_run(id_)
    else:
        db.set_stage(id_, "deleted")


def spell(rng: Random, place: Path, world: World) -> str:
    """Write a place in one of the ways in which MLflow would still find it."""
    path, inside = str(place), place.relative_to(world.root).as_posix()
    how = rng.choice(
        [
            "mlflow-artifacts:/{inside}",
            "mlflow-artifacts://server:5000/{inside}",
            "http://server/api/2.0/mlflow-artifacts/artifacts/{inside}",
            "{path}",
            "file://{path}",
            "file://localhost{path}",
            "mlartifacts/{inside}",
            "{path}/",
        ]
    )
    some = rng.choice([0.0, 0.0, 0.1, 0.5])
    return how.format(path=encoded(rng, path, some), inside=encoded(rng, inside, some))


def encoded(rng: Random, text: str, share: float) -> str:
    """Percent-encode what has to be, and of the rest some, in either case."""
    done = []
    for char in text:
        must = char in "%?#;" or char < " " or "\udc80" <= char <= "\udcff"
        if must or (char != "/" and rng.random() < share):
            code = quote_from_bytes(os.fsencode(char), safe="")
            if len(code) == 1:
                code = f"%{ord(char):02x}"
            done.append(code.lower() if rng.random() < 0.5 else code)
        else:
            done.append(char)
    return "".join(done)


# ── What leaves with a location that is not its own ──────────────────────────────────────────────


def _aim(scene: Scene) -> Callable[[], None]:
    """Let a hostile entity be known; returns how it leaves."""
    kind = scene.rng.choice(KINDS)
    id_ = scene.new_id(kind)
    target = scene.rng.choice(TARGETS)(scene, kind, id_)
    uri = twisted(scene.rng, target, scene.world)
    scene.said.append((kind, uri))
    _add(scene, kind, id_, uri, 1)
    return lambda: _leave(scene, kind, id_)


def _odd(scene: Scene) -> str:
    return scene.rng.choice(NAMES)


def elsewhere(scene: Scene, kind: str, id_: str) -> Path:
    """Aim outside of every root, at a directory that looks like its own."""
    above = scene.rng.choice(["outside", ".", "mlartifacts2/0", "MLARTIFACTS/0", "mlartifacts-old"])
    return scene.keep((scene.world.home / above / _odd(scene)).joinpath(*_shape(kind, id_)))


def in_what_lives(scene: Scene, kind: str, id_: str) -> Path:
    """Aim at a directory of its own shape inside of what another one has."""
    place = scene.rng.choice(scene.used).joinpath(*_shape(kind, id_))
    scene.fill(place)
    return place


def what_lives(scene: Scene, kind: str, _: str) -> Path:
    """Aim at another one's place, or around it."""
    # Files that only a deleted version names count as its own, so these it may not name.
    place = scene.rng.choice(scene.used if kind == "version" else sorted(scene.kept))
    return scene.rng.choice([place, *list(place.parents)[:3]])


def root_itself(scene: Scene, _: str, __: str) -> Path:
    """Aim at a root, an experiment, the database, our own directories, the whole disk."""
    home, root = scene.world.home, scene.world.root
    return scene.rng.choice(
        [root, root / "0", home, home / "mlflow.db", home / RESERVED, root / RESERVED, Path("/")]
    )


def our_own(scene: Scene, kind: str, id_: str) -> Path:
    """Aim at something in our own directory, under a root or beside the database."""
    above = scene.rng.choice([scene.world.root / RESERVED, scene.world.root / RESERVED / "trash"])
    return scene.keep((above / _odd(scene)).joinpath(*_shape(kind, id_)))


def through_a_link(scene: Scene, kind: str, id_: str) -> Path:
    """Aim at the right place, on whose way one name is a link to elsewhere."""
    shape = (_odd(scene), *_shape(kind, id_))
    level = scene.rng.randrange(len(shape))
    link = scene.world.root.joinpath(*shape[: level + 1])
    real = scene.outside / f"behind {id_}"
    scene.keep(real.joinpath(*shape[level + 1 :]))
    if scene.rng.random() < 0.3:
        real = real.rename(scene.keep(scene.world.root / "0" / f"behind {id_}") / "deep")
    if not os.path.lexists(link) and _can_be_made(link.parent):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(real)
    return scene.world.root.joinpath(*shape)


def _can_be_made(path: Path) -> bool:
    """Tell whether a directory can be made without passing through a link or a file."""
    return not any(parent.is_symlink() or parent.is_file() for parent in (path, *path.parents))


def its_own(scene: Scene, kind: str, id_: str) -> Path:
    """Aim at its own directory: what it says may still be twisted, and it may be swapped later."""
    above = scene.rng.choice(["0", "1", "workspaces/team/0"])
    place = scene.world.root.joinpath(above, *_shape(kind, id_))
    scene.swappable.append(scene.fill(place))
    if kind != "version":  # whose directory is around those of others
        scene.swappable.append(place.parent)
    return place


def a_file(scene: Scene, kind: str, id_: str) -> Path:
    """Aim at a file where a directory belongs."""
    place = scene.world.root.joinpath("0", *_shape(kind, id_))
    scene.world.write(place.parent, place.name, 5)
    return place


TARGETS = (
    elsewhere,
    elsewhere,
    in_what_lives,
    what_lives,
    root_itself,
    our_own,
    through_a_link,
    through_a_link,
    its_own,
    its_own,
    a_file,
)


def twisted(rng: Random, target: Path, world: World) -> Any:  # noqa: ANN401 - text or bytes
    """Write a target in a way that somebody may read as it."""
    if rng.random() < 0.4:  # plain words, for what is not its own
        return _text(spell(rng, target, world) if world.root in target.parents else str(target))
    from_root, from_home = (os.path.relpath(target, base) for base in (world.root, world.home))
    uri = rng.choice(
        [
            f"mlflow-artifacts:/{from_root}",
            f"mlflow-artifacts:/{from_root}",
            f"mlflow-artifacts://server:5000//{from_root}",
            f"http://server/api/2.0/mlflow-artifacts/artifacts/{from_root}",
            f"mlflow-artifacts:/0/x/../../{from_root}",
            f"{world.root}/0/../{from_root}",
            str(target),
            str(target),
            f"file://{target}",
            f"file:{target}",
            f"file://localhost//{target}",
            from_home,
        ]
    )
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        uri = rng.choice(TWISTS)(rng, uri)
    if rng.random() < 0.05:
        return uri.encode("utf-8", "surrogateescape")
    return _text(uri)


def _text(uri: str) -> str:
    """Leave out what is no UTF-8, as it can stand in no column as text."""
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _swap_case(rng: Random, uri: str) -> str:
    names = uri.split("/")
    at = rng.randrange(len(names))
    names[at] = names[at].swapcase()
    return "/".join(names)


def _insert(text: str) -> Callable[[Random, str], str]:
    def insert(rng: Random, uri: str) -> str:
        at = rng.randrange(len(uri) + 1)
        return uri[:at] + text + uri[at:]

    return insert


TWISTS: tuple[Callable[[Random, str], str], ...] = (
    lambda rng, uri: encoded(rng, uri, 0.2),
    lambda _, uri: uri.replace("..", "%2e%2e"),
    lambda _, uri: uri.replace("..", "%252e%252E"),
    lambda _, uri: uri.replace("/", "%2f"),
    lambda _, uri: uri.replace("/", "//"),
    lambda _, uri: uri.replace("/", "/./"),
    lambda _, uri: uri.replace("/", "\\"),
    lambda _, uri: unicodedata.normalize("NFD", uri),
    lambda _, uri: unicodedata.normalize("NFKC", uri),
    lambda _, uri: uri.upper(),
    lambda _, uri: f"{uri}/",
    lambda _, uri: f"{uri}/.",
    lambda _, uri: f"{uri}/..",
    lambda _, uri: f" {uri}",
    lambda _, uri: f"{uri}?x=/../..",
    lambda _, uri: f"{uri}#x",
    lambda _, uri: f"{uri};x",
    _swap_case,
    *map(
        _insert,
        ("/../", "..", "%00", "\x00", "\n", "\t", "/", "%", "%2e%2e%2f", "\u202e", "\ufeff"),
    ),
)


# ── What changes while it is acted on ────────────────────────────────────────────────────────────


@contextmanager
def swaps(scene: Scene) -> Iterator[None]:
    """Let directories become links to what nobody may touch, in the middle of whatever is done."""
    faults = scene.world.faults
    with ExitStack() as stack:
        for number in range(6):
            swap = _swap(scene, scene.keep(scene.outside / f"decoy {number}" / "artifacts").parent)
            if scene.rng.random() < 0.5:
                arrange = scene.rng.choice([faults.before, faults.after])
                arrange(scene.rng.choice(METHODS), swap)
            else:
                hook = _at(scene.rng.randrange(1, 80), swap)
                stack.enter_context(before(scene.rng.choice(CALLS), hook))
        yield


METHODS = (
    "quarantine",
    "quarantine",
    "purge",
    "newest_write",
    "mark",
    "check",
    "measure",
    "remove_empty",
    "find",
)
CALLS = ("open", "open", "rename", "unlink", "rmdir", "scandir", "stat", "mkdir")


def _at(number: int, hook: Callable[[], None]) -> Callable[..., None]:
    """Run a hook at the call of that number, and only then."""
    left = [number]

    def count(*_: object, **__: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            hook()

    return count


def _swap(scene: Scene, decoy: Path) -> Callable[[], None]:
    """Put a link in the place of a directory that is garbage, wherever that is by then."""
    rng, aside = Random(scene.rng.random()), scene.world.home / "aside"

    def swap() -> None:
        trash = list(scene.world.root.glob(f"**/{RESERVED}/trash/*/content"))
        there = [*scene.swappable, *trash, *(path / "data" for path in trash)]
        there = [path for path in there if path.is_dir() and path.resolve() == path]
        if there:
            chosen = rng.choice(there)
            chosen.rename(aside / f"{decoy.name} {len(os.listdir(aside))}")
            chosen.symlink_to(rng.choice([decoy, decoy / "artifacts"]))
            scene.done.append(f"{chosen} -> {chosen.readlink()}")

    return swap


def spell_alike(scene: Scene) -> None:
    """Let runs leave whose places are claimed in another spelling, which is the same to some."""
    world = scene.world
    for number, other in enumerate((str.swapcase, _decomposed, str.casefold, str.upper)):
        id_ = f"Telling-\u00e9-{number}"
        place = scene.keep(world.root / "1" / id_ / "artifacts")
        world.db.run(id_, f"file://{place}")
        world.db.version(f"alike {number}", 1, f"{world.root}/1/{other(id_)}/artifacts/data")
        world.cycle()
        world.db.set_stage(id_, "deleted")


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def mount(scene: Scene) -> None:
    """Mount what is somebody else's at and in what is garbage; the caller has mounts of its own."""
    for number, place in enumerate(sorted(set(scene.swappable))):
        theirs = scene.keep(scene.outside / f"mounted {number}" / "artifacts").parent
        if not place.is_dir():
            continue
        at = scene.rng.choice([place / "data", place / "new" / "below"])
        if place.name == "artifacts" and scene.rng.random() < 0.5:
            at = place  # around it, a mount is where MLflow was told to put its artifacts
        if at != place or scene.rng.random() < 0.5:
            mount_bind(theirs, at)  # below, it moves to the trash together with what is around it
        else:
            mount_tmpfs(at)
            scene.keep(at / "theirs")
        scene.done.append(f"mounted {at}")
    for name in ("5", "workspaces/other"):
        at = scene.world.root / name
        mount_tmpfs(at)
        scene.keep(at / "0" / scene.new_id("run") / "artifacts")
        scene.keep(at / scene.new_id("run") / "artifacts")


# ── What may not have changed ────────────────────────────────────────────────────────────────────


def untouchable(scene: Scene) -> dict[str, Entry]:
    """Take down everything outside of the roots, and all that is kept inside of them."""
    world = scene.world
    ours = {str(world.root), str(world.home / RESERVED), str(world.home / "aside")}
    found: dict[str, Entry] = {}
    for path in _walk(world.home, ours):
        found[path] = _entry(path, is_outside=True)
    for place in scene.kept:
        if str(place).startswith(f"{world.root}/") and os.path.lexists(place):
            for path in _walk(place, set()):
                found[path] = _entry(path, is_outside=False)
    return found


def _walk(top: Path, without: set[str]) -> Iterable[str]:
    """Name everything below a directory, links as such."""
    pending = [str(top)]
    while pending:
        path = pending.pop()
        yield path
        if os.path.isdir(path) and not os.path.islink(path):
            below = (os.path.join(path, name) for name in os.listdir(path))
            pending += [one for one in below if one not in without]


def _entry(path: str, *, is_outside: bool) -> Entry:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    content: object = None
    if kind == stat.S_IFREG:
        content = Path(path).read_bytes()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    # Inside of a root what lies around a place may come and go; outside nothing does.
    times = status.st_mtime_ns if is_outside or kind == stat.S_IFREG else None
    return kind, stat.S_IMODE(status.st_mode), content, times


def differences(before: dict[str, Entry], after: dict[str, Entry]) -> list[str]:
    """Name what was removed, or is another now."""
    return sorted(path for path, entry in before.items() if after.get(path) != entry)
