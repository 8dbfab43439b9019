"""Plain requests to a store's own interface, for what obstore cannot ask."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, InvalidURL
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

from mlflow_cleanup.stores.objects.troubles import Kind, Told, Trouble, answered

ANSWER_S = 30
TOGETHER = 16
"""Requests in flight where each key needs one."""

_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<\n]*)")


class Answer(NamedTuple):
    """What a store answered."""

    body: bytes
    headers: Mapping[str, str]


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
    """Send a request; raises `Told` for everything but success."""
    request = Request(url, body, dict(headers), method=method)  # noqa: S310 - the store's own URL
    try:
        with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - likewise
            return Answer(answer.read(), dict(answer.headers))
    except HTTPError as error:
        with error:
            raise _told(error.code, _rest_of(error)) from None
    except URLError as error:
        raise Told(Trouble(Kind.NO_STORE, f"no connection ({error.reason})")) from None
    except InvalidURL:  # it prints the URL, and with it a signature
        raise Told(Trouble(Kind.REFUSED, "its settings make no URL")) from None
    except (OSError, HTTPException) as error:
        raise Told(Trouble(Kind.BUSY, f"no answer ({type(error).__name__})")) from None


def each(
    keys: Sequence[str], delete: Callable[[str], object], together: int = TOGETHER
) -> dict[str, str]:
    """Delete keys, each with a request; returns why, for each that would not go."""

    def one(key: str) -> str | None:
        try:
            delete(key)
        except Told as error:
            return None if error.trouble.kind is Kind.MISSING else error.trouble.text
        return None

    with ThreadPoolExecutor(together) as pool:
        reasons = pool.map(one, keys)
        return {key: why for key, why in zip(keys, reasons, strict=True) if why is not None}


def _rest_of(error: HTTPError) -> str:
    try:
        return error.read().decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""  # its status says enough


def _told(status: int, said: str) -> Told:
    code, message = _CODE.search(said), _MESSAGE.search(said)
    if code:
        return answered(status, code[1], message[1] if message else "")
    try:
        error = json.loads(said)["error"]
        return answered(status, str(status), str(error.get("message", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answered(status, str(status), "")


def parsed(body: bytes) -> ET.Element:
    """Read an XML answer."""
    try:
        return ET.fromstring(body.removeprefix(b"\xef\xbb\xbf"))  # noqa: S314 - the store's own
    except ET.ParseError as error:
        raise Told(Trouble(Kind.OTHER, f"its answer cannot be read ({error})")) from None
