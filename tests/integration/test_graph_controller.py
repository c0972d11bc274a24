"""The controller over in-memory ports on a virtual clock: whole runs, with real graphs and real checkpoints."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import deployment
from edgewise.control import decide
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Decision, Mode, Rung
from edgewise.domain.errors import ChatUnavailable, MemoryUnavailable, SetupError
from edgewise.domain.world import World
from graphs.checkpoints import Retention, open_checkpoints
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, seven, until

MOVES = ("load", "drain", "unload")


def tight() -> World:
    """Nodes most of which are too small for the largest model, each with processors of its own: where all share two,
    it does not matter much where a model stands."""
    w = seven(host_cores=None)
    budgets = (6.0, 4.0, 6.0, 4.0, 5.0, 4.0, 4.0)
    return replace(w, nodes=tuple(replace(n, memory_gib=b) for n, b in zip(w.nodes, budgets, strict=True)))


def decisions(loop: Loop) -> list[Decision]:
    """As recorded first: later records of the same id add the outcome."""
    return list({d.id: d for d in reversed(loop.journal.decisions)}.values())[::-1]


def counts(loop: Loop) -> Counter[str]:
    assert loop.controller.latest.plan is not None
    return Counter(r.model for r in loop.controller.latest.plan.replicas)


def later_moves(loop: Loop) -> list[tuple[str, str, str]]:
    first = {"d-000000", None}
    return [(r.kind, r.node, r.model) for r in loop.journal.replicas if r.kind in MOVES and r.decision not in first]


async def test_the_first_slot_fills_at_once_and_every_model_is_served(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        first = loop.controller.latest.decision
        assert first is not None
        assert (first.slot, first.trigger, first.verdict.reason) == (0, "first", "first plan")
        await loop.clock.advance(3.0)
        facts = await loop.cluster.observe()
        assert {r.model for r in facts.replicas if r.state is ReplicaState.READY} == {m.id for m in loop.world.models}
        rows = [(r.kind, r.decision) for r in loop.journal.replicas if r.model]
        assert {("load", "d-000000"), ("ready", "d-000000")} == set(rows)


async def test_a_shift_of_bursty_demand_moves_replicas_and_then_it_is_quiet(tmp_path: Path) -> None:
    async with Loop(tmp_path, seven(host_cores=None)) as loop:
        loop.batch = 3.0
        loop.rate = rates(loop.world, SD_HEAVY, 0.5)
        await loop.slots(15)
        image, before = counts(loop)["stable-diffusion"], len(later_moves(loop))
        loop.rate = rates(loop.world, LARGE_HEAVY, 0.5)
        await loop.slots(25)
        moved = later_moves(loop)[before:]
        assert {"load", "drain", "unload"} <= {kind for kind, _, _ in moved}
        assert any(kind == "load" and model == "gpt2-large" for kind, _, model in moved)
        assert counts(loop)["stable-diffusion"] < image
        assert len(moved) <= 3 * loop.settings.max_changes_per_epoch


@pytest.mark.parametrize("seed", [1, 2])
async def test_where_memory_is_tight_plain_demand_is_enough_to_move_and_noise_is_not(
    tmp_path: Path, seed: int
) -> None:
    async with Loop(tmp_path, tight()) as loop:
        loop.rng = type(loop.rng)(type(loop.rng.bit_generator)(seed))
        loop.rate = rates(loop.world, SD_HEAVY, 0.5)
        await loop.slots(15)
        before = counts(loop)
        loop.rate = rates(loop.world, LARGE_HEAVY, 0.5)
        await loop.slots(12)
        after = counts(loop)
        assert after["gpt2-large"] > before["gpt2-large"]
        assert after["stable-diffusion"] < before["stable-diffusion"]
        settled = len(later_moves(loop))
        await loop.slots(20)
        assert len(later_moves(loop)) - settled <= 6  # four epochs of constant noisy demand: at most one more trade
        assert counts(loop)["gpt2-large"] >= after["gpt2-large"]


async def test_constant_noisy_demand_does_not_swing(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, {m.id: 0.25 for m in loop.world.models}, 0.5)
        await loop.slots(10)
        settled = len(later_moves(loop))
        await loop.slots(30)
        assert len(later_moves(loop)) - settled <= 3


async def test_the_loss_of_a_node_is_mended_in_the_next_slot(tmp_path: Path) -> None:
    async with Loop(tmp_path, tight()) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(4)
        plan = loop.controller.latest.plan
        assert plan is not None
        for node in sorted({r.node for r in plan.replicas if r.model == "stable-diffusion"}):
            loop.cluster.kill(node)
        survivors = {n.node for n in (await loop.cluster.observe()).nodes if n.alive}
        await loop.slots(1)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.trigger == "node-loss"
        assert decision.verdict.accepted
        assert {r.node for r in decision.plan.replicas} <= survivors
        room = any(n.memory_gib >= 5 for n in loop.world.nodes if n.id in survivors)
        assert any(r.model == "stable-diffusion" for r in decision.plan.replicas) == room
        assert Counter(r.kind for r in loop.journal.replicas)["node-down"] == 7 - len(survivors)


async def test_advisory_decides_and_touches_nothing(tmp_path: Path) -> None:
    async with Loop(tmp_path, mode=Mode.ADVISORY) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(3)
        assert loop.cluster.commands == []
        assert loop.router.published == []
        latest = loop.controller.latest.decision
        assert latest is not None
        assert latest.mode is Mode.ADVISORY
        assert {o.status for o in latest.changes} == {"skipped"}
        loop.controller.set_mode(Mode.ACTIVE)
        await loop.slots(1)
        assert loop.router.published
        loop.controller.set_mode(Mode.OFF)
        known, summaries = len(decisions(loop)), len(loop.journal.slots)
        await loop.slots(2)
        assert len(decisions(loop)) == known
        assert len(loop.journal.slots) == summaries + 2


async def test_decisions_and_plans_have_ids_of_their_own_and_leases_are_renewed(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.5)
        await loop.slots(6)
        ids = [d.id for d in decisions(loop)]
        assert ids == [f"d-{i:06d}" for i in range(7)]
        lease_s = loop.settings.lease_slots * loop.settings.slot_s
        assert all(d.plan.expires_s == pytest.approx(d.at_s + lease_s) for d in decisions(loop))
        names: dict[str, Any] = {}
        for d in decisions(loop):
            assert names.setdefault(d.plan.id, d.plan.replicas) == d.plan.replicas


async def test_outcomes_are_measured_and_changes_settled(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.telemetry.finish("gpt2", 0.3, count=20)
        await loop.slots(4)
        first = next(d for d in reversed(loop.journal.decisions) if d.id == "d-000000")
        assert first.realised is not None
        assert first.realised.slots == 2
        loads = [o for o in first.changes if o.change.kind.value == "load"]
        assert loads
        assert all(o.status == "done" for o in loads)
        assert loop.memory.remembered[0].decision == "d-000000"
        assert "run-d-000000" in loop.memory.scored


class Chat:
    """Answers with what it was made with; counts how often it was asked."""

    def __init__(self, answer: str = "", wait_s: float = 0.0) -> None:
        self.answer, self.wait_s, self.asked = answer, wait_s, 0

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        self.asked += 1
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
            raise ChatUnavailable("too slow")
        return ChatReply(self.answer, "stop", 10, 0.01)

    async def aclose(self) -> None:
        return None


async def test_a_language_model_that_talks_nonsense_disturbs_nothing(tmp_path: Path) -> None:
    chat = Chat("certainly! here is the plan: {{{ all models everywhere")
    async with Loop(tmp_path, chat=chat) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(6)
        assert chat.asked >= 2
        assert loop.controller.latest.slot == 6
        assert all(d.rung is Rung.OPTIMISER for d in decisions(loop))
        assert sum(d.llm.fallbacks for d in decisions(loop)) >= 1


async def test_a_slow_language_model_delays_no_slot(tmp_path: Path) -> None:
    chat = Chat(wait_s=20.0)
    loop = Loop(tmp_path, chat=chat, llm_timeout_s=20.0)
    async with loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await until(lambda: chat.asked == 1)
        for number in (1, 2, 3):
            await loop.clock.advance(loop.settings.slot_s)
            await loop.decided(number)
        assert chat.asked == 1
        taken = [d.epoch_result for d in decisions(loop)]
        assert "e-000001" in taken  # the optimiser's part is taken while the model still thinks


async def test_failing_parts_are_noted_and_the_last_plan_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Loop(tmp_path) as loop:
        plan = loop.controller.latest.plan
        monkeypatch.setattr(decide, "propose", _broken)
        await loop.slots(1)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.rung is Rung.LAST_GOOD
        assert "planning failed: RuntimeError: no idea" in decision.verdict.reason
        assert plan is not None
        assert loop.controller.latest.plan == replace(
            plan, made_at_s=decision.plan.made_at_s, expires_s=decision.plan.expires_s
        )


async def test_one_failing_deployer_does_not_fail_the_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = deployment.arrange

    def moody(brief: Any) -> Any:
        if brief.node == "edge-2":
            raise ValueError("bad day")
        return real(brief)

    monkeypatch.setattr(deployment, "arrange", moody)
    async with Loop(tmp_path) as loop:
        first = loop.controller.latest.decision
        assert first is not None
        assert first.verdict.accepted
        assert any("edge-2: its deployer failed: ValueError: bad day" in n for n in first.notes)


async def test_a_failing_graph_still_leaves_a_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Loop(tmp_path) as loop:
        monkeypatch.setattr(loop.controller._doors, "recall", _broken)
        await loop.slots(1)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.rung is Rung.LAST_GOOD
        assert "slot graph failed" in decision.verdict.reason


async def test_doors_that_fail_cost_nothing_but_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_memory(*_: Any, **__: Any) -> Any:
        raise MemoryUnavailable("disk full", where="memory")

    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        monkeypatch.setattr(loop.memory, "recall", no_memory)
        monkeypatch.setattr(loop.memory, "remember", no_memory)
        loop.router.down = True
        loop.cluster.down = True
        await loop.slots(2)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert any(n.startswith("memory: ") for n in decision.notes)
        assert any(n.startswith("cluster: ") for n in decision.notes)
        assert any(n.startswith("router: ") for n in decision.notes)
        loop.router.down = loop.cluster.down = False
        await loop.slots(2)
        assert loop.router.plan is not None


async def test_old_telemetry_holds_the_plan(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(2)
        loop.telemetry.stalled = True
        loop.rate = {}
        await loop.slots(6)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.rung is Rung.LAST_GOOD
        assert "telemetry is" in decision.verdict.reason


async def test_checkpoints_hold_a_thread_per_decision_and_stay_bounded(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        await loop.slots(3)
    async with open_checkpoints(tmp_path / "checkpoints.sqlite") as saver:
        threads = {c.config["configurable"]["thread_id"] async for c in saver.alist(None)}
        assert {"d-000000", "d-000001", "d-000002", "d-000003", "e-000001"} <= threads
        state = await saver.aget({"configurable": {"thread_id": "d-000001"}})
        assert state is not None
        assert state["channel_values"]["decision"]["id"] == "d-000001"
        retention = Retention(saver, kept=1)
        for thread in ("d-000000", "d-000001", "d-000002"):
            await retention.ended(thread)
        left = {c.config["configurable"]["thread_id"] async for c in saver.alist(None)}
        assert "d-000000" not in left
        assert "d-000002" in left


async def test_a_missing_folder_for_checkpoints_is_a_set_up_error(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "nowhere")
    with pytest.raises(SetupError, match="cannot open the checkpoints"):
        await loop.controller.run()


async def test_a_second_controller_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        await loop.slots(2)
        plan = loop.controller.latest.plan
    again = Loop(tmp_path)
    again.clock, again.cluster, again.telemetry = loop.clock, loop.cluster, loop.telemetry
    ports = replace(
        loop.controller._ports, cluster=loop.cluster, telemetry=loop.telemetry, router=loop.router, clock=loop.clock
    )
    again.controller = type(loop.controller)(
        ports, loop.world, loop.settings, Mode.ACTIVE, tmp_path / "checkpoints.sqlite", "run"
    )
    task = asyncio.create_task(again.controller.run())
    await until(lambda: again.controller.latest.slot >= 3)
    decision = again.controller.latest.decision
    assert decision is not None
    assert decision.id == "d-000003"
    assert plan is not None
    assert set(decision.plan.replicas) == set(plan.replicas)
    await again.controller.stop()
    await asyncio.wait_for(task, 10)


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no idea")
