"""`edgewise models profile`: what models cost on this machine, on a node process of its own."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgewise.compose.fidelity_cluster import Cluster
from edgewise.compose.models import sources_for
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.codec import to_plain
from edgewise.domain.world import World
from evals.profiles.measure import AT_ONCE, Effort, measure_models
from evals.profiles.record import FORMAT, Profile, this_machine
from serving.checkpoints import catalogue
from tools.rundir import create_run_dir, write_json

ROOM_GIB = 1.0  # beside the largest model; models are measured one by one
BUSY = 0.1  # of a core: more than this taken by others is said in the notes


def run_profile(
    models: str, out: Path | None, say: Callable[[str], None], *, only: tuple[str, ...] = (), effort: Effort | None = None
) -> dict[str, Any]:  # fmt: skip
    """Measure and give the file's content; written to `out` when given. Raises an EdgewiseError."""
    specs = tuple(m for m in catalogue(models) if not only or m.id in only)
    sources = sources_for(models, specs)
    # Several at once is measured too, so the node must let them run.
    specs = tuple(replace(m, max_concurrency=max(AT_ONCE)) for m in specs)
    node = NodeSpec("profile", max(m.memory_gib for m in specs) + ROOM_GIB)

    async def measure() -> Profile:
        with tempfile.TemporaryDirectory(prefix="edgewise-profile-") as folder:
            cluster = Cluster(create_run_dir(Path(folder) / "run"), World((node,), specs), sources, say)
            try:
                await cluster.start(gateway=False)
                others = OthersAtWork(lambda: sum(cluster.cpu_s().values()))
                url, pid = cluster.urls[node.id], cluster.pids[node.id]
                found = await measure_models(url, pid, specs, effort=effort or Effort(), say=say)
                return Profile(FORMAT, this_machine(), found, others.notes())
            finally:
                await cluster.stop()

    content: dict[str, Any] = to_plain(asyncio.run(measure()))
    if out is not None:
        write_json(out, content)
    return content


class OthersAtWork:
    """Watches how many cores are taken by anything but this process and those whose CPU seconds `ours_s` tells."""

    def __init__(self, ours_s: Callable[[], float]) -> None:
        self._ours_s = ours_s
        self._then = self._look()

    def cores(self) -> float:
        """Since this was made; 0 where the machine does not tell."""
        (wall, busy, ours), (wall_0, busy_0, ours_0) = self._look(), self._then
        return max(0.0, (busy - busy_0) - (ours - ours_0)) / max(wall - wall_0, 1e-9)

    def notes(self) -> tuple[str, ...]:
        cores = self.cores()
        if cores <= BUSY:
            return ()
        return (f"others used {cores:.2f} cores of this machine meanwhile: figures are too high and unsteady",)

    def _look(self) -> tuple[float, float, float]:
        import psutil

        t = psutil.cpu_times()
        busy = t.user + t.nice + t.system + getattr(t, "steal", 0.0)
        mine = os.times()
        return time.monotonic(), busy, mine.user + mine.system + self._ours_s()
