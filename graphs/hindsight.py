"""The hindsight ledger of a live controller, kept in the background: never in the path of a slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from edgewise.control.hindsight import horizon_s, instructive, look_back, prompts_of
from edgewise.control.ports import History
from edgewise.control.state import Job
from edgewise.domain.decision import Decision, Hindsight
from edgewise.domain.errors import EdgewiseError
from edgewise.settings import Settings

_log = logging.getLogger(__name__)
GRACE_SLOTS = 2  # prompts get their row when they end: those that came last are given so long to do so
MOST_WAITING = 64  # decisions; beyond it (telemetry was gone for long) the oldest are given up
Found = Callable[[Decision, Hindsight], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """span_s: seconds of demand to wait for; 0 until it has been worked out."""

    job: Job
    decision: Decision
    span_s: float = 0.0


class LookingBack:
    """One task at a time; `found` hears of each decision once. A failure is logged and costs that look only."""

    def __init__(self, history: History, settings: Settings, found: Found) -> None:
        self._history, self._settings, self._found = history, settings, found
        self._waiting: list[Waiting] = []
        self.task: asyncio.Task[None] | None = None

    def note(self, job: Job, decision: Decision) -> None:
        if instructive(job, decision):
            self._waiting = [*self._waiting, Waiting(job, decision)][-MOST_WAITING:]

    def start(self, now_s: float) -> None:
        """Looks at what can be seen by now, unless it is still looking."""
        if self._waiting and (self.task is None or self.task.done()):
            self.task = asyncio.create_task(self._look(now_s), name="hindsight")

    async def _look(self, now_s: float) -> None:
        mine, self._waiting = self._waiting, []
        later = []
        for w in mine:
            try:
                if w.span_s == 0.0:
                    w = replace(w, span_s=await asyncio.to_thread(horizon_s, w.job, self._settings))
                if w.decision.at_s + w.span_s + self._grace_s() > now_s:
                    later.append(w)
                else:
                    await self._one(w)
            except EdgewiseError as error:
                _log.warning("hindsight of %s: %s", w.decision.id, error.line())
            except Exception:
                _log.exception("hindsight of %s failed", w.decision.id)
        self._waiting = [*later, *self._waiting]

    async def _one(self, w: Waiting) -> None:
        o = w.job.observation
        rows = await self._history.prompts(o.at_s, o.at_s + w.span_s)
        came = prompts_of(rows, o, w.span_s)
        seen = await asyncio.to_thread(look_back, w.job, w.decision, came, w.span_s, self._settings)
        if seen is not None:
            await self._found(w.decision, seen)

    def _grace_s(self) -> float:
        # Not before the measured outcome is in the record, either.
        return max(GRACE_SLOTS, self._settings.reflect_slots + 1) * self._settings.slot_s
