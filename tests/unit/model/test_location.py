from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.model.location import (
    Location,
    Misread,
    Unplaced,
    Whereabouts,
    place,
    readings,
    scheme_of,
)

HERE = Whereabouts(working_directory="/home", artifacts_destination="/art")
ELSEWHERE = Whereabouts(working_directory="/home", artifacts_destination=None)
WINDOWS = Whereabouts("C:/home", "D:/art", windows=True)

PROXY = "http://h/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/abs/1/x", "/abs/1/x"),
        ("/abs//1/./x/", "/abs/1/x"),
        ("//abs/1", "/abs/1"),
        ("rel/1", "/home/rel/1"),
        (".", "/home"),
        ("~/1", "/home/~/1"),
        ("/a b", "/a b"),
        ("/a%20b", "/a b"),
        ("/a%2Fb", "/a/b"),
        ("/é", "/é"),
        ("/%C3%A9", "/é"),
        ("/a?b", "/a?b"),
        ("/a#b", "/a#b"),
        ("/a;b", "/a;b"),
        ("/a:b", "/a:b"),
        ("x:/1", "/home/x:/1"),  # one letter is no scheme
        ("file:///a", "/a"),
        ("file:/a", "/a"),
        ("file:////a", "/a"),
        ("file:///a%20b", "/a b"),
        ("file:///a;b", "/a;b"),
        ("file://localhost/a", "/a"),
        ("file:rel/1", "/home/rel/1"),
        ("file:///", "/"),
        ("mlflow-artifacts:/1/x", "/art/1/x"),
        ("mlflow-artifacts:1/x", "/art/1/x"),
        ("mlflow-artifacts:///1/x", "/art/1/x"),
        ("mlflow-artifacts://host:5000/1/x", "/art/1/x"),
        ("mlflow-artifacts:/1/a%20b", "/art/1/a b"),
        ("mlflow-artifacts:/", "/art"),
        (f"{PROXY}/1/x", "/art/1/x"),
        ("https://h:443/api/2.0/mlflow-artifacts/artifacts/1/x", "/art/1/x"),
        ("http://h/prefix/api/2.0/mlflow-artifacts/artifacts/1/x", "/art/1/x"),
        ("http://h/ajax-api/2.0/mlflow-artifacts/artifacts/1/x", "/art/1/x"),
    ],
)
def test_a_uri_with_one_meaning_is_placed_there(uri: str, path: str) -> None:
    """Every form that MLflow writes leads to the path that MLflow would use."""
    assert place(uri, HERE) == path


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        (None, Misread.MALFORMED),
        (b"/a", Misread.MALFORMED),
        (7, Misread.MALFORMED),
        (["/a"], Misread.MALFORMED),
        ("", Misread.MALFORMED),
        ("/a\x00b", Misread.MALFORMED),
        ("/a\nb", Misread.MALFORMED),
        ("/a\tb", Misread.MALFORMED),
        ("file:///a\rb", Misread.MALFORMED),
        ("/a/../b", Misread.MALFORMED),
        ("..", Misread.MALFORMED),
        ("/a/..", Misread.MALFORMED),
        ("/a/%2E%2e/b", Misread.MALFORMED),
        ("/a%2F..%2Fb", Misread.MALFORMED),
        ("file:///a/../b", Misread.MALFORMED),
        ("mlflow-artifacts:/../x", Misread.MALFORMED),
        ("mlflow-artifacts:/1/%2e%2e/x", Misread.MALFORMED),
        (f"{PROXY}/../x", Misread.MALFORMED),
        ("file://[bad/a", Misread.MALFORMED),
        ("/a%00b", Misread.AMBIGUOUS),
        ("/a%b", Misread.AMBIGUOUS),
        ("/a%2520b", Misread.AMBIGUOUS),
        ("/a%252e%252e/b", Misread.AMBIGUOUS),
        ("/100%", Misread.AMBIGUOUS),
        ("/a\\b", Misread.AMBIGUOUS),
        ("/a%5Cb", Misread.AMBIGUOUS),
        ("\\\\host\\share", Misread.AMBIGUOUS),
        ("file:///a?b", Misread.AMBIGUOUS),
        ("file:///a#b", Misread.AMBIGUOUS),
        ("mlflow-artifacts:/1/x?y=z", Misread.AMBIGUOUS),
        ("s3://bucket/1?y=z", Misread.AMBIGUOUS),
        ("FILE:///a", Misread.AMBIGUOUS),
        ("Mlflow-Artifacts:/1/x", Misread.AMBIGUOUS),
        ("file://host/share", Misread.REMOTE),
        ("file://127.0.0.1/a", Misread.REMOTE),
        (" s3://bucket/1", Misread.AMBIGUOUS),
        ("hdfs://host/1", Misread.REMOTE),
        ("dbfs:/1", Misread.REMOTE),
        ("sftp://user@host/1", Misread.REMOTE),
        ("ftp://user@host/1", Misread.REMOTE),
        ("http://h/other/1", Misread.REMOTE),
        (PROXY, Misread.REMOTE),
        ("models:/m-1", Misread.REMOTE),
        ("runs:/1/model", Misread.REMOTE),
        ("unknown+scheme.1-x:/1", Misread.REMOTE),
    ],
)
def test_a_uri_without_exactly_one_local_meaning_has_no_place(uri: object, why: Misread) -> None:
    """What is malformed, ambiguous or elsewhere names no place, and says why."""
    found = place(uri, HERE)

    assert isinstance(found, Unplaced)
    assert found.why is why
    assert found.detail


