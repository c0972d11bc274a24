"""The scheduler beside the slots: one question at a time in the background, whose answer the next slot takes. No slot
ever waits for it, and what it found enters a decision as part of its ticket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agents.prompting import prompt
from agents.scheduler import VERSION, Correction
from agents.unchanged import Standing, moved, standing
from edgewise.control.state import Job, Reweighting, Ticket
from edgewise.domain.decision import LlmUse
from edgewise.domain.plan import Plan
from edgewise.settings import Settings

_log = logging.getLogger(__name__)

Ask = Callable[[Job, Plan, str], Awaitable[Correction]]


class Beside:
    """`ask` is the scheduler agent."""

    def __init__(self, ask: Ask, settings: Settings) -> None:
        self._ask, self._settings = ask, settings
        self._before: Standing | None = None
        self._ready: Reweighting | None = None
        self._use = LlmUse()
        self._notes: tuple[str, ...] = ()
        self.task: asyncio.Task[None] | None = None

    def onto(self, ticket: Ticket) -> Ticket:
        """The ticket with what is ready and what was spent; both are handed out once."""
        ready, use, notes = self._ready, self._use, self._notes
        self._ready, self._use, self._notes = None, LlmUse(), ()
        if ready is not None and ticket.slot - ready.slot > self._settings.epoch_slots:
            ready = None  # made for another time
        return replace(ticket, reweighting=ready, beside=ticket.beside + use, notes=(*ticket.notes, *notes))

    def start(self, job: Job, plan: Plan, planner: asyncio.Task[None] | None = None) -> None:
        """Asks about the slot just decided, unless it asks still, or nothing moved since it last did. It lets the
        planner go first, as the two may share one machine, and gives up where that takes longer than the slot."""
        if self.task is not None and not self.task.done():
            return
        now = standing(job, plan)
        if not moved(now, self._before, job.observation.slot_s, self._settings):
            self._use += LlmUse(skipped=1)
            return
        self._before = now
        self.task = asyncio.create_task(self._run(job, plan, planner), name=f"scheduler {job.decision_id}")

    async def _run(self, job: Job, plan: Plan, planner: asyncio.Task[None] | None) -> None:
        if planner is not None and not planner.done():
            await asyncio.wait({planner}, timeout=job.observation.slot_s)
            if not planner.done():
                self._before = None
                return
        try:
            found = await self._ask(job, plan, f"s-{job.decision_id.removeprefix('d-')}")
        except Exception:
            _log.exception("the scheduler failed; slots go on without it")
            return
        self._ready, self._use = found.reweighting, self._use + found.use
        if found.use.calls:
            why = f"; {found.note}" if found.note else ""
            self._notes = (f"scheduler: {prompt(VERSION).note}{why}",)
