"""A language model for tests that need one of every kind of answer, without a server."""

from __future__ import annotations

from collections import Counter

import orjson

from edgewise.control.ports import ChatReply, ChatRequest, ToolCall
from edgewise.domain.errors import ChatUnavailable


class Moody:
    """A language model with good and bad days: plans, prose, refusals, no answer, and calls of
    tools."""

    def __init__(self) -> None:
        self.asked = 0
        self._days: Counter[str] = Counter()  # by agent

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        self.asked += 1
        agent = request.key.partition("-")[0]
        self._days[agent] += 1
        plan = {"replicas": [{"node": f"edge-{i}", "models": ["gpt2", "blip"][: 1 + i % 2]} for i in range(1, 8)]}
        plan["replicas"][0]["models"] = ["stable-diffusion"]
        plan["replicas"][1]["models"] = ["gpt2-large"]
        text = orjson.dumps(plan).decode()
        match self._days[agent] % 5:
            case 0:
                raise ChatUnavailable("429", retry_after_s=3)
            case 2 if request.tools:
                calls = (ToolCall("1", "forecast", "{}"), ToolCall("2", "simulate_plan", text))
                return ChatReply("", "tool_calls", 100, 0.02, calls)
            case 1 | 2:
                return ChatReply(text, "stop", 300, 0.02)
            case 3:
                return ChatReply(f"Certainly! ```json\n{text[:-1]},}}``` as you wish", "stop", 310, 0.02)
        return ChatReply("I would rather not.", "stop", 20, 0.02)

    async def aclose(self) -> None:
        return None
