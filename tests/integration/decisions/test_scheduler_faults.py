"""The scheduler against a real server with every fault: no exception, bounded time, factors within bounds."""

from __future__ import annotations

import json
import time

import pytest

from agents.briefing import allowed_names
from agents.chat import OpenAIChat
from agents.prompting import prompt
from agents.scheduler import Correction, correct, scheduler_request
from edgewise.control.reweigh import LEAST_TIMES, MOST_TIMES, reweighed
from edgewise.domain.decision import Rung
from graphs.ladder import climb
from tests.support.control_world import SD_HEAVY, demand, job, observe, plan_of, rates, ready, seven, short_settings
from tests.support.hostile import WORDS, hostile_job
from tests.support.llm_answers import TOOL_FAULTS
from tests.support.llm_server import FAULTS, LlmServer

VALID = {"valid", "infeasible", "surrogates", *TOOL_FAULTS}
REPAIRED = {
    "prose", "fences", "thinking", "trailing-comma", "single-quotes", "truncated-late", "wrong-types", "misspelt",
    "duplicate-keys", "two-objects", "two-plans", "wrapped", "nan",
}  # fmt: skip
REASKED = {
    "truncated-early", "unknown-names", "refusal", "refusal-text", "empty", "null", "deep", "garbage", "negative",
    "nan-weight", "too-large",
}  # fmt: skip
SLOW = {"hang", "drip", "endless"}
WORLD = seven()
PLAN = plan_of([(f"edge-{i}", m) for i in range(1, 8) for m in ("gpt2", "blip")], "p-inc")


async def run(server: LlmServer, timeout_s: float = 30.0) -> Correction:
    settings = short_settings(llm_scheduler_timeout_s=timeout_s, llm_scheduler_model="small")
    rows = demand(WORLD, rates(WORLD, SD_HEAVY, 0.5), settings.window_s)
    start = job(observe(WORLD, at_s=40.0, slot=10, states=ready(PLAN), demand_rows=rows, settings=settings), PLAN)
    chat = OpenAIChat(server.url)
    from edgewise.control.outlook import outlook
    from edgewise.control.planning import schedule

    plan = schedule(PLAN, outlook(start.observation, start.track, settings), start.observation, settings, "d")
    try:
        found = await correct(start, plan, chat, settings, "s-1", climb)
        if found.reweighting is not None:
            corrected, _ = reweighed(plan, found.reweighting, [n.id for n in WORLD.nodes])
            assert {(r.node, r.model) for r in corrected.routes} == {(r.node, r.model) for r in plan.routes}
        return found
    finally:
        await chat.aclose()


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_gives_a_bounded_correction_or_none_in_time(fault: str) -> None:
    timeout_s = 0.4 if fault in SLOW else 30.0
    async with LlmServer(fault) as server:
        began = time.monotonic()
        found = await run(server, timeout_s)
        took_s = time.monotonic() - began
    assert took_s < timeout_s + 15.0
    use = found.use
    assert use.calls == len(server.requests)
    assert all(body["model"] == "small" for body in server.requests)
    if fault in VALID | REPAIRED:
        assert found.reweighting is not None, found.note
        assert found.reweighting.rung is (Rung.LLM if fault in VALID else Rung.LLM_REPAIRED)
        assert found.reweighting.routes or found.reweighting.shares
        factors = [r.times for r in (*found.reweighting.routes, *found.reweighting.shares)]
        assert all(LEAST_TIMES <= f <= MOST_TIMES for f in factors)
        assert (use.repairs, use.reasks, use.fallbacks) == (int(fault in REPAIRED), 0, 0)
    else:
        assert found.reweighting is None
        assert (use.fallbacks, use.reasks) == (1, int(fault in REASKED))
        assert use.error


async def test_a_second_question_may_save_the_correction() -> None:
    async with LlmServer(["negative", "valid"]) as server:
        found = await run(server)
    assert found.reweighting is not None
    assert found.reweighting.rung is Rung.LLM_REASKED
    assert "from 0.2 to 5" in server.requests[1]["messages"][1]["content"]


async def test_no_correction_is_an_answer() -> None:
    async with LlmServer(says=lambda _: '{"routes": [], "shares": [], "reason": "all is well"}') as server:
        found = await run(server)
    assert (found.reweighting, found.note, found.use.fallbacks) == (None, "no correction wanted", 0)


@pytest.mark.parametrize("kind", WORDS)
def test_the_schedulers_prompt_keeps_its_structure(kind: str) -> None:
    settings = short_settings(gate_draws=4, select_draws=4, search_iterations=5, finalists=1)
    usual, hostile = hostile_job("edge-1", settings)[0], hostile_job(WORDS[kind], settings)[0]
    texts = []
    for start in (usual, hostile):
        assert start.incumbent is not None
        request = scheduler_request(start, start.incumbent, allowed_names(start.observation), settings)
        head, rest = request.user.split("<data>")
        data, tail = rest.split("</data>")
        assert not set("<>&") & set(data)
        texts.append((request.system, head, list(json.loads(data)), tail, request.prompt))
    assert texts[0] == texts[1]
    assert texts[0][4] == prompt("scheduler-v1").hash
