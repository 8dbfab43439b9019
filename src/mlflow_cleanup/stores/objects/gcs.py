"""Opening a bucket of Google Cloud Storage as MLflow would, and what obstore cannot ask of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, urlencode

from obstore.exceptions import AlreadyExistsError
from obstore.store import GCSStore

from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.bucket import PAGE, Bucket, Content, Found
from mlflow_cleanup.stores.objects.terms import ANSWER_S, CONNECT_S, RETRIES
from mlflow_cleanup.stores.objects.troubles import Kind, Told, Trouble, cleaned
from mlflow_cleanup.stores.objects.web import ask, each

HOST = "https://storage.googleapis.com"

Token = Callable[[], str | None]
"""Gives an access token; None: the server wants none."""


def open_bucket(address: Address, env: Mapping[str, str] | None = None) -> Bucket:
    """Open a bucket; nothing is asked of it yet."""
    env = os.environ if env is None else env
    emulator = _emulator(env)
    config: dict[str, Any] = {"bucket": address.bucket}
    if emulator:
        config["service_account_key"] = _nobody(emulator)
    elif env.get("GOOGLE_APPLICATION_CREDENTIALS"):
        config["application_credentials"] = env["GOOGLE_APPLICATION_CREDENTIALS"]
    store = GCSStore(
        config=config,  # type: ignore[arg-type]
        client_options={
            "allow_http": bool(emulator),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=ANSWER_S),
        },
        retry_config=RETRIES,
    )
    token = (lambda: None) if emulator else _token()
    if token is None:
        return _GCSBucket(
            store, None, "it has names that can be told only with google-auth", endpoint=HOST
        )
    exact = GCSExact(address.bucket, emulator or HOST, token)
    kind = _EmulatedBucket if emulator else _GCSBucket
    return kind(store, exact, endpoint=emulator or HOST)


class GCSExact:
    """A bucket through the JSON interface."""

    def __init__(self, bucket: str, host: str, token: Token) -> None:
        self._host, self._bucket, self._token = host, quote(bucket, safe=""), token

    def pages(self, prefix: str, after: str) -> Iterator[list[Found]]:
        """See `Exact.pages`."""
        query = {
            "prefix": prefix,
            "maxResults": str(PAGE),
            "fields": "items(name,size,updated),nextPageToken",
        }
        while True:
            told = self.ask("GET", f"/storage/v1/b/{self._bucket}/o?{urlencode(query)}")
            rows = (
                Found(one["name"], int(one["size"]), _seconds(one["updated"]))
                for one in told.get("items", ())
            )
            yield [one for one in rows if one.key > after]
            if not told.get("nextPageToken"):
                return
            query["pageToken"] = told["nextPageToken"]

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """See `Exact.delete`."""
        return each(keys, lambda key: self.ask("DELETE", self.where(key)))

    def where(self, key: str) -> str:
        """Return the path of an object in the interface."""
        return f"/storage/v1/b/{self._bucket}/o/{quote(key, safe='')}"

    def put(self, key: str, body: bytes, generation: str) -> None:
        """Write an object over one of a generation; "0": where there is none."""
        query = urlencode({"uploadType": "media", "name": key, "ifGenerationMatch": generation})
        self.ask("POST", f"/upload/storage/v1/b/{self._bucket}/o?{query}", body)

    def keeps_versions(self) -> bool:
        """Tell whether the bucket keeps versions; no where that may not be asked."""
        try:
            told = self.ask("GET", f"/storage/v1/b/{self._bucket}?fields=versioning")
        except Told:
            return False
        return bool(told.get("versioning", {}).get("enabled"))

    def ask(self, method: str, where: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request and read its answer."""
        headers = {"Content-Type": "application/json"} if body else {}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        answer = ask(method, self._host + where, headers, body).body
        return json.loads(answer) if answer.strip() else {}


class _GCSBucket(Bucket):
    """Every object there has a version, also where none are kept: it has to be asked for."""

    exact: GCSExact | None

    def keeps_versions(self, version: str | None) -> bool:  # noqa: ARG002 - it tells nothing
        """See `Bucket.keeps_versions`."""
        return self.exact is not None and self.exact.keeps_versions()


class _EmulatedBucket(_GCSBucket):
    """A bucket of an emulator, which takes nothing through the interface that obstore writes to."""

    exact: GCSExact

    def read(self, key: str, at_most: int) -> Content | None:
        """See `Bucket.read`."""
        found = super().read(key, at_most)
        if found is None:
            return None
        return found._replace(
            version=str(self.exact.ask("GET", self.exact.where(key))["generation"])
        )

    def write(self, key: str, body: bytes, mode: Any) -> None:  # noqa: ANN401 - obstore's own
        """See `Bucket.write`."""
        try:
            self.exact.put(key, body, "0" if mode == "create" else mode["version"])
        except Told as error:
            if error.trouble.text.startswith("412"):
                raise AlreadyExistsError(error.trouble.text) from None
            raise


def _emulator(env: Mapping[str, str]) -> str | None:
    """Return the URL of an emulator, as Google's own library finds it."""
    host = env.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    return host if not host or "://" in host else f"http://{host}"


def _nobody(host: str) -> str:
    return json.dumps(
        {
            "gcs_base_url": host,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
    )


def _token() -> Token | None:
    """Return a giver of tokens, where Google's own library is there to make them."""
    try:
        if find_spec("google.auth") is None:
            return None
    except ModuleNotFoundError:
        return None
    state: list[Any] = []

    def give() -> str | None:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            if not state:
                scope = "https://www.googleapis.com/auth/devstorage.read_write"
                state.append(google.auth.default(scopes=[scope])[0])
            if not state[0].valid:
                state[0].refresh(Request())
        except GoogleAuthError as error:
            raise Told(Trouble(Kind.REFUSED, cleaned(str(error)))) from None
        token: str | None = state[0].token
        return token

    return give


def _seconds(text: str) -> float:
    """Read a time as told, with any number of digits after the second."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() + float(f"0.{rest.partition('+')[0] or 0}")
