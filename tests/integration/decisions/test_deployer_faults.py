"""The deployers against a real server with every fault, and in the slots of a real controller."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.answer import Names
from agents.chat import OpenAIChat
from agents.deployer import arrange
from agents.deployment import Deployed, deploy, deployer_request
from agents.prompting import prompt
from edgewise.control.state import NodeBrief
from edgewise.domain.plan import ChangeKind
from graphs.ladder import climb
from tests.support.control_world import SD_HEAVY, Loop, rates, short_settings
from tests.support.hostile import WORDS
from tests.support.llm_answers import TOOL_FAULTS
from tests.support.llm_server import FAULTS, LlmServer
from tests.unit.test_deployer_ordering import MOVES, brief

READ = {
    "valid", "infeasible", "surrogates", "prose", "fences", "thinking", "trailing-comma", "single-quotes",
    "truncated-late", "wrong-types", "misspelt", "duplicate-keys", "two-objects", "two-plans", "wrapped", "nan",
    *TOOL_FAULTS,
}  # fmt: skip
SLOW = {"hang", "drip", "endless"}


async def run(server: LlmServer, briefs: tuple[NodeBrief, ...] = (MOVES,), slot_s: float = 120.0) -> Deployed:
    chat = OpenAIChat(server.url)
    try:
        return await deploy(briefs, chat, short_settings(slot_s=slot_s, llm_deployer_model="small"), climb)
    finally:
        await chat.aclose()


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_gives_an_order_in_time(fault: str) -> None:
    slot_s = 2.0 if fault in SLOW else 120.0
    async with LlmServer(fault) as server:
        began = time.monotonic()
        found = await run(server, slot_s=slot_s)
        took_s = time.monotonic() - began
    assert took_s < slot_s / 4 + 10.0
    (order,) = found.orders
    base = arrange(MOVES)
    assert set(order.order) == set(base.order)
    assert order.vetoes == base.vetoes
    assert found.use.calls == len(server.requests)
    assert {b["model"] for b in server.requests} == {"small"}
    if fault in READ:
        assert found.use.fallbacks == 0
        assert "prompt deployer-v1 sha256:" in order.note
    else:
        assert found.use.fallbacks == 1
        assert order.order == base.order
        assert order.waits == ()


async def test_waits_come_through_and_one_question_serves_all_plans() -> None:
    other = replace(MOVES, plan_id="q", changes=MOVES.changes[:1])
    async with LlmServer("valid") as server:
        found = await run(server, (MOVES, other))
    assert len(server.requests) == 1
    assert [x.plan_id for x in found.orders] == ["p", "q"]
    assert all(w.wait_s == 1.0 for x in found.orders for w in x.waits)


async def test_a_single_change_on_an_idle_node_is_not_asked_about() -> None:
    idle = replace(brief((ChangeKind.LOAD, "a")), loads=())
    async with LlmServer("valid") as server:
        found = await run(server, (idle,))
    assert (found.use.skipped, server.requests) == (1, [])


@pytest.mark.parametrize("kind", WORDS)
def test_the_deployers_prompt_keeps_its_structure(kind: str) -> None:
    settings = short_settings()
    words = WORDS[kind]
    hostile = replace(
        MOVES,
        node=words,
        need_gib=((words, 3.0), *MOVES.need_gib),
        alone=(words,),
        changes=tuple(replace(c, node=words) for c in MOVES.changes),
        replicas=tuple(replace(r, error=words) for r in MOVES.replicas),
    )
    texts = []
    for b in (MOVES, hostile):
        request = deployer_request([b], Names((b.node,), ("a", "b", "d")), settings)
        head, rest = request.user.split("<data>")
        data, tail = rest.split("</data>")
        assert not set("<>&") & set(data)
        texts.append((request.system, head, list(json.loads(data)), tail, request.prompt))
    assert texts[0] == texts[1]
    assert texts[0][4] == prompt("deployer-v1").hash


@pytest.mark.parametrize("fault", ["valid", "random", "hang"])
async def test_slots_go_on_whatever_the_deployers_say(tmp_path: Path, fault: str) -> None:
    async with LlmServer(fault, seed=5) as server:
        chat = OpenAIChat(server.url)
        options = {"llm_deployers": True, "llm_scheduler": False, "llm_timeout_s": 0.5}
        async with Loop(tmp_path, chat=chat, **options) as loop:
            first = loop.controller.latest.decision
            assert first is not None
            loop.rate = rates(loop.world, SD_HEAVY, 0.4)
            await loop.slots(3)
            assert loop.controller.latest.slot == 3
            facts = await loop.cluster.observe()
        await chat.aclose()
    assert first.verdict.accepted
    assert {r.model for r in facts.replicas if r.state.holds_memory} == {m.id for m in loop.world.models}
    asked = [d for d in loop.journal.decisions if d.llm.calls]
    assert asked
    if fault == "hang":
        assert first.llm.fallbacks >= 1
        assert any("deployer: no answer within" in n for n in first.notes)
