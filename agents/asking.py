"""Asking a model within a deadline and reading what it says: the steps of the climb that all agents share.

Their order is that of a graph (graphs/ladder.py), which agents are handed as a `Climb`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from agents.answer import Names, Strict
from agents.ladder import Form, Reading, constrained, repaired
from agents.mending import clean_text
from agents.prompting import Prompt
from agents.tables import text as quoted
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest, ChatTurn
from edgewise.control.spending import cost_of
from edgewise.domain.decision import LlmUse
from edgewise.domain.errors import ChatUnavailable, Unavailable
from edgewise.settings import Settings

# The model's own deadline ends a little before ours, so that a late answer is recorded as such by its door.
READ_S = 1.0  # for reading, beyond the deadline
DOOR_PART = 0.95
LEAST_S = 0.01

A = TypeVar("A", bound=Strict)


@dataclass(frozen=True, slots=True)
class Asked(Generic[A]):
    """What came of asking, and what it cost. seconds: of the longest call."""

    reading: Reading[A]
    use: LlmUse
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a climb begins. request: the question, with the answer's schema. left_s: seconds for all of it. reply: a
    first answer that is there already. may_reask: whether a second question is affordable after that reply and what
    was spent on it; None: whenever a call as long as the first still fits (by the replies' own seconds, so that a
    replayed decision takes the same way)."""

    request: ChatRequest
    left_s: float
    reply: ChatReply | None = None
    may_reask: Callable[[ChatReply, LlmUse], bool] | None = None


# Up the ladder from a start: as it came, repaired, asked once more with the error, nothing.
Climb = Callable[["Asker[Any]", Start], Awaitable[Asked[Any]]]


@dataclass(frozen=True)
class Asker(Generic[A]):
    """One agent's way to a model for one decision. deadline: on the event loop's clock; it holds whatever `chat`
    does."""

    chat: ChatModel
    form: Form[A]
    names: Names
    texts: Prompt
    settings: Settings
    timeout_s: float
    deadline: float

    async def ask(self, request: ChatRequest, left_s: float) -> ChatReply | Asked[A]:
        """The reply, or the reading of none."""
        began = time.monotonic()
        asked = True
        left_s = min(left_s, self.deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self.chat.ask(request, max(LEAST_S, DOOR_PART * left_s))
        except TimeoutError:
            reason = f"no answer within {self.timeout_s:.3g} s"
        except Unavailable as error:
            reason = error.message
            asked = not isinstance(error, ChatUnavailable) or error.asked
        seconds = time.monotonic() - began
        return Asked(Reading(None, None, reason=reason), LlmUse(calls=int(asked), seconds=seconds), seconds)

    def constrained(self, reply: ChatReply) -> Reading[A] | None:
        """The first rung: what the reply says as it came; None when it is not valid so."""
        return constrained(reply.text, self.names, self.form)

    async def repaired(self, reply: ChatReply) -> Reading[A]:
        """The second: what can be made of it. In a thread: repairing garbage may take a second, and slots must not
        wait for it. A reply heard just in time is read all the same, as it is when the decision is made again."""
        try:
            async with asyncio.timeout_at(self.deadline + READ_S):
                return await asyncio.to_thread(repaired, reply.text, self.names, self.form, reply.finish_reason)
        except TimeoutError:
            return self.nothing("the answer could not be read in time")

    def nothing(self, reason: str) -> Reading[A]:
        return Reading(None, None, reason=reason)

    def cost(self, reply: ChatReply) -> LlmUse:
        price = cost_of(reply, self.settings)
        return LlmUse(calls=1, tokens=reply.tokens, seconds=reply.seconds, cost=price)

    def reask_request(self, first: ChatRequest, answer: str, problem: str) -> ChatRequest:
        """The same question again, with what was wrong with the answer."""
        frame = self.texts.reask.replace("{problem}", quoted(clean_text(problem, 300)))
        frame = frame.replace("{answer}", quoted(clean_text(answer, 400)))
        return added(replace(first, key=f"{self.texts.version}-reask"), frame)


def added(request: ChatRequest, words: str) -> ChatRequest:
    """The request with more text at the end of the user's side: in the last turn where that is the user's."""
    if not request.history:
        return replace(request, user=request.user + words)
    *before, last = request.history
    if last.role == "user":
        return replace(request, history=(*before, replace(last, text=last.text + words)))
    return replace(request, history=(*request.history, ChatTurn("user", words.strip())))


def fallen(reason: str, use: LlmUse) -> LlmUse:
    """The use of an agent that fell back to the optimiser's side."""
    return use + LlmUse(fallbacks=1, error=clean_text(reason, 300))
