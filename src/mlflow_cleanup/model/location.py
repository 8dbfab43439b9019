"""Reading an artifact URI as MLflow would, into a local path or a place in an object store.

An artifact URI is text that any MLflow client can set, so it is read twice, for two questions. *May
something be removed there?* (`place`): only where there is exactly one reading. *What may a live
claim mean?* (`readings`): every path that some reading gives. Paths here use `/` on every system;
how the URIs of object stores are read is in `model/objects.py`.

How MLflow reads: `mlflow.utils.file_utils.local_file_uri_to_path` percent-decodes plain paths and
`file:` URIs once; the server joins the decoded path of an `mlflow-artifacts:` URI, or of an HTTP
one with the proxy's path, to its artifacts destination and ignores host and port (MLflow 3.17).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mlflow_cleanup.model.misread import Misread, Unplaced
from mlflow_cleanup.model.objects import (
    SCHEMES,
    is_object,
    object_place,
    object_readings,
    proxied_place,
    proxied_readings,
)
from mlflow_cleanup.model.served import is_served_as_it_is, served

__all__ = [
    "RESERVED",
    "Location",
    "Misread",
    "Unplaced",
    "Whereabouts",
    "foreign_authority",
    "is_proxied",
    "place",
    "readings",
    "scheme_of",
]

RESERVED = ".mlflow-cleanup"
"""Name of our own directory, in the state directory's place and under every artifact root."""

_PROXY_PATH = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts/")
"""Under both of its names MLflow's server gives the same."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")  # two letters or more: `C:` is a drive
_DRIVE = re.compile(r"^[A-Za-z]:(/|$)")


@dataclass(frozen=True, slots=True)
class Location:
    """A place under an artifact root: `root` is an absolute real path or a URI, `inside` leads on.

    In an object store names may be empty: its keys are no paths.
    """

    root: str
    inside: tuple[str, ...]

    @property
    def path(self) -> str:
        """The absolute path, with `/` on every system, or the URI."""
        return "/".join((self.root.rstrip("/"), *self.inside)) or "/"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What relative and proxied URIs are relative to.

    `working_directory` is the MLflow server's; `artifacts_destination` the absolute local path or
    the place in an object store that proxied artifacts lie under, or None when they lie elsewhere.
    """

    working_directory: str
    artifacts_destination: str | None
    windows: bool = False


def place(uri: object, where: Whereabouts) -> str | Unplaced:
    """Return the one absolute path, or place in an object store, that `uri` means, or why none."""
    if not isinstance(uri, str) or not uri or any(char < " " for char in uri):
        return Unplaced(Misread.MALFORMED, repr(uri))
    if scheme_of(uri) in SCHEMES:
        return object_place(uri)
    if uri[0] == " " and _SCHEME.match(uri.lstrip()):
        return Unplaced(Misread.AMBIGUOUS, uri)  # `urllib` takes the spaces off
    raw = _local_part(uri, where)
    if isinstance(raw, Unplaced):
        return raw
    if (kept_in := _objects_of(uri, where)) is not None:
        return proxied_place(kept_in, raw, uri)
    path = unquote(raw, errors="surrogateescape")
    if is_proxied(uri) and not is_served_as_it_is(re.sub(r"//+", "/", path)):
        return Unplaced(Misread.AMBIGUOUS, uri)
    if is_proxied(uri) and path.startswith("/"):
        return Unplaced(Misread.MALFORMED, uri)
    if "%" in path or "\x00" in path or (not where.windows and "\\" in path):
        return Unplaced(Misread.AMBIGUOUS, uri)
    if ".." in _slashes(path, where).split("/"):
        return Unplaced(Misread.MALFORMED, uri)
    return _absolute(path, _base(uri, where), where)


