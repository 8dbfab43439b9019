"""How to speak to a server of each kind: what credentials and settings come down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

CONNECT_S, ANSWER_S = 5, 30
RETRIES: Any = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3)},
}
"""A hiccup is nobody's business; what lasts is told, so that less is asked at once."""


@dataclass(frozen=True, slots=True)
class S3Terms:
    """How to speak to S3; credentials are never shown."""

    endpoint: str | None
    region: str | None
    verifies: bool
    ca_bundle: str | None
    path_style: bool
    profile: str | None
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class AzureTerms:
    """How to speak to an account; key and signature are never shown."""

    account: str
    endpoint: str
    key: str | None = field(default=None, repr=False)
    signature: str | None = field(default=None, repr=False)
    more: Mapping[str, str] = field(default_factory=dict, repr=False)
