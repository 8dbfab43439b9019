"""What MLflow's client and server make of the path in a proxied URI (3.17).

The client makes one slash of several and drops the last one (`MlflowArtifactsRepository`'s
`resolve_uri`). The server takes the path apart as a URI and puts it together again, decoded, until
nothing changes (`validate_path_is_safe`): spaces at the beginning are lost, a `?` at the end, of
`A:b` the capital. At last it writes control characters as `%1a`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlparse, urlunparse

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AT_MOST = 10  # rounds, after which the server gives up


def served(path: str) -> Iterator[str]:
    """Yield a path in each form on its way, the one that the server uses among them."""
    yield from _decoded(path)
    yield from _decoded(_asked_for(path))


def is_served_as_it_is(path: str) -> bool:
    """Tell whether the server uses a path as it is, but for a last slash."""
    asked = _asked_for(path)
    return path.removesuffix("/") == asked and list(_decoded(asked)) == [asked]


def _asked_for(path: str) -> str:
    return re.sub(r"//+", "/", path).rstrip("/")


def _decoded(path: str) -> Iterator[str]:
    for _ in range(_AT_MOST):
        yield path
        try:
            parsed = str(urlunparse(urlparse(unquote(path))))
        except ValueError:
            return  # the server refuses it
        if parsed == path:
            break
        path = parsed
    if _CONTROL.search(path):
        yield _CONTROL.sub(lambda found: f"%{ord(found.group()):02x}", path)
