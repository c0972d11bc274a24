"""What the graphs' nodes call beyond pure functions: a Protocol, so that tests and offline views bring their own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from agents.deployment import Deployed, deploy
from agents.proposal import Proposal
from edgewise.control.ports import ChatModel
from edgewise.control.state import EpochResult, Job, NodeBrief, NodeOrder, Ticket, Veto
from edgewise.domain.decision import Decision, LlmUse, Rung
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Change
from edgewise.domain.records import RecalledCase
from edgewise.settings import Settings
from graphs.ladder import climb

_log = logging.getLogger(__name__)


class GraphTools(Protocol):
    """None of these raises for a part that does not answer: they go on with less and say so in the notes."""

    settings: Settings

    async def observe(self, ticket: Ticket) -> Observation: ...

    async def recall(self, job: Job) -> tuple[Sequence[RecalledCase], str]:
        """Cases, and what went wrong in words."""
        ...

    async def propose(self, job: Job, result: EpochResult) -> Proposal: ...

    async def deploy(self, node: str, briefs: Sequence[NodeBrief]) -> Deployed:
        """One node's deployer on its briefs, one for each plan that changes something there."""
        ...

    async def act(self, decision: Decision, order: Sequence[Change]) -> Decision: ...

    async def record(self, job: Job, decision: Decision) -> None: ...

    async def reflect(self, job: Job) -> None: ...


class OfflineTools:
    """Observes only what the ticket brings, recalls nothing, asks nobody, carries nothing out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def observe(self, ticket: Ticket) -> Observation:
        if ticket.observation is None:
            raise ValueError("offline, a ticket brings its observation")
        return ticket.observation

    async def recall(self, job: Job) -> tuple[Sequence[RecalledCase], str]:
        return (), ""

    async def propose(self, job: Job, result: EpochResult) -> Proposal:
        return Proposal(None, Rung.OPTIMISER, LlmUse(), "")

    async def deploy(self, node: str, briefs: Sequence[NodeBrief]) -> Deployed:
        return await deploy_node(node, briefs, None, self.settings)

    async def act(self, decision: Decision, order: Sequence[Change]) -> Decision:
        return decision

    async def record(self, job: Job, decision: Decision) -> None:
        return None

    async def reflect(self, job: Job) -> None:
        return None


async def deploy_node(node: str, briefs: Sequence[NodeBrief], chat: ChatModel | None, settings: Settings) -> Deployed:
    """One node's deployer. If it fails, its node's changes are refused, and the others' go on."""
    try:
        return await deploy(briefs, chat, settings, climb)
    except Exception as error:
        _log.exception("the deployer of %s failed", node)
        why = f"its deployer failed: {type(error).__name__}: {error}"
        refused = (
            NodeOrder(b.plan_id, node, (), tuple(Veto(c, why) for c in b.changes), f"{node}: {why}") for b in briefs
        )
        return Deployed(tuple(refused))
