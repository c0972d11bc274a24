"""Keeps a machine's cores awake while it is measured: one process per core that computes nothing, for as long as
nobody else wants to compute anything.

A node that is held to half a core sleeps every few milliseconds. A core that then falls asleep, or that a hypervisor
gives to somebody else, comes back slow and with cold caches: prompts take up to half as long again on an idle machine
and less so the busier it is. Under SCHED_IDLE these processes take no time from anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, Process

from tools.process import start_process

_SCRIPT = """
import os, sys
from tools.process import die_with_parent
os.sched_setaffinity(0, {int(sys.argv[2])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
die_with_parent(int(sys.argv[1]))
while True:
    pass
"""


class Awake:
    """`start`, and always `stop`. Does nothing where the system has no SCHED_IDLE."""

    def __init__(self) -> None:
        self._processes: list[Process] = []

    async def start(self) -> int:
        """Give the number of cores that are kept awake."""
        if not hasattr(os, "SCHED_IDLE"):
            return 0
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        for core in sorted(os.sched_getaffinity(0)):
            command = (sys.executable, "-c", _SCRIPT, str(os.getpid()), str(core))
            # Its own session: a Ctrl-C at the terminal is for the parent.
            process = await start_process(
                *command, stdin=DEVNULL, stdout=DEVNULL, env=environment, start_new_session=True
            )
            self._processes.append(process)
        return len(self._processes)

    async def stop(self) -> None:
        processes, self._processes = self._processes, []
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))
