from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.model.location import Location, Misread, Unplaced, Whereabouts, readings
from mlflow_cleanup.observe.places import Places, fold_for, slashed

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a directory with a root, a directory beside it, and a run in each."""
    real = tmp_path.resolve()
    for top in ("art", "beside"):
        (real / top / "0" / "run" / "artifacts").mkdir(parents=True)
    return real


def places(home: Path, *roots: str, destination: str = "art") -> Places:
    """Make places of the given roots under `home` ("art": none given)."""
    where = Whereabouts(str(home), str(home / destination))
    return Places([str(home / root) for root in roots or ("art",)], where)


def why(found: Location | Unplaced) -> Misread:
    """Return why there is no place."""
    assert isinstance(found, Unplaced)
    return found.why


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow-artifacts:/0/run/artifacts",
        "{home}/art/0/run/artifacts",
        "file://{home}/art/0/run/artifacts",
        "art/0/run/artifacts",
        "./art/0/run/artifacts/",
        "file:art/0/run/artifacts",
        "{home}/art//0/./run/artifacts",
    ],
)
def test_a_place_under_the_root_is_found_from_every_form(home: Path, uri: str) -> None:
    """Whatever way it is written, it is one place: its root, and what leads on from it."""
    found = places(home).locate(uri.format(home=home))

    assert found == Location(f"{home}/art", ("0", "run", "artifacts"))


def test_a_place_need_not_exist(home: Path) -> None:
    """What is not there any more has a place all the same."""
    assert places(home).locate("mlflow-artifacts:/9/gone") == Location(f"{home}/art", ("9", "gone"))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("{home}/beside/0/run/artifacts", Misread.OUTSIDE_ROOTS),
        ("{home}/artful/0", Misread.OUTSIDE_ROOTS),
        ("{home}/art", Misread.OUTSIDE_ROOTS),
        ("{home}/art/", Misread.OUTSIDE_ROOTS),
        ("{home}", Misread.OUTSIDE_ROOTS),
        ("/", Misread.OUTSIDE_ROOTS),
        ("mlflow-artifacts:/", Misread.OUTSIDE_ROOTS),
        ("{home}/art/.mlflow-cleanup/trash/x", Misread.RESERVED),
        ("{home}/art/0/.mlflow-cleanup", Misread.RESERVED),
        ("{home}/art/../beside/0", Misread.MALFORMED),
        ("s3://bucket/0", Misread.OUTSIDE_ROOTS),
        ("hdfs://host/0", Misread.REMOTE),
        ("{home}/art/0%2525", Misread.AMBIGUOUS),
    ],
)
def test_what_is_not_inside_the_root_has_no_place(home: Path, uri: str, reason: Misread) -> None:
    """The root itself, everything outside, and our own directory are never acted on."""
    assert why(places(home).locate(uri.format(home=home))) is reason


@pytest.mark.parametrize("inside", ["link", "link/deeper", "0/link", "0/run/artifacts/link/x"])
def test_a_link_on_the_way_is_no_place(home: Path, inside: str) -> None:
    """A path that runs through a link below the root is not acted on, wherever it leads."""
    target = home / "art" / "0" / "run"
    for link in ("link", "0/link", "0/run/artifacts/link"):
        (home / "art" / link).symlink_to(target, target_is_directory=True)

    assert why(places(home).locate(f"{home}/art/{inside}")) is Misread.SYMLINK


def test_a_link_that_leads_nowhere_is_a_link(home: Path) -> None:
    """A dangling link is not followed to where a directory may appear later."""
    (home / "art" / "link").symlink_to(home / "nowhere")

    assert why(places(home).locate("mlflow-artifacts:/link/x")) is Misread.SYMLINK


def test_links_in_a_circle_are_no_place(home: Path) -> None:
    """A link to itself raises nothing and leads nowhere."""
    (home / "art" / "loop").symlink_to(home / "art" / "loop")

    assert why(places(home).locate("mlflow-artifacts:/loop/x")) is Misread.SYMLINK
    assert f"{home}/art/loop/x" in places(home).claimed("mlflow-artifacts:/loop/x")


def test_a_root_given_through_a_link_is_its_real_directory(home: Path) -> None:
    """Places are named by the real root, whichever spelling the root and the URI have."""
    (home / "way").symlink_to(home / "art", target_is_directory=True)
    expected = Location(f"{home}/art", ("0", "run", "artifacts"))

    for root in ("way", "art"):
        found = places(home, root, destination=root)
        assert found.locate("mlflow-artifacts:/0/run/artifacts") == expected
        assert found.locate(f"{home}/art/0/run/artifacts") == expected
    assert places(home, "way").locate(f"{home}/way/0/run/artifacts") == expected


def test_a_link_above_the_root_is_resolved_with_it(home: Path) -> None:
    """A link on the way to the root is the operator's own and no obstacle."""
    (home / "above").symlink_to(home, target_is_directory=True)
    expected = Location(f"{home}/art", ("0", "run", "artifacts"))

    found = places(home, "above/art", destination="above/art")

    assert found.locate("mlflow-artifacts:/0/run/artifacts") == expected
    assert found.locate(f"{home}/above/art/0/run/artifacts") == expected
    assert found.locate(f"{home}/art/0/run/artifacts") == expected
    assert why(found.locate(f"{home}/above/beside/0")) is Misread.OUTSIDE_ROOTS


