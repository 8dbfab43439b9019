"""Opening a container of Azure Blob Storage with what MLflow's users have set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from obstore.store import AzureStore

from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.azure_exact import AzureExact
from mlflow_cleanup.stores.objects.bucket import Bucket, Found
from mlflow_cleanup.stores.objects.terms import ANSWER_S, CONNECT_S, RETRIES, AzureTerms

_FROM_ENV = {
    "AZURE_CLIENT_ID": "client_id",
    "AZURE_CLIENT_SECRET": "client_secret",
    "AZURE_TENANT_ID": "tenant_id",
    "AZURE_FEDERATED_TOKEN_FILE": "federated_token_file",
    "AZURE_AUTHORITY_HOST": "authority_host",
    "IDENTITY_ENDPOINT": "msi_endpoint",
}


def open_bucket(address: Address, env: Mapping[str, str] | None = None) -> Bucket:
    """Open a container; nothing is asked of it yet."""
    terms = terms_of(address, os.environ if env is None else env)
    config: dict[str, Any] = {
        "container_name": address.bucket,
        "account_name": terms.account,
        "endpoint": terms.endpoint,
        **terms.more,
    }
    provider = None
    if terms.key:
        config["account_key"] = terms.key
    elif terms.signature:
        config["sas_key"] = terms.signature
    elif not terms.more and _has_identity():
        from obstore.auth.azure import AzureCredentialProvider

        provider = AzureCredentialProvider()
    store = AzureStore(
        config=config,  # type: ignore[arg-type]
        client_options={
            "allow_http": terms.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=ANSWER_S),
        },
        retry_config=RETRIES,
        credential_provider=provider,
    )
    if not terms.key and not terms.signature:
        why_not = "it has names that can be told only with an account's key"
        return Bucket(store, None, why_not, endpoint=terms.endpoint)
    return _AzureBucket(store, AzureExact(address.bucket, terms), endpoint=terms.endpoint)


class _AzureBucket(Bucket):
    """A container; obstore leaves out of a listing there what is named exactly like its prefix."""

    exact: AzureExact | None

    def _named(self, prefix: str) -> Iterator[list[Found]]:
        yield from super()._named(prefix)
        if prefix and self.exact is not None and self.exact.has(prefix):
            yield [Found(prefix, 0, 0.0)]


def terms_of(address: Address, env: Mapping[str, str]) -> AzureTerms:
    """Read what MLflow reads, in the same order: connection string, key, signature, identity."""
    endpoint = f"https://{address.account}.{address.suffix}"
    if text := env.get("AZURE_STORAGE_CONNECTION_STRING"):
        return _from_connection_string(address, text)
    if key := env.get("AZURE_STORAGE_ACCESS_KEY"):
        return AzureTerms(address.account, endpoint, key=key)
    if signature := env.get("AZURE_STORAGE_SAS_TOKEN"):
        return AzureTerms(address.account, endpoint, signature=signature.removeprefix("?"))
    more = {ours: env[name] for name, ours in _FROM_ENV.items() if env.get(name)}
    return AzureTerms(address.account, endpoint, more=more)


def _from_connection_string(address: Address, text: str) -> AzureTerms:
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    account = parts.get("AccountName", address.account)
    if account != address.account:
        raise StoreUnreachable(
            address.root,
            f"AZURE_STORAGE_CONNECTION_STRING is of another account, {account}",
        )
    scheme = parts.get("DefaultEndpointsProtocol", "https")
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    endpoint = parts.get("BlobEndpoint", f"{scheme}://{account}.blob.{suffix}").rstrip("/")
    return AzureTerms(
        account,
        endpoint,
        key=parts.get("AccountKey"),
        signature=parts.get("SharedAccessSignature"),
    )


def _has_identity() -> bool:
    try:
        return find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        return False
