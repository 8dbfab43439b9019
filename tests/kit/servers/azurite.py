"""An Azure Blob server: Azurite, in memory, which checks signatures."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and key that everybody's Azurite has; they open nothing else."""

_PROGRAMS = Path(__file__).parents[3] / ".servers" / "node_modules" / ".bin"


@dataclass
class Azurite:
    """A running server; each test takes a container of its own."""

    port: int
    _numbers: count[int] = field(default_factory=count)
