"""`plan`, `apply` and `sweep` as an operator has them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.act import quarantine
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.report.plans import plan_from, plan_values
from mlflow_cleanup.stores.local.store import LocalStore
from tests.kit.world import Run, World, tree
from tests.unit.cli.conftest import Say

LOST = "f" * 32


@pytest.fixture
def deleted(world: World) -> list[Run]:
    """Runs of 1, 10 and 100 bytes that are deleted, and that no cycle has seen as such."""
    runs = [world.run({"a": size}) for size in (1, 10, 100)]
    world.cycle()
    world.delete(*runs)
    return runs


def told(said: Any) -> Any:  # noqa: ANN401 - JSON values
    """Read what a verb said as JSON."""
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    return json.loads(said.stdout)


def ids(values: Any) -> list[str]:  # noqa: ANN401 - JSON values
    """Name the runs of a list of places, or steps, in their order."""
    return [one["entity_id"] for one in values]


class TestPlan:
    """Looking only."""

    def test_shows_what_would_go(self, world: World, say: Say, deleted: list[Run]) -> None:
        """As text and as JSON, the largest first, with what to do next; nothing happens."""
        before = tree(world.root)
        text, values = say("plan").stdout, told(say("plan", "--json"))

        assert ids(values["take"]) == [run.id for run in reversed(deleted)]
        assert values["bytes"] == 111
        assert "3 places, 111 B" in text
        assert f"To carry it out: `mlflow-cleanup apply --id {values['id']}`" in text
        assert tree(world.root) == before

    def test_nothing_to_do_offers_nothing(self, say: Say, world: World) -> None:
        """No step to be carried out."""
        assert world.trash() == []
        assert "To carry it out" not in say("plan").stdout

    @pytest.mark.parametrize(("words", "count"), [([], 10), (["--all"], 12)])
    def test_lists_the_largest_or_all(
        self, world: World, say: Say, words: list[str], count: int
    ) -> None:
        """Ten are enough to see what it is about."""
        runs = [world.run({"a": size}) for size in range(1, 13)]
        world.cycle()
        world.delete(*runs)

        assert say("plan", *words).stdout.count("/artifacts\n") == count

    @pytest.mark.usefixtures("deleted")
    def test_is_saved_as_it_is_shown(self, say: Say) -> None:
        """The file is what `--json` prints."""
        values = told(say("plan", "--json", "-o", "plan.json"))

        assert json.loads(Path("plan.json").read_text(encoding="utf-8")) == values
        assert plan_from(json.loads(Path("plan.json").read_text())).id == values["id"]
        assert "mlflow-cleanup apply other.json" in say("plan", "-o", "other.json").stdout

    def test_that_cannot_be_saved_is_wrong_usage(self, say: Say, world: World) -> None:
        """Told in a word, with where."""
        said = say("plan", "-o", str(world.home / "missing" / "plan.json"))

        assert said.exit_code == 2
        assert "cannot be saved at" in said.stderr

    def test_where_nothing_was_watched_yet(
        self, say: Say, world: World, deleted: list[Run]
    ) -> None:
        """There is no ledger to read, and none is made; what left is found all the same."""
        shutil.rmtree(world.root / RESERVED)
        state_dir = world.home / "state"
        values = told(say("plan", "--json", "--state-dir", str(state_dir)))

        assert len(values["take"]) == len(deleted)
        assert not state_dir.exists()
        assert not (world.root / RESERVED).exists()

    @pytest.mark.usefixtures("deleted")
    def test_needs_no_lease(self, say: Say, world: World) -> None:
        """While a monitor is at work too; so does a dry sweep."""
        with Lease([world.settings.state_dir], "the other one"):
            assert say("plan").exit_code == 0
            assert say("sweep").exit_code == 0


class TestApply:
    """Carrying out what was looked at."""

    @pytest.fixture
    def plan(self, say: Say, deleted: list[Run]) -> str:
        """A saved plan that takes three runs."""
        values = told(say("plan", "--json", "-o", "plan.json"))
        assert len(values["take"]) == len(deleted)
        return "plan.json"

    def test_does_what_it_says_once(
        self, world: World, say: Say, plan: str, deleted: list[Run]
    ) -> None:
        """Each step with its outcome; the same plan is not done a second time."""
        values = told(say("apply", plan, "--json"))

        assert [(step["result"], step["bytes"]) for step in values["steps"]] == [
            ("quarantined", size) for size in (100, 10, 1)
        ]
        assert (values["bytes"], values["left"]) == (111, 0)
        assert [world.bytes_in_trash(run) for run in deleted] == [1, 10, 100]

        again = say("apply", plan)
        assert again.exit_code == 4
        assert "it was carried out already" in again.stderr

    def test_takes_no_more_than_was_shown(
        self, world: World, say: Say, plan: str, deleted: list[Run]
    ) -> None:
        """What was deleted later, or is an orphan, was looked at by nobody."""
        place = world.root / "0" / LOST / "artifacts"
        world.write(place, "a", 50)
        later = world.run({"b": 1_000})
        world.cycle()
        world.delete(later)

        assert say("apply", plan, "--take-orphans-at-once").exit_code == 0

        assert world.bytes_at(place) == 50
        assert world.bytes_at(later) == 1_000
        assert sum(world.bytes_in_trash(run) for run in deleted) == 111

    def test_looks_again_at_each_step(
        self, world: World, say: Say, plan: str, deleted: list[Run]
    ) -> None:
        """What was restored since is skipped, and why is said."""
        world.undelete(deleted[1])

        values = told(say("apply", plan, "--json"))

        assert [(step["result"], step["detail"]) for step in values["steps"]] == [
            ("quarantined", ""),
            ("skipped", "its run is active"),
            ("quarantined", ""),
        ]
        assert world.bytes_at(deleted[1]) == 10

    def test_one_that_fails_stops_no_other_and_is_told(
        self, world: World, say: Say, deleted: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The exit code says that something could not be cleaned."""
        plan = "plan.json"
        say("plan", "-o", plan)
        real = LocalStore.quarantine

        def fail(store: LocalStore, location: Any, *rest: Any) -> Any:  # noqa: ANN401
            if location.inside == ("0", deleted[1].id, "artifacts"):
                raise OSError(5, "Input/output error")
            return real(store, location, *rest)

        monkeypatch.setattr(LocalStore, "quarantine", fail)

        said = say("apply", plan, "--json")

        assert said.exit_code == 3
        assert [(step["result"], step["detail"]) for step in told(said)["steps"]] == [
            ("quarantined", ""),
            ("failed", "[Errno 5] Input/output error"),
            ("quarantined", ""),
        ]
        assert [world.bytes_in_trash(run) for run in deleted] == [1, 0, 100]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, "cannot be read"),
            ("", "cannot be read"),
            ("{", "cannot be read"),
            ("\x00", "cannot be read"),
            ("[" * 100_000, "cannot be read"),
            ("[]", "no plan of mlflow-cleanup"),
            ('{"format": 99}', "has format 99"),
        ],
        ids=["missing", "empty", "cut off", "bytes", "nested", "a list", "a later format"],
    )
    def test_of_something_else_is_wrong_usage(
        self, world: World, say: Say, content: str | None, words: str
    ) -> None:
        """Nothing is opened, nothing done."""
        if content is not None:
            Path("plan.json").write_text(content, encoding="utf-8")

        said = say("apply", "plan.json")

        assert said.exit_code == 2, said.exception
        assert words in said.stderr
        assert world.trash() == []

    @pytest.mark.usefixtures("world")
    @pytest.mark.skipif(os.name == "nt", reason="there are no such files there")
    def test_of_what_is_no_regular_file_is_refused_without_waiting(self, say: Say) -> None:
        """Nobody may ever write into a pipe, and a device may never end."""
        os.mkfifo("pipe")
        for name in ("pipe", "/dev/zero"):
            said = say("apply", name)

            assert said.exit_code == 2
            assert "it is no regular file" in said.stderr

    def test_of_a_plan_changed_by_hand_is_refused(self, world: World, say: Say, plan: str) -> None:
        """Another place in it is another plan."""
        Path(plan).write_text(Path(plan).read_text().replace(f"{2:032x}", f"{1:032x}"))

        said = say("apply", plan)

        assert said.exit_code == 2
        assert "changed after it was made" in said.stderr
        assert world.trash() == []

    @pytest.mark.parametrize("why", ["old", "from the future", "of another database"])
    def test_of_an_outdated_plan_is_refused(
        self, world: World, say: Say, deleted: list[Run], why: str
    ) -> None:
        """A day old, or made for something else: make a new one."""
        if why == "old":
            world.advance(hours=-24, seconds=-1)
        elif why == "from the future":
            world.advance(hours=1)
        plan = world.plan()
        words = ["apply", "plan.json"]
        if why == "of another database":
            other = world.home / "other.db"
            other.write_bytes(world.db.path.read_bytes())
            words += ["--backend-store-uri", f"sqlite:///{other}", "--state-dir", "state"]
        Path("plan.json").write_text(json.dumps(plan_values(plan)), encoding="utf-8")

        said = say(*words)

        assert said.exit_code == 4
        # The root's marker tells first that it belongs to another database.
        assert ("owner marker" if "database" in why else "Make a new one") in said.stderr
        assert [world.bytes_at(run) for run in deleted] == [1, 10, 100]

    def test_needs_the_lease(self, world: World, say: Say, plan: str) -> None:
        """While another command is at work it is told who that is."""
        with Lease([world.settings.state_dir], "the other one"):
            said = say("apply", plan)

        assert said.exit_code == 5
        assert "the other one" in said.stderr
        assert world.trash() == []