@pytest.mark.parametrize(
    "uri", ["mlflow-artifacts:/1/x", "mlflow-artifacts://h:1/1/x", f"{PROXY}/1/x"]
)
def test_proxied_artifacts_are_remote_when_their_destination_is_not_handled(uri: str) -> None:
    """A proxied URI has no place while the server keeps its artifacts where nothing is handled."""
    found = place(uri, ELSEWHERE)

    assert isinstance(found, Unplaced)
    assert found.why is Misread.REMOTE
    assert readings(uri, ELSEWHERE) == ()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("C:/runs/1", "C:/runs/1"),
        ("C:\\runs\\1", "C:/runs/1"),
        ("e:\\runs", "e:/runs"),
        ("file:///C:/runs/1", "C:/runs/1"),
        ("file:C:/runs/1", "C:/runs/1"),
        ("file:///C:/a%20b", "C:/a b"),
        ("\\\\host\\share\\1", "//host/share/1"),
        ("//host/share/1", "//host/share/1"),
        ("rel\\1", "C:/home/rel/1"),
        ("mlflow-artifacts:/1/x", "D:/art/1/x"),
        (f"{PROXY}/1/x", "D:/art/1/x"),
    ],
)
def test_windows_paths_are_placed_with_forward_slashes(uri: str, path: str) -> None:
    """Drive, UNC and relative paths of Windows are read as Windows reads them."""
    assert place(uri, WINDOWS) == path
    assert path in readings(uri, WINDOWS)


@pytest.mark.parametrize("uri", ["C:\\runs\\..\\x", "..\\x", "C:/a%5C..%5Cx"])
def test_leading_upwards_with_backslashes_is_malformed_on_windows(uri: str) -> None:
    """A `..` between backslashes is one on Windows, encoded or not."""
    found = place(uri, WINDOWS)

    assert isinstance(found, Unplaced)
    assert found.why is Misread.MALFORMED


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/a%2520b", {"/a%2520b", "/a%20b", "/a b"}),
        ("/a%20b", {"/a%20b", "/a b"}),
        ("/a/../b", {"/b"}),
        ("file:///a?b", {"/a"}),
        ("FILE:///a", {"/a"}),
        ("/a\\b", {"/a\\b"}),
        ("/a%00b", {"/ab"}),
        ("mlflow-artifacts:/1/../2", {"/art/2"}),
        ("rel", {"/home/rel"}),
    ],
)
def test_a_claim_protects_every_path_its_text_may_mean(text: str, meant: set[str]) -> None:
    """Where an act would be refused as ambiguous, a claim holds all the meanings instead."""
    assert meant <= set(readings(text, HERE))


