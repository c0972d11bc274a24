"""The one spec of ports.Journal. An implementation subclasses JournalSpec and provides the `journal` fixture: a
journal without rows, open for the length of one test.

    class TestMyJournal(JournalSpec):
        @pytest_asyncio.fixture
        async def journal(self) -> AsyncIterator[Journal]:
            journal = MyJournal(...)
            yield journal
            await journal.aclose()
"""

from __future__ import annotations

from dataclasses import replace

from edgewise.control.ports import Journal
from edgewise.domain.decision import Candidate, ChangeOutcome, Decision, LlmUse, Mode, Realised, Rung, Score, Verdict
from edgewise.domain.plan import Change, ChangeKind, Plan, ReplicaGoal, Role, Route, Share, Source
from edgewise.domain.records import ReplicaRow, SlotModel, SlotSummary


class JournalSpec:
    async def test_an_empty_journal_has_nothing_recent(self, journal: Journal) -> None:
        assert list(await journal.recent_decisions(5)) == []
        assert list(await journal.recent_slots(5)) == []

    async def test_decisions_come_back_equal_oldest_first(self, journal: Journal) -> None:
        decisions = [decision_of(slot) for slot in range(6)]
        for decision in decisions:
            await journal.decision(decision)
        assert list(await journal.recent_decisions(3)) == decisions[3:]
        await journal.flush()
        assert list(await journal.recent_decisions(3)) == decisions[3:]
        assert list(await journal.recent_decisions(99)) == decisions

    async def test_slots_come_back_equal_oldest_first(self, journal: Journal) -> None:
        slots = [slot_of(slot) for slot in range(6)]
        for summary in slots:
            await journal.slot(summary)
        assert list(await journal.recent_slots(2)) == slots[4:]
        await journal.flush()
        assert list(await journal.recent_slots(99)) == slots

    async def test_a_decision_recorded_again_takes_its_own_place(self, journal: Journal) -> None:
        decisions = [decision_of(slot) for slot in range(3)]
        for decision in decisions:
            await journal.decision(decision)
        await journal.flush()
        scored = replace(decisions[0], realised=Realised(slots=2, completed=7, mean_latency_s=1.5, objective=None))
        await journal.decision(scored)
        await journal.flush()
        assert list(await journal.recent_decisions(99)) == [scored, *decisions[1:]]

    async def test_none_asked_is_none_given(self, journal: Journal) -> None:
        await journal.decision(decision_of(0))
        await journal.slot(slot_of(0))
        assert list(await journal.recent_decisions(0)) == []
        assert list(await journal.recent_slots(0)) == []

    async def test_rows_of_all_kinds_can_be_flushed_twice(self, journal: Journal) -> None:
        await journal.replica(ReplicaRow("load", 1.0, "n1", "m", "d-0", "4 GiB"))
        await journal.replica(ReplicaRow("node-down", 2.0, "n1"))
        await journal.slot(slot_of(0))
        await journal.flush()
        await journal.flush()
        assert list(await journal.recent_slots(5)) == [slot_of(0)]


def decision_of(slot: int) -> Decision:
    """A decision with something in every field."""
    plan = Plan(
        id=f"p-{slot}",
        source=Source.OPTIMISER,
        made_at_s=30.0 * slot,
        expires_s=30.0 * slot + 120.0,
        replicas=(ReplicaGoal("n1", "m"), ReplicaGoal("n2", "m")),
        routes=(Route("*", "m", "n1", 0.25), Route("*", "m", "n2", 0.75)),
        shares=(Share("n1", "m", 1.5),),
        roles=(Role("n1", "text"),),
        alpha=0.5,
        reason="n2 is faster – by 2×",
    )
    return Decision(
        id=f"d-{slot}",
        slot=slot,
        epoch=slot // 10,
        at_s=30.0 * slot + 0.125,
        rung=Rung.LLM_REPAIRED,
        mode=Mode.ACTIVE,
        incumbent=f"p-{slot - 1}",
        chosen=plan.id,
        runner_up="",
        plan=plan,
        verdict=Verdict("optimiser", "incumbent", 0.1, 0.03, True, "predicted better"),
        candidates=(Candidate("optimiser", plan, Score(1.5, 1.25, 1.75), "one replica left out"),),
        recalled=("case-1",),
        changes=(ChangeOutcome(Change("n2", "m", ChangeKind.LOAD), "pending", "4 GiB"),),
        llm=LlmUse(calls=1, tokens=20, seconds=0.5, repairs=1),
        epoch_result="e-0",
        trigger="epoch",
        notes=("telemetry of n3 is stale",),
    )


def slot_of(slot: int) -> SlotSummary:
    models = (
        SlotModel("idle", 0, 0, 0, 0, 0, 0, None, None),
        SlotModel("m", 9, 8, 1, 2, 1, 2, mean_latency_s=1.5, slowdown=1.25),
    )
    return SlotSummary(slot, slot // 10, 30.0 * slot, f"d-{slot}", models, 3, 0.875 if slot else None)
