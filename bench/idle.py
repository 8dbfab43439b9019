"""What watching costs while nothing happens."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.kit.contenders import EVENTS, POLLING, SIMPLE_LOOP, SLEEPER, running
from bench.kit.machine import cpu_s, memory_mib, say
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab

RUNS = 200


def measure(lab: Lab) -> Result:
    """Watch 10 minutes (one when quick), all contenders at once, each in a world of its own."""
    windows, window_s = (3, 20.0) if lab.is_quick else (10, 60.0)
    contenders = (EVENTS, POLLING, SIMPLE_LOOP, SLEEPER)
    shares: list[list[float]] = [[] for _ in contenders]
    with ExitStack() as stack:
        pids = [
            stack.enter_context(running(contender, lab.world(RUNS, with_files=RUNS)))
            for contender in contenders
        ]
        say(f"idle: {windows} windows of {window_s:.0f} s")
        before = [cpu_s(pid) for pid in pids]
        for _ in range(windows):
            time.sleep(window_s)
            after = [cpu_s(pid) for pid in pids]
            for share, new, old in zip(shares, after, before, strict=True):
                share.append((new - old) / window_s * 100)
            before = after
        memory = [memory_mib(pid) for pid in pids]
    names = [contender.name for contender in contenders]
    rss, pss = zip(*memory, strict=True)
    cpu = _group("CPU, % of one core", names, shares)
    resident = _group("resident memory (RSS), MiB", names, [[value] for value in rss])
    shared = _group("proportional memory (PSS), MiB", names, [[value] for value in pss])
    mean = sum(shares[0]) / windows
    aims = (
        Aim("CPU with file events, % of one core, mean", mean, 0.2),
        Aim("resident memory with file events, MiB", rss[0], 60),
    )
    return Result("idle", f"{RUNS} runs, nothing happens", (*cpu, *resident, *shared), aims)


def _group(group: str, names: list[str], samples: list[list[float]]) -> list[Series]:
    return [
        Series(group, name, tuple(values), is_baseline=name == SLEEPER.name)
        for name, values in zip(names, samples, strict=True)
    ]
