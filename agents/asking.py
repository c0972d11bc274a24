"""Asking a model within a deadline and reading what it says: the climb that all agents share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from agents.answer import Names, Strict
from agents.ladder import Form, Reading, read
from agents.mending import clean_text
from agents.prompting import Prompt
from agents.tables import text as quoted
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest, ChatTurn
from edgewise.control.spending import cost_of
from edgewise.domain.decision import LlmUse, Rung
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

    async def read(self, reply: ChatReply) -> Asked[A]:
        """What the reply says. In a thread: repairing garbage may take a second, and slots must not wait for it. A
        reply heard just in time is read all the same, as it will be when the decision is made again."""
        try:
            async with asyncio.timeout_at(self.deadline + READ_S):
                reading = await asyncio.to_thread(read, reply.text, self.names, self.form, reply.finish_reason)
        except TimeoutError:
            reading = Reading(None, None, reason="the answer could not be read in time")
        repairs = int(reading.rung is Rung.LLM_REPAIRED)
        return Asked(reading, self.cost(reply) + LlmUse(repairs=repairs), reply.seconds)

    def nothing(self, reason: str) -> Reading[A]:
        return Reading(None, None, reason=reason)

    def cost(self, reply: ChatReply) -> LlmUse:
        price = cost_of(reply, self.settings)
        return LlmUse(calls=1, tokens=reply.tokens, seconds=reply.seconds, cost=price)

    async def climb(self, request: ChatRequest, left_s: float, reask: bool = True) -> Asked[A]:
        """Ask for the answer, read, and once more with the reason when the reading failed and a second call as long
        as the first still fits (by the reply's own seconds, so that a replayed decision takes the same way)."""
        first = await self.ask(request, left_s)
        if isinstance(first, Asked):
            return first
        got = await self.read(first)
        left_s -= first.seconds
        if got.reading.answer is not None or not reask or left_s < first.seconds:
            return got
        return await self.again(request, first, got, left_s)

    async def again(self, request: ChatRequest, reply: ChatReply, got: Asked[A], left_s: float) -> Asked[A]:
        """The re-ask, its cost added to what there was."""
        second = await self.ask(self.reask_request(request, reply.text, got.reading.reason), left_s)
        more = second if isinstance(second, Asked) else await self.read(second)
        reading = more.reading
        if reading.answer is not None:
            reading = Reading(reading.answer, Rung.LLM_REASKED, (f"re-asked: {got.reading.reason}", *reading.notes))
        return Asked(reading, got.use + more.use + LlmUse(reasks=1), max(got.seconds, more.seconds))

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
