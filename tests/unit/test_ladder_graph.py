"""The ladder as a graph: which rungs an answer goes down, and what is counted on the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agents.answer import Names
from agents.asking import Asked, Asker, Start
from agents.ladder import PLANNER
from agents.prompting import prompt
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.errors import ChatUnavailable
from edgewise.settings import Settings
from graphs.ladder import ClimbState, build, climb
from tests.support.chat_double import ScriptedChat

GOOD = json.dumps({"replicas": [{"node": "edge-1", "models": ["gpt2"]}], "reason": "fits"})
PROSE = f"I would say: {GOOD} Good luck!"
NONSENSE = '{"replicas": "all of them"}'
REQUEST = ChatRequest("planner-v2", "system", "user")
DOWN = ChatUnavailable("connection refused")


async def path(chat: ScriptedChat, left_s: float = 10.0, reply: ChatReply | None = None) -> tuple[list[str], Any]:
    """The rungs in the order they were taken, and what came of it."""
    asker = _asker(chat)
    start = Start(REQUEST, left_s, reply)
    if reply is not None:
        return [], await climb(asker, start)
    asked: Asked[Any] = Asked(asker.nothing(""), LlmUse())
    state = ClimbState(asker=asker, start=start, request=REQUEST, left_s=left_s, first="", asked=asked)
    taken: list[str] = []
    async for update in build().compile().astream(state, stream_mode="updates"):
        for name, change in update.items():
            taken.append(name)
            asked = (change or {}).get("asked", asked)
    return taken, asked


def _asker(chat: ScriptedChat) -> Asker[Any]:
    deadline = asyncio.get_running_loop().time() + 60.0
    return Asker(chat, PLANNER, Names(("edge-1",), ("gpt2",)), prompt("planner-v2"), Settings(), 10.0, deadline)


@pytest.mark.parametrize(
    ("ends", "rungs", "rung", "use"),
    [
        ((GOOD,), ["ask", "constrained"], Rung.LLM, (1, 0, 0)),
        ((PROSE,), ["ask", "constrained", "repair"], Rung.LLM_REPAIRED, (1, 1, 0)),
        (
            (NONSENSE, GOOD),
            ["ask", "constrained", "repair", "reask", "ask", "constrained"],
            Rung.LLM_REASKED,
            (2, 0, 1),
        ),
        (
            (NONSENSE, NONSENSE),
            ["ask", "constrained", "repair", "reask", "ask", "constrained", "repair", "optimiser"],
            None,
            (2, 0, 1),
        ),
        ((DOWN,), ["ask", "optimiser"], None, (1, 0, 0)),
        ((NONSENSE, DOWN), ["ask", "constrained", "repair", "reask", "ask", "optimiser"], None, (2, 0, 1)),
    ],
)
async def test_an_answer_goes_down_the_rungs(ends: Any, rungs: list[str], rung: Rung | None, use: Any) -> None:
    taken, asked = await path(ScriptedChat(*ends))
    assert taken == rungs
    assert asked.reading.rung is rung
    assert (asked.reading.answer is None) == (rung is None)
    assert (asked.use.calls, asked.use.repairs, asked.use.reasks) == use


async def test_no_second_question_without_time_for_it() -> None:
    taken, asked = await path(ScriptedChat(NONSENSE, GOOD, seconds=6.0), left_s=10.0)
    assert taken == ["ask", "constrained", "repair", "optimiser"]
    assert asked.reading.reason


async def test_a_reply_that_is_there_is_read_first() -> None:
    chat = ScriptedChat(GOOD)
    _, asked = await path(chat, reply=ChatReply(NONSENSE, "stop", 100, 0.1))
    assert asked.reading.rung is Rung.LLM_REASKED
    assert len(chat.requests) == 1
    assert asked.use.calls == 2
