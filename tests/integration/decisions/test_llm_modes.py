"""What each mode does with a language model configured, and what becomes of one that is worth nothing or too dear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.records import PromptRow, PromptStatus
from graphs.controller import Controller
from tests.support.control_world import SD_HEAVY, Loop, rates, until


class Chat:
    """Always wants the same few replicas: valid, and poor."""

    def __init__(self, wait_s: float = 0.0) -> None:
        self.asked, self.wait_s = 0, wait_s
        few = {"edge-1": ["stable-diffusion"], "edge-2": ["gpt2-large", "gpt2"], "edge-3": ["blip"]}
        self.answer = json.dumps(
            {
                "replicas": [{"node": n, "models": m} for n, m in few.items()],
                "roles": [],
                "alpha": None,
                "expires_slots": None,
                "reason": "few are enough",
            }
        )

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        return ChatReply(self.answer, "stop", 1000, 0.01, answer_tokens=100)

    async def aclose(self) -> None:
        return None


class Arrived:
    """Implements ports.History over the prompts that a loop's telemetry was told of."""

    def __init__(self, loop: Loop) -> None:
        self.rows: list[PromptRow] = []
        self._loop, self._told = loop, loop.telemetry.arrive
        loop.telemetry.arrive = self._arrive  # type: ignore[method-assign]

    def _arrive(self, access_node: str, model: str, count: int = 1) -> None:
        at_s = self._loop.clock.now_s()
        for _ in range(count):
            name = f"r-{len(self.rows)}"
            self.rows.append(
                PromptRow(
                    name,
                    model,
                    access_node,
                    access_node,
                    at_s,
                    at_s,
                    at_s,
                    PromptStatus.COMPLETED,
                    None,
                    1,
                    30.0,
                    1.0,
                )
            )
        self._told(access_node, model, count)

    async def prompts(self, from_s: float, until_s: float) -> Sequence[PromptRow]:
        return [r for r in self.rows if from_s <= r.arrived_s < until_s]


def looking_back(loop: Loop, tmp_path: Path, mode: Mode = Mode.ACTIVE) -> Loop:
    """The loop with a controller that knows what prompts came."""
    ports = replace(loop.controller._ports, history=Arrived(loop))
    loop.controller = Controller(ports, loop.world, loop.settings, mode, tmp_path / "checkpoints.sqlite", "run")
    loop.rate = rates(loop.world, SD_HEAVY, 0.4)
    return loop


def latest(loop: Loop) -> list[Decision]:
    """Each decision as it is on record now."""
    return list({d.id: d for d in loop.journal.decisions}.values())


async def looked(loop: Loop, count: int) -> list[Decision]:
    """Let slots pass until so many decisions are known in hindsight with a language model's plan among them."""
    for _ in range(60):
        await loop.slots(1)
        looking = loop.controller._looking
        if looking is not None and looking.task is not None:
            await until(looking.task.done)
        found = [d for d in latest(loop) if d.realised and d.realised.hindsight and weighed_theirs(d)]
        if len(found) >= count:
            return found
    raise AssertionError("no hindsight in time")


def weighed_theirs(decision: Decision) -> bool:
    seen = decision.realised.hindsight if decision.realised is not None else None
    return seen is not None and any(x.source == "llm" for x in seen.plans)


async def test_advisory_asks_judges_and_records_but_carries_nothing_out(tmp_path: Path) -> None:
    chat = Chat()
    loop = looking_back(Loop(tmp_path, chat=chat, mode=Mode.ADVISORY), tmp_path, Mode.ADVISORY)
    async with loop:
        loop.controller.set_mode(Mode.ACTIVE)
        await loop.slots(2)
        loop.controller.set_mode(Mode.ADVISORY)
        await loop.slots(1)
        commands, published = len(loop.cluster.commands), len(loop.router.published)
        asked = chat.asked
        found = await looked(loop, 3)
        advised = [d for d in found if d.mode is Mode.ADVISORY]
        assert advised
        assert chat.asked > asked
        assert (len(loop.cluster.commands), len(loop.router.published)) == (commands, published)
        assert all({o.status for o in d.changes} <= {"skipped", "refused"} for d in advised)
        assert all({"llm", "optimiser", "incumbent"} <= {c.source for c in d.candidates} for d in advised)


