"""Words from outside stay data: the prompt keeps its structure, and a model that obeys them changes nothing that the
gate would not accept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agents.briefing import planner_request
from agents.chat import OpenAIChat
from agents.deployer import arrange
from agents.planner import propose
from agents.prompting import prompt
from agents.toolbox import Toolbox
from edgewise.control.decide import decide
from edgewise.control.guard import violations
from edgewise.control.ports import ToolCall
from graphs.epoch import joined
from graphs.ladder import climb
from tests.support.control_world import short_settings
from tests.support.hostile import WORDS, hostile_job, obeying
from tests.support.llm_answers import state_in
from tests.support.llm_server import LlmServer

SETTINGS = short_settings(gate_draws=4, select_draws=4, search_iterations=10, finalists=2, llm_timeout_s=30.0)


def structure(user: str) -> tuple[str, list[str], str]:
    """What stands around the data, and the keys in it."""
    head, rest = user.split("<data>")
    data, tail = rest.split("</data>")
    assert not set("<>&") & set(data)
    assert data.isascii()
    assert all(line[:1] in ("", "{", "}", '"', " ") for line in data.split("\n"))
    return head, list(json.loads(data)), tail


@pytest.mark.parametrize("kind", WORDS)
def test_the_planners_prompt_keeps_its_structure(kind: str) -> None:
    usual, result = hostile_job("edge-1", SETTINGS)
    hostile, _ = hostile_job(WORDS[kind], SETTINGS)
    plan = result.plans[0].plan
    first, second = planner_request(usual, plan, SETTINGS), planner_request(hostile, plan, SETTINGS)
    assert second.system == first.system == prompt("planner-v2").system
    assert structure(second.user) == structure(first.user)
    state = state_in(second.user)
    assert state["allowed"]["nodes"][0] == state["models"]["rows"][0][0] == WORDS[kind]


@pytest.mark.parametrize("kind", WORDS)
def test_what_tools_say_keeps_its_structure(kind: str) -> None:
    hostile, result = hostile_job(WORDS[kind], SETTINGS)
    box = Toolbox(hostile, result, SETTINGS)
    for name, arguments in [
        ("list_replicas", "{}"),
        ("recall_cases", "{}"),
        ("propose_by_optimiser", "{}"),
        ("simulate_plan", json.dumps({"replicas": [{"node": WORDS[kind], "models": [WORDS[kind], "blip"]}]})),
        (WORDS[kind], WORDS[kind]),
    ]:
        text = box.answer(ToolCall("c", name, arguments))
        assert not set("<>&") & set(text)
        assert text.isascii()
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("kind", WORDS)
async def test_a_model_that_obeys_changes_nothing_the_gate_would_not_accept(kind: str) -> None:
    start, result = hostile_job(WORDS[kind], SETTINGS)
    async with LlmServer(says=obeying) as server:
        chat = OpenAIChat(server.url)
        tools = Toolbox(start, result, SETTINGS)
        made = await propose(start, result.plans[0].plan, chat, tools, SETTINGS, "e-000001-l", climb)
        await chat.aclose()
    assert made.plan is not None
    assert made.plan.expires_s <= start.observation.at_s + (SETTINGS.lease_slots + SETTINGS.epoch_slots) * 4.0
    both = joined(result, made)
    decision = decide(replace(start, result=both, result_new=True), SETTINGS, arrange)
    assert violations(decision.plan, start.observation, SETTINGS) == ()
    assert {r.model for r in decision.plan.replicas} == {m.id for m in start.observation.model_specs}
    told = next(c for c in decision.candidates if c.source == "llm")
    assert "no memory for it" in told.note  # projected, and said so
    base = next(c for c in decision.candidates if c.source == "incumbent")
    ours = min(c.score.mean for c in decision.candidates if c.source != "llm")
    if decision.chosen == told.plan.id:
        assert told.score.mean < min(base.score.mean, ours)
    assert any("prompt planner-v2 sha256:" in n for n in decision.notes)


@pytest.mark.parametrize("kind", WORDS)
async def test_a_model_that_answers_nothing_anywhere_is_not_followed(kind: str) -> None:
    start, result = hostile_job(WORDS[kind], SETTINGS)
    async with LlmServer(says=lambda _: '{"replicas": []}') as server:
        chat = OpenAIChat(server.url)
        made = await propose(start, result.plans[0].plan, chat, None, SETTINGS, "e-000001-l", climb)
        await chat.aclose()
    assert (made.plan, made.use.reasks, made.use.fallbacks) == (None, 1, 1)
