from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.model.claim import Claim, ClaimIndex
from mlflow_cleanup.model.entity import Entity, EntityKind, run

RUN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def claim(*paths: str, text: str = "", holder: str = "m-1") -> Claim:
    """Make a logged model's claim."""
    return Claim(Entity(EntityKind.LOGGED_MODEL, holder), text, paths)


@pytest.mark.parametrize(
    ("claimed", "place", "is_held"),
    [
        ("/r/abc", "/r/abc", True),  # equal
        ("/r/abc/x/y", "/r/abc", True),  # lies inside the place
        ("/r", "/r/abc", True),  # contains the place
        ("/", "/r/abc", True),
        ("/r/abc", "/", True),
        ("/", "/", True),
        ("/r/abcd", "/r/abc", False),  # a sibling with the same beginning
        ("/r/abc", "/r/abcd", False),
        ("/r/abc-d/x", "/r/abc", False),  # `-` sorts before `/`
        ("/r/abc0", "/r/abc", False),  # `0` sorts right after `/`
        ("/r/ab", "/r/abc", False),
        ("/r/abc/x", "/r/abc/y", False),
        ("/q", "/r", False),
    ],
)
def test_a_claim_holds_a_place_that_it_equals_contains_or_lies_in(
    claimed: str, place: str, is_held: bool
) -> None:
    """Overlap by whole path components holds; a common beginning of names does not."""
    held = claim(claimed)

    assert ClaimIndex([held]).on_place(place) == (held if is_held else None)


def test_a_claim_is_found_behind_siblings_that_sort_between() -> None:
    """Names that sort between a place and what lies in it do not hide a claim inside."""
    inner = claim("/r/abc/x")
    index = ClaimIndex([claim("/r/abc!"), claim("/r/abc-1"), claim("/r/abc."), inner])

    assert index.on_place("/r/abc") == inner


@pytest.mark.parametrize(
    ("container", "place", "is_held"),
    [
        ("/r/1", "/r/1", True),
        ("/r/1/x/artifacts/deeper", "/r/1/x/artifacts", True),
        ("/r/1", "/r/1/x/artifacts", False),
        ("/", "/r/1", False),
        ("/r/10", "/r/1", False),
    ],
)
def test_a_container_holds_its_own_directory_but_not_what_lies_in_it(
    container: str, place: str, is_held: bool
) -> None:
    """An experiment's directory is never taken away, while the runs in it may be."""
    held = Claim(Entity(EntityKind.EXPERIMENT, "1"), "", (container,))

    assert ClaimIndex([], [held]).on_place(place) == (held if is_held else None)


def test_a_place_is_held_by_each_spelling_of_a_claim() -> None:
    """A claim whose text can be read in two ways holds both places."""
    held = claim("/r/a b", "/r/a%20b")
    index = ClaimIndex([held])

    assert index.on_place("/r/a b") == held
    assert index.on_place("/r/a%20b/x") == held


def test_nothing_is_held_without_claims() -> None:
    """An empty index holds no place and no run."""
    index = ClaimIndex([])

    assert index.on_place("/") is None
    assert index.on_place("/r/1") is None
    assert index.on_id(RUN) is None


@pytest.mark.parametrize(
    ("claimed", "place"),
    [
        ("/R/Models/M", "/r/models/m"),
        ("/r/STRASSE", "/r/straße"),
        ("/r/e\u0301", "/r/\u00e9"),
        ("/r/E\u0301/inner", "/r/é"),
    ],
)
def test_two_spellings_of_one_place_are_equal_when_folded(claimed: str, place: str) -> None:
    """Where the file system ignores case or Unicode form, so does the comparison."""

    def fold(path: str) -> str:
        return unicodedata.normalize("NFC", path).casefold()

    held = claim(claimed)

    assert ClaimIndex([held], fold=fold).on_place(place) == held
    assert ClaimIndex([], [held], fold=fold).on_place(place) == held
    assert ClaimIndex([held]).on_place(place) is None