async def test_off_asks_nobody_and_ends_what_is_being_asked(tmp_path: Path) -> None:
    chat = Chat(wait_s=30.0)
    async with Loop(tmp_path, chat=chat, llm_timeout_s=60.0) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await until(lambda: chat.asked == 1)
        thinking = loop.controller._epoch
        assert thinking is not None
        loop.controller.set_mode(Mode.OFF)
        await until(thinking.done)
        known = len(loop.journal.decisions)
        await loop.slots(7)
        assert chat.asked == 1
        assert len(loop.journal.decisions) == known
        chat.wait_s = 0.0
        loop.controller.set_mode(Mode.ACTIVE)
        await loop.slots(7)
        assert chat.asked > 1


async def test_five_losses_in_a_row_and_it_is_not_asked_until_it_has_rested(tmp_path: Path) -> None:
    chat = Chat()
    loop = looking_back(Loop(tmp_path, chat=chat, epoch_slots=2), tmp_path)
    async with loop:
        for _ in range(60):
            await loop.slots(1)
            looking = loop.controller._looking
            if looking is not None and looking.task is not None:
                await until(looking.task.done)
            if loop.controller.latest.llm_rests:
                break
        assert "5 decisions in a row of negative lift in hindsight" in loop.controller.latest.llm_rests
        first = next(d for d in latest(loop) if d.llm_rests)
        assert any(n.startswith("the language model is not asked: demoted") for n in first.notes)
        until_epoch = loop.controller._carry.rests_until
        asked = chat.asked
        while loop.controller.latest.epoch < until_epoch - 1:
            await loop.slots(1)
            decision = loop.controller.latest.decision
            assert decision is not None
            assert "llm" not in {c.source for c in decision.candidates}
        assert chat.asked == asked
        await loop.slots(4)
        assert chat.asked > asked
        back = [d for d in latest(loop) if "the language model is asked again" in d.notes]
        assert len(back) == 1


async def test_a_spent_budget_leaves_the_optimiser_alone(tmp_path: Path) -> None:
    chat = Chat()
    priced: dict[str, Any] = {
        "llm_price_in": 1.0,
        "llm_price_out": 10.0,
        "llm_budget_tokens_per_run": 1500,
        "epoch_slots": 2,
        "llm_scheduler": False,
    }
    async with Loop(tmp_path, chat=chat, **priced) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(12)
        assert chat.asked == 2  # the second call ends above the budget, none begins there
        assert loop.controller.latest.llm_rests == "budget spent: 2000 of 1500 tokens for this run"
        used = [d.llm for d in latest(loop)]
        assert sum(u.tokens for u in used) == 2000
        assert sum(u.cost for u in used) == 2 * (900 * 1.0 + 100 * 10.0) / 1e6
        assert loop.controller.tally.rested == 1
        assert loop.controller.meter is not None
        assert loop.controller.meter.totals.calls == {("planner", "answered"): 2}


async def test_one_that_starts_again_knows_what_was_spent(tmp_path: Path) -> None:
    chat = Chat()
    loop: Any = Loop(tmp_path, chat=chat, llm_budget_tokens_per_run=900, epoch_slots=2, llm_scheduler=False)
    async with loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(3)
        assert chat.asked == 1
    again = Controller(
        loop.controller._ports, loop.world, loop.settings, Mode.ACTIVE, tmp_path / "checkpoints.sqlite", "run"
    )
    slot, loop.controller = loop.controller.latest.slot, again
    task = asyncio.create_task(again.run())
    await until(lambda: again.latest.slot > slot)
    await loop.slots(5)
    assert chat.asked == 1
    assert again.latest.llm_rests.startswith("budget spent: 1000 of 900")
    await again.stop()
    await asyncio.wait_for(task, 10)
