"""Credentials and endpoints are found as MLflow finds them, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.stores.objects import azure, gcs, s3
from mlflow_cleanup.stores.objects.address import Cloud, address_of, is_object_root
from mlflow_cleanup.stores.opening import open_store
from tests.kit.grounds import OURS
from tests.kit.object_grounds import ObjectGround
from tests.kit.servers.seaweedfs import KEY, SECRET, SeaweedFS

S3 = address_of("s3://bucket/prefix")
AZURE = address_of("wasbs://box@account.blob.core.windows.net/prefix")


@pytest.mark.parametrize(
    ("root", "cloud", "bucket", "base"),
    [
        ("s3://bucket", Cloud.S3, "bucket", ""),
        ("s3://bucket/a/b", Cloud.S3, "bucket", "a/b/"),
        ("s3://bucket/a//b", Cloud.S3, "bucket", "a//b/"),
        ("gs://bucket/pct%20 ?#", Cloud.GCS, "bucket", "pct%20 ?#/"),
        ("wasbs://box@account.blob.core.windows.net/p", Cloud.AZURE, "box", "p/"),
    ],
)
def test_root_is_taken_apart_and_never_decoded(
    root: str, cloud: Cloud, bucket: str, base: str
) -> None:
    """What stands in the URI is the key, character by character."""
    address = address_of(root)

    assert (address.cloud, address.bucket, address.base) == (cloud, bucket, base)
    assert is_object_root(root)


@pytest.mark.parametrize("root", ["s3://", "s3:///a", "wasbs://box/a", "wasbs://@a.b/c"])
def test_root_without_a_bucket_is_unreachable(root: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(StoreUnreachable):
        address_of(root)


@pytest.mark.parametrize("root", ["/srv/mlruns", "C:/mlruns", "s3", "ftp://host/a", "hdfs://a/b"])
def test_other_roots_are_no_object_roots(root: str) -> None:
    """Only schemes that are handled are."""
    assert not is_object_root(root)


def test_mlflows_own_settings_come_first() -> None:
    """MLflow's endpoint wins over the general ones; certificates are ignored only as it does."""
    env = {
        "AWS_ENDPOINT_URL": "https://general",
        "MLFLOW_S3_ENDPOINT_URL": "https://mlflow/",
        "MLFLOW_S3_IGNORE_TLS": "true",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HOME": "/nonexistent",
    }
    terms = s3.terms_of(S3, env)

    assert (terms.endpoint, terms.region) == ("https://mlflow", "eu-central-1")
    assert not terms.verifies
    assert terms.path_style
    assert s3.terms_of(S3, {"HOME": "/nonexistent"}).verifies


def test_profiles_are_read(tmp_path: Path) -> None:
    """The named profile's keys and region, from both files; the environment's keys win."""
    (tmp_path / "config").write_text(
        "[default]\nregion = us-west-2\n[profile team]\nregion = eu-west-1\nendpoint_url = http://e\n"
    )
    (tmp_path / "credentials").write_text(
        "[team]\naws_access_key_id = id-of-team\naws_secret_access_key = secret-of-team\n"
    )
    env = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }

    assert s3.terms_of(S3, env).region == "us-west-2"
    terms = s3.terms_of(S3, {**env, "AWS_PROFILE": "team"})
    assert (terms.region, terms.endpoint) == ("eu-west-1", "http://e")
    assert terms.credentials == {
        "access_key_id": "id-of-team",
        "secret_access_key": "secret-of-team",
    }
    keys = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own-secret"}
    assert s3.terms_of(S3, {**env, **keys, "AWS_PROFILE": "team"}).credentials == {
        "access_key_id": "own",
        "secret_access_key": "own-secret",
    }


def test_profile_opens_a_bucket(
    s3_ground: ObjectGround,
    s3_server: SeaweedFS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nothing but a profile, the store answers."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        f"[team]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text(f"[profile team]\nendpoint_url = {s3_server.endpoint}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")

    s3_ground.store().check()


def test_profile_without_a_key_needs_boto3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names what to install."""
    monkeypatch.setattr("mlflow_cleanup.stores.objects.s3.find_spec", lambda _: None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "sso")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "missing"))

    with pytest.raises(StoreUnreachable, match="mlflow-cleanup\\[s3\\]"):
        open_store("s3://bucket/a", OURS, wait=lambda _: None)


def test_azure_is_found_in_mlflows_order() -> None:
    """Connection string, then key, then signature, then an identity."""
    text = (
        "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=a2V5PT0=;EndpointSuffix=x.y"
    )
    env = {
        "AZURE_CLIENT_ID": "id",
        "AZURE_STORAGE_SAS_TOKEN": "?sig=abc",
        "AZURE_STORAGE_ACCESS_KEY": "a2V5Mg==",
        "AZURE_STORAGE_CONNECTION_STRING": text,
    }
    first = azure.terms_of(AZURE, env)
    assert (first.key, first.endpoint) == ("a2V5PT0=", "https://account.blob.x.y")
    del env["AZURE_STORAGE_CONNECTION_STRING"]
    second = azure.terms_of(AZURE, env)
    assert (second.key, second.endpoint) == ("a2V5Mg==", "https://account.blob.core.windows.net")
    del env["AZURE_STORAGE_ACCESS_KEY"]
    assert azure.terms_of(AZURE, env).signature == "sig=abc"
    del env["AZURE_STORAGE_SAS_TOKEN"]
    assert azure.terms_of(AZURE, env).more == {"client_id": "id"}


def test_connection_string_of_another_account_is_refused() -> None:
    """A root of one account is not looked for in another."""
    env = {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=a2V5"}
    with pytest.raises(StoreUnreachable, match="another account"):
        azure.terms_of(AZURE, env)


def test_key_file_that_is_missing_makes_the_root_unreachable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Settings that lead nowhere are told as such."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(StoreUnreachable, match="settings"):
        open_store("gs://bucket/a", OURS, wait=lambda _: None)


def test_no_secret_is_shown() -> None:
    """Neither by the terms, nor by what is opened with them."""
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s3cret", "HOME": "/nonexistent"}
    assert "s3cret" not in repr(s3.terms_of(S3, env))
    assert "s3cret" not in repr(s3.open_bucket(S3, env))
    env = {"AZURE_STORAGE_ACCESS_KEY": "czNjcmV0"}
    assert "czNjcmV0" not in repr(azure.terms_of(AZURE, env))
    emulated = {"STORAGE_EMULATOR_HOST": "127.0.0.1:1"}
    assert gcs.open_bucket(address_of("gs://b/a"), emulated).endpoint == "http://127.0.0.1:1"
