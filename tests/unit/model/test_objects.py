from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.location import Misread, Unplaced, Whereabouts, place, readings
from mlflow_cleanup.model.objects import (
    LONGEST_KEY,
    bucket_of,
    home_of,
    is_object,
    is_object_root,
    object_root,
)

HERE = Whereabouts("/home", "s3://dest/pre")
BARE = Whereabouts("/home", "gs://dest")
AZURE = "wasbs://c@acct.blob.core.windows.net"
PROXY = "http://h/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://bucket/1/x", "s3://bucket/1/x"),
        ("s3://bucket/1/x/", "s3://bucket/1/x"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3a://bucket/1", "s3://bucket/1"),
        ("s3://My.Bucket_1/Key", "s3://My.Bucket_1/Key"),
        ("s3://bucket/a b", "s3://bucket/a b"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("s3://bucket/100%", "s3://bucket/100%"),
        ("s3://bucket/é", "s3://bucket/é"),
        ("s3://bucket/e\u0301", "s3://bucket/e\u0301"),
        ("s3://bucket/a//b", "s3://bucket/a//b"),
        ("s3://bucket//a", "s3://bucket//a"),
        ("s3://bucket/a;b=c&d", "s3://bucket/a;b=c&d"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("s3://bucket/...", "s3://bucket/..."),
        ("gs://bucket/1", "gs://bucket/1"),
        ("wasbs://c@acct.blob.core.windows.net/1", f"{AZURE}/1"),
        ("wasb://c@acct.blob.core.windows.net/1", f"{AZURE}/1"),
        ("abfss://c@acct.dfs.core.windows.net/1", f"{AZURE}/1"),
        ("abfs://c@acct.dfs.core.windows.net/1/", f"{AZURE}/1"),
        ("abfss://c@acct.blob.core.windows.net/1", f"{AZURE}/1"),
        ("wasbs://c@acct.blob.core.windows.net/a%20b", f"{AZURE}/a%20b"),
        (
            "abfss://c@acct.dfs.core.chinacloudapi.cn/1",
            "wasbs://c@acct.blob.core.chinacloudapi.cn/1",
        ),
        ("wasbs://$root@acct.blob.core.windows.net/1", f"{AZURE.replace('c@', '$root@')}/1"),
        ("mlflow-artifacts:/1/x", "s3://dest/pre/1/x"),
        ("mlflow-artifacts:/1/x/", "s3://dest/pre/1/x"),
        ("mlflow-artifacts://host:5000/1/x", "s3://dest/pre/1/x"),
        ("mlflow-artifacts:///1/x", "s3://dest/pre/1/x"),
        ("mlflow-artifacts:/", "s3://dest/pre"),
        (f"{PROXY}/1/x", "s3://dest/pre/1/x"),
    ],
)
def test_a_uri_with_one_meaning_is_placed_there(uri: str, found: str) -> None:
    """Each form that MLflow reads leads to its bucket's one name and to the exact key."""
    assert place(uri, HERE) == found
    assert found in readings(uri, HERE)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3://bucket/a/../b", Misread.MALFORMED),
        ("s3://bucket/..", Misread.MALFORMED),
        ("s3://bucket/a/./b", Misread.MALFORMED),
        ("s3://bucket/.", Misread.MALFORMED),
        ("s3://bucket/a\x7fb", Misread.MALFORMED),
        ("s3://bucket/a\nb", Misread.MALFORMED),
        ("s3://bucket/\ud800", Misread.MALFORMED),
        ("s3://bucket/" + "é" * (LONGEST_KEY // 2) + "x", Misread.MALFORMED),
        ("s3://", Misread.MALFORMED),
        ("s3:///a", Misread.MALFORMED),
        ("s3:bucket/a", Misread.MALFORMED),
        ("s3:/bucket/a", Misread.MALFORMED),
        ("s3://host:9000/bucket/a", Misread.MALFORMED),
        ("s3://user@bucket/a", Misread.MALFORMED),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a", Misread.MALFORMED),
        ("s3://[bad/a", Misread.MALFORMED),
        ("s3://bücket/a", Misread.MALFORMED),
        ("gs://Bucket/a", Misread.MALFORMED),
        ("wasbs://c@acct.dfs.core.windows.net/a", Misread.MALFORMED),
        ("wasbs://c@acct.blob.example.com/a", Misread.MALFORMED),
        ("wasbs://c@Acct.blob.core.windows.net/a", Misread.MALFORMED),
        ("wasbs://acct.blob.core.windows.net/a", Misread.MALFORMED),
        ("abfss://c@acct.privatelink.dfs.core.windows.net/a", Misread.MALFORMED),
        ("s3://bucket/a?b=c", Misread.AMBIGUOUS),
        ("s3://bucket/a?", Misread.AMBIGUOUS),
        ("s3://bucket/a#b", Misread.AMBIGUOUS),
        ("s3://bucket?a", Misread.AMBIGUOUS),
        ("S3://bucket/a", Misread.AMBIGUOUS),
        (" s3://bucket/a", Misread.AMBIGUOUS),
        ("s3://bucket/a//", Misread.AMBIGUOUS),
        ("s3://bucket/a\\b", Misread.AMBIGUOUS),
        ("abfss://c@acct.dfs.core.windows.net/a%20b", Misread.AMBIGUOUS),
        ("abfss://c@acct.dfs.core.windows.net/a//b", Misread.AMBIGUOUS),
        ("abfss://c@acct.dfs.core.windows.net//a", Misread.AMBIGUOUS),
        ("mlflow-artifacts:/1/a%20b", Misread.AMBIGUOUS),
        ("mlflow-artifacts:/1//x", Misread.AMBIGUOUS),
        ("mlflow-artifacts:/1/x?y", Misread.AMBIGUOUS),
        ("mlflow-artifacts:/1/../x", Misread.MALFORMED),
        ("mlflow-artifacts:/1/./x", Misread.MALFORMED),
        ("r2://bucket@account.r2.cloudflarestorage.com/1", Misread.REMOTE),
    ],
)
def test_a_uri_without_exactly_one_meaning_has_no_place(uri: str, why: Misread) -> None:
    """What MLflow reads in two ways, or cannot read, names no place, and says why."""
    found = place(uri, HERE)

    assert isinstance(found, Unplaced)
    assert found.why is why
    assert found.detail


def test_a_key_of_the_greatest_length_has_a_place() -> None:
    """1,024 bytes are a key, and not one more: in bytes, not in letters."""
    uri = "s3://bucket/" + "é" * (LONGEST_KEY // 2)

    assert place(uri, HERE) == uri


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s3://bucket/a?b=c", {"s3://bucket/a", "s3://bucket/a?b=c"}),
        ("s3://bucket/a%20b", {"s3://bucket/a%20b", "s3://bucket/a b"}),
        ("s3://bucket/a//b/", {"s3://bucket/a//b", "s3://bucket/a/b"}),
        ("s3://bucket/a/../b", {"s3://bucket/a/../b", "s3://bucket/b"}),
        ("s3://bucket/a//", {"s3://bucket/a"}),
        ("\n s3://bu\tcket/a", {"s3://bucket/a"}),
        ("S3://bucket/a", {"s3://bucket/a"}),
        ("s3n://bucket/a", {"s3://bucket/a"}),
        ("s3://user@bucket/a", {"s3://bucket/a"}),
        ("gcs://bucket/a", {"gs://bucket/a"}),
        ("abfss://c@acct.dfs.core.windows.net/a%20b", {f"{AZURE}/a b", f"{AZURE}/a%20b"}),
        ("abfss://c@acct.dfs.core.windows.net//a%2Fb", {f"{AZURE}/a/b"}),
        ("abfss://c@ACCT.z1.privatelink.DFS.core.windows.net/a", {f"{AZURE}/a"}),
        ("mlflow-artifacts:/1//a%2520b", {"s3://dest/pre/1/a b", "s3://dest/pre/1/a%20b"}),
        ("mlflow-artifacts:/../x", {"s3://dest/x"}),
        ("mlflow-artifacts:/../../../x", {"s3://dest/x"}),
    ],
)
def test_a_claim_protects_every_place_its_text_may_mean(text: str, meant: set[str]) -> None:
    """Where an act would be refused as ambiguous, a claim holds all the meanings instead."""
    assert meant <= set(readings(text, HERE))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("s3://bucket/a/", "s3://bucket/a"),
        ("s3a://bucket", "s3://bucket"),
        ("abfs://c@acct.dfs.core.windows.net/", AZURE),
        ("wasb://c@acct.blob.core.windows.net/a", f"{AZURE}/a"),
    ],
)
def test_each_spelling_of_a_root_is_one_root(text: str, root: str) -> None:
    """However an operator calls a bucket, it is the same root, without a last slash."""
    assert is_object_root(text)
    assert object_root(text) == root
    assert object_root(root) == root
    assert is_object(root)


