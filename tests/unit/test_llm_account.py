"""What a language model's plan is worth and what it costs: on record, whatever became of the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.deployer import arrange
from agents.metered import MeteredChat, agent_of
from edgewise.compose.summary import Extent, summarise
from edgewise.control.carry import Carry, finished, take_result
from edgewise.control.decide import decide, propose, schedule_pool
from edgewise.control.lift import lift, realised_lift
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.control.spending import cost_of
from edgewise.control.state import EpochResult, Job, Proposed
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.decision import (
    Candidate,
    Decision,
    Hindsight,
    LlmUse,
    Mode,
    Realised,
    Replayed,
    Rung,
    Score,
    Verdict,
)
from edgewise.domain.errors import ChatUnavailable
from edgewise.domain.plan import Plan
from edgewise.domain.world import World
from graphs.tally import Tally
from tests.support.control_world import SD_HEAVY, demand, job, observe, plan_of, rates, ready, seven, short_settings
from tools import rundir
from tools.rundir import decision_of, decision_row

WORLD = seven()
SETTINGS = short_settings()
BASE = plan_of(
    [("edge-1", "gpt2"), ("edge-2", "blip"), ("edge-3", "stable-diffusion"), ("edge-4", "gpt2-large")], "p-base"
)
MORE = plan_of([*((r.node, r.model) for r in BASE.replicas), ("edge-5", "stable-diffusion")], "p-more")


def job_with(*plans: tuple[str, Plan]) -> Job:
    rows = demand(WORLD, rates(WORLD, SD_HEAVY, 0.6), SETTINGS.window_s)
    o = observe(WORLD, states=ready(BASE), slot=7, at_s=28.0, demand_rows=rows)
    proposed = tuple(Proposed(s, p, Rung.LLM if s == "llm" else Rung.OPTIMISER) for s, p in plans)
    result = EpochResult("e-000001-llm", 1, 24.0, proposed, llm=LlmUse(calls=1, tokens=900))
    return job(o, BASE, result=result, result_new=True)


def theirs(decision: Decision) -> Candidate:
    found = [c for c in decision.candidates if c.source == "llm"]
    assert len(found) == 1
    return found[0]


def test_a_plan_equal_to_another_candidate_is_on_record_with_its_score() -> None:
    got = decide(job_with(("optimiser", MORE), ("llm", replace(MORE, id="p-llm"))), SETTINGS, arrange)
    mine = theirs(got)
    ours = next(c for c in got.candidates if c.plan.id != mine.plan.id and c.plan.replicas == mine.plan.replicas)
    assert mine.note == f"same replicas as {ours.plan.id} (optimiser)"
    assert mine.score == ours.score
    assert mine.plan == replace(ours.plan, id=mine.plan.id)
    assert lift(got) is not None
    assert lift(got) <= 0.0  # type: ignore[operator]
    assert got.verdict.accepted is (got.chosen != BASE.id)
    assert got.chosen != mine.plan.id


def test_a_plan_that_projection_took_everything_from_is_on_record_with_what_was_taken() -> None:
    far = plan_of([*((r.node, r.model) for r in BASE.replicas), ("nowhere", "gpt2"), ("edge-1", "gpt9")], "p-llm")
    mine = theirs(decide(job_with(("optimiser", MORE), ("llm", far)), SETTINGS, arrange))
    assert "nowhere" in mine.note
    assert "gpt9" in mine.note
    assert "same replicas as" in mine.note


def test_a_plan_of_its_own_is_weighed_on_the_same_draws() -> None:
    own = plan_of([*((r.node, r.model) for r in BASE.replicas), ("edge-6", "gpt2-large")], "p-llm")
    got = decide(job_with(("optimiser", MORE), ("llm", own)), SETTINGS, arrange)
    assert {c.source for c in got.candidates} == {"incumbent", "optimiser", "llm"}
    assert len({c.plan.id for c in got.candidates}) == len(got.candidates)
    assert "same replicas" not in theirs(got).note


def test_other_proposers_equal_plans_are_left_out_as_before() -> None:
    start = job_with(("optimiser", MORE), ("case", replace(MORE, id="p-case")))
    pool = schedule_pool(start, propose(start, SETTINGS), SETTINGS)
    assert pool.same == ()
    assert [c.source for c in pool.challengers] == ["optimiser", "optimiser"]


def test_where_nothing_is_compared_a_new_plan_gets_a_word() -> None:
    start = job_with(("llm", MORE))
    old = replace(start.observation, telemetry=replace(start.observation.telemetry, at_s=-500.0))
    got = decide(replace(start, observation=old), SETTINGS, arrange)
    assert got.candidates == ()
    assert "not weighed now: the language model's plan p-more" in got.notes


def seen(*plans: tuple[str, float, float]) -> Hindsight:
    return Hindsight(20.0, 100, tuple(Replayed(s, f"p-{i}", p, h, 0.0, 0.0) for i, (s, p, h) in enumerate(plans)))


def test_realised_lift_holds_each_sides_own_choice_against_the_other() -> None:
    # The optimiser's second plan did best, but it is the first that it would have chosen.
    got = realised_lift(
        seen(("incumbent", 2.0, 2.0), ("optimiser", 1.5, 2.0), ("optimiser", 1.6, 1.0), ("llm", 1.4, 1.5))
    )
    assert got == pytest.approx(0.25)
    assert realised_lift(seen(("incumbent", 2.0, 2.0), ("optimiser", 1.5, 2.0))) is None


def decided(slot: int, **changes: object) -> Decision:
    pool = (("incumbent", 2.0), ("optimiser", 1.6), ("llm", 1.2))
    candidates = tuple(Candidate(s, replace(BASE, id=f"p-{s}"), Score(x, x, x)) for s, x in pool)
    verdict = Verdict("p-llm", "p-optimiser", 0.5, 0.03, True, "better")
    name, rung, rival = f"d-{slot:06d}", Rung.LLM, "p-optimiser"
    made = Decision(
        name, slot, 0, 4.0 * slot, rung, Mode.ACTIVE, "p-base", "p-llm", rival, BASE, verdict, candidates
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_line_has_the_lift_predicted_and_realised() -> None:
    assert decision_row(decided(1))["lift"] == {"predicted": pytest.approx(0.25), "realised": None}
    looked = seen(("incumbent", 2.0, 2.0), ("optimiser", 1.6, 2.0), ("llm", 1.2, 2.2))
    row = decision_row(decided(1, realised=Realised(2, 9, 1.0, 2.0, looked), llm_rests="budget spent"))
    assert row["lift"]["realised"] == pytest.approx(-0.1)
    assert row["llm_rests"] == "budget spent"
    assert decision_row(decision_of(row)) == row


def test_the_summary_sums_it_all(tmp_path: Path) -> None:
    looked = seen(("incumbent", 2.0, 2.0), ("optimiser", 1.6, 2.0), ("llm", 1.2, 2.2))
    use = LlmUse(calls=2, tokens=1000, seconds=3.0, reasks=1, cost=0.5, skipped=3, tool_calls=4)
    made = [
        decided(1, llm=use, realised=Realised(2, 9, 1.0, 2.0, looked)),
        decided(2, llm=use, llm_rests="demoted"),
        decided(3, llm_rests="demoted"),
        decided(4),
        decided(5, llm_rests="budget spent"),
    ]
    lines = rundir.LineWriter(tmp_path / rundir.DECISIONS)
    for d in made:
        lines.append(decision_row(d))
    lines.close()
    (tmp_path / rundir.EVENTS).touch()
    found = summarise(tmp_path, World((NodeSpec("n1", 4.0),), ()), Extent(4.0, 0.0, 20.0, 20.0))["llm"]
    assert found == {
        "calls": 4,
        "tokens": 2000,
        "repairs": 0,
        "reasks": 2,
        "fallbacks": 0,
        "skipped": 6,
        "tool_calls": 8,
        "seconds": 6.0,
        "cost": 1.0,
        "lift": pytest.approx(0.25),
        "lift_realised": pytest.approx(-0.1),
        "demotions": 2,
        "error": "",
    }
    tally = Tally()
    for d in made:
        tally.note(d)
    assert (tally.rungs["llm"], tally.rested, tally.llm.calls) == (5, 2, 4)


def test_what_an_epoch_result_cost_that_no_slot_took_is_not_forgotten() -> None:
    def result(name: str, tokens: int) -> EpochResult:
        return EpochResult(name, 0, 0.0, (), llm=LlmUse(calls=1, tokens=tokens) if tokens else LlmUse())

    carry = finished(finished(Carry(), result("e-1-llm", 100)), result("e-2", 0))
    carry = finished(carry, result("e-2-llm", 10))
    assert carry.finished is not None
    assert carry.finished.llm.tokens == 110
    taken = replace(take_result(carry, 1, SETTINGS), taken="e-2-llm")
    assert finished(taken, result("e-3-llm", 1)).finished.llm.tokens == 1  # type: ignore[union-attr]
    # A slot that is being decided has it in hand already.
    assert finished(take_result(carry, 1, SETTINGS), result("e-3-llm", 1)).finished.llm.tokens == 1  # type: ignore[union-attr]


def test_cost_is_by_the_prices_and_no_answer_is_free() -> None:
    priced = short_settings(llm_price_in=2.0, llm_price_out=10.0)
    assert cost_of(ChatReply("x" * 400, "stop", 1000, 0.1, answer_tokens=200), priced) == pytest.approx(0.0036)
    assert cost_of(ChatReply("x" * 400, "stop", 1000, 0.1), priced) == pytest.approx(0.0028)
    assert cost_of(ChatReply("x" * 400, "stop", 10, 0.1), priced) == pytest.approx(0.0001)
    assert cost_of(ChatReply("x", "stop", 1000, 0.1), SETTINGS) == 0.0


class Chat:
    def __init__(self) -> None:
        self.fails = False

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        if self.fails:
            raise ChatUnavailable("status 500")
        return ChatReply("{}", "stop", 1000, 0.5, answer_tokens=100)

    async def aclose(self) -> None:
        return None


async def test_the_meter_counts_by_agent_and_outcome() -> None:
    inner = Chat()
    chat = MeteredChat(inner, short_settings(llm_price_in=1.0, llm_price_out=1.0))
    await chat.ask(ChatRequest("planner-v1", "", ""), 1.0)
    await chat.ask(ChatRequest("planner-v1-reask", "", ""), 1.0)
    await chat.ask(ChatRequest("scheduler-v2", "", ""), 1.0)
    inner.fails = True
    with pytest.raises(ChatUnavailable):
        await chat.ask(ChatRequest("scheduler-v2", "", ""), 1.0)
    assert chat.totals.calls == {("planner", "answered"): 2, ("scheduler", "answered"): 1, ("scheduler", "failed"): 1}
    assert chat.totals.by_agent["planner"].tokens == 2000
    assert chat.totals.by_agent["planner"].cost == pytest.approx(0.002)
    assert len(chat.take()) == 4
    assert chat.take() == []
    assert agent_of("17") == "other"
