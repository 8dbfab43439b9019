"""Reading the URI of an object store as MLflow would, into a bucket and an exact key.

Whatever a bucket is called by, it has one name here, its *home*: `s3://bucket`, `gs://bucket`, or
`wasbs://container@account.blob.core.windows.net` for all that Azure's two services call it.

How MLflow reads (3.17): `s3:`, `gs:` and `wasbs:` as they are written, without what follows a `?`
or `#` (`S3ArtifactRepository.parse_s3_compliant_uri`, `parse_gcs_uri`, `parse_wasbs_uri`), `abfss:`
percent-decoded once by now (`_parse_abfss_uri`). Of a proxied URI its client makes one slash of
several, and its server decodes the path (see `model/served.py`), but not where it lists artifacts
itself. Nothing else is ever changed in a key: `a//b` is not `a/b`, and `A` is not `a`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.misread import Misread, Unplaced
from mlflow_cleanup.model.served import is_served_as_it_is, served

SCHEMES = frozenset({"s3", "s3a", "gs", "wasb", "wasbs", "abfs", "abfss"})
"""What is handled. MLflow itself knows no `s3a:`, `wasb:` and `abfs:`, but what others call so."""

LONGEST_KEY = 1024
"""Bytes of a key: more than that, no object store here takes."""

_ADLS = frozenset({"abfs", "abfss"})
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_HOME = re.compile(r"(?:s3|gs|wasbs|r2|b2)://[^/]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRIPPED = "".join(map(chr, range(0x21)))
"""What `urllib` takes off a URI's beginning, as a browser would."""

_ACCESS_POINT = re.compile(r"s3://(?:arn:.*|.*-s3alias|.*--ol-s3|.*\.mrap)", re.IGNORECASE)
"""Names that Amazon gives to access points: each leads to some bucket, with the bucket's keys."""

_SUFFIX = r"core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
_BUCKETS = {
    "s3": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,221}"),
    "wasbs": re.compile(rf"(?:\$root|\$web|[a-z0-9-]{{1,63}})@[a-z0-9]{{3,24}}\.blob\.{_SUFFIX}"),
}
_AZURE = re.compile(rf"([^@]*)@([^.@]*)\.(?:.*\.)?({_SUFFIX})", re.IGNORECASE)
_DECODED_AT_MOST = 10  # times that MLflow's server decodes


def is_object(path: str) -> bool:
    """Tell a place in an object store, as it is written here, from a local path."""
    return _HOME.match(path) is not None


def home_of(path: str) -> str:
    """Return the bucket in which a place lies, as `is_object` knows it; "" for a local path."""
    found = _HOME.match(path)
    return found.group() if found else ""


def bucket_of(home: str) -> str:
    """Return a bucket's or container's bare name."""
    return home.partition("://")[2].partition("@")[0]


def may_be_one(home: str, other: str) -> bool:
    """Tell whether two names of buckets may be one bucket's.

    What decides where a name leads are credentials and endpoints that we need not know: an account
    that AZURE_STORAGE_CONNECTION_STRING names instead, or Google's storage reached as S3. Where
    bucket or container are called the same, they may be the same; and an access point may be one of
    any bucket on S3.
    """
    if bucket_of(home) == bucket_of(other):
        return True
    both = home.startswith("s3://") and other.startswith("s3://")
    return both and any(map(_ACCESS_POINT.fullmatch, (home, other)))


def is_object_root(text: str) -> bool:
    """Tell whether an operator's word for a root means one in an object store."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def object_root(text: str) -> str:
    """Return a root's one name; what is not written the one plain way raises BadUsage."""
    found = object_place(text)
    if isinstance(found, Unplaced) or "//" in found.partition("://")[2]:
        raise BadUsage(
            f"the artifact root {text!r} is no plain place in an object store; write for example "
            "s3://bucket/prefix, gs://bucket/prefix, or "
            "wasbs://container@account.blob.core.windows.net/prefix"
        )
    return found


def object_place(uri: str) -> str | Unplaced:
    """Return the one place that a URI with one of `SCHEMES` means, or why there is none."""
    found = _URI.fullmatch(uri)
    if found is None:
        return Unplaced(Misread.MALFORMED, repr(uri))
    scheme, authority, path, rest = found.groups()
    if rest or not scheme.islower():
        return Unplaced(Misread.AMBIGUOUS, uri)
    home = _exact_home(scheme, authority)
    if home is None:
        return Unplaced(Misread.MALFORMED, f"{uri}: it names no bucket")
    key = path.removeprefix("/")
    if scheme in _ADLS and ("%" in key or "//" in f"/{key}"):
        return Unplaced(Misread.AMBIGUOUS, uri)
    return _place(home, key, uri)


