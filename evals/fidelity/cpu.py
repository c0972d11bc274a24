"""CPU seconds of processes and of the whole machine: who used what while prompts were measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

import psutil

from edgewise.domain.errors import RunFailed


def process_cpu_s(pid: int) -> float:
    """User and system time. Raises RunFailed when the process is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error as error:
        raise RunFailed(f"process {pid} is gone: {error}") from error
    return float(times.user + times.system)


class Usage(NamedTuple):
    """At one moment: wall seconds, CPU seconds of the machine, and of this process and those named."""

    wall_s: float
    machine_s: float
    ours_s: float


def usage(pids: Iterable[int]) -> Usage:
    """`pids`: of the other processes that are ours; those that are gone count 0."""
    t = psutil.cpu_times()
    busy = t.user + t.nice + t.system + getattr(t, "irq", 0.0) + getattr(t, "softirq", 0.0) + getattr(t, "steal", 0.0)
    mine = os.times()
    ours = mine.user + mine.system
    for pid in pids:
        try:
            ours += process_cpu_s(pid)
        except RunFailed:
            continue
    return Usage(time.monotonic(), float(busy), float(ours))


def others_cores(before: Usage, after: Usage) -> float:
    """Cores that others took between two moments."""
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    return max(0.0, (after.machine_s - before.machine_s) - (after.ours_s - before.ours_s)) / wall_s