class TestSweep:
    """Both in one go."""

    @pytest.mark.parametrize(
        "words",
        [[], ["--json"], ["--take-orphans-at-once"], ["--retention", "0"], ["--cascade", "models"]],
    )
    def test_without_the_word_nothing_is_done(
        self, world: World, say: Say, deleted: list[Run], words: list[str]
    ) -> None:
        """Whatever else is said."""
        world.write(world.root / "0" / LOST / "artifacts", "a", 50)
        before = tree(world.root)

        said = say("sweep", *words)

        assert said.exit_code == 0
        assert words == ["--json"] or "Nothing was done" in said.stdout
        assert tree(world.root) == before
        assert all(world.states(run) == [] for run in deleted)

    def test_with_the_word_it_acts(self, world: World, say: Say, deleted: list[Run]) -> None:
        """What left, and under an adopted root what nobody claims."""
        place = world.root / "0" / LOST / "artifacts"
        world.write(place, "a", 50)
        assert say("adopt", str(world.root)).exit_code == 0

        said = say("sweep", "--apply", "--take-orphans-at-once", "--json")

        assert said.exit_code == 0
        assert sorted(ids(told(said)["steps"])) == [*(run.id for run in deleted), LOST]
        assert [world.bytes_in_trash(run) for run in deleted] == [1, 10, 100]
        assert not place.exists()

    def test_retention_of_nought_frees_at_once(self, world: World, say: Say) -> None:
        """And tells what was really freed."""
        world.write(world.root / "0" / LOST / "artifacts", "a", 50)
        say("adopt", str(world.root))

        values = told(
            say("sweep", "--apply", "--take-orphans-at-once", "--retention", "0", "--json")
        )

        assert [(step["result"], step["bytes"]) for step in values["steps"]] == [("purged", 50)]
        assert (values["bytes"], world.trash()) == (50, [])
        assert world.ledger.items.freed().bytes == 50

    def test_too_much_at_once_is_asked_about(self, world: World, say: Say) -> None:
        """Refused with its id; confirmed, the same goes ahead."""
        places = [world.root / "0" / (letter * 32) / "artifacts" for letter in "ab"]
        for place in places:
            world.write(place, "a", 10)
        say("adopt", str(world.root))
        words = ["sweep", "--apply", "--take-orphans-at-once", "--most-entities", "1"]

        refused = say(*words)
        assert refused.exit_code == 4
        assert "would take 2 entities, more than 1" in refused.stderr
        assert [world.bytes_at(place) for place in places] == [10, 10]
        plan_id = refused.stderr.split("refused plan ")[1].split(":")[0]

        assert say("confirm", plan_id).exit_code == 0
        assert say(*words).exit_code == 0
        assert not any(place.exists() for place in places)

    def test_ctrl_c_finishes_the_step_in_hand(
        self, world: World, say: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is left is told, the exit code too; the next one goes on."""
        places = [world.root / "0" / (letter * 32) / "artifacts" for letter in "abc"]
        for place in places:
            world.write(place, "a", 10)
        say("adopt", str(world.root))
        monkeypatch.setattr(quarantine, "BATCH", 1)
        real = LocalStore.quarantine

        def interrupted(store: LocalStore, *values: Any) -> Any:  # noqa: ANN401
            held = real(store, *values)
            signal.raise_signal(signal.SIGINT)
            return held

        before = signal.getsignal(signal.SIGINT)
        with monkeypatch.context() as patched:
            patched.setattr(LocalStore, "quarantine", interrupted)
            said = say("sweep", "--apply", "--take-orphans-at-once", "--json")
        assert said.exit_code == 3
        assert (told(said)["left"], len(told(said)["steps"])) == (2, 1)
        assert sum(place.exists() for place in places) == 2
        assert [item.state for item in world.items()] == [ItemState.QUARANTINED]
        assert signal.getsignal(signal.SIGINT) is before

        assert say("sweep", "--apply", "--take-orphans-at-once").exit_code == 0
        assert not any(place.exists() for place in places)

    def test_seen_once_is_remembered_for_the_next(self, world: World, say: Say) -> None:
        """What waits is told as such, and taken down."""
        place = world.root / "0" / LOST / "artifacts"
        world.advance(days=-4)
        world.write(place, "a", 50)
        say("adopt", str(world.root))

        assert say("sweep", "--apply").exit_code == 0

        kept = told(say("plan", "--json"))["keep"]
        assert [one["reason"] for one in kept] == [
            "unclaimed; taken when a full cycle 4 hours later finds it so again"
        ]
        assert list(world.ledger.sightings.first_seen()) == [
            (str(world.root), ("0", LOST, "artifacts"))
        ]
        assert world.bytes_at(place) == 50

    def test_needs_the_lease(self, world: World, say: Say) -> None:
        """Acting does."""
        with Lease([world.settings.state_dir], "the other one"):
            assert say("sweep", "--apply").exit_code == 5
        assert world.settings.retention == timedelta(days=7)
