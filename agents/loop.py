"""The planner's conversation: a bounded number of turns with tools, then the answer.

The schema goes with the last turn only, since a schema on each turn keeps models from calling tools. Bounds are
calls, tool calls, tokens, and seconds by the replies' own word, so that a replayed conversation takes the same way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from agents.answer import Strict
from agents.asking import Asked, Asker, Climb, Start, added
from agents.extract import fragments, strip_thinking
from agents.ladder import Reading
from agents.toolbox import Tools, failed
from edgewise.control.ports import ChatReply, ChatRequest, ChatTurn, ToolCall
from edgewise.domain.decision import LlmUse
from edgewise.settings import Settings

A = TypeVar("A", bound=Strict)
MAX_SPOKEN_CHARS = 16 * 1024


@dataclass
class _Talk:
    """What was said and spent so far."""

    settings: Settings
    left_s: float
    turns: list[ChatTurn] = field(default_factory=list)
    use: LlmUse = field(default_factory=LlmUse)
    longest_s: float = 0.0
    last_tokens: int = 0
    seen: set[tuple[str, str]] = field(default_factory=set)

    def heard(self, reply: ChatReply, cost: LlmUse) -> None:
        self.use += cost
        self.left_s -= reply.seconds
        self.longest_s = max(self.longest_s, reply.seconds)
        self.last_tokens = reply.tokens

    def may_call_tools(self) -> bool:
        """Whether one more turn with tools and the final one after it still fit."""
        s, use = self.settings, self.use
        return (
            use.calls + 2 <= s.llm_max_calls
            and use.tool_calls < s.llm_max_tool_calls
            and use.tokens + 2 * self.last_tokens <= s.llm_budget_tokens
            and self.left_s >= 2 * self.longest_s
        )

    def may_ask_again(self, reply: ChatReply, spent: LlmUse) -> bool:
        """Whether one more question fits after a reply that is not counted here yet, for which `spent` was used."""
        s, use = self.settings, self.use + spent
        left_s = self.left_s - reply.seconds
        return use.calls < s.llm_max_calls and use.tokens < s.llm_budget_tokens and left_s >= reply.seconds


class Conversation(Generic[A]):
    """One planner decision with a model. request: the first question, with the answer's schema."""

    def __init__(self, asker: Asker[A], request: ChatRequest, tools: Tools | None, climb: Climb) -> None:
        self._asker, self._request, self._tools, self._climb = asker, request, tools, climb
        self._talk = _Talk(asker.settings, asker.timeout_s)

    async def run(self) -> Asked[A]:
        if self._tools is not None:
            ended = await self._open(self._tools)
            if ended is not None:
                return ended
        return await self._final()

    async def _open(self, tools: Tools) -> Asked[A] | None:
        """Turns with tools; their end if there was one, None when it is time for the final turn."""
        talk = self._talk
        while talk.may_call_tools():
            request = replace(self._request, history=tuple(talk.turns), tools=tuple(tools.specs))
            reply = await self._asker.ask(request, talk.left_s)
            if isinstance(reply, Asked):
                return replace(reply, use=talk.use + reply.use, seconds=max(talk.longest_s, reply.seconds))
            calls = reply.calls or spoken_calls(reply.text, [s.name for s in tools.specs], len(talk.turns))
            if calls:
                talk.heard(reply, self._asker.cost(reply))
                await self._answer(tools, replace(reply, calls=calls))
                continue
            tried = is_attempt(reply)
            asked = await self._climb(self._asker, self._start(self._last(), reply, tried))
            if tried or asked.reading.answer is not None:
                # An answer that could not be used was told so: the final turn was the re-ask.
                return self._joined(asked)
            talk.heard(reply, asked.use)
            talk.turns.append(ChatTurn("assistant", reply.text))
            return None
        return None

    async def _answer(self, tools: Tools, reply: ChatReply) -> None:
        """The model's turn, and a tool's turn for each of its calls."""
        talk = self._talk
        talk.turns.append(ChatTurn("assistant", reply.text, reply.calls))
        for call in reply.calls:
            text = await self._told(tools, call)
            talk.turns.append(ChatTurn("tool", text, call_id=call.id))

    async def _told(self, tools: Tools, call: ToolCall) -> str:
        talk = self._talk
        if talk.use.tool_calls >= talk.settings.llm_max_tool_calls:
            return failed("no more tool calls are allowed")
        talk.use += LlmUse(tool_calls=1)
        if (call.name, call.arguments) in talk.seen:
            return failed("this was asked before; the answer is above")
        talk.seen.add((call.name, call.arguments))
        answer = await tools.call(call)
        talk.left_s -= answer.seconds
        return answer.text

    async def _final(self) -> Asked[A]:
        talk = self._talk
        if talk.use.tokens >= talk.settings.llm_budget_tokens or talk.left_s <= 0:
            spent = "time" if talk.left_s <= 0 else "token budget"
            return self._whole(self._asker.nothing(f"the {spent} was spent before the answer"))
        return self._joined(await self._climb(self._asker, self._start(self._last())))

    def _start(self, request: ChatRequest, reply: ChatReply | None = None, may_reask: bool = True) -> Start:
        talk = self._talk
        return Start(request, talk.left_s, reply, lambda said, use: may_reask and talk.may_ask_again(said, use))

    def _last(self) -> ChatRequest:
        """The final turn: the answer, by its schema."""
        version, final = self._asker.texts.version, self._asker.texts.final
        key = f"{version}-final" if self._talk.turns else version
        return added(replace(self._request, key=key, history=tuple(self._talk.turns)), final)

    def _joined(self, asked: Asked[A]) -> Asked[A]:
        return replace(asked, use=self._talk.use + asked.use, seconds=max(self._talk.longest_s, asked.seconds))

    def _whole(self, reading: Reading[A]) -> Asked[A]:
        return Asked(reading, self._talk.use, self._talk.longest_s)


def is_attempt(reply: ChatReply) -> bool:
    """Whether a reply without calls was meant as the answer (or is a refusal of one), rather than thinking aloud."""
    return not reply.text.strip() or reply.finish_reason in ("length", "refusal") or bool(fragments(reply.text))


def spoken_calls(text: str, names: Sequence[str], turn: int) -> tuple[ToolCall, ...]:
    """Calls that were written into the text, as {"name": …, "arguments": {…}}: not every server parses its model's.
    `turn` makes their ids unique in a conversation."""
    found: list[ToolCall] = []
    for fragment in fragments(strip_thinking(text)[:MAX_SPOKEN_CHARS]):
        try:
            plain = json.loads(fragment.text)
        except (ValueError, RecursionError):
            continue
        arguments = plain.get("arguments", plain.get("parameters")) if isinstance(plain, dict) else None
        if isinstance(arguments, dict) and plain.get("name") in names:
            found.append(ToolCall(f"said-{turn}-{len(found)}", str(plain["name"]), json.dumps(arguments)))
    return tuple(found)
