"""A full cycle or `usage` without the start of its process, a program of its own.

    full_cycle.py DATABASE ARTIFACT_ROOT plan|usage

Prints JSON: how many seconds it took, and how many files it counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mlflow_cleanup.cli.full import reading
from mlflow_cleanup.config import Settings, state_dir_for
from mlflow_cleanup.cycle.sweep import look
from mlflow_cleanup.cycle.usage import Question, measure_usage
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.globs import CHECKPOINTS
from mlflow_cleanup.model.usage import By


def main(database: str, root: str, what: str) -> None:
    """Do it once."""
    here, tracking = str(Path(database).parent), Database.of_file(database)
    settings = Settings(tracking, (root,), root, here, state_dir_for(tracking))
    with reading(settings) as workplace:
        begun = time.perf_counter()
        if what == "plan":
            files = sum(summary.total.files for summary in look(workplace).roots)
        else:
            question = Question(tuple(By), "bytes", 10, CHECKPOINTS)
            files = measure_usage(workplace, question).total.files
        took_s = time.perf_counter() - begun
    print(json.dumps({"took_s": took_s, "files": files}))


if __name__ == "__main__":
    main(*sys.argv[1:])
