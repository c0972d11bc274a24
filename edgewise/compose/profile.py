"""`edgewise models profile`: what models cost on this machine, on a node process of its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgewise.compose.fidelity_cluster import Cluster
from edgewise.compose.interruptible import until_signalled
from edgewise.compose.models import sources_for
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.codec import to_plain
from edgewise.domain.world import World
from evals.fidelity.cpu import Usage, others_cores, usage
from evals.profiles.measure import AT_ONCE, USUAL, Effort, measure_models
from evals.profiles.record import FORMAT, Profile, this_machine
from serving.checkpoints import catalogue
from tools.rundir import create_run_dir, write_json

ROOM_GIB = 1.0  # beside the largest model; models are measured one by one
BUSY = 0.1  # of a core: more than this taken by others is said in the notes


def run_profile(
    models: str,
    out: Path | None,
    say: Callable[[str], None],
    *,
    only: tuple[str, ...] = (),
    effort: Effort = USUAL,
) -> dict[str, Any]:
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
                before = usage(cluster.all_pids())
                url, pid = cluster.urls[node.id], cluster.pids[node.id]
                found = await measure_models(url, pid, specs, effort=effort, say=say)
                return Profile(FORMAT, this_machine(), found, _notes(before, usage(cluster.all_pids())))
            finally:
                await cluster.stop()

    content: dict[str, Any] = to_plain(asyncio.run(until_signalled(measure())))
    if out is not None:
        write_json(out, content)
    return content


def _notes(before: Usage, after: Usage) -> tuple[str, ...]:
    cores = others_cores(before, after)
    if cores <= BUSY:
        return ()
    return (f"others used {cores:.2f} cores of this machine meanwhile: figures are too high and unsteady",)
