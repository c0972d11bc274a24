"""A recorded run (or a capsule of one decision), opened for replay: nothing in it is written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.recordings import ReplayChat
from agents.tool_recordings import replaying
from agents.tool_specs import PROMQL
from edgewise.domain.errors import BadInput
from edgewise.domain.records import PromptRow
from graphs.checkpoints import copied, saver_over
from graphs.proposing import Heard
from graphs.replay import Thread, threads_of
from tools.rundir import CHECKPOINTS, DECISIONS, RECORDINGS, SCENARIO, read_decisions, read_prompts

HINT = "give a folder written by `edgewise demo` (or a controller), or a file written by `edgewise capsule`"


@dataclass(frozen=True)
class Recorded:
    """threads: as in the checkpoints, oldest first. rows: decisions.jsonl by id. heard: language model
    and tools that answer as they did. prompts: those that came, as far as they are known."""

    name: str
    threads: tuple[Thread, ...]
    rows: Mapping[str, dict[str, Any]]
    heard: Callable[[], Heard]
    prompts: tuple[PromptRow, ...] = ()

    def missing(self) -> tuple[int, tuple[str, ...]]:
        """(older decisions whose checkpoints are gone, what else cannot be replayed, in words)."""
        kept = {t.id for t in self.threads if t.whole}
        gone = [row for name, row in self.rows.items() if name not in kept]
        first = min((t.slot for t in self.threads if t.whole and t.is_slot), default=0)
        older = sum(row["slot"] < first for row in gone)
        notes = [f"slot {r['slot']} has no checkpoint: {r['reason']}" for r in gone if r["slot"] >= first]
        notes += [
            f"{t.id} was cut off before it decided" for t in self.threads if not t.whole and t.id not in self.rows
        ]
        return older, tuple(notes)

    def newest(self) -> int:
        """The slot decided last. Raises BadInput where there is none."""
        found = [t.slot for t in self.threads if t.is_slot and t.whole]
        if not found:
            raise BadInput("no decision that could be made again", where=self.name, hint=HINT)
        return max(found)

    def decision(self, slot: int) -> Thread:
        """The slot's decision. Raises BadInput where there is none."""
        found = [t for t in self.threads if t.is_slot and t.whole and t.slot == slot]
        if not found:
            known = sorted(t.slot for t in self.threads if t.is_slot and t.whole)
            kept = f"kept are slots {known[0]} to {known[-1]}" if known else HINT
            raise BadInput(f"no decision of slot {slot} is kept", where=self.name, hint=kept)
        return found[-1]


def open_recorded(path: Path, with_prompts: bool = False) -> Recorded:
    """A run directory or a capsule. Raises BadInput for anything else."""
    return asyncio.run(opened(path, with_prompts))


async def opened(path: Path, with_prompts: bool = False) -> Recorded:
    """As `open_recorded`, in a running loop."""
    found = await asyncio.to_thread(_files, path, with_prompts)
    if isinstance(found, Recorded):
        return found
    copy, recorded = found
    async with saver_over(copy) as saver:
        return replace(recorded, threads=await threads_of(saver))


def _files(path: Path, with_prompts: bool) -> Recorded | tuple[sqlite3.Connection, Recorded]:
    if path.is_file():
        from edgewise.compose.capsule import read_capsule

        return read_capsule(path)
    checkpoints = path / CHECKPOINTS
    if not checkpoints.is_file():
        there = path.is_dir() and any((path / name).exists() for name in (DECISIONS, SCENARIO))
        what = f"the run holds no {CHECKPOINTS}" if there else "this is no run directory"
        raise BadInput(what if path.exists() else "there is no such run", where=str(path), hint=HINT)
    rows = {row["id"]: row for row in read_decisions(path) if "id" in row}
    prompts = tuple(read_prompts(path)) if with_prompts else ()
    return copied(checkpoints), Recorded(str(path), (), rows, lambda: heard_in(path / RECORDINGS), prompts)


def heard_in(folder: Path) -> Heard:
    """What agents heard, from the recordings of a run. Whether they had a Prometheus is said in what was asked."""
    mark = f'"name":"{PROMQL.name}"'.encode()
    promql = any(mark in p.read_bytes() for p in sorted(folder.glob("*.json")) if not p.name.startswith("tool-"))
    return Heard(ReplayChat(folder), replaying(folder), promql)
