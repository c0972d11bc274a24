"""A language model that answers from a script, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edgewise.control.ports import ChatReply, ChatRequest, ToolCall

Call = tuple[str, str]  # tool, arguments


class ScriptedChat:
    """Ends in turn: a text, calls of tools, or an exception; the last one stays. seconds: each reply's own word."""

    def __init__(self, *ends: str | Sequence[Call] | Exception, seconds: float = 0.1, tokens: int = 100) -> None:
        self.ends, self.seconds, self.tokens = list(ends), seconds, tokens
        self.requests: list[ChatRequest] = []

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        end = self.ends[min(len(self.requests), len(self.ends) - 1)]
        self.requests.append(request)
        await asyncio.sleep(0)
        if isinstance(end, Exception):
            raise end
        if isinstance(end, str):
            return ChatReply(end, "stop", self.tokens, self.seconds, (), 10)
        calls = tuple(ToolCall(f"c{i}", name, text) for i, (name, text) in enumerate(end))
        return ChatReply("", "tool_calls", self.tokens, self.seconds, calls, 10)

    async def aclose(self) -> None:
        """Nothing to close."""
