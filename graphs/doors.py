"""The graphs' tools over the ports: each call is bounded in time, and what fails becomes a note."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TypeVar

from agents import planner, scheduler
from agents.deployment import Deployed
from agents.proposal import Proposal
from agents.scheduler import Correction
from agents.toolbox import Toolbox, Tools
from agents.unchanged import seen_now, unchanged
from edgewise.control import intake
from edgewise.control.actuator import Actuator
from edgewise.control.cases import case_of, worth_a_case
from edgewise.control.merit import regret
from edgewise.control.ports import MetricQuery
from edgewise.control.reflect import due, outcome, realise
from edgewise.control.situation import reach, situation
from edgewise.control.state import EpochResult, Job, LastAsked, NodeBrief, Ticket
from edgewise.control.summaries import ideals, summarise
from edgewise.control.transitions import settle
from edgewise.domain.decision import ApprovalState, Decision, Hindsight, LlmUse, Mode, Realised, Rung
from edgewise.domain.errors import EdgewiseError
from edgewise.domain.observation import ClusterFacts, Observation, TelemetryFacts
from edgewise.domain.plan import Change, ChangeKind, Plan
from edgewise.domain.records import CaseOutcome, RecalledCase, SlotSummary
from edgewise.domain.world import World
from edgewise.settings import Settings
from graphs.ladder import climb
from graphs.ports import Ports
from graphs.tools import deploy_node

T = TypeVar("T")
KEPT = 64  # decisions and summaries held for reflection

_log = logging.getLogger(__name__)


class Doors:
    """Implements GraphTools over a controller's ports."""

    def __init__(self, ports: Ports, actuator: Actuator, world: World, settings: Settings, run_id: str) -> None:
        self.settings = settings
        self._ports, self._actuator, self._world, self._run = ports, actuator, world, run_id
        # Never longer than a slot in all: a slow store or memory must not delay the next decision.
        self._patience_s = min(2.0, settings.slot_s / 4)
        self.ask_llm = ports.chat is not None
        self.decisions: deque[Decision] = deque(maxlen=KEPT)
        self.slots: deque[SlotSummary] = deque(maxlen=KEPT)
        self._waits: dict[str, dict[tuple[str, str], float]] = {}  # of this slot's orders, by plan
        self.last_asked: LastAsked | None = None
        self._outcomes: dict[str, CaseOutcome] = {}  # of cases that hindsight may still look at
        self.measured: list[Decision] = []  # since the controller last took them

    async def observe(self, ticket: Ticket) -> Observation:
        """Cluster and telemetry read now; a door that fails leaves the last facts, which show their age."""
        if ticket.observation is not None:
            return ticket.observation
        notes: list[str] = []
        cluster = await self._try("cluster", self._ports.cluster.observe(), notes) or self._last_facts()
        figures = await self._try("telemetry", self._ports.telemetry.read(), notes) or self._last_figures()
        return intake.merge(
            self._world,
            cluster,
            figures,
            at_s=self._ports.clock.now_s(),
            slot=ticket.slot,
            slot_s=self.settings.slot_s,
            epoch_slots=self.settings.epoch_slots,
            notes=(*notes, *self._actuator.given_up),
        )

    async def recall(self, job: Job) -> tuple[Sequence[RecalledCase], str]:
        notes: list[str] = []
        if self.settings.recall_cases == 0:
            return (), ""
        here, near = situation(job.observation, job.track, job.incumbent), reach(job.observation)
        asked = self._ports.memory.recall(here, self.settings.recall_cases, near, both=True)
        cases = await self._try("memory", asked, notes)
        return tuple(cases or ()), "; ".join(notes)

    async def propose(self, job: Job, result: EpochResult) -> Proposal:
        """The planner's proposal beside the optimiser's plan; none without a language model, while demoted, or when
        there is nothing new to ask."""
        chat = self._ports.chat
        if chat is None or not self.ask_llm:
            return Proposal(None, Rung.OPTIMISER, LlmUse(), "")
        if why := unchanged(job, self.settings):
            return Proposal(None, Rung.OPTIMISER, LlmUse(skipped=1), why)
        try:
            telemetry = self._ports.telemetry
            metrics = telemetry if isinstance(telemetry, MetricQuery) else None
            tools: Tools = Toolbox(job, result, self.settings, metrics)
            if self._ports.tools is not None:
                tools = self._ports.tools(tools, job, result)
            plan_id = f"{result.id}-l"
            made = await planner.propose(job, result.plans[0].plan, chat, tools, self.settings, plan_id, climb)
        except Exception as error:
            _log.exception("the planner failed")
            words = f"{type(error).__name__}: {error}"
            return Proposal(None, Rung.OPTIMISER, LlmUse(fallbacks=1, error=words), f"planner failed: {words}")
        if made.plan is not None:
            self.last_asked = seen_now(job, made.seconds)
        return made

    async def correct(self, job: Job, plan: Plan, name: str) -> Correction:
        """The scheduler's correction of the plan in force."""
        chat = self._ports.chat
        if chat is None:
            return Correction(None, LlmUse())
        return await scheduler.correct(job, plan, chat, self.settings, name, climb)

    async def deploy(self, node: str, briefs: Sequence[NodeBrief]) -> Deployed:
        """One node's deployer; with a language model where that is wanted. Its waits are kept for `act`."""
        asks = self.settings.llm_deployers and self.ask_llm
        found = await deploy_node(node, briefs, self._ports.chat if asks else None, self.settings)
        for x in found.orders:
            held = self._waits.setdefault(x.plan_id, {})
            held.update({(w.change.node, w.change.model): w.wait_s for w in x.waits})
        return found

    async def act(self, decision: Decision, order: Sequence[Change]) -> Decision:
        """Hands the plan to the actuator, which publishes it at once; weights and shares are done when the routers
        have acknowledged it."""
        if decision.mode is not Mode.ACTIVE or not decision.plan.replicas:
            return decision
        places = [(c.node, c.model) for c in order]
        waits = self._waits.get(decision.plan.id, {})
        acked = await self._actuator.set_goal(decision.plan, decision.id, places, waits)
        if not acked:
            why = self._actuator.problems.get("router", "not acknowledged yet")
            return replace(decision, notes=(*decision.notes, f"router: {why}"))
        done = [
            replace(o, status="done")
            if o.status == "pending" and o.change.kind in (ChangeKind.WEIGHT, ChangeKind.SHARE)
            else o
            for o in decision.changes
        ]
        return replace(decision, changes=tuple(done))

    async def record(self, job: Job, decision: Decision) -> None:
        """Decision and slot summary to the journal; a case to memory when something was decided anew. A decision that
        waited for a person is recorded again once there is an answer."""
        self._waits = {}
        notes: list[str] = []
        if decision.approval is not None and decision.approval.state is not ApprovalState.WAITING:
            decision = self._revise(decision)
        else:
            self.decisions.append(decision)
            self.slots.append(summarise(job.observation, decision.id))
            await self._try("journal", self._ports.journal.slot(self.slots[-1]), notes)
        await self._try("journal", self._ports.journal.decision(decision), notes)
        if worth_a_case(decision):
            case = case_of(self._case_id(decision), job, decision)
            await self._try("memory", self._ports.memory.remember(case), notes)

    async def reflect(self, job: Job) -> None:
        """Outcome of the decisions whose time has come: into their records, and into their cases."""
        o, ideal_s = job.observation, ideals(job.observation)
        notes: list[str] = []
        for d in due(tuple(self.decisions), o.slot, self.settings.reflect_slots):
            span = [s for s in self.slots if d.slot < s.slot <= d.slot + self.settings.reflect_slots]
            measured = outcome(span, ideal_s, self.settings.alpha, self.settings.slot_s)
            done = replace(d, realised=realise(span, measured), changes=settle(d, self._actuator.seen))
            self.decisions[self.decisions.index(d)] = done
            self.measured.append(done)
            await self._try("journal", self._ports.journal.decision(done), notes)
            if measured is not None and worth_a_case(d):
                self._outcomes = dict([*self._outcomes.items(), (d.id, measured)][-KEPT:])
                await self._try("memory", self._ports.memory.score(self._case_id(d), measured), notes)

    async def seen(self, decision: Decision, hindsight: Hindsight) -> None:
        """What hindsight says of a decision, into its record and its case."""
        for i, d in enumerate(self.decisions):
            if d.id == decision.id:
                known = d.realised or Realised(0, 0, None, None)
                self.decisions[i] = replace(d, realised=replace(known, hindsight=hindsight))
                await self._try("journal", self._ports.journal.decision(self.decisions[i]), [])
                break
        measured, known_regret = self._outcomes.pop(decision.id, None), regret(decision, hindsight)
        if measured is not None and known_regret is not None:
            again = replace(measured, regret=known_regret)
            await self._try("memory", self._ports.memory.score(self._case_id(decision), again), [])

    def known(self, decision: Decision) -> Decision:
        """The decision as it is on record now."""
        return next((d for d in self.decisions if d.id == decision.id), decision)

    def _revise(self, decision: Decision) -> Decision:
        decision = replace(decision, realised=self.known(decision).realised)
        at = next((i for i, d in enumerate(self.decisions) if d.id == decision.id), None)
        if at is None:  # an earlier controller's
            self.decisions.append(decision)
        else:
            self.decisions[at] = decision
        return decision

    def _case_id(self, decision: Decision) -> str:
        return f"{self._run}-{decision.id}"

    def _last_facts(self) -> ClusterFacts:
        return self._actuator.facts or intake.no_cluster(0.0)

    def _last_figures(self) -> TelemetryFacts:
        return self._actuator.figures or intake.no_telemetry(0.0)

    async def _try(self, door: str, call: Awaitable[T], notes: list[str]) -> T | None:
        try:
            async with asyncio.timeout(self._patience_s):
                return await call
        except EdgewiseError as error:
            notes.append(f"{door}: {error.line()}")
        except TimeoutError:
            notes.append(f"{door}: no answer in {self._patience_s:g} s")
        _log.warning(notes[-1])
        return None
