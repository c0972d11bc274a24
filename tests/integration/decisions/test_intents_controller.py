"""Intents in a whole controller: a pin is loaded, a floor applied, and both are planned for when they are given."""

from __future__ import annotations

from pathlib import Path

from edgewise.domain.intent import Intent
from edgewise.domain.plan import Floor, ReplicaGoal
from tests.support.control_world import LARGE_HEAVY, Loop, rates


async def test_a_pin_and_a_floor_given_on_the_way_are_in_the_next_plan(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, LARGE_HEAVY, 0.4)
        await loop.slots(2)
        plan = loop.controller.latest.plan
        assert plan is not None
        there = {(r.node, r.model) for r in plan.replicas}
        pin = next(ReplicaGoal(n.id, "blip") for n in loop.world.nodes if (n.id, "blip") not in there)
        loop.controller.set_intents((Intent("a", 0.0, pins=(pin,), floors=(Floor("gpt2-large", 0.4),)),))
        await loop.slots(1)
        latest = loop.controller.latest
        assert latest.decision is not None
        assert latest.decision.trigger == "intent"
        assert latest.plan is not None
        assert pin in latest.plan.replicas
        mine = [s for s in latest.plan.shares if s.model == "gpt2-large"]
        assert mine
        assert all(s.share >= 0.4 - 1e-6 for s in mine)
        await loop.slots(1)
        assert loop.controller.latest.decision is not None
        assert loop.controller.latest.decision.trigger != "intent"
        loop.controller.set_intents(())
        await loop.slots(1)
        assert loop.controller.latest.decision.trigger == "intent"