def test_another_link_to_the_root_is_outside(home: Path) -> None:
    """A way to the root that the operator did not name is not taken."""
    (home / "way").symlink_to(home / "art", target_is_directory=True)

    assert why(places(home).locate(f"{home}/way/0/run/artifacts")) is Misread.OUTSIDE_ROOTS


@pytest.mark.parametrize("roots", [("art", "art/0"), ("art/0", "art")])
def test_of_nested_roots_the_inner_one_has_the_place(home: Path, roots: Sequence[str]) -> None:
    """What lies in two roots belongs to the inner one; the inner root itself is no place."""
    found = places(home, *roots)

    assert found.locate("mlflow-artifacts:/0/run/artifacts") == Location(
        f"{home}/art/0", ("run", "artifacts")
    )
    assert found.locate("mlflow-artifacts:/1/run") == Location(f"{home}/art", ("1", "run"))
    assert why(found.locate("mlflow-artifacts:/0")) is Misread.OUTSIDE_ROOTS


def test_an_inner_root_given_through_a_short_link_is_still_the_inner_one(home: Path) -> None:
    """The innermost root is told by where it is, not by how it is written."""
    (home / "i").symlink_to(home / "art" / "0", target_is_directory=True)

    found = places(home, "art", "i").locate("mlflow-artifacts:/0/run/artifacts")

    assert found == Location(f"{home}/art/0", ("run", "artifacts"))


def test_the_file_systems_root_may_be_a_root(home: Path) -> None:
    """With `/` as root every absolute path lies inside, and `/` itself does not."""
    found = Places(["/"], Whereabouts(str(home), None))

    assert found.locate(f"{home}/art/0") == Location("/", (*home.parts[1:], "art", "0"))
    assert why(found.locate("/")) is Misread.OUTSIDE_ROOTS


def test_without_roots_there_is_no_place(home: Path) -> None:
    """Nothing configured means nothing touched."""
    found = Places([], Whereabouts(str(home), str(home / "art")))

    assert why(found.locate("mlflow-artifacts:/0/run/artifacts")) is Misread.OUTSIDE_ROOTS


def test_a_claim_holds_both_ends_of_a_link(home: Path) -> None:
    """A live entity's place protects the path as written and where links lead from it."""
    (home / "art" / "link").symlink_to(home / "beside" / "0", target_is_directory=True)

    assert set(places(home).claimed("mlflow-artifacts:/link/run")) == {
        f"{home}/art/link/run",
        f"{home}/beside/0/run",
    }


def test_a_claim_through_links_to_links_holds_their_end(home: Path) -> None:
    """Links are followed one after the other, relative ones too."""
    (home / "one").symlink_to("two")
    (home / "two").symlink_to(home / "art" / "0", target_is_directory=True)

    assert f"{home}/art/0/run" in places(home).claimed(f"{home}/one/run")


def test_a_claim_with_two_meanings_holds_both(home: Path) -> None:
    """Where the text is ambiguous, both readings are protected."""
    assert {f"{home}/a b", f"{home}/a%20b"} <= set(places(home).claimed(f"{home}/a%2520b"))


def test_a_new_look_sees_new_links(home: Path) -> None:
    """What one view learnt of links does not outlive it."""
    uri = "mlflow-artifacts:/0/run/artifacts"
    assert isinstance(places(home).locate(uri), Location)

    (home / "art" / "0").rename(home / "art" / "1")
    (home / "art" / "0").symlink_to(home / "art" / "1", target_is_directory=True)

    assert why(places(home).locate(uri)) is Misread.SYMLINK


