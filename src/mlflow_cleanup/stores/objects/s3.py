"""Opening a bucket of S3 with the credentials and settings that MLflow itself would use."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from obstore.store import S3Store

from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.bucket import Bucket
from mlflow_cleanup.stores.objects.terms import ANSWER_S, CONNECT_S, RETRIES, S3Terms

PIP = 'pip install "mlflow-cleanup[s3]"'


def open_bucket(address: Address, env: Mapping[str, str] | None = None) -> Bucket:
    """Open a bucket of S3; nothing is asked of it yet."""
    env = os.environ if env is None else env
    terms = terms_of(address, env)
    has_boto3 = find_spec("boto3") is not None
    store = _store(address, terms)

    def single() -> S3Store:
        return _store(address, terms, bulk=False)

    if not has_boto3:
        why_not = f"it has names or versions that only boto3 can tell: {PIP}"
        return Bucket(store, None, why_not, endpoint=_url(address, terms), without_bulk=single)
    from mlflow_cleanup.stores.objects.s3_exact import S3Exact

    exact = S3Exact(address, terms)
    return Bucket(store, exact, endpoint=_url(address, terms), archive=exact, without_bulk=single)


def _url(address: Address, terms: S3Terms) -> str:
    region = terms.region or "us-east-1"
    return terms.endpoint or f"https://s3.{region}.amazonaws.com/{address.bucket}"


def terms_of(address: Address, env: Mapping[str, str]) -> S3Terms:
    """Read what MLflow and boto3 read: environment first, then the profile's files."""
    profile = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE")
    files = _files(profile or "default", env)
    endpoint = (
        env.get("MLFLOW_S3_ENDPOINT_URL")
        or env.get("AWS_ENDPOINT_URL_S3")
        or env.get("AWS_ENDPOINT_URL")
        or files.get("endpoint_url")
    )
    ignores = env.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1")
    style = env.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")
    return S3Terms(
        endpoint=endpoint.rstrip("/") if endpoint else None,
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or files.get("region"),
        verifies=not ignores,
        ca_bundle=env.get("AWS_CA_BUNDLE"),
        path_style=style == "path"
        or (style == "auto" and (bool(endpoint) or "." in address.bucket)),
        profile=profile,
        credentials=_credentials(files, env),
    )


def _credentials(files: Mapping[str, str], env: Mapping[str, str]) -> Mapping[str, str]:
    """Return a key and its secret; empty: the machine's own role, or what the profile says."""
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
    }
    from_env = {ours: env[name.upper()] for name, ours in names.items() if env.get(name.upper())}
    if "access_key_id" in from_env and "secret_access_key" in from_env:
        return from_env
    return {ours: files[name] for name, ours in names.items() if files.get(name)}


def _files(profile: str, env: Mapping[str, str]) -> dict[str, str]:
    """Read a profile from both of the files that hold profiles."""
    home = Path(env.get("HOME") or env.get("USERPROFILE") or "~").expanduser() / ".aws"
    config = Path(env.get("AWS_CONFIG_FILE") or home / "config").expanduser()
    secrets = Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials").expanduser()
    section = profile if profile == "default" else f"profile {profile}"
    return {**_section(config, section), **_section(secrets, profile)}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    return dict(parser[name]) if parser.has_section(name) else {}


def _store(address: Address, terms: S3Terms, *, bulk: bool = True) -> S3Store:
    config: dict[str, Any] = {
        "bucket": address.bucket,
        "region": terms.region or "us-east-1",
        "virtual_hosted_style_request": not terms.path_style,
        **terms.credentials,
    }
    if not bulk:
        config["disable_bulk_delete"] = True
    if terms.endpoint:
        config["endpoint"] = terms.endpoint
    options: dict[str, Any] = {
        "allow_http": bool(terms.endpoint and terms.endpoint.startswith("http://")),
        "allow_invalid_certificates": not terms.verifies,
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "timeout": timedelta(seconds=ANSWER_S),
    }
    if terms.ca_bundle:
        options["root_certificate"] = Path(terms.ca_bundle).read_bytes()
    provider = None
    if not terms.credentials and terms.profile is not None:
        provider = _provider(address, terms.profile)
    return S3Store(
        config=config,  # type: ignore[arg-type]
        client_options=options,  # type: ignore[arg-type]
        retry_config=RETRIES,
        credential_provider=provider,
    )


def _provider(address: Address, profile: str) -> Any:  # noqa: ANN401 - obstore's own
    """Let boto3 work out what a profile means: roles to assume, sign-on, programs to run."""
    if find_spec("boto3") is None:
        raise StoreUnreachable(
            address.root, f"the AWS profile {profile!r} holds no key; to follow it: {PIP}"
        )
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(boto3.Session(profile_name=profile))
