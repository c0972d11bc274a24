"""The controller: the slot graph at the slot cadence, the epoch graph in the background, the actuator beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from agents.metered import MeteredChat
from edgewise.control.actuator import Actuator
from edgewise.control.carry import (
    Carry,
    after,
    approved,
    finished,
    incumbent_of,
    looked_back,
    planning_due,
    refused,
    resting,
    start_planning,
    take_result,
    ticket,
)
from edgewise.control.decide import hold
from edgewise.control.intake import take
from edgewise.control.regret import Ledger, entries, measured
from edgewise.control.spending import paid
from edgewise.control.state import Declined, Job, Ticket
from edgewise.control.summaries import summarise
from edgewise.domain.decision import Decision, Hindsight, Mode, Realised
from edgewise.domain.errors import EdgewiseError
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import SlotSummary
from edgewise.domain.world import World
from edgewise.settings import Settings
from graphs.asking import Asking
from graphs.beside import Beside
from graphs.checkpoints import open_checkpoints
from graphs.compiled import Graphs, number_of
from graphs.doors import Doors
from graphs.hindsight import LookingBack
from graphs.ports import Ports
from graphs.tally import Tally

_log = logging.getLogger(__name__)
PAST = 100_000  # decisions of this run that one started again looks at for what was spent


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller knows after its latest slot; replaced whole, never changed. llm_rests: why the language
    model is not asked now; empty: it is, or there is none."""

    slot: int = -1
    epoch: int = 0
    mode: Mode = Mode.ACTIVE
    plan: Plan | None = None
    observation: Observation | None = None
    decision: Decision | None = None
    notes: tuple[str, ...] = ()
    llm_rests: str = ""