@pytest.mark.parametrize(
    "text",
    [
        f"s3://bucket/1/{RUN}/artifacts",
        f"runs:/{RUN}/model",
        f"runs:/{RUN}",
        f"mlflow-artifacts://host:1/0/{RUN}/artifacts/model",
        f"dbfs:/x/{RUN}?y=z",
        f"C:\\runs\\{RUN}\\artifacts",
        f"/r/_{RUN}_/artifacts",
        RUN,
    ],
)
def test_a_claim_holds_the_run_that_its_text_names(text: str) -> None:
    """A run is protected by name, whatever the scheme or host around its id."""
    held = claim(text=text)

    assert RUN in held.mentioned_ids()
    assert ClaimIndex([held]).on_id(RUN) == held
    assert ClaimIndex([held]).on_id("f" * 32) is None


@pytest.mark.parametrize(
    "text",
    [
        f"models:/m-{RUN}",
        f"/r/models/m-{RUN}/artifacts",
        f"/r/traces/tr-{RUN}/artifacts",
        f"/r/{RUN}0",
        f"/r/0{RUN}",
        f"/r/{RUN[:-1]}",
        f"/r/{RUN.upper()}",
        "",
    ],
)
def test_ids_of_other_entities_are_not_taken_for_runs(text: str) -> None:
    """A logged model's or trace's id, or a longer word, names no run."""
    assert RUN not in claim(text=text).mentioned_ids()


def test_a_text_may_name_several_runs() -> None:
    """Every run id in a text is held."""
    index = ClaimIndex([claim(text=f"/r/{RUN}/artifacts/{OTHER}")])

    assert index.on_id(RUN) is not None
    assert index.on_id(OTHER) is not None


def test_containers_hold_runs_by_name_too() -> None:
    """A dataset of a live run that names another run keeps that one, wherever it lies."""
    held = Claim(Entity(EntityKind.DATASET, "train"), f"runs:/{RUN}/data.csv", ())

    assert ClaimIndex([], [held]).on_id(RUN) is not None


def test_claims_may_be_given_once_as_they_are_read() -> None:
    """The index takes iterators, and keeps none of the claims it was made from."""
    index = ClaimIndex(iter([claim("/r/1")]), iter([claim("/q")]), frozenset({run(RUN)}))

    assert index.on_place("/r/1/x") == claim("/r/1")
    assert index.on_place("/q") == claim("/q")
    assert run(RUN) in index.pinned
    assert (index.claims, index.containers) == ((), ())


# Few letters, so that siblings, parents and equal paths all come up; `!` and `~` sort around `/`.
NAMES = st.text(alphabet="a!~/", min_size=1, max_size=3)
PATHS = (
    st.lists(NAMES, max_size=4)
    .map(lambda names: "/" + "/".join(part for name in names for part in name.split("/") if part))
    .map(lambda path: path.rstrip("/") or "/")
)


def is_same_or_inside(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or lies in it, component by component."""
    path_parts = [part for part in path.split("/") if part]
    parts = [part for part in directory.split("/") if part]
    return path_parts[: len(parts)] == parts


def naive(claims: Iterable[str], containers: Iterable[str], place: str) -> bool:
    """Look at every claim, one after the other."""
    return any(
        is_same_or_inside(path, place) or is_same_or_inside(place, path) for path in claims
    ) or any(is_same_or_inside(path, place) for path in containers)


@settings(deadline=None, max_examples=500)
@given(st.lists(PATHS, max_size=8), st.lists(PATHS, max_size=4), PATHS)
@example(["/a!", "/a/a"], [], "/a")
@example([], ["/"], "/a")
def test_the_index_answers_as_looking_at_every_claim_would(
    claims: list[str], containers: list[str], place: str
) -> None:
    """Whatever is claimed and asked, the quick answer is that of the plain definition."""
    index = ClaimIndex(
        [claim(path, holder=path) for path in claims],
        [claim(path, holder=path) for path in containers],
    )

    found = index.on_place(place)

    assert (found is not None) == naive(claims, containers, place)
    if found is not None:
        assert naive(
            [path for path in claims if path in found.paths],
            [path for path in containers if path in found.paths],
            place,
        )
