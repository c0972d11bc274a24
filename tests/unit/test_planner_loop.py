"""The planner's conversation: turns with tools, their bounds, and the turn with the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agents.planner import propose
from agents.proposal import Proposal
from agents.toolbox import ToolAnswer
from edgewise.control.forecast import Track
from edgewise.control.ports import ToolCall, ToolSpec
from edgewise.control.state import Job, LastAsked
from edgewise.domain.decision import Rung
from edgewise.domain.errors import ChatUnavailable
from edgewise.settings import Settings
from graphs.ladder import climb
from tests.support.chat_double import ScriptedChat
from tests.support.planner_world import observed, plan_of

GOOD = json.dumps({"replicas": [{"node": "edge-1", "models": ["gpt2", "blip"]}], "reason": "why not"})
FORECAST = [("forecast", "{}")]


class OneTool:
    """Says "fine" and remembers what it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[ToolCall] = []
        self.seconds = seconds

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return (ToolSpec("forecast", "what is to come", {"type": "object"}),)

    async def call(self, call: ToolCall) -> ToolAnswer:
        self.calls.append(call)
        return ToolAnswer("fine", self.seconds)


async def run(chat: ScriptedChat, tools: OneTool | None = None, last_s: float = 0.0, **settings: Any) -> Proposal:
    o = observed()
    last = LastAsked("cadence", -9, (), (), last_s) if last_s else None
    job = Job("e-7", o, None, Track(), last_asked=last)
    return await propose(job, plan_of(o), chat, tools or OneTool(), Settings(**settings), "p-7", climb)


async def test_tools_first_then_the_answer_with_its_schema() -> None:
    chat, tools = ScriptedChat(FORECAST, "let me think", GOOD), OneTool()
    made = await run(chat, tools)
    assert made.rung is Rung.LLM
    assert (made.use.calls, made.use.tool_calls, made.use.tokens, made.use.reasks) == (3, 1, 300, 0)
    first, second, last = chat.requests
    assert [bool(r.tools) for r in chat.requests] == [True, True, False]
    assert last.schema is not None
    assert [(t.role, t.text) for t in second.history] == [("assistant", ""), ("tool", "fine")]
    assert second.history[0].calls == (ToolCall("c0", "forecast", "{}"),)
    assert second.history[1].call_id == "c0"
    assert [t.role for t in last.history] == ["assistant", "tool", "assistant", "user"]
    assert "as one JSON object" in last.history[-1].text
    assert first.system == last.system
    assert [r.key for r in chat.requests] == ["planner-v2", "planner-v2", "planner-v2-final"]


async def test_an_answer_in_an_earlier_turn_is_taken_at_once() -> None:
    chat = ScriptedChat(FORECAST, f"```{GOOD}```")
    made = await run(chat)
    assert (made.rung, made.use.calls, made.use.repairs) == (Rung.LLM_REPAIRED, 2, 1)


async def test_an_unusable_answer_in_an_earlier_turn_is_re_asked_in_the_final_one() -> None:
    chat = ScriptedChat(FORECAST, '{"replicas": [{"node": "mars", "models": ["gpt2"]}]}', GOOD)
    made = await run(chat)
    assert (made.rung, made.use.calls, made.use.reasks) == (Rung.LLM_REASKED, 3, 1)
    assert "mars" in chat.requests[2].history[-1].text
    assert chat.requests[2].tools == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "forecast", "arguments": {"n": 1}}',
        'I will look.\n<tool_call>\n{"name": "forecast", "parameters": {"n": 1}}\n</tool_call>',
        '<think>{"name": "forecast", "arguments": {}}</think>```\n{"name": "forecast", "arguments": {"n": 1}}```',
    ],
)
async def test_a_call_in_the_text_is_a_call(text: str) -> None:
    chat, tools = ScriptedChat(text, GOOD), OneTool()
    made = await run(chat, tools)
    assert made.rung is Rung.LLM
    assert [json.loads(c.arguments) for c in tools.calls] == [{"n": 1}]
    assert chat.requests[1].history[1].call_id == chat.requests[1].history[0].calls[0].id


