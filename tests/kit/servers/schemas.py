"""The tables of MLflow's releases on database servers, as its own migrations make them there."""

from __future__ import annotations

import functools

from tests.kit.tracking_db import REVISIONS, SCHEMAS


@functools.cache
def script(kind: str, version: str) -> str:
    """Return the SQL that makes a release's tables in an empty database."""
    return (SCHEMAS / kind / f"{REVISIONS[version]}.sql").read_text(encoding="utf-8")
