"""`python -m bench [NAME…] [--quick] [--json FILE]`."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import busy, gc, idle, latency, objects, purge, rows, server_rows, startup, sweep
from bench.kit.machine import describe
from bench.kit.report import write_json
from bench.kit.world import Lab

MEASUREMENTS = {
    "latency": latency.measure,
    "idle": idle.measure,
    "purge": purge.measure,
    "sweep": sweep.measure,
    "objects": objects.measure,
    "rows": rows.measure,
    "server-rows": server_rows.measure,
    "gc": gc.measure,
    "startup": startup.measure,
    "busy": busy.measure,
}
LONG = {"gc-at-scale": gc.measure_at_scale}
"""Measured only where they are named."""


def main() -> None:
    """Measure what was named, print each table as soon as it is there, and write the JSON."""
    given = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="mlflow-cleanup-bench-") as directory:
        scratch = Path(os.path.realpath(directory))
        machine = describe(scratch)
        print("\n".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
        lab = Lab(scratch, is_quick=given.quick)
        results = []
        for name in given.names or MEASUREMENTS:
            before = os.getloadavg()[0]
            result = replace(
                {**MEASUREMENTS, **LONG}[name](lab), loads=(before, os.getloadavg()[0])
            )
            print(f"\n{result}", flush=True)
            results.append(result)
    if given.json:
        write_json(given.json, machine, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure mlflow-cleanup.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        type=_name,
        help=f"{', '.join(MEASUREMENTS)} (default: all), or {', '.join(LONG)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser


def _name(text: str) -> str:
    names = [*MEASUREMENTS, *LONG]
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
    return text


if __name__ == "__main__":
    main()
