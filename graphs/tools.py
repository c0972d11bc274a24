"""What the graphs' nodes call beyond pure functions: a Protocol, so that tests and offline views bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agents.proposal import Proposal
from edgewise.control.state import EpochResult, Job, Ticket
from edgewise.domain.decision import Decision, LlmUse, Rung
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Change
from edgewise.domain.records import RecalledCase
from edgewise.settings import Settings


class GraphTools(Protocol):
    """None of these raises for a part that does not answer: they go on with less and say so in the notes."""

    settings: Settings

    async def observe(self, ticket: Ticket) -> Observation: ...

    async def recall(self, job: Job) -> tuple[Sequence[RecalledCase], str]:
        """Cases, and what went wrong in words."""
        ...

    async def propose(self, job: Job, result: EpochResult) -> Proposal: ...

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

    async def act(self, decision: Decision, order: Sequence[Change]) -> Decision:
        return decision

    async def record(self, job: Job, decision: Decision) -> None:
        return None

    async def reflect(self, job: Job) -> None:
        return None
