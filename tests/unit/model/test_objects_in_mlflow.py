"""What MLflow itself reads in a URI is compared with what we read, by its own functions."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.model.location import Unplaced, Whereabouts, place, readings

pytest.importorskip("mlflow", reason="pip install mlflow")

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository
from mlflow.store.artifact.azure_data_lake_artifact_repo import _parse_abfss_uri
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
from mlflow.utils.uri import validate_path_is_safe

pytestmark = pytest.mark.e2e  # to import MLflow takes ten seconds

HERE = Whereabouts("/home", "s3://dest/pre")
LOCAL = Whereabouts("/home", "/art")
PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
PIECES = st.sampled_from(
    (
        *("/", "//", "..", ".", "%", "%20", "%2e", "%2F", "%252e", "\\", "\n", " ", "\t", "\r"),
        *("a", "é", "?", "#", ";", ":", "@", "[", "]", "A", "é", "1", "artifacts"),
    )
)
TAILS = st.lists(PIECES, max_size=10).map("".join)


def s3(uri: str) -> str:
    """Read as S3ArtifactRepository does, which looks at nothing else of its own."""
    bucket, key = S3ArtifactRepository.parse_s3_compliant_uri(None, uri)
    return f"s3://{bucket}/{key}"


def gcs(uri: str) -> str:
    """Read as GCSArtifactRepository does."""
    bucket, key = GCSArtifactRepository.parse_gcs_uri(uri)
    return f"gs://{bucket}/{key}"


def blob(uri: str) -> str:
    """Read as AzureBlobArtifactRepository does."""
    container, account, key, suffix = AzureBlobArtifactRepository.parse_wasbs_uri(uri)
    return f"wasbs://{container}@{account}.{suffix}/{key}"


def lake(uri: str) -> str:
    """Read as AzureDataLakeArtifactRepository does."""
    container, account, suffix, key = _parse_abfss_uri(uri)
    return f"wasbs://{container}@{account}.{suffix.replace('dfs.', 'blob.', 1)}/{key}"


def read(reader: Callable[[str], str], uri: str) -> str | None:
    """Read a URI without last slashes; None where MLflow cannot."""
    try:
        return reader(uri).rstrip("/")
    except Exception:  # noqa: BLE001 - MLflow raises plain ones, and what it cannot read is nothing
        return None


CASES = st.sampled_from(
    [
        (s3, "s3://bucket"),
        (s3, "S3://bucket/"),
        (s3, "s3://user@bu.cket:1/"),
        (gcs, "gs://bucket/"),
        (gcs, " gs://bucket/"),
        (blob, "wasbs://c@acct.blob.core.windows.net/"),
        (blob, "wasbs://c@acct.blob.core.usgovcloudapi.net"),
        (lake, "abfss://c@acct.dfs.core.windows.net/"),
    ]
)


@settings(deadline=None, max_examples=1_000)
@given(CASES, TAILS)
def test_a_claim_holds_what_mlflow_reads_in_it(
    case: tuple[Callable[[str], str], str], tail: str
) -> None:
    """Where MLflow reads a live entity's artifacts is protected; where we act is just there."""
    reader, start = case
    uri = f"{start}{tail}"
    theirs, found = read(reader, uri), place(uri, HERE)

    if theirs is not None:
        assert theirs in readings(uri, HERE)
        assert isinstance(found, Unplaced) or found == theirs


def served(uri: str, where: Whereabouts) -> Iterator[str]:
    """Name where the server keeps what its client asks for, and in a bucket what it lists."""
    destination = where.artifacts_destination or ""
    url = MlflowArtifactsRepository.resolve_uri(uri, "http://host:5000")
    asked = validate_path_is_safe(unquote(urlsplit(url).path.partition(PROXY)[2]))
    if where is LOCAL:
        yield posixpath.normpath(posixpath.join(destination, asked))
        return
    yield posixpath.join(destination, asked).rstrip("/")
    yield posixpath.join(destination, urlsplit(uri).path.lstrip("/")).rstrip("/")


@settings(deadline=None, max_examples=1_000)
@given(
    st.sampled_from(["mlflow-artifacts:/", "mlflow-artifacts://h:5000/"]),
    TAILS,
    st.sampled_from([HERE, LOCAL]),
)
def test_a_proxied_claim_holds_what_the_server_keeps(
    start: str, tail: str, where: Whereabouts
) -> None:
    """What client and server make of a proxied URI between them is protected as well."""
    uri = f"{start}{tail}"
    try:
        theirs = list(served(uri, where))
    except (MlflowException, ValueError):
        return
    found = place(uri, where)
    for one in theirs:
        assert one in readings(uri, where)
        assert isinstance(found, Unplaced) or found == one
