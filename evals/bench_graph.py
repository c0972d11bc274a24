"""What the graphs cost: the controller's slots and epochs through LangGraph with SQLite checkpoints on disk, less the
decision itself.

The product runs in the twin as in an evaluation, but each decision is made by the graphs a controller compiles, with
tools that observe the twin. `slot_ms`: wall time of a slot from ticket to decision, less the time inside the decision
functions (intake, propose, schedule, briefs, deployers, rule, hold); so: LangGraph's steps, state in and out of its
plain form, hand-over to threads, checkpoint written and old ones deleted. `checkpoint_kib`: rows of one slot's thread
in the file, with those of the epochs, spread over the slots. `file_kib`: the file at the end. `bound_kib`: what it
may have, which is the kept threads at the size of the largest, and half as much again for SQLite.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import agents.deployment
from edgewise.control import decide, intake
from edgewise.control.carry import after, planning_due, start_planning, take_result, ticket
from edgewise.control.state import Ticket
from edgewise.domain.decision import Mode
from edgewise.domain.observation import Observation
from edgewise.policy.dispatch import MARGINAL
from edgewise.settings import Settings
from edgewise.twin.arrays import FIXED
from evals.bench_planner import shifted, without_node
from evals.bench_twin import world
from evals.observe import observe
from evals.policies import rules
from evals.product import Product, settings_of
from evals.setting import setting
from graphs.checkpoints import Retention, open_checkpoints
from graphs.compiled import Graphs
from graphs.tools import OfflineTools

NODES, MODELS, SLOTS, KEPT = 7, 4, 320, 100
WARM = 5  # slots that are not counted: imports and first compilations
PAGES = 1.5  # of the file for a payload: pages partly filled, indices, the log
DECIDING = ((decide, ("propose", "schedule_pool", "briefs", "rule", "hold")), (intake, ("take",)),
            (agents.deployment, ("arrange",)))  # fmt: skip


class Stopwatch:
    """Seconds inside what is not the graph's."""

    def __init__(self) -> None:
        self.inside_s = 0.0
        self.depth = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            began, self.depth = time.perf_counter(), self.depth + 1
            try:
                return function(*args, **named)
            finally:
                self.depth -= 1
                self.inside_s += time.perf_counter() - began if self.depth == 0 else 0.0

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The decision functions as the graphs call them, timed."""
        with patch.multiple(decide, **self._of(decide)), patch.multiple(intake, **self._of(intake)), \
                patch.multiple(agents.deployment, **self._of(agents.deployment)):  # fmt: skip
            yield

    def _of(self, module: Any) -> dict[str, Any]:
        return {name: self.around(getattr(module, name)) for m, names in DECIDING if m is module for name in names}


def bench(slots: int = SLOTS, kept: int = KEPT) -> list[dict[str, Any]]:
    """One row; `slots` slots, checkpoints of `kept` decisions and epochs."""
    with tempfile.TemporaryDirectory() as folder:
        return [asyncio.run(_row(Path(folder) / "checkpoints.sqlite", slots, kept))]


async def _row(path: Path, slots: int, kept: int) -> dict[str, Any]:
    where = setting(replace(world(NODES, MODELS, 30.0 * (slots + 1)), epoch_slots=10), 1)
    run = _Run(Product(where, settings_of(where)), Stopwatch())
    twin = where.twin(rules(MARGINAL, FIXED, where))
    async with open_checkpoints(path) as saver:
        made = Graphs(run.tools, saver, run.product.settings)
        made._retention = Retention(saver, kept)
        with run.watch.watching():
            for number in range(slots):
                seen = observe(where, twin, number, run.product.settings.window_s)
                seen = shifted(seen) if number % 40 in (20, 21) else seen
                seen = without_node(seen) if number % 40 in (30, 31) else seen
                await run.slot(made, number, seen)
                run.product._apply(twin, run.product.decisions[-1])
                twin.run_until((number + 1) * 30.0, retake=True)
        async with saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)"):
            pass
        sizes = _sizes(path)
    counted = np.array(run.overhead_ms[WARM:])
    per_slot, threads = sum(sizes.values()) / sum(t.startswith("d-") for t in sizes), len(sizes)
    return {
        "name": "graph",
        "size": f"{NODES}x{MODELS}",
        "slots": slots,
        "slot_ms": float(np.quantile(counted, 0.5)),
        "slot_p95_ms": float(np.quantile(counted, 0.95)),
        "slot_cpu_ms": float(np.mean(run.cpu_ms[WARM:])),
        "decision_ms": float(np.quantile(run.inside_ms[WARM:], 0.5)),
        "checkpoint_kib": per_slot / 1024,
        "checkpoint_max_kib": max(sizes.values()) / 1024,
        "threads_kept": threads,
        "threads_bound": kept,
        "file_kib": os.stat(path).st_size / 1024,  # noqa: PTH116  a moment, and nothing else runs here
        "bound_kib": PAGES * kept * max(sizes.values()) / 1024,
    }


class _Run:
    """The product's slots through the graphs."""

    def __init__(self, product: Product, watch: Stopwatch) -> None:
        self.product, self.watch = product, watch
        self.tools = _Tools(product.settings)
        self.overhead_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.inside_ms: list[float] = []

    async def slot(self, made: Graphs, number: int, seen: Observation) -> None:
        p = self.product
        p.carry = take_result(p.carry, number, p.settings)
        self.tools.seen = seen
        self.watch.inside_s, cpu, began = 0.0, time.thread_time(), time.perf_counter()
        job, decision, _ = await made.slot(ticket(p.carry, number, Mode.ACTIVE))
        whole_s = time.perf_counter() - began
        self.cpu_ms.append((time.thread_time() - cpu) * 1e3)
        self.overhead_ms.append((whole_s - self.watch.inside_s) * 1e3)
        self.inside_ms.append(self.watch.inside_s * 1e3)
        p.decisions.append(decision)
        p.carry = after(p.carry, job, decision)
        if planning_due(p.carry, job, decision, p.settings):
            p.carry = start_planning(p.carry, decision)
            start = Ticket(f"e-{p.carry.epochs:06d}", number, decision.plan, job.track, asked=p.carry.asked,
                           observation=job.observation)  # fmt: skip
            async for result in made.epoch(start):
                p.carry = replace(p.carry, finished=result)


class _Tools(OfflineTools):
    """Observes what the twin shows; carries nothing out."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.seen: Observation | None = None

    async def observe(self, ticket: Ticket) -> Observation:
        found = ticket.observation or self.seen
        assert found is not None
        return found


def _sizes(path: Path) -> dict[str, int]:
    """Bytes of each thread's rows in the file."""
    with sqlite3.connect(path) as file:
        rows = file.execute(
            "SELECT thread_id, SUM(LENGTH(checkpoint) + LENGTH(metadata)) FROM checkpoints GROUP BY thread_id"
        ).fetchall()
        written = file.execute("SELECT thread_id, SUM(LENGTH(value)) FROM writes GROUP BY thread_id").fetchall()
    sizes = dict(rows)
    for thread, size in written:
        sizes[thread] = sizes.get(thread, 0) + size
    return sizes
