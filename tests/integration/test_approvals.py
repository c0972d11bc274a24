"""Approval over whole runs of the controller: asked, answered, expired, superseded, found again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewise.control.approvals import ApprovalOver, NotApplied, UnknownApproval, WrongHash
from edgewise.domain.decision import Approval, ApprovalState, Decision, Mode
from edgewise.domain.world import World
from graphs.controller import Controller
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, seven, until


def tight() -> World:
    w = seven(host_cores=None)
    budgets = (6.0, 4.0, 6.0, 4.0, 5.0, 4.0, 4.0)
    return replace(w, nodes=tuple(replace(n, memory_gib=b) for n, b in zip(w.nodes, budgets, strict=True)))


def loop_of(tmp_path: Path, **changes: Any) -> Loop:
    loop = Loop(tmp_path, tight(), **{"approval": "placement", **changes})
    loop.rate = rates(loop.world, SD_HEAVY, 0.5)
    return loop


def waiting(loop: Loop) -> list[Approval]:
    return [a for a in loop.controller.asking.book.all() if a.state is ApprovalState.WAITING]


def placement(loop: Loop) -> set[Any]:
    plan = loop.controller.latest.plan
    assert plan is not None
    return set(plan.replicas)


def on_record(loop: Loop, decision_id: str) -> Decision:
    return next(d for d in reversed(loop.journal.decisions) if d.id == decision_id)


async def asked(loop: Loop) -> Approval:
    """Let slots pass until something waits for a person."""
    await loop.slots(6)
    loop.rate = rates(loop.world, LARGE_HEAVY, 0.5)
    for _ in range(20):
        if found := waiting(loop):
            return found[0]
        await loop.slots(1)
    raise AssertionError("nothing was asked")


async def test_a_change_of_placement_waits_and_the_slot_goes_on_by_its_incumbent(tmp_path: Path) -> None:
    async with loop_of(tmp_path) as loop:
        first = loop.controller.latest.decision
        assert first is not None
        assert first.verdict.accepted  # the first placement asks nobody
        before = placement(loop)
        request = await asked(loop)
        assert placement(loop) == before
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.id == request.decision
        assert decision.chosen != request.plan
        assert decision.runner_up == request.plan
        assert not decision.verdict.accepted
        assert decision.approval == request
        assert any(n.startswith(f"{request.id} waits until") for n in decision.notes)
        assert loop.router.plan is not None
        assert set(loop.router.plan.replicas) == before
        assert loop.router.plan.made_at_s == decision.at_s  # its lease goes on
        assert any(c.startswith(("load ", "stop ")) for c in request.changes)
        assert request.expires_s == decision.at_s + 2 * loop.settings.slot_s
        assert {s for s, _, _ in request.scores} >= {"incumbent", "optimiser"}


async def test_an_approved_plan_is_carried_out_and_becomes_the_incumbent(tmp_path: Path) -> None:
    async with loop_of(tmp_path) as loop:
        request = await asked(loop)
        before, slots = placement(loop), len(loop.journal.slots)
        done = await loop.controller.asking.answer(request.id, True, request.hash, "ada")
        assert (done.state, done.by) == (ApprovalState.APPROVED, "ada")
        assert placement(loop) != before
        assert loop.router.plan is not None
        assert loop.router.plan.id == request.plan
        assert loop.router.plan.expires_s > loop.clock.now_s() + 3 * loop.settings.slot_s
        record = on_record(loop, request.decision)
        assert record.chosen == request.plan
        assert record.verdict.accepted
        assert record.approval == done
        assert len(loop.journal.slots) == slots  # one summary a slot, not two
        wanted = placement(loop)
        await loop.slots(1)
        after = loop.controller.latest.decision
        assert after is not None
        assert after.incumbent == request.plan
        assert placement(loop) == wanted or waiting(loop) == []
        with pytest.raises(ApprovalOver, match="approved"):
            await loop.controller.asking.answer(request.id, True, request.hash)


async def test_a_rejected_plan_is_never_applied_and_not_asked_for_again_for_an_epoch(tmp_path: Path) -> None:
    async with loop_of(tmp_path) as loop:
        request = await asked(loop)
        before = placement(loop)
        wanted = set(loop.controller.asking.book.waiting[request.id].decision.plan.replicas)
        done = await loop.controller.asking.answer(request.id, False, request.hash, "ada")
        assert done.state is ApprovalState.REJECTED
        assert on_record(loop, request.decision).approval == done
        assert not on_record(loop, request.decision).verdict.accepted
        for _ in range(3):
            await loop.slots(1)
            assert placement(loop) == before
            for w in loop.controller.asking.book.waiting.values():
                assert set(w.decision.plan.replicas) != wanted


async def test_a_wrong_hash_and_an_unknown_id_change_nothing(tmp_path: Path) -> None:
    async with loop_of(tmp_path) as loop:
        request = await asked(loop)
        before = placement(loop)
        for wrong in ("", "0" * 64, request.hash[:-1]):
            with pytest.raises(WrongHash):
                await loop.controller.asking.answer(request.id, True, wrong)
        with pytest.raises(UnknownApproval):
            await loop.controller.asking.answer("a-999999", True, request.hash)
        assert request in waiting(loop)
        assert placement(loop) == before


async def test_what_nobody_answers_expires_and_is_recorded_so(tmp_path: Path) -> None:
    async with loop_of(tmp_path, approval_slots=1) as loop:
        request = await asked(loop)
        before = placement(loop)
        await loop.clock.advance(loop.settings.slot_s)
        with pytest.raises(ApprovalOver):
            await loop.controller.asking.answer(request.id, True, request.hash)
        record = on_record(loop, request.decision)
        assert record.approval is not None
        assert record.approval.state is ApprovalState.EXPIRED
        assert "nobody answered in time" in record.approval.why
        assert placement(loop) == before


async def test_a_newer_decision_that_wants_the_same_supersedes_the_older(tmp_path: Path) -> None:
    async with loop_of(tmp_path, approval_slots=50) as loop:
        request = await asked(loop)
        for _ in range(10):
            await loop.slots(1)
            if request not in waiting(loop):
                break
        record = on_record(loop, request.decision)
        assert record.approval is not None
        assert record.approval.state is ApprovalState.SUPERSEDED
        newest = waiting(loop)[0]
        assert newest.id in record.approval.why
        assert newest.hash != request.hash
        with pytest.raises(ApprovalOver, match=newest.id):
            await loop.controller.asking.answer(request.id, True, request.hash)


async def test_a_plan_that_no_longer_fits_lapses_and_says_why(tmp_path: Path) -> None:
    async with loop_of(tmp_path, approval_slots=50) as loop:
        request = await asked(loop)
        new = next(c for c in request.changes if c.startswith("load "))
        loop.cluster.kill(new.rpartition(" ")[2])
        with pytest.raises(NotApplied, match=r"not carried out: .*no such node alive"):
            await loop.controller.asking.answer(request.id, True, request.hash, "ada")
        record = on_record(loop, request.decision)
        assert record.approval is not None
        assert record.approval.state is ApprovalState.LAPSED
        assert "no such node alive" in record.approval.why
        assert loop.router.plan is not None
        assert loop.router.plan.id != request.plan


async def test_leaving_mode_active_ends_what_waits(tmp_path: Path) -> None:
    async with loop_of(tmp_path, approval_slots=50) as loop:
        request = await asked(loop)
        loop.controller.set_mode(Mode.ADVISORY)
        with pytest.raises(ApprovalOver, match="advisory"):
            await loop.controller.asking.answer(request.id, True, request.hash)
        await loop.slots(3)
        assert waiting(loop) == []


async def test_everything_can_be_asked_for_the_first_placement_too(tmp_path: Path) -> None:
    async with loop_of(tmp_path, approval="all") as loop:
        request = waiting(loop)[0]
        assert loop.cluster.commands == []
        await loop.controller.asking.answer(request.id, True, request.hash)
        assert loop.router.plan is not None
        assert loop.router.plan.id == request.plan
        await loop.clock.advance(3.0)
        assert loop.cluster.commands
        await loop.slots(1)
        decision = loop.controller.latest.decision
        assert decision is not None
        assert decision.incumbent == request.plan


def another(loop: Loop, tmp_path: Path) -> Controller:
    return Controller(
        loop.controller._ports, loop.world, loop.settings, Mode.ACTIVE, tmp_path / "checkpoints.sqlite", "run"
    )


async def started_again(loop: Loop, controller: Controller) -> asyncio.Task[None]:
    slot = loop.controller.latest.slot
    loop.controller = controller
    task = asyncio.create_task(controller.run())
    await until(lambda: controller.latest.slot > slot)
    return task


async def test_a_controller_that_starts_again_finds_what_waits(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, approval_slots=50)
    async with loop:
        request = await asked(loop)
        loop.rate = {}
        loop.telemetry.stalled = True  # nothing newer is asked for meanwhile
    await loop.clock.advance(20.0)
    task = await started_again(loop, another(loop, tmp_path))
    assert request in waiting(loop)
    await loop.controller.asking.answer(request.id, True, request.hash, "ada")
    assert loop.router.plan is not None
    assert loop.router.plan.id == request.plan
    assert on_record(loop, request.decision).chosen == request.plan
    await loop.controller.stop()
    await asyncio.wait_for(task, 10)


async def test_where_the_checkpoints_are_gone_it_is_said_to_have_expired(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, approval_slots=50)
    async with loop:
        request = await asked(loop)
        loop.telemetry.stalled = True
    await asyncio.to_thread(lambda: [f.unlink() for f in tmp_path.glob("checkpoints.sqlite*")])
    task = await started_again(loop, another(loop, tmp_path))
    assert request.id not in [a.id for a in waiting(loop)]
    record = on_record(loop, request.decision)
    assert record.approval is not None
    assert record.approval.state is ApprovalState.EXPIRED
    assert "checkpoint is gone" in record.approval.why
    await loop.controller.stop()
    await asyncio.wait_for(task, 10)


async def test_an_answer_that_the_record_missed_is_taken_from_the_checkpoint(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, approval_slots=50)
    async with loop:
        request = await asked(loop)
        missed = on_record(loop, request.decision)
        await loop.controller.asking.answer(request.id, True, request.hash, "ada")
    wanted = placement(loop)
    loop.journal.decisions = [d for d in loop.journal.decisions if d.id != request.decision]
    loop.journal.decisions.append(missed)  # as a controller that is killed leaves the run directory
    loop.telemetry.stalled = True
    task = await started_again(loop, another(loop, tmp_path))
    record = on_record(loop, request.decision)
    assert record.approval is not None
    assert (record.approval.state, record.approval.by) == (ApprovalState.APPROVED, "ada")
    assert placement(loop) == wanted
    await loop.controller.stop()
    await asyncio.wait_for(task, 10)


async def test_one_that_expired_while_nobody_ran_is_recorded_so(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, approval_slots=1)
    async with loop:
        request = await asked(loop)
    await loop.clock.advance(loop.settings.slot_s)
    task = await started_again(loop, another(loop, tmp_path))
    assert request.id not in [a.id for a in waiting(loop)]
    record = on_record(loop, request.decision)
    assert record.approval is not None
    assert record.approval.state is ApprovalState.EXPIRED
    await loop.controller.stop()
    await asyncio.wait_for(task, 10)
