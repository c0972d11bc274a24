"""A run directory as a controller leaves it, made over in-memory ports on a virtual clock: real graphs, real
checkpoints, real recordings, generated demand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.recordings import RecordingChat
from agents.tool_recordings import recording as record_tools
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, seven
from tools.rundir import DECISIONS, RECORDINGS, LineWriter, decision_row


def recorded_run(folder: Path, slots: int = 16, chat: Any = None, **settings: Any) -> Path:
    """`slots` slots after the first; demand shifts half-way, a node is lost and comes back."""
    folder.mkdir(parents=True)
    asyncio.run(_run(folder, slots, chat, settings))
    return folder


async def _run(folder: Path, slots: int, chat: Any, settings: dict[str, Any]) -> None:
    recording = RecordingChat(chat, folder / RECORDINGS) if chat is not None else None
    loop = Loop(folder, seven(host_cores=None), chat=recording, **settings)
    ports = loop.controller._ports
    loop.controller._doors._ports = replace(ports, tools=record_tools(folder / RECORDINGS))
    async with loop:
        loop.batch = 3.0
        loop.rate = rates(loop.world, SD_HEAVY, 0.5)
        await loop.slots(slots // 2)
        loop.rate = rates(loop.world, LARGE_HEAVY, 0.5)
        await loop.slots(slots // 4)
        loop.cluster.kill("edge-2")
        await loop.slots(slots - slots // 2 - slots // 4)
    write_decisions(folder, loop)


def write_decisions(folder: Path, loop: Loop) -> None:
    """decisions.jsonl as a journal leaves it."""
    lines = LineWriter(folder / DECISIONS)
    for decision in {d.id: d for d in loop.journal.decisions}.values():
        lines.append(decision_row(decision))
    lines.close()