def readings(text: object, where: Whereabouts) -> tuple[str, ...]:
    """Return every absolute path that `text`, a live entity's artifact location, may mean."""
    if not isinstance(text, str) or not text:
        return ()
    in_objects = object_readings(text)
    raw = _local_part(text, where, lenient=True)
    if isinstance(raw, Unplaced):
        return in_objects
    if (kept_in := _objects_of(text, where)) is not None:
        return proxied_readings(kept_in, raw)
    once = unquote(raw, errors="surrogateescape")
    spellings = dict.fromkeys((raw, once, unquote(once, errors="surrogateescape")))
    if is_proxied(text):
        spellings |= dict.fromkeys(served(raw))
    base = _base(text, where)
    local = (_absolute(item.replace("\x00", ""), base, where) for item in spellings)
    return tuple(dict.fromkeys((*in_objects, *local)))


def scheme_of(uri: object) -> str:
    """Name the scheme of an artifact URI, "file" for a plain path; for counting what is kept."""
    match = _SCHEME.match(uri) if isinstance(uri, str) else None
    return match.group(1).lower() if match else "file"


def is_proxied(uri: str) -> bool:
    """Tell whether a place is relative to the server's artifacts destination."""
    scheme = scheme_of(uri)
    return scheme == "mlflow-artifacts" or (
        scheme in ("http", "https") and _PROXY_PATH.search(uri) is not None
    )


def foreign_authority(text: str) -> bool:
    """Tell whether a `file:` URI names another host: the same bytes may have two names then."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme.lower() == "file" and parts.netloc not in ("", "localhost")


def _local_part(uri: str, where: Whereabouts, *, lenient: bool = False) -> str | Unplaced:
    """Strip `uri` down to a path, absolute or relative to `_base`."""
    if (scheme := _SCHEME.match(uri)) is None:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        return Unplaced(Misread.MALFORMED, f"{uri!r}: {error}")
    # MLflow does not know `FILE:` for a scheme, and drops what follows a `?` or `#` in one.
    is_odd = parts.query or parts.fragment or not scheme.group(1).islower()
    if is_odd and not lenient:
        return Unplaced(Misread.AMBIGUOUS, uri)
    match scheme.group(1).lower():
        case "file":
            if parts.netloc not in ("", "localhost") and not lenient:
                return Unplaced(Misread.REMOTE, uri)
            return _file_path(parts.netloc, parts.path, where)
        case "mlflow-artifacts":
            return _proxied_path(uri, parts.path, where)
        case "http" | "https" if (proxy := _PROXY_PATH.search(parts.path)) is not None:
            return _proxied_path(uri, parts.path[proxy.end() :], where)
    return Unplaced(Misread.REMOTE, uri)


def _file_path(host: str, path: str, where: Whereabouts) -> str:
    if where.windows and host not in ("", "localhost"):
        return f"//{host}{path}"
    if where.windows and _DRIVE.match(path.lstrip("/")):
        return path.lstrip("/")
    return path


def _proxied_path(uri: str, path: str, where: Whereabouts) -> str | Unplaced:
    if where.artifacts_destination is None:
        return Unplaced(Misread.REMOTE, uri)
    return path.lstrip("/")


def _objects_of(uri: str, where: Whereabouts) -> str | None:
    """Return where in an object store the server keeps what a proxied URI names."""
    kept_in = where.artifacts_destination
    return kept_in if kept_in and is_object(kept_in) and is_proxied(uri) else None


def _base(uri: str, where: Whereabouts) -> str:
    """Say what a relative path in `uri` is relative to."""
    scheme = scheme_of(uri)
    if scheme == "file":
        return where.working_directory
    return where.artifacts_destination or where.working_directory


def _slashes(path: str, where: Whereabouts) -> str:
    return path.replace("\\", "/") if where.windows else path


def _absolute(path: str, base: str, where: Whereabouts) -> str:
    path, base = _slashes(path, where), _slashes(base, where)
    if where.windows and _DRIVE.match(path):
        base = ""
    path = posixpath.normpath(posixpath.join(base, path))
    # Where POSIX leaves the meaning of two leading slashes open, every system here sees one.
    return path[1:] if path.startswith("//") and not where.windows else path
