"""The scheduler beside the slots of a real controller: its answer is taken by a later slot, and no slot waits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.decision import Decision
from tests.support.control_world import SD_HEAVY, Loop, rates, until
from tests.support.llm_answers import reweighting_object, state_in


class Chat:
    """Corrects as the test server does; the planner gets no answer. Waits for `gate` first."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.schedulers = 0

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        if not request.key.startswith("scheduler"):
            return ChatReply("no", "stop", 10, 0.01)
        self.schedulers += 1
        await self.gate.wait()
        from random import Random

        return ChatReply(json.dumps(reweighting_object(state_in(request.user), Random(1))), "stop", 10, 0.01)

    async def aclose(self) -> None:
        return None


def decisions(loop: Loop) -> list[Decision]:
    return list({d.id: d for d in reversed(loop.journal.decisions)}.values())[::-1]


async def test_a_correction_becomes_a_candidate_of_a_later_slot(tmp_path: Path) -> None:
    chat = Chat()
    async with Loop(tmp_path, chat=chat) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(8)
        found = decisions(loop)
    told = [d for d in found if any(c.source == "llm-scheduler" for c in d.candidates)]
    assert told
    assert chat.schedulers <= len(found)  # at most once a slot
    assert any("scheduler: prompt scheduler-v1 sha256:" in n for d in told for n in d.notes)
    assert sum(d.llm.calls for d in found) >= chat.schedulers - 1
    assert chat.schedulers >= 2


async def test_a_scheduler_that_never_answers_delays_no_slot(tmp_path: Path) -> None:
    chat = Chat()
    chat.gate.clear()
    async with Loop(tmp_path, chat=chat, llm_scheduler_timeout_s=60.0) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(2)
        await until(lambda: chat.schedulers == 1)
        await loop.slots(4)
        assert loop.controller.latest.slot == 6
        assert chat.schedulers == 1
        assert all(c.source != "llm-scheduler" for d in decisions(loop) for c in d.candidates)


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    chat = Chat()
    async with Loop(tmp_path, chat=chat, llm_scheduler=False) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(3)
    assert chat.schedulers == 0