@pytest.mark.parametrize("text", ["s3://bucket/a//b", "s3://h:1/a", "s3://bucket/..", "gs://B/a"])
def test_a_root_that_is_no_plain_place_is_refused(text: str) -> None:
    """Nothing is guessed about where files may be removed."""
    with pytest.raises(BadUsage):
        object_root(text)


@pytest.mark.parametrize("path", ["/a", "/s3://bucket/a", "C:/a", "//host/share", "hdfs://h/a", ""])
def test_a_local_path_is_none_of_an_object_store(path: str) -> None:
    """Whatever a directory is called, only a bucket's name begins a place in an object store."""
    assert not is_object(path)
    assert home_of(path) == ""


def test_a_place_tells_its_bucket() -> None:
    """The home is the bucket's one name, the bucket what it is called in it."""
    assert home_of(f"{AZURE}/a/b") == AZURE
    assert bucket_of(AZURE) == "c"
    assert bucket_of("s3://bucket") == "bucket"


PIECES = st.sampled_from(
    (
        *("/", "//", "..", ".", "%", "%20", "%2e", "%2F", "%252e", "\\", "\x00", "\n", " ", "\t"),
        *("a", "é", "�", "?", "#", ";", ":", "@", "[", "]", "A", "é"),
    )
)
STARTS = st.sampled_from(
    (
        *("s3://bucket", "s3://bucket/", "S3://bucket/", "s3a://bucket/", " s3://bucket/", "s3:"),
        *("gs://bucket/", "gs:", "mlflow-artifacts:/", "mlflow-artifacts://h:1/", f"{PROXY}/"),
        *("wasbs://c@acct.blob.core.windows.net/", "wasb://c@acct.blob.core.windows.net/"),
        *("abfss://c@acct.dfs.core.windows.net/", "abfss://c@a.z.privatelink.dfs.core.windows.net"),
    )
)
TAILS = st.lists(PIECES, max_size=10).map("".join)
TEXTS = st.builds("{}{}".format, STARTS, TAILS)


