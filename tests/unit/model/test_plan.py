from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location, Misread, Unplaced
from mlflow_cleanup.model.plan import Judged, digest_of
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone
from tests.kit.values import NOW, candidate, location


def judged(number: int, gone: Gone = Gone.DELETED, **more: object) -> Judged:
    """Make a verdict on a run's own directory."""
    values = {"size": Size(number, 10 * number), "newest": 1.0, **more}
    return Judged(candidate(number, gone=gone), Garbage(gone), **values)  # type: ignore[arg-type]


def test_place_is_where_it_is() -> None:
    """What has no place under a root can never be taken: asking for it is a mistake."""
    assert judged(1).place == location(1)
    nowhere = Judged(candidate(1, Unplaced(Misread.REMOTE, "s3://b")), Garbage(Gone.DELETED))

    with pytest.raises(TypeError):
        _ = nowhere.place


def test_id_names_what_a_plan_takes_in_any_order() -> None:
    """The same places, for the same reasons, at the same time."""
    some = [judged(1), judged(10), judged(100)]

    assert digest_of(NOW, some) == digest_of(NOW, reversed(some))
    assert len(digest_of(NOW, some)) == 8


@pytest.mark.parametrize(
    "other",
    [
        [],
        [judged(1)],
        [judged(1), judged(10), judged(10)],
        [judged(1), judged(11)],
        [judged(1), judged(10, Gone.VANISHED)],
        [judged(1), replace(judged(10), candidate=candidate(10, location(11)))],
        [judged(1), replace(judged(10), candidate=candidate(10, location(10, "/other")))],
        [
            judged(1),
            replace(
                judged(10),
                candidate=replace(candidate(10), entity=Entity(EntityKind.TRACE, "tr-1")),
            ),
        ],
    ],
)
def test_id_of_anything_else_is_another(other: list[Judged]) -> None:
    """Fewer, more, elsewhere, of another entity, for another reason."""
    assert digest_of(NOW, other) != digest_of(NOW, [judged(1), judged(10)])


def test_plan_has_an_id_of_its_own_and_a_situation_one_for_all_times() -> None:
    """A plan is carried out once; a confirmation holds while nothing changes."""
    one, other = (digest_of(NOW + timedelta(seconds=s), [judged(1)]) for s in (0, 1))

    assert len({one, other, digest_of(None, [judged(1)])}) == 3


def test_id_can_be_made_of_any_text() -> None:
    """Places and ids are any client's text, also what is no UTF-8."""
    odd = replace(
        judged(1),
        candidate=replace(candidate(1), entity=Entity(EntityKind.MODEL_VERSION, "\udcff\n\x00 1")),
    )

    assert digest_of(NOW, [odd]) != digest_of(NOW, [judged(1)])


def test_no_text_makes_the_id_of_one_plan_that_of_another() -> None:
    """A model version's name can hold line breaks, and words as another step has them."""

    def one(kind: EntityKind, id_: str, inside: tuple[str, ...], gone: Gone) -> Judged:
        return Judged(Candidate(Entity(kind, id_), Location("/r", inside), gone), Garbage(gone))

    inside = ("0", "a" * 32, "artifacts")
    version = one(EntityKind.MODEL_VERSION, "v", ("copy",), Gone.VERSION_DELETED)
    both = [version, one(EntityKind.RUN, "a" * 32, inside, Gone.DELETED)]
    forged = f"v /r/copy {Gone.VERSION_DELETED}\nrun {'a' * 32}"

    assert digest_of(None, both) != digest_of(
        None, [one(EntityKind.MODEL_VERSION, forged, inside, Gone.DELETED)]
    )


def test_names_are_told_apart_from_the_path_that_they_make() -> None:
    """Another root, or a name with a slash in it, is another place."""
    places = [Location("/r", ("a", "b")), Location("/r/a", ("b",)), Location("/r", ("a/b",))]
    steps = [
        Judged(Candidate(run("x"), place, Gone.DELETED), Garbage(Gone.DELETED)) for place in places
    ]

    assert len({digest_of(None, [step]) for step in steps}) == len(places)