class Controller:
    """Runs until `stop`. Raises SetupError from `run` when the checkpoints cannot be opened; after that, no failure
    of a port or of an agent ends it: it goes on by the last good plan and says why in notes and decisions.

    checkpoints: the SQLite file. run_id: makes case ids unique across runs.
    """

    def __init__(
        self, ports: Ports, world: World, settings: Settings, mode: Mode, checkpoints: Path, run_id: str
    ) -> None:
        self.tally = Tally()
        self.meter = MeteredChat(ports.chat, settings) if ports.chat is not None else None
        ports = replace(ports, chat=self.meter)
        self._ports, self._world, self._settings, self._path = ports, world, settings, checkpoints
        self._mode = mode
        self.actuator = Actuator(
            ports.cluster, ports.telemetry, ports.router, ports.journal, ports.clock, world, settings
        )
        self._doors = Doors(ports, self.actuator, world, settings, run_id)
        self._carry = Carry()
        kept = ports.history is not None and settings.hindsight
        self._looking = LookingBack(ports.history, settings, self._seen) if ports.history and kept else None
        self._beside = Beside(self._doors.correct, settings)
        self._stop = asyncio.Event()
        self.asking = Asking(self, ports, self._doors, settings)
        self._epoch: asyncio.Task[None] | None = None
        self._epoch_due = False
        self.latest = ControllerState(mode=mode)
        self.intents: tuple[Intent, ...] = ()

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def realised(self) -> dict[str, Realised]:
        """Outcomes of recent decisions, by id."""
        return {d.id: d.realised for d in self._doors.decisions if d.realised is not None}

    @property
    def asked_for(self) -> dict[str, Decision]:
        """Recent decisions that a person was asked about, by id, as they are on record now."""
        return {d.id: d for d in self._doors.decisions if d.approval is not None}

    def set_mode(self, mode: Mode) -> None:
        """Takes effect with the next decision; leaving `active` stops acting at once, and `off` asking."""
        self._mode = mode
        for task in (self._epoch, self._beside.task) if mode is Mode.OFF else ():
            if task is not None:
                task.cancel()
        if mode is not Mode.ACTIVE:
            self.actuator.pause()
        self.latest = replace(self.latest, mode=mode)

    def in_force(self) -> tuple[Plan | None, int, int]:
        return self._carry.plan, self._carry.asked, self.latest.slot

    def carried_out(self, job: Job, decision: Decision) -> None:
        """A decision that waited for a person is in effect now."""
        self._carry = approved(self._carry, job, decision)
        self.tally.rungs[decision.rung.value] += 1
        self.latest = replace(self.latest, plan=decision.plan)

    def said_no(self, no: Declined) -> None:
        self._carry = refused(self._carry, no)

    def set_intents(self, intents: tuple[Intent, ...]) -> None:
        """What the operator wants; counts from the next slot on."""
        self.intents = intents

    async def stop(self) -> None:
        """Asks `run` to end; it does so within the doors' own bounds."""
        self._stop.set()

    async def run(self) -> None:
        """Slots at their cadence on the run clock until `stop`."""
        async with open_checkpoints(self._path) as saver:
            graphs = Graphs(self._doors, saver, self._settings)
            await self._resume(graphs)
            # Threads are never written twice: an epoch's number goes on where an earlier controller stopped.
            self._carry = replace(self._carry, epochs=await graphs.resume())
            with contextlib.suppress(EdgewiseError):
                await self.actuator.tick()
            acting = asyncio.create_task(self.actuator.run(), name="actuator")
            try:
                await self._slots(graphs)
            finally:
                self.asking.close()
                looking = self._looking.task if self._looking is not None else None
                tasks = [t for t in (acting, self._epoch, looking, self._beside.task) if t is not None]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _slots(self, graphs: Graphs) -> None:
        first, slot_s = self.latest.slot + 1, self._settings.slot_s
        start_s = self._ports.clock.now_s()
        number = first
        notes: list[str] = []
        while not self._stop.is_set():
            began_s = self._ports.clock.now_s()
            async with self.asking.turn:
                await self.asking.sweep()
                await self._slot(number, graphs, tuple(notes))
            notes = []
            took_s = self._ports.clock.now_s() - began_s
            if took_s > slot_s:
                notes.append(f"slot {number} took {took_s:.1f} s, longer than a slot")
            due = first + int((self._ports.clock.now_s() - start_s) // slot_s) + 1
            if due > number + 1:
                notes.append(f"slots {number + 1}–{due - 1} were not decided: the controller was late")
            number = max(number + 1, due)
            await self._sleep_until(start_s + (number - first) * slot_s)

    async def _slot(self, number: int, graphs: Graphs, notes: tuple[str, ...]) -> None:
        self._carry = take_result(self._carry, number, self._settings)
        mode = self._mode
        rests, said = self._llm_rests(number)
        start = self._beside.onto(ticket(self._carry, number, mode, (*notes, *said), self.intents, rests))
        try:
            job, decision = await self._decide(start, graphs)
        except Exception as error:  # the graph itself failed: checkpoints full, or a mistake of ours
            _log.exception("slot %d failed", number)
            job, decision = await self._last_good(start, f"slot graph failed: {type(error).__name__}: {error}")
        self._carry = after(self._carry, job, decision, hindsight=self._looking is not None)
        plan = self._carry.plan or (decision.plan if decision else None)
        o = job.observation
        notes = decision.notes if decision else notes
        self.latest = ControllerState(number, o.epoch, mode, plan, o, decision, notes, rests)
        if decision is not None:
            self.tally.note(decision)
        self._look_back(job, decision)
        if mode is not Mode.OFF:
            self._start_epoch(job, decision, graphs)
            self._start_scheduler(job, plan)

    def _llm_rests(self, slot: int) -> tuple[str, tuple[str, ...]]:
        """Why the language model is not asked in this slot, and a note when that is news. What it has cost since the
        slot before goes into the books first."""
        if self.meter is None:
            return "", ()
        now_s = self._ports.clock.now_s()
        for call in self.meter.take():
            self._carry = replace(self._carry, spent=paid(self._carry.spent, call.tokens, call.cost, now_s))
        rests = resting(self._carry, slot // self._settings.epoch_slots, now_s, self._settings)
        self._doors.ask_llm = not rests
        was = self.latest.llm_rests
        news = f"the language model is not asked: {rests}" if rests and not was else ""
        return rests, tuple(filter(None, [news, "the language model is asked again" if was and not rests else ""]))

    async def _decide(self, start: Ticket, graphs: Graphs) -> tuple[Job, Decision | None]:
        if start.mode is Mode.OFF:
            job = take(start, await self._doors.observe(start))
            await self._ports.journal.slot(summarise(job.observation, ""))
            return job, None
        if start.incumbent is None:
            # Before the first decision of ours, what already stands is what changes are counted from.
            seen = await self._doors.observe(start)
            start = replace(start, observation=seen, incumbent=incumbent_of(seen, start.mode, self._settings))
        job, decision, wanted = await graphs.slot(start)
        if wanted is not None:
            await self.asking.add(job, wanted, decision)
        return job, decision

    async def _last_good(self, start: Ticket, why: str) -> tuple[Job, Decision]:
        job = take(start, await self._doors.observe(start))
        decision = await self._doors.act(hold(job, why, self._settings), ())
        with contextlib.suppress(EdgewiseError):
            await self._doors.record(job, decision)
        return job, decision

    def _look_back(self, job: Job, decision: Decision | None) -> None:
        """Past decisions by hindsight, in the background; by what was measured where prompts are not recorded."""
        known, self._doors.measured = self._doors.measured, []
        if self._looking is not None:
            if decision is not None:
                self._looking.note(job, decision)
            self._looking.start(self._ports.clock.now_s())
            return
        for d in known if self._settings.hindsight else ():
            if d.realised is not None:
                self._learn(d, measured(d, d.realised))

    async def _seen(self, decision: Decision, hindsight: Hindsight) -> None:
        decision = self._doors.known(decision)  # a person may have approved it meanwhile
        self._learn(decision, entries(decision, hindsight))
        await self._doors.seen(decision, hindsight)

    def _learn(self, decision: Decision, lines: Ledger) -> None:
        if decision.mode is not Mode.ACTIVE:  # nothing was carried out, so nothing is to be regretted
            lines = tuple(replace(e, accepted=False) for e in lines)
        self._carry = looked_back(self._carry, decision, lines, self.latest.slot, self._settings)

    def _start_epoch(self, job: Job, decision: Decision | None, graphs: Graphs) -> None:
        """Start the planner in the background when it is time; one at a time."""
        self._epoch_due |= planning_due(self._carry, job, decision, self._settings)
        if not self._epoch_due or (self._epoch is not None and not self._epoch.done()):
            return
        self._epoch_due = False
        self._carry = start_planning(self._carry, decision)
        start = Ticket(
            decision_id=f"e-{self._carry.epochs:06d}",
            slot=job.observation.slot,
            incumbent=self._carry.plan or job.incumbent,
            track=job.track,
            alive_before=tuple(n.id for n in job.observation.alive),
            asked=self._carry.asked,
            observation=job.observation,
            lately=self._lately(),
            last_asked=self._doors.last_asked,
            intents=job.intents,
            stood=self._carry.stood,
        )
        self._epoch = asyncio.create_task(self._run_epoch(start, graphs), name=start.decision_id)

    def _start_scheduler(self, job: Job, plan: Plan | None) -> None:
        """Ask the scheduler's model about this slot, after the planner's."""
        if self._settings.llm_scheduler and self._doors.ask_llm and plan is not None and plan.routes:
            self._beside.start(job, plan, self._epoch)

    def _lately(self) -> tuple[SlotSummary, ...]:
        kept = self._settings.llm_lately_slots
        return tuple(self._doors.slots)[-kept:] if kept and self._doors.ask_llm else ()

    async def _run_epoch(self, start: Ticket, graphs: Graphs) -> None:
        try:
            async for result in graphs.epoch(start):
                self._carry = finished(self._carry, result)
        except Exception:
            _log.exception("epoch %s failed; slots go on without its result", start.decision_id)

    async def _resume(self, graphs: Graphs) -> None:
        """Go on where an earlier controller of this run stopped."""
        with contextlib.suppress(EdgewiseError):
            known = await self._ports.journal.recent_slots(self._settings.llm_lately_slots)
            self._doors.slots.extend(s for s in known if s.at_s <= self._ports.clock.now_s())
        with contextlib.suppress(EdgewiseError):
            last = [d for d in await self._ports.journal.recent_decisions(1) if d.at_s <= self._ports.clock.now_s()]
            if last:
                d = last[-1]
                plan = d.plan if d.mode is Mode.ACTIVE and d.plan.replicas else None
                self._carry = replace(self._carry, plan=plan, decisions=number_of(d.id))
                self.latest = replace(self.latest, slot=d.slot, epoch=d.epoch, plan=plan, decision=d)
                self.latest = replace(self.latest, llm_rests=d.llm_rests)
                for past in await self._ports.journal.recent_decisions(PAST):
                    use = past.llm
                    self._carry = replace(self._carry, spent=paid(self._carry.spent, use.tokens, use.cost, past.at_s))
        with contextlib.suppress(EdgewiseError):
            await self.asking.open(graphs)

    async def _sleep_until(self, when_s: float) -> None:
        nap = asyncio.ensure_future(self._ports.clock.sleep(max(0.0, when_s - self._ports.clock.now_s())))
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({nap, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            stop.cancel()
