"""What a store's errors mean, in texts that hold no secret.

obstore's errors print whole requests: URLs with signatures, answers with the text that was signed.
Of all that only the store's own code and message are taken over, and what looks like a secret not
even from there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_DEBUG = "Debug source:"
_LONGEST = 200

_CODE = re.compile(r"<Code>([^<]*)</Code>|\(code: ([\w-]+)\)|\"reason\":\s*\"([^\"]*)\"")
_MESSAGE = re.compile(
    r"<Message>([^<\n]*)|\"message\":\s*\"([^\"]*)\"|for key .*?: (.*?) \(code:", re.DOTALL
)
_STATUS = re.compile(r"status code: (\d{3})(?: ([^:\n]*))?")
_HTTP = re.compile(r"kind: (Connect|Timeout|Request|Interrupted|Decode|Unknown)\b")
_SYSTEM = re.compile(r'message: "([^"]{1,80})"|error: "([^"]{1,80})"')
_SECRETS = re.compile(
    r"(?i)((?:signature|sig|token|secret|password|key|credential|authorization)[\w-]*)"
    r"\s*[=:]\s*[^\s&,;'\"<>]+|(?:AKIA|ASIA)[A-Z0-9]{12,}|ya29\.[\w.-]+|eyJ[\w.-]{20,}"
)
_URL = re.compile(r"\bhttps?://[^\s<>\"']+")

_BUSY_CODES = frozenset(
    (
        "SlowDown",
        "ServiceUnavailable",
        "TooManyRequests",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "RequestTimeout",
        "InternalError",
        "ServerBusy",
        "OperationTimedOut",
        "rateLimitExceeded",
        "backendError",
    )
)
_BUSY_STATUS = frozenset((408, 429, 500, 502, 503, 504))
_NO_BULK_CODES = frozenset(("NotImplemented", "MethodNotAllowed"))
_NO_BULK_STATUS = frozenset((405, 501))
_NOT_FOUND = 404
_GONE_CODES = frozenset(("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"))


class Kind(Enum):
    """What can be done about a trouble."""

    MISSING = "nothing is there"
    REFUSED = "the store refused it"
    BUSY = "the store takes no more just now, or did not answer in time"
    NO_BULK = "the store deletes no keys in bulk"
    NO_STORE = "the store cannot be seen at all"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of the store: what it means, and how it is told."""

    kind: Kind
    text: str


class Told(Exception):
    """An error that says by itself what it means: of what does not come through obstore."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.text)


def answered(status: int, code: str, message: str) -> Told:
    """Make an error of what a store answered."""
    text = cleaned(f"{code}: {message}" if message else code or str(status))
    return Told(Trouble(_kind(None, code, status, ""), text))


def explain(error: BaseException) -> Trouble:
    """Say what an error of a store's means."""
    if isinstance(error, Told):
        return error.trouble
    raw = str(error)
    said, _, debug = raw.partition(_DEBUG)
    code, status = _first(_CODE, said), _STATUS.search(said)
    number = int(status[1]) if status else 0
    text = _told(said, code, status) if status or code else _unanswered(said, debug)
    return Trouble(_kind(error, code, number, debug), text)


def cleaned(text: str) -> str:
    """Take everything out of a text that may be a secret, and make it one short line."""
    text = _SECRETS.sub(lambda match: f"{match[1]}=…" if match[1] else "…", _URL.sub("…", text))
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _kind(error: BaseException | None, code: str, status: int, debug: str) -> Kind:
    if code in _GONE_CODES:
        return Kind.NO_STORE
    if code in _NO_BULK_CODES or status in _NO_BULK_STATUS:
        return Kind.NO_BULK
    if code in _BUSY_CODES or status in _BUSY_STATUS:
        return Kind.BUSY
    if isinstance(error, FileNotFoundError) or status == _NOT_FOUND:
        return Kind.MISSING
    if status in (401, 403) or type(error).__name__ in (
        "PermissionDeniedError",
        "UnauthenticatedError",
    ):
        return Kind.REFUSED
    if not status and not code and (http := _HTTP.search(debug)):
        return Kind.NO_STORE if http[1] == "Connect" else Kind.BUSY
    return Kind.REFUSED if code.startswith(("Access", "Auth")) else Kind.OTHER


def _told(said: str, code: str, status: re.Match[str] | None) -> str:
    name = code or (f"{status[1]} {status[2] or ''}".strip() if status else "")
    message = _first(_MESSAGE, said)
    return cleaned(f"{name}: {message}" if message else name)


def _unanswered(said: str, debug: str) -> str:
    http = _HTTP.search(debug)
    detail = _first(_SYSTEM, debug)
    if http is None:
        return cleaned(said)
    told = {"Connect": "no connection", "Timeout": "no answer in time"}
    what = told.get(http[1], "the connection broke")
    return cleaned(f"{what} ({detail})" if detail else what)


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next((group for group in match.groups() if group), "").strip() if match else ""