@pytest.mark.parametrize("text", ["file://host/art/1", "file://127.0.0.1/art/1", "file://./art/1"])
def test_a_claim_with_a_host_protects_the_path_that_mlflow_reads(text: str) -> None:
    """MLflow ignores the host of a `file:` URI except on Windows, so a claim may mean that path."""
    assert "/art/1" in readings(text, HERE)


def test_a_claim_with_a_host_protects_the_share_that_mlflow_reads_on_windows() -> None:
    """On Windows MLflow takes the host of a `file:` URI for a server's name."""
    assert "//host/share/1" in readings("file://host/share/1", WINDOWS)


@pytest.mark.parametrize("text", [None, "", b"/a", 7, "hdfs://host/1", "file://[bad/a"])
def test_a_text_without_a_local_meaning_claims_no_path(text: object) -> None:
    """A claim in storage that is not handled, or of no text at all, holds no path."""
    assert readings(text, HERE) == ()


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("/a", "file"),
        ("file:///a", "file"),
        ("S3://b", "s3"),
        ("mlflow-artifacts:/1", "mlflow-artifacts"),
        ("C:/a", "file"),
        (None, "file"),
    ],
)
def test_the_scheme_is_named_for_counting(uri: object, scheme: str) -> None:
    """A plain path counts as a file, any other URI by its scheme in small letters."""
    assert scheme_of(uri) == scheme


def test_a_location_is_its_root_and_what_leads_on_from_it() -> None:
    """A location's path joins root and components with forward slashes."""
    found = Location("/art", ("1", "x", "artifacts"))

    assert found.path == str(found) == "/art/1/x/artifacts"


UPWARDS = ("/", "//", "..", ".", "%", "%2e", "%2E%2e", "%2f", "%252e", "%5c", "\\", "%00")
ODD = ("\x00", "\n", "a", "1", " ", "é", "\ud800", "?", "#", ";", ":", "~", "@", "[", "]")
SCHEMES = ("file:", "FILE:", "mlflow-artifacts:", PROXY, "s3:", "C:", "localhost")
PIECES = st.sampled_from((*UPWARDS, *ODD, *SCHEMES))
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
PLACES = st.sampled_from([HERE, ELSEWHERE, WINDOWS])


@settings(deadline=None, max_examples=500)
@given(TEXTS, PLACES)
@example("file:///a/%2e%2E/b", HERE)
@example("C:\\..\\x", WINDOWS)
def test_no_text_leads_upwards(text: str, where: Whereabouts) -> None:
    """Whatever a client writes, its place is an absolute path without `..`, or there is none."""
    found = place(text, where)

    if isinstance(found, Unplaced):
        assert isinstance(found.why, Misread)
    else:
        assert ".." not in found.split("/")
        assert "\x00" not in found
        assert posixpath.isabs(found) or found[1:2] == ":"
        assert posixpath.normpath(found) == found


@settings(deadline=None, max_examples=500)
@given(TEXTS, PLACES)
@example("/a%2520b", HERE)
def test_a_claim_always_holds_the_place_that_would_be_acted_on(
    text: str, where: Whereabouts
) -> None:
    """The path that a removal would take is among those that a claim with its text protects."""
    found = place(text, where)

    if not isinstance(found, Unplaced):
        assert found in readings(text, where)


@settings(deadline=None)
@given(
    st.one_of(
        st.none(), st.integers(), st.binary(), st.floats(), st.booleans(), st.lists(st.text())
    ),
    PLACES,
)
def test_what_is_no_text_has_no_place(value: object, where: Whereabouts) -> None:
    """A column may hold anything; only text is ever read as a place."""
    found = place(value, where)

    assert isinstance(found, Unplaced)
    assert found.why is Misread.MALFORMED
    assert readings(value, where) == ()