def test_hostile_depth_is_no_obstacle(home: Path) -> None:
    """A path longer than any system has is no place, is claimed as it is, and costs no time."""
    deep = "/".join(["x"] * 5_000)
    begun = time.thread_time()

    assert why(places(home).locate(f"mlflow-artifacts:/{deep}")) is Misread.MALFORMED
    assert places(home).claimed(f"mlflow-artifacts:/{deep}") == (f"{home}/art/{deep}",)
    assert time.thread_time() - begun < 2


def test_depth_that_a_system_has_is_a_place(home: Path) -> None:
    """Hundreds of components are resolved as far as they are there."""
    deep = "/".join(["x"] * 500)

    assert places(home).locate(f"mlflow-artifacts:/{deep}") == Location(f"{home}/art", ("x",) * 500)
    (home / "art" / "x").symlink_to(home / "beside", target_is_directory=True)
    assert why(places(home).locate(f"mlflow-artifacts:/{deep}")) is Misread.SYMLINK
    assert f"{home}/beside/{deep[2:]}" in places(home).claimed(f"mlflow-artifacts:/{deep}")


@pytest.mark.parametrize("name", ["x" * 300, "\udcff", "é", "\u202e", " ", "-rf"])
def test_odd_names_are_no_obstacle(home: Path, name: str) -> None:
    """A component that no file system can hold, or that looks odd, is a place like any other."""
    found = places(home).locate(f"mlflow-artifacts:/0/{name}")

    assert found == Location(f"{home}/art", ("0", name))


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=3),
            st.sampled_from(["/", "art", "0", "link", "..", "%2e", "%2F", "mlflow-artifacts:"]),
        ),
        max_size=10,
    )
)
def test_no_text_leads_out_of_the_root(home: Path, pieces: list[str]) -> None:
    """Whatever the text, a place lies inside the root by its real path, or there is none."""
    link = home / "art" / "link"
    if not link.is_symlink():
        link.symlink_to(home / "beside", target_is_directory=True)
    view, text = places(home), "".join(pieces)

    found = view.locate(text)

    if isinstance(found, Location):
        assert found.root == f"{home}/art"
        assert os.path.realpath(found.path).startswith(f"{home}/art/")
        assert found.path in view.claimed(text)


@pytest.mark.parametrize(
    ("system", "one", "other", "is_same"),
    [
        ("Darwin", "/Art/É", "/art/e\u0301", True),
        ("Darwin", "/art/a", "/art/b", False),
        ("Windows", "C:/ART", "c:/art", True),
        ("Linux", "/Art", "/art", False),
        ("Linux", "/é", "/e\u0301", False),
        ("Darwin", "s3://bucket/A", "s3://bucket/a", False),
        ("Windows", "s3://bucket/é", "s3://bucket/e\u0301", False),
        ("FreeBSD", "/Art", "/art", False),
    ],
)
def test_spellings_are_folded_as_the_system_does(
    system: str, one: str, other: str, is_same: bool
) -> None:
    """Case and Unicode form are ignored where the file systems of a system ignore them."""
    fold = fold_for(system)

    assert (fold(one) == fold(other)) is is_same


def test_a_place_in_a_bucket_is_found_under_the_innermost_root() -> None:
    """Whatever it is called by, a bucket has one name; keys are exact."""
    outer, inner = "s3a://bucket/x/", "s3://bucket/x/y"
    found = Places([outer, inner, "/art"], Whereabouts("/home", "s3://bucket/x"))

    assert found.locate("s3://bucket/x/1/a") == Location("s3://bucket/x", ("1", "a"))
    assert found.locate("s3a://bucket/x/y/1/") == Location("s3://bucket/x/y", ("1",))
    assert found.locate("mlflow-artifacts:/1") == Location("s3://bucket/x", ("1",))
    assert found.locate("s3://bucket/x//1") == Location("s3://bucket/x", ("", "1"))
    assert found.locate("/art/1") == Location("/art", ("1",))
    for outside in ("s3://bucket", "s3://bucket/X/1", "s3://bucket/xx/1", "gs://bucket/x/1"):
        assert why(found.locate(outside)) is Misread.OUTSIDE_ROOTS
    for root in ("s3://bucket/x", "s3://bucket/x/y/"):
        assert why(found.locate(root)) is Misread.OUTSIDE_ROOTS
        assert found.holder(root) == (root.rstrip("/"), ())


