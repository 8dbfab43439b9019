"""What obstore cannot ask of Azure Blob Storage, in requests signed here."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode, urlsplit

from mlflow_cleanup.stores.objects.bucket import PAGE, Found
from mlflow_cleanup.stores.objects.troubles import Kind, Told
from mlflow_cleanup.stores.objects.web import Answer, ask, each, parsed

if TYPE_CHECKING:
    from mlflow_cleanup.stores.objects.terms import AzureTerms

_VERSION = "2021-12-02"


class AzureExact:
    """A container through its REST interface, with the account's key or a signature."""

    def __init__(self, container: str, terms: AzureTerms) -> None:
        self._container, self._terms = container, terms

    def pages(self, prefix: str, after: str) -> Iterator[list[Found]]:
        """See `Exact.pages`."""
        query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": str(PAGE)}
        while True:
            told = parsed(self._ask("GET", "", query).body)
            found = []
            for blob in told.iter("Blob"):
                name, about = blob.find("Name"), blob.find("Properties")
                if name is None or about is None:
                    continue
                key = name.text or ""
                key = unquote(key) if name.get("Encoded") == "true" else key
                written = parsedate_to_datetime(about.findtext("Last-Modified", ""))
                size = int(about.findtext("Content-Length", "0"))
                found.append(Found(key, size, written.timestamp()))
            yield [one for one in found if one.key > after]
            query["marker"] = told.findtext("NextMarker") or ""
            if not query["marker"]:
                return

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """See `Exact.delete`."""
        return each(keys, lambda key: self._ask("DELETE", key, {}))

    def has(self, key: str) -> bool:
        """Tell whether there is a blob of exactly this key."""
        try:
            self._ask("HEAD", key, {})
        except Told as error:
            if error.trouble.kind is not Kind.MISSING:
                raise
            return False
        return True

    def _ask(self, method: str, key: str, query: Mapping[str, str]) -> Answer:
        terms = self._terms
        where = f"/{self._container}" + (f"/{quote(key, safe='/~')}" if key else "")
        url = terms.endpoint + where
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        said = urlencode(query, quote_via=quote)
        if terms.key:
            headers["Authorization"] = self._signed(method, urlsplit(url).path, headers, query)
        else:
            said = "&".join(filter(None, (said, terms.signature)))
        return ask(method, f"{url}?{said}" if said else url, headers)

    def _signed(
        self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> str:
        """Sign a request without a body, as "Authorize with Shared Key" has it."""
        account = self._terms.account
        ours = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        text = f"{method}{chr(10) * 12}{ours}/{account}{path}{asked}"
        key = base64.b64decode(self._terms.key or "")
        made = hmac.new(key, text.encode(), hashlib.sha256).digest()
        return f"SharedKey {account}:{base64.b64encode(made).decode()}"
