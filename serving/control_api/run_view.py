"""A run directory as a ControlView: a finished run, one that was cut off, or one still being written.

The live controller's view may build on this one: the run's files are flushed line by line, so decisions, plans,
events and the event stream of a live run are those of its directory; only state and mode come from memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgewise.domain.codec import from_plain
from edgewise.domain.decision import Mode
from edgewise.domain.errors import Refused
from edgewise.domain.plan import Plan
from edgewise.domain.records import PromptRow, ReplicaRow
from serving.control_api.run_files import LineTail, read_scenario, require_run
from serving.control_api.run_records import Records, run_state
from serving.control_api.schema import (
    DecisionDetail,
    DecisionEvent,
    DecisionRow,
    Event,
    PromptEvent,
    ReplicaEvent,
    RunState,
)
from serving.control_api.view import Cursor, Streamed, UnknownDecision
from tools.rundir import DECISIONS, EVENTS, SUMMARY

T = TypeVar("T")


def open_run(run: Path) -> RunView:
    """The view of a stored run, all of it read once. Raises BadInput when `run` is none, or has a broken line."""
    require_run(run)
    view = RunView(run)
    view.load()
    return view


class RunView:
    """Serves what the files hold at the moment of each call; reads each line once."""

    def __init__(self, run: Path, poll_s: float = 0.5) -> None:
        """run: the directory; may still be empty. poll_s: how often `subscribe` looks for new rows, s."""
        self.run = run
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._records = Records()
        self._events = LineTail(run / EVENTS, _event)
        self._decisions = LineTail(run / DECISIONS, _decision)
        self._state: tuple[tuple[object, ...], RunState] | None = None

    def load(self) -> Records:
        """Reads what is new. The caller must not change what is returned; rows are only ever added to it."""
        with self._lock:
            if not self._records.scenario:
                self._records.scenario = read_scenario(self.run)
            self._records.events.extend(self._events.take())
            self._records.decisions.extend(self._decisions.take())
            return self._records

    async def _read(self, pick: Callable[[Records], T]) -> T:
        # Files and figures of a long run take a while: not on the event loop.
        return await asyncio.to_thread(lambda: pick(self.load()))

    async def state(self) -> RunState:
        return await self._read(self._cached_state)

    def _cached_state(self, records: Records) -> RunState:
        finished = (self.run / SUMMARY).exists()
        key = (len(records.events), len(records.decisions), bool(records.scenario), finished)
        if self._state is None or self._state[0] != key:
            self._state = (key, run_state(records, str(self.run), finished))
        return self._state[1]

    async def decisions(self, limit: int, before: str | None = None) -> Sequence[DecisionRow]:
        def pick(records: Records) -> list[DecisionRow]:
            end = len(records.decisions) if before is None else _index(records, before)
            return records.decisions[max(0, end - limit) : end][::-1]

        return await self._read(pick)

    async def decision(self, decision_id: str) -> DecisionDetail:
        def pick(records: Records) -> DecisionDetail:
            row = records.decisions[_index(records, decision_id)]
            return DecisionDetail(decision=row, incumbent_plan=records.plans().get(row.incumbent))

        return await self._read(pick)

    async def plans(self, limit: int) -> Sequence[Plan]:
        return await self._read(lambda records: list(records.plans().values())[::-1][:limit])

    async def events(self, limit: int, after: int | None = None) -> Sequence[Event]:
        def pick(records: Records) -> list[Event]:
            count = len(records.events)
            start = max(0, count - limit) if after is None else min(after, count)
            return [_numbered(i + 1, records.events[i]) for i in range(start, min(start + limit, count))]

        return await self._read(pick)

    async def mode(self) -> Mode:
        return await self._read(lambda records: records.decisions[-1].mode if records.decisions else Mode.OFF)

    async def set_mode(self, mode: Mode) -> None:
        raise Refused(
            f"a stored run cannot be set to {mode.value}",
            where=str(self.run),
            hint="it shows what happened; send this to the control API of a running controller",
        )

    async def subscribe(self, after: Cursor | None = None) -> AsyncIterator[Streamed]:
        cursor = after or await self._read(lambda r: Cursor(len(r.events), len(r.decisions)))
        while True:
            fresh = await self._read(lambda r, seen=cursor: _fresh(r, seen))  # type: ignore[misc]
            for item in fresh:
                cursor = item.cursor
                yield item
            if not fresh:
                await asyncio.sleep(self._poll_s)


def _fresh(records: Records, seen: Cursor, limit: int = 500) -> list[Streamed]:
    """What stands behind `seen`, decisions first; at most `limit` of each, so that a batch stays small."""
    found = []
    for i in range(seen.decisions, min(seen.decisions + limit, len(records.decisions))):
        seen = Cursor(seen.events, i + 1)
        found.append(Streamed(seen, DecisionEvent(seq=i + 1, decision=records.decisions[i])))
    for i in range(seen.events, min(seen.events + limit, len(records.events))):
        seen = Cursor(i + 1, seen.decisions)
        found.append(Streamed(seen, _numbered(i + 1, records.events[i])))
    return found


def _numbered(seq: int, row: PromptRow | ReplicaRow) -> Event:
    if isinstance(row, PromptRow):
        return PromptEvent(seq=seq, prompt=row)
    return ReplicaEvent(seq=seq, replica=row)


def _index(records: Records, decision_id: str) -> int:
    for i in range(len(records.decisions) - 1, -1, -1):
        if records.decisions[i].id == decision_id:
            return i
    raise UnknownDecision(
        f"no decision {decision_id[:80]!r} in this run", hint="GET /control/v1/decisions lists the ids there are"
    )


def _event(value: dict[str, Any], where: str) -> PromptRow | ReplicaRow:
    # Prompt rows have arrived_s; replica rows have kind and no arrived_s.
    return from_plain(PromptRow, value, where) if "arrived_s" in value else from_plain(ReplicaRow, value, where)


def _decision(value: dict[str, Any], where: str) -> DecisionRow:
    return from_plain(DecisionRow, value, where)