@settings(deadline=None, max_examples=500)
@given(TEXTS, st.sampled_from([HERE, BARE]))
def test_a_claim_always_holds_the_place_that_would_be_acted_on(
    text: str, where: Whereabouts
) -> None:
    """The place that a removal would take is among those that a claim with its text protects."""
    found = place(text, where)

    if not isinstance(found, Unplaced):
        assert found in readings(text, where)


@settings(deadline=None, max_examples=500)
@given(TEXTS, st.sampled_from([HERE, BARE]))
def test_a_place_is_an_exact_key_in_its_bucket(text: str, where: Whereabouts) -> None:
    """No place leads upwards, ends with a slash, has a control character or leaves its bucket."""
    found = place(text, where)

    if isinstance(found, Unplaced):
        assert isinstance(found.why, Misread)
        return
    home = home_of(found)
    names = found.removeprefix(home).split("/")
    assert home == AZURE or re.fullmatch(r"s3://(bucket[aA.]*|dest)|gs://(bucket|dest)", home)
    assert not {".", ".."} & set(names)
    assert not found.endswith("/")
    assert not re.search(r"[\x00-\x1f\x7f\\?#]", found)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.sampled_from([HERE, BARE]))
@example("s3://bucket/a%20b", HERE)
def test_what_two_texts_may_mean_in_common_is_protected(text: str, where: Whereabouts) -> None:
    """A place is read the same again when it is written down as what it is."""
    found = place(text, where)

    if not isinstance(found, Unplaced):
        assert place(found, where) == found