def proxied_place(destination: str, path: str, uri: str) -> str | Unplaced:
    """Return the one place that a proxied URI means whose artifacts the server keeps there."""
    key = path.lstrip("/")
    if "%" in key or not is_served_as_it_is(key):
        return Unplaced(Misread.AMBIGUOUS, uri)
    home = home_of(destination)
    within = destination.removeprefix(home).removeprefix("/")
    return _place(home, f"{within}/{key}" if within else key, uri)


def object_readings(text: str) -> tuple[str, ...]:
    """Return every place that the text of a live claim may mean, the place above among them."""
    found = _URI.fullmatch(re.sub(r"[\t\r\n]", "", text.lstrip(_STRIPPED)))
    if found is None:
        return ()
    scheme, authority, path, rest = found.groups()
    paths = dict.fromkeys((path, path + rest))
    homes = _any_home(scheme.lower(), authority)
    return tuple(
        dict.fromkeys(
            place
            for home in homes
            for one in paths
            for place in _spelled(home, "", one.removeprefix("/"))
        )
    )


def proxied_readings(destination: str, path: str) -> tuple[str, ...]:
    """Do the same for a proxied claim whose artifacts the server keeps under `destination`."""
    home = home_of(destination)
    within = destination.removeprefix(home).removeprefix("/")
    keys = dict.fromkeys(served(path.lstrip("/")))
    return tuple(dict.fromkeys(place for key in keys for place in _spelled(home, within, key)))


def _place(home: str, key: str, uri: str) -> str | Unplaced:
    names = key.removesuffix("/").split("/")
    if _CONTROL.search(key) or "." in names or ".." in names:
        return Unplaced(Misread.MALFORMED, uri)
    if "\\" in key or key.endswith("//"):  # MLflow writes below the one, and lists below the other
        return Unplaced(Misread.AMBIGUOUS, uri)
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return Unplaced(Misread.MALFORMED, repr(uri))
    if length > LONGEST_KEY:
        return Unplaced(Misread.MALFORMED, f"a key of {length} bytes")
    return _joined(home, key.removesuffix("/"))


def _spelled(home: str, within: str, path: str) -> Iterator[str]:
    """Yield each place that a key may be, decoded or not, its segments taken as a path or not."""
    for key in _decoded(path):
        for one in (key, key.lstrip("/"), posixpath.normpath(f"/{key}").lstrip("/")):
            yield _joined(home, f"{within}/{one}".strip("/") if within else one.rstrip("/"))
        if within:
            # Where a key leads upwards, out of the server's own place.
            yield _joined(home, posixpath.normpath(f"/{within}/{key}").lstrip("/"))


def _decoded(path: str) -> Iterator[str]:
    for _ in range(_DECODED_AT_MOST):
        yield path
        if (once := unquote(path)) == path:
            return
        path = once


def _joined(home: str, key: str) -> str:
    return f"{home}/{key}" if key else home


def _exact_home(scheme: str, authority: str) -> str | None:
    """Name a bucket as the stores do, None where no store has one of that name."""
    scheme = {"s3a": "s3", "wasb": "wasbs"}.get(scheme, scheme)
    if scheme in _ADLS:
        scheme, authority = "wasbs", re.sub(r"\.dfs\.(?=core\.)", ".blob.", authority)
    is_bucket = _BUCKETS[scheme].fullmatch(authority) is not None if scheme in _BUCKETS else False
    return f"{scheme}://{authority}" if is_bucket else None


def _any_home(scheme: str, authority: str) -> tuple[str, ...]:
    """Name every bucket that a claim may mean, whoever could reach it so."""
    if scheme in ("s3", "s3a", "s3n"):
        return tuple(dict.fromkeys((f"s3://{authority}", f"s3://{authority.rpartition('@')[2]}")))
    if scheme in ("gs", "gcs"):
        return (f"gs://{authority}",)
    if scheme in ("r2", "b2"):
        return (f"{scheme}://{authority}",)
    if scheme not in SCHEMES:
        return ()
    if (found := _AZURE.fullmatch(authority)) is None:
        return (f"wasbs://{authority}",)
    container, account, suffix = found.groups()
    account, suffix = account.lower(), suffix.lower()
    names = dict.fromkeys((container, container.lower()))
    return tuple(f"wasbs://{name}@{account}.blob.{suffix}" for name in names)
