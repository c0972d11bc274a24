"""A language model with a meter: each call's agent, outcome, tokens, seconds and cost are counted, whoever asks."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace

from edgewise.control.ports import ChatModel, ChatReply, ChatRequest
from edgewise.control.spending import cost_of
from edgewise.settings import Settings

ANSWERED, FAILED = "answered", "failed"


@dataclass(frozen=True, slots=True)
class Metered:
    """One call. outcome: answered (with something, usable or not) or failed."""

    agent: str
    outcome: str
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentTotal:
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(slots=True)
class Totals:
    """calls: by (agent, outcome); by_agent: what they used. Since the process began."""

    calls: dict[tuple[str, str], int] = field(default_factory=dict)
    by_agent: dict[str, AgentTotal] = field(default_factory=dict)

    def add(self, call: Metered) -> None:
        key = (call.agent, call.outcome)
        self.calls[key] = self.calls.get(key, 0) + 1
        old = self.by_agent.get(call.agent, AgentTotal())
        self.by_agent[call.agent] = AgentTotal(
            old.tokens + call.tokens, old.seconds + call.seconds, old.cost + call.cost
        )


class MeteredChat:
    """Implements ports.ChatModel over another one."""

    def __init__(self, inner: ChatModel, settings: Settings) -> None:
        self._inner, self._settings = inner, settings
        self.totals = Totals()
        self._since: list[Metered] = []

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        began = time.monotonic()
        call = Metered(agent_of(request.key), FAILED)
        try:
            reply = await self._inner.ask(request, timeout_s)
            call = replace(call, outcome=ANSWERED, tokens=reply.tokens, cost=cost_of(reply, self._settings))
            return reply
        finally:  # a call that is given up on from outside has cost its time, too
            self._note(replace(call, seconds=time.monotonic() - began))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def take(self) -> list[Metered]:
        """The calls since this was last asked for."""
        found, self._since = self._since, []
        return found

    def _note(self, call: Metered) -> None:
        self.totals.add(call)
        self._since.append(call)


def agent_of(key: str) -> str:
    """Whose call it is: the first word of its key (`planner-v2-reask` is the planner's)."""
    found = re.match(r"[a-z]+", key.lower())
    return found.group() if found else "other"
