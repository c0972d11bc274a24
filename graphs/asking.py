"""Decisions that wait for a person: each is a thread of the slot graph, interrupted before it acts.

The slot went on by its incumbent. A yes resumes the thread, which acts then; any other end resumes it too, so that it
is recorded. Waiting threads are found again in the checkpoints by the controller that comes after this one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Protocol

from edgewise.control.approvals import NotApplied, Word, lapsed, renewed
from edgewise.control.state import Declined, Job, Ticket
from edgewise.domain.decision import Approval, ApprovalState, Decision, Mode
from edgewise.domain.errors import Unavailable
from edgewise.domain.plan import Plan
from edgewise.settings import Settings
from graphs.approvals import Approvals, Waiting
from graphs.ports import Ports
from graphs.tools import GraphTools

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """A thread that was asked in. waits: it is not answered; else `decision` is what it ended with."""

    waits: bool
    job: Job
    decision: Decision
    meanwhile: Decision


class Threads(Protocol):
    """The slot graph's threads that wait."""

    async def left(self, thread_id: str) -> Left | None:
        """How a thread was left; None when there is none."""
        ...

    async def answer(self, thread_id: str, word: Word) -> Decision:
        """Resume a thread; the decision as it was recorded at its end."""
        ...


class Host(Protocol):
    """What is asked of the controller."""

    @property
    def mode(self) -> Mode: ...

    def in_force(self) -> tuple[Plan | None, int, int]:
        """The plan in force, loads and drops asked for in this epoch, and the latest slot."""
        ...

    def carried_out(self, job: Job, decision: Decision) -> None: ...

    def said_no(self, no: Declined) -> None: ...


class Asking:
    """Holds the turn: a slot is decided, or an answer is taken, never both at once."""

    def __init__(self, host: Host, ports: Ports, tools: GraphTools, settings: Settings) -> None:
        self._host, self._ports, self._tools, self._settings = host, ports, tools, settings
        self._threads: Threads | None = None
        self.book = Approvals()
        self.turn = asyncio.Lock()

    async def open(self, threads: Threads) -> None:
        """Find what an earlier controller of this run left waiting. Raises only errors of ours."""
        self._threads = threads
        known = await self._ports.journal.recent_decisions(2 * self._settings.approval_slots + 8)
        for d in known:
            if d.approval is not None and d.approval.state is ApprovalState.WAITING:
                await self._found(d, d.approval, newest=d.id == known[-1].id)

    async def _found(self, d: Decision, asked: Approval, newest: bool) -> None:
        """One that is on record as waiting: it still does, or it was answered and the record came to no more, or
        nothing is left of it."""
        assert self._threads is not None
        try:
            left, why = await self._threads.left(d.id), "its checkpoint is gone"
        except Exception as error:
            _log.exception("the checkpoint of %s cannot be read", d.id)
            left, why = None, f"its checkpoint cannot be read ({type(error).__name__})"
        if left is not None and left.waits:
            self._note(left.job, left.decision, left.meanwhile)
            return
        if left is not None and left.decision.approval is not None:
            final = left.decision
            if newest and left.decision.approval.state is ApprovalState.APPROVED:
                self._host.carried_out(left.job, final)
        else:
            why = f"the controller was started again and {why}"
            gone = replace(asked, state=ApprovalState.EXPIRED, why=why, answered_s=self._now_s())
            final = replace(d, approval=gone, notes=(*d.notes, f"{gone.id} expired: {why}"))
        assert final.approval is not None
        self.book.past.append(final.approval)
        self.book.ended[final.approval.state.value] += 1
        await self._ports.journal.decision(replace(final, realised=d.realised))

    def close(self) -> None:
        self._threads = None

    async def add(self, job: Job, wanted: Decision, meanwhile: Decision) -> None:
        """A slot's decision waits now. Older requests for the same placement have had their time."""
        for old in self._note(job, wanted, meanwhile):
            assert wanted.approval is not None
            why = f"{wanted.approval.id} asks for the same on newer figures"
            await self._settle(old, Word(ApprovalState.SUPERSEDED, self._now_s(), "", why))

    async def sweep(self) -> None:
        """End what has waited too long, or what nobody may carry out any more. Call it with the turn held."""
        for w in self.book.due(self._now_s()):
            await self._settle(w, Word(ApprovalState.EXPIRED, self._now_s(), "", "nobody answered in time"))
        if self._host.mode is not Mode.ACTIVE:
            for w in list(self.book.waiting.values()):
                why = f"mode is {self._host.mode.value}: nothing is carried out"
                await self._settle(w, Word(ApprovalState.EXPIRED, self._now_s(), "", why))

    async def approvals(self) -> list[Approval]:
        """Those that wait, newest first, then those that ended lately."""
        return self.book.all()

    async def answer(self, approval_id: str, approve: bool, shown: str, by: str = "") -> Approval:
        """A person's word. Raises UnknownApproval, ApprovalOver (ended or expired), WrongHash (`shown` is not the
        hash of what waits) and NotApplied (approved, but the cluster has changed: it is recorded as lapsed)."""
        async with self.turn:
            if self._threads is None:
                raise Unavailable("the controller is not deciding (yet)", where=approval_id, retry_after_s=1.0)
            await self.sweep()
            w = self.book.find(approval_id, shown, self._now_s())
            if not approve:
                done = await self._settle(w, Word(ApprovalState.REJECTED, self._now_s(), by), strict=True)
                until = self._host.in_force()[2] + self._settings.epoch_slots
                self._host.said_no(Declined(approval_id, w.decision.plan.replicas, until, by))
            else:
                done = await self._approve(w, by)
        assert done is not None
        assert done.approval is not None
        return done.approval

    async def _approve(self, w: Waiting, by: str) -> Decision | None:
        plan, asked, slot = self._host.in_force()
        now = await self._tools.observe(Ticket(w.decision.id, slot))
        why = lapsed(w.decision.plan, w.base, plan, now, asked, self._settings)
        if why:
            await self._settle(w, Word(ApprovalState.LAPSED, self._now_s(), by, why), strict=True)
            raise NotApplied(f"approved, but not carried out: {why}", where=w.approval.id,
                             hint="what is wanted now is asked for anew with the next decision")  # fmt: skip
        word = Word(ApprovalState.APPROVED, self._now_s(), by, "", *renewed(now, self._settings))
        done = await self._settle(w, word, strict=True)
        if done is not None:
            self._host.carried_out(w.job, done)
        return done

    async def _settle(self, w: Waiting, word: Word, strict: bool = False) -> Decision | None:
        """Resume the thread, then close the request. strict: a failure is the caller's."""
        assert self._threads is not None
        done = None
        try:
            done = await self._threads.answer(w.decision.id, word)
        except Exception:
            if strict:
                raise
            _log.exception("%s could not be recorded as %s", w.approval.id, word.state.value)
        self.book.end(w.approval, word)
        return done

    def _note(self, job: Job, wanted: Decision, meanwhile: Decision) -> list[Waiting]:
        assert wanted.approval is not None
        return self.book.add(Waiting(job, wanted, wanted.approval, meanwhile.plan.replicas))

    def _now_s(self) -> float:
        return self._ports.clock.now_s()
