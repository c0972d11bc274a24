"""The slot graph: observe → recall → plan → schedule → deploy (one branch per node) → gate → act → record → reflect.

Where a person has to be asked: gate → stand_in (the slot goes on by its incumbent) → approve (interrupted until there
is an answer) → act, if it was a yes → record → reflect.

Nodes are calls of control/ and agents/ between two dumps. An agent node that fails notes why, and the gate then goes
on by the last good plan; nothing here decides.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import groupby

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from edgewise.control import approvals, decide, intake
from edgewise.control.decide import Pool
from edgewise.control.state import Job, NodeBrief, NodeOrder, Ticket
from edgewise.domain.codec import from_plain
from edgewise.domain.decision import ApprovalState, Decision, LlmUse
from graphs.state import DeployState, Plain, SlotState, dump, read
from graphs.tools import GraphTools

_log = logging.getLogger(__name__)


def build(tools: GraphTools) -> StateGraph[SlotState]:
    """The graph, not compiled."""
    nodes = SlotNodes(tools)
    graph = StateGraph(SlotState)
    for name in ("observe", "recall", "plan", "schedule", "gate", "stand_in", "approve", "act", "record", "reflect"):
        graph.add_node(name, getattr(nodes, name))
    graph.add_node("deploy", nodes.deploy, input_schema=DeployState)
    graph.add_edge(START, "observe")
    graph.add_edge("observe", "recall")
    graph.add_edge("recall", "plan")
    graph.add_edge("plan", "schedule")
    graph.add_conditional_edges("schedule", nodes.fan_out, ["deploy", "gate"])
    graph.add_edge("deploy", "gate")
    graph.add_conditional_edges("gate", nodes.asks, ["stand_in", "act"])
    graph.add_edge("stand_in", "approve")
    graph.add_conditional_edges("approve", nodes.approved, ["act", "record"])
    graph.add_edge("act", "record")
    graph.add_edge("record", "reflect")
    graph.add_edge("reflect", END)
    return graph


class SlotNodes:
    """The nodes of the slot graph."""

    def __init__(self, tools: GraphTools) -> None:
        self._tools = tools

    async def observe(self, state: SlotState) -> Plain:
        ticket = read(Ticket, state, "ticket")
        return {"job": dump(intake.take(ticket, await self._tools.observe(ticket)))}

    async def recall(self, state: SlotState) -> Plain:
        job = read(Job, state, "job")
        cases, problem = await self._tools.recall(job)
        return {"job": dump(replace(job, cases=tuple(cases))), "notes": [problem] if problem else []}

    async def plan(self, state: SlotState) -> Plain:
        job = read(Job, state, "job")
        try:
            return {"pool": dump(await asyncio.to_thread(decide.propose, job, self._tools.settings))}
        except Exception as error:
            return _failed("planning", error)

    async def schedule(self, state: SlotState) -> Plain:
        if state.get("failures"):
            return {}
        job, pool = read(Job, state, "job"), read(Pool, state, "pool")
        try:
            return {"pool": dump(await asyncio.to_thread(decide.schedule_pool, job, pool, self._tools.settings))}
        except Exception as error:
            return _failed("scheduling", error)

    def fan_out(self, state: SlotState) -> list[Send] | str:
        """A branch for each node with something to change."""
        if state.get("failures"):
            return "gate"
        found = decide.briefs(read(Job, state, "job"), read(Pool, state, "pool"), self._tools.settings)
        by_node = groupby(sorted(found, key=lambda b: b.node), key=lambda b: b.node)
        return [Send("deploy", {"node": n, "briefs": [dump(b) for b in mine]}) for n, mine in by_node] or "gate"

    async def deploy(self, state: DeployState) -> Plain:
        found = await self._tools.deploy(state["node"], [from_plain(NodeBrief, b) for b in state["briefs"]])
        uses = [dump(found.use)] if found.use != LlmUse() else []
        return {"orders": [dump(x) for x in found.orders], "uses": uses}

    async def gate(self, state: SlotState) -> Plain:
        job, settings = read(Job, state, "job"), self._tools.settings
        failures = list(state.get("failures", []))
        if not failures:
            pool = read(Pool, state, "pool")
            orders = sorted_orders(state)
            try:
                decision = await asyncio.to_thread(decide.rule, job, pool, orders, settings)
                return {"decision": dump(_noted(approvals.allowed(job, decision, settings), state))}
            except Exception as error:
                failures += _failed("the gate", error)["failures"]
        return {"decision": dump(_noted(decide.hold(job, "; ".join(failures), settings), state))}

    def asks(self, state: SlotState) -> str:
        """Whether a person has to be asked first."""
        job, decision = read(Job, state, "job"), read(Decision, state, "decision")
        return "stand_in" if approvals.wanted(job, decision, self._tools.settings) else "act"

    async def stand_in(self, state: SlotState) -> Plain:
        """All of the slot that does not wait: the incumbent goes on, and what is asked for is recorded."""
        job, wanted, settings = read(Job, state, "job"), read(Decision, state, "decision"), self._tools.settings
        wanted = replace(wanted, approval=approvals.ask(job, wanted, settings))
        meanwhile = approvals.stand_in(job, wanted, settings)
        meanwhile = await self._tools.act(meanwhile, decide.order_of(meanwhile, sorted_orders(state)))
        await self._tools.record(job, meanwhile)
        await self._tools.reflect(job)
        return {"stand_in": dump(meanwhile), "decision": dump(wanted)}

    async def approve(self, state: SlotState) -> Plain:
        """Waits. Nothing with an effect stands before the interrupt: resuming runs this node again from its start."""
        wanted = read(Decision, state, "decision")
        assert wanted.approval is not None
        word = from_plain(approvals.Word, interrupt(dump(wanted.approval)), "the answer to an approval")
        return {"decision": dump(approvals.ended(wanted, read(Decision, state, "stand_in"), word))}

    def approved(self, state: SlotState) -> str:
        found = read(Decision, state, "decision").approval
        return "act" if found is not None and found.state is ApprovalState.APPROVED else "record"

    async def act(self, state: SlotState) -> Plain:
        decision = read(Decision, state, "decision")
        return {"decision": dump(await self._tools.act(decision, decide.order_of(decision, sorted_orders(state))))}

    async def record(self, state: SlotState) -> Plain:
        await self._tools.record(read(Job, state, "job"), read(Decision, state, "decision"))
        return {}

    async def reflect(self, state: SlotState) -> Plain:
        await self._tools.reflect(read(Job, state, "job"))
        return {}


def sorted_orders(state: SlotState) -> list[NodeOrder]:
    """Branches end in any order; decisions must not depend on it."""
    orders = [from_plain(NodeOrder, x) for x in state.get("orders", [])]
    return sorted(orders, key=lambda x: (x.plan_id, x.node))


def _noted(decision: Decision, state: SlotState) -> Decision:
    use = sum((from_plain(LlmUse, u) for u in state.get("uses", [])), decision.llm)
    return replace(decision, notes=(*decision.notes, *state.get("notes", [])), llm=use)


def _failed(what: str, error: Exception) -> Plain:
    _log.exception("%s failed", what)
    return {"failures": [f"{what} failed: {type(error).__name__}: {error}"]}