async def test_the_same_call_again_is_refused_and_counted() -> None:
    chat, tools = ScriptedChat(FORECAST, FORECAST, GOOD), OneTool()
    made = await run(chat, tools)
    assert (len(tools.calls), made.use.tool_calls) == (1, 2)
    assert "asked before" in chat.requests[2].history[-1].text


async def test_a_model_that_only_ever_calls_tools_comes_to_its_final_turn() -> None:
    chat = ScriptedChat(FORECAST)
    made = await run(chat, llm_max_calls=4)
    assert made.plan is None
    assert made.use.calls == 4
    assert [bool(r.tools) for r in chat.requests] == [True, True, True, False]


@pytest.mark.parametrize(
    ("settings", "tooled"),
    [
        ({"llm_max_calls": 1}, 0),
        ({"llm_max_calls": 2}, 1),
        ({"llm_max_tool_calls": 0}, 0),
        ({"llm_max_tool_calls": 2}, 2),
        ({"llm_budget_tokens": 299}, 1),
        ({"llm_budget_tokens": 300}, 2),
    ],
)
async def test_bounds_leave_room_for_the_answer(settings: dict[str, Any], tooled: int) -> None:
    chat = ScriptedChat(*[[("forecast", f'{{"n": {i}}}')] for i in range(tooled)], GOOD)
    made = await run(chat, **settings)
    assert made.plan is not None
    assert [bool(r.tools) for r in chat.requests] == [True] * tooled + [False]


async def test_a_turn_with_tools_needs_time_for_the_final_one() -> None:
    chat = ScriptedChat(FORECAST, GOOD, seconds=4.0)
    assert (await run(chat, llm_timeout_s=10.0)).plan is not None
    assert [bool(r.tools) for r in chat.requests] == [True, False]


async def test_many_calls_at_once_are_all_answered_and_few_are_run() -> None:
    calls = [("forecast", f'{{"n": {i}}}') for i in range(6)]
    chat, tools = ScriptedChat(calls, GOOD), OneTool()
    made = await run(chat, tools, llm_max_tool_calls=2)
    assert (len(tools.calls), made.use.tool_calls) == (2, 2)
    answers = [t for t in chat.requests[1].history if t.role == "tool"]
    assert [t.call_id for t in answers] == [f"c{i}" for i in range(6)]
    assert all("no more tool calls" in t.text for t in answers[2:])


async def test_the_seconds_of_tools_count() -> None:
    chat = ScriptedChat(FORECAST, GOOD)
    made = await run(chat, OneTool(seconds=9.85), llm_timeout_s=10.0)
    assert made.plan is not None
    assert [bool(r.tools) for r in chat.requests] == [True, False]
    made = await run(ScriptedChat(FORECAST, GOOD), OneTool(seconds=11.0), llm_timeout_s=10.0)
    assert (made.plan, made.use.calls, made.use.fallbacks) == (None, 1, 1)
    assert "time was spent" in made.note


async def test_a_slow_model_is_asked_for_the_answer_at_once() -> None:
    chat = ScriptedChat(GOOD)
    await run(chat, last_s=4.0, llm_timeout_s=10.0)
    assert chat.requests[0].tools == ()
    assert chat.requests[0].user.rstrip().endswith("nothing else.")


async def test_a_model_that_is_gone_in_the_middle_costs_what_it_cost() -> None:
    made = await run(ScriptedChat(FORECAST, ChatUnavailable("gone")))
    assert (made.plan, made.note) == (None, "gone")
    assert (made.use.calls, made.use.tool_calls, made.use.fallbacks) == (2, 1, 1)
    rests = await run(ScriptedChat(ChatUnavailable("a wait", asked=False)))
    assert (rests.use.calls, rests.use.fallbacks) == (0, 1)


async def test_what_it_costs_is_worked_out() -> None:
    made = await run(ScriptedChat(GOOD), llm_price_in=2.0, llm_price_out=10.0)
    assert made.use.cost == pytest.approx((90 * 2 + 10 * 10) / 1e6)
    assert made.prompt.startswith("prompt planner-v2 sha256:")
