"""The epoch graph, run in the background: observe → recall → plan → propose → result.

`plan` is the optimiser's search; its result is taken at once, while a language model may still think in `propose`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from langgraph.graph import END, START, StateGraph

from agents.proposal import Proposal
from edgewise.control import intake
from edgewise.control.planning import epoch_plans
from edgewise.control.state import EpochResult, Job, Proposed, Ticket
from edgewise.domain.decision import LlmUse
from graphs.state import EpochState, Plain, dump, read
from graphs.tools import GraphTools


def build(tools: GraphTools) -> StateGraph[EpochState]:
    """The graph, not compiled."""
    nodes = EpochNodes(tools)
    graph = StateGraph(EpochState)
    for name in ("observe", "recall", "plan", "propose"):
        graph.add_node(name, getattr(nodes, name))
    graph.add_edge(START, "observe")
    graph.add_edge("observe", "recall")
    graph.add_edge("recall", "plan")
    graph.add_edge("plan", "propose")
    graph.add_edge("propose", END)
    return graph


class EpochNodes:
    """The nodes of the epoch graph. A ticket's decision_id names the epoch's result."""

    def __init__(self, tools: GraphTools) -> None:
        self._tools = tools

    async def observe(self, state: EpochState) -> Plain:
        ticket = read(Ticket, state, "ticket")
        return {"job": dump(intake.take(ticket, await self._tools.observe(ticket)))}

    async def recall(self, state: EpochState) -> Plain:
        job = read(Job, state, "job")
        cases, problem = await self._tools.recall(job)
        return {"job": dump(replace(job, cases=tuple(cases))), "notes": [problem] if problem else []}

    async def plan(self, state: EpochState) -> Plain:
        job = read(Job, state, "job")
        settings = self._tools.settings
        result = await asyncio.to_thread(epoch_plans, job, job.cases, settings, job.decision_id)
        return {"result": dump(replace(result, notes=(*result.notes, *state.get("notes", []))))}

    async def propose(self, state: EpochState) -> Plain:
        job, result = read(Job, state, "job"), read(EpochResult, state, "result")
        proposal = await self._tools.propose(job, result)
        return {"result": dump(joined(result, proposal))}


def joined(result: EpochResult, proposal: Proposal) -> EpochResult:
    """The optimiser's result with what the language model added; itself when none was asked."""
    if proposal.plan is None and proposal.use == LlmUse():
        return result
    plans, notes = result.plans, result.notes
    if proposal.use.calls and proposal.prompt:
        notes = (*notes, f"language model: {proposal.prompt}")
    if proposal.plan is not None:
        plans = (*plans, Proposed("llm", proposal.plan, proposal.rung, proposal.note))
    elif proposal.note:
        notes = (*notes, f"language model: {proposal.note}")
    return replace(result, id=f"{result.id}-llm", plans=plans, notes=notes, llm=proposal.use)
