"""Reading MLflow's own flags and environment: where its database and its artifacts are.

What is read here is never changed: MLflow gets its arguments and its environment as they came.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow_cleanup.config import DEFAULT_BACKEND
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.location import Misread, Unplaced, Whereabouts, place
from mlflow_cleanup.model.objects import is_object_root, object_root
from mlflow_cleanup.observe.places import slashed

DEFAULT_DESTINATION = "./mlartifacts"
DEFAULT_CLIENT_ROOT = "./mlruns"
"""Where MLflow puts artifacts by itself: the server's proxied ones, and a client's own."""

_VALUED = {
    "--backend-store-uri": "MLFLOW_BACKEND_STORE_URI",
    "--default-artifact-root": "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "--artifacts-destination": "MLFLOW_ARTIFACTS_DESTINATION",
    "--registry-store-uri": "MLFLOW_REGISTRY_STORE_URI",
    "--host": "MLFLOW_HOST",
    "--port": "MLFLOW_PORT",
}
_LONG = {"-h": "--host", "-p": "--port", "-w": "--workers"}
_SWITCHES = frozenset(
    {
        "--serve-artifacts",
        "--no-serve-artifacts",
        "--artifacts-only",
        "--disable-security-middleware",
        "--dev",
        "--enable-workspaces",
        "--disable-workspaces",
        "--help",
    }
)
_OTHERS = frozenset(
    {
        "--read-replica-backend-store-uri",
        "--workers",
        "--static-prefix",
        "--allowed-hosts",
        "--cors-allowed-origins",
        "--x-frame-options",
        "--gunicorn-opts",
        "--uvicorn-opts",
        "--waitress-opts",
        "--app-name",
        "--secrets-cache-ttl",
        "--secrets-cache-max-size",
        "--expose-prometheus",
        "--trace-archival-config",
        "--workspace-store-uri",
    }
)
"""MLflow's options without a value, and the others that take the next word (MLflow 3.17)."""


@dataclass(frozen=True, slots=True)
class Whereabout:
    """What the server will use: its store, its proxied artifacts' destination, its artifact roots.

    `destination` is an absolute local path, a place in an object store, or None; `roots` likewise;
    `registry` is the URI of a model registry kept apart, None when it is in the same store.
    `address` is where it listens.
    """

    backend: str
    destination: str | None
    roots: tuple[str, ...]
    registry: str | None = None
    address: tuple[str, str] = ("127.0.0.1", "5000")


def derive(
    arguments: Sequence[str], environment: Mapping[str, str], working_directory: str
) -> Whereabout:
    """Say where MLflow, started with these arguments, keeps its metadata and its artifacts."""
    values = _values(arguments, environment)
    serves = _serves_artifacts(arguments, environment)
    destination = root_of(
        values["--artifacts-destination"] or DEFAULT_DESTINATION, working_directory
    )
    candidates = [root_of(DEFAULT_CLIENT_ROOT, working_directory)]
    if serves:
        candidates.insert(0, destination)
    if (default_root := values["--default-artifact-root"]) is not None:
        candidates.insert(0, root_of(default_root, working_directory))
    return Whereabout(
        backend=values["--backend-store-uri"] or default_backend(working_directory),
        destination=destination if serves else None,
        roots=tuple(dict.fromkeys(root for root in candidates if root is not None)),
        registry=values["--registry-store-uri"],
        address=(values["--host"] or "127.0.0.1", values["--port"] or "5000"),
    )


def default_backend(working_directory: str) -> str:
    """Say which store MLflow's server chooses when nothing names one.

    It does not look at MLFLOW_TRACKING_URI, which is for clients.
    """
    if _has_file_store(Path(working_directory, "mlruns")):
        return DEFAULT_CLIENT_ROOT
    return DEFAULT_BACKEND


def root_of(uri: str, working_directory: str) -> str | None:
    """Return the absolute path that an artifact root means, or its place in an object store.

    None when it is elsewhere, as in storage that is not handled. Raises BadUsage.
    """
    if is_object_root(uri):
        return object_root(uri)
    where = Whereabouts(slashed(working_directory), None, windows=os.name == "nt")
    found = place(uri, where)
    if not isinstance(found, Unplaced):
        return os.path.abspath(found)
    if found.why is Misread.REMOTE:
        return None
    # What is not written the one plain way is taken as the operator's own file system sees it.
    if "://" not in uri and not uri.startswith("file:"):
        return os.path.abspath(os.path.join(working_directory, os.path.expanduser(uri)))
    raise BadUsage(
        f"the artifact root {uri!r} can be read in more than one way; write a plain path"
    )


def _has_file_store(directory: Path) -> bool:
    """Tell whether a file store's experiments lie there, as MLflow looks for them."""
    try:
        entries = list(directory.iterdir())
    except OSError:
        return False
    return any(
        re.fullmatch(r"\d+", item.name) and (item / "meta.yaml").is_file() for item in entries
    )


def _values(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the value of each flag that matters here: the last given wins, then the variable."""
    found = {flag: environment.get(variable) or None for flag, variable in _VALUED.items()}
    for flag, value in _given(arguments):
        found[_LONG.get(flag, flag)] = value or None
    return found


def _given(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options in the order given, with their values ("" for a switch)."""
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, has_value, value = word.partition("=")
        if not word.startswith("--") and word[:2] in _LONG:
            yield word[:2], word[2:] or _next(words)
        elif has_value or flag in _SWITCHES:
            yield flag, value
        elif flag in _VALUED or flag in _OTHERS or not (words and words[0].startswith("-")):
            yield flag, _next(words)
        else:
            yield (
                flag,
                "",
            )  # not known here, and followed by another option: a later MLflow's switch


def _next(words: list[str]) -> str:
    return words.pop(0) if words else ""


def _serves_artifacts(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    told = environment.get("MLFLOW_SERVE_ARTIFACTS", "true").strip().lower()
    serves = told not in ("0", "false", "f", "no", "n", "off")
    for flag, _ in _given(arguments):
        if flag in ("--serve-artifacts", "--no-serve-artifacts"):
            serves = flag == "--serve-artifacts"
    return serves