def test_one_container_is_one_root_by_each_of_azures_names() -> None:
    """Blob and Data Lake names, with and without TLS, are the same bytes."""
    name, home = "c@acct.blob.core.windows.net", "wasbs://c@acct.blob.core.windows.net"
    for root in (f"wasb://{name}/x/", f"abfs://{name.replace('blob', 'dfs')}/x"):
        found = Places([root], Whereabouts("/home", None))
        for text in (f"wasbs://{name}/x/1", f"abfss://{name.replace('blob', 'dfs')}/x/1/"):
            assert found.locate(text) == Location(f"{home}/x", ("1",))


@pytest.mark.parametrize(
    ("root", "text", "meant"),
    [
        ("s3://bucket/x", "gs://bucket/x/1", "s3://bucket/x/1"),
        ("gs://bucket/x", "s3://bucket/x/1", "gs://bucket/x/1"),
        ("s3://bucket/x", "r2://bucket@host/x/1", "s3://bucket/x/1"),
        (
            "wasbs://c@one.blob.core.windows.net/x",
            "wasbs://c@two.blob.core.windows.net/x/1",
            "wasbs://c@one.blob.core.windows.net/x/1",
        ),
    ],
)
def test_a_claim_on_a_bucket_of_the_same_name_may_be_one_on_ours(
    root: str, text: str, meant: str
) -> None:
    """Endpoints and connection strings decide where a name leads, and may be others' than ours."""
    found = Places([root], Whereabouts("/home", None))

    assert meant in found.claimed(text)
    assert f"{meant}/artifacts" in found.claimed(f"{text}/artifacts/")
    assert f"{meant}/1/artifacts" in found.claimed(f"{text}/1/artifacts")
    assert set(found.bases(text)) <= {text, meant}


def test_no_file_is_looked_at_for_a_bucket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is called like a URI, with a link in it, means nothing."""
    monkeypatch.chdir(home)
    (home / "s3:" / "bucket" / "x").mkdir(parents=True)
    (home / "s3:" / "bucket" / "x" / "1").symlink_to(home / "art", target_is_directory=True)
    found = Places(["s3://bucket/x"], Whereabouts(str(home), None))

    assert found.locate("s3://bucket/x/1/a") == Location("s3://bucket/x", ("1", "a"))
    assert found.claimed("s3://bucket/x/1/a") == ("s3://bucket/x/1/a",)
    assert list(found.linked_runs("s3://bucket/x")) == []
    assert not found.links_moved()


def test_relative_paths_are_made_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is made absolute against the working directory."""
    monkeypatch.chdir(home)

    assert slashed("art/../art/0") == f"{home}/art/0"


PLAIN = st.text("abz09_-", min_size=1, max_size=4)
ODD = st.sampled_from(["", ".", "..", "a%20b", "a b", "ä", "a?b", "a#b", "a\\b", "a:b", ".x", "x."])
SCHEMES = st.sampled_from(
    [
        *("", "/", "//", "file:", "file:/", "file://", "file:///", "file://host/", "FILE:/"),
        *("mlflow-artifacts:", "mlflow-artifacts:/", "mlflow-artifacts://host/"),
        "http://h/api/2.0/mlflow-artifacts/artifacts/",
    ]
)


@settings(deadline=None, max_examples=500)
@given(
    scheme=SCHEMES,
    above=st.lists(PLAIN | ODD, max_size=3),
    name=PLAIN | ODD,
    twice=st.booleans(),
    destination=st.sampled_from(["/art", "/", None]),
)
def test_usual_claims_are_read_as_all_others_are(
    scheme: str, above: list[str], name: str, twice: bool, destination: str | None
) -> None:
    """The short way for `…/<id>/artifacts` finds the very paths that the long way does."""
    where = Whereabouts("/home/me", destination)
    text = scheme + "/".join([*above, name, "artifacts"])
    found = Places(["/art"], where)
    if twice:  # what is above is known by then
        found.claimed(text.removesuffix(f"{name}/artifacts") + "other/artifacts")

    assert found.claimed(text) == tuple(dict.fromkeys(readings(text, where)))


@pytest.mark.parametrize("link", ["1", f"1/{RUN}", f"1/{RUN}/artifacts"])
def test_claim_through_a_link_holds_what_it_leads_to(tmp_path: Path, link: str) -> None:
    """Wherever on the way of a usual claim a link is: both ends are claimed."""
    home = tmp_path.resolve()
    (home / "beside" / RUN / "artifacts").mkdir(parents=True)
    target = {0: "", 1: RUN, 2: f"{RUN}/artifacts"}[link.count("/")]
    (home / "art" / link).parent.mkdir(parents=True)
    (home / "art" / link).symlink_to(home / "beside" / target)

    found = places(home).claimed(f"mlflow-artifacts:/1/{RUN}/artifacts")

    assert found == (f"{home}/art/1/{RUN}/artifacts", f"{home}/beside/{RUN}/artifacts")


def test_what_was_listed_is_not_looked_at_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing follows no link, so nothing that it went down to is behind one."""
    where = Whereabouts(str(home), f"{home}/art")
    listed = {f"{home}/art": {("0", "run", "artifacts")}}
    looked = []
    is_link = os.path.islink

    def islink(path: str) -> bool:
        looked.append(path)
        return is_link(path)

    monkeypatch.setattr(os.path, "islink", islink)
    found = Places([f"{home}/art"], where, listed)

    assert found.claimed("mlflow-artifacts:/0/run/artifacts") == (f"{home}/art/0/run/artifacts",)
    assert f"{home}/art/0/run/artifacts" not in looked
    assert found.claimed("mlflow-artifacts:/0/new/artifacts") == (f"{home}/art/0/new/artifacts",)
    assert f"{home}/art/0/new/artifacts" in looked


def test_root_reached_by_a_link_is_claimed_under_both_spellings(home: Path) -> None:
    """What was listed under a root's real path is claimed under the configured one too."""
    (home / "link").symlink_to("art")
    where = Whereabouts(str(home), f"{home}/link")
    found = Places([f"{home}/link"], where, {f"{home}/art": {("0", "run", "artifacts")}})

    assert found.claimed("mlflow-artifacts:/0/run/artifacts") == (
        f"{home}/link/0/run/artifacts",
        f"{home}/art/0/run/artifacts",
    )


class TestLinksOfClaims:
    """Links that a claim's text led through, and where they lead later."""

    @pytest.mark.parametrize("inside", ["", "/x/y", "/0/run/artifacts", "/" + "d/" * 120 + "e"])
    def test_that_leads_elsewhere_is_noticed(self, home: Path, inside: str) -> None:
        """However far above the place that is meant."""
        found = places(home)
        link = home / "link"
        link.symlink_to(home / "art")
        found.claimed(f"{link}{inside}")
        assert not found.links_moved()

        link.unlink()
        link.symlink_to(home / "beside")
        assert found.links_moved()

    def test_that_leads_on_through_another_is_noticed(self, home: Path) -> None:
        """The second one of a chain is no part of the text."""
        (home / "second").symlink_to("art")
        (home / "first").symlink_to("second")
        found = places(home)
        found.claimed(str(home / "first" / "x"))
        (home / "second").unlink()
        (home / "second").symlink_to("beside")

        assert found.links_moved()

    @pytest.mark.parametrize("becomes", ["nothing", "a directory"])
    def test_that_is_none_any_more_is_noticed(self, home: Path, becomes: str) -> None:
        """It leads to itself then, or nowhere."""
        link = home / "link"
        link.symlink_to(home / "art")
        found = places(home)
        found.claimed(f"{link}/x")
        link.unlink()
        if becomes == "a directory":
            link.mkdir()

        assert found.links_moved()


@pytest.mark.parametrize(
    ("root", "text", "is_one"),
    [
        ("s3://mine/team", "s3://mine-abc123-s3alias/team/0/shared", True),
        ("s3://mine/team", "s3a://mine-abc123-s3alias/team/0/shared", True),
        ("s3://mine/team", "s3://arn:aws:s3:eu-west-1:1:accesspoint:mine/team/0/shared", True),
        ("s3://mine-abc123-s3alias/team", "s3://mine/team/0/shared", True),
        ("gs://mine/team", "s3://mine-abc123-s3alias/team/0/shared", False),
        ("s3://mine/team", "s3://theirs/team/0/shared", False),
    ],
)
def test_a_claim_through_an_access_point_may_be_one_on_ours(
    root: str, text: str, *, is_one: bool
) -> None:
    """An access point is a name of its own for a bucket, and which one it is of cannot be seen."""
    places = Places([root], Whereabouts("/", None))

    assert (f"{root}/0/shared" in places.claimed(text)) is is_one
