"""Demotion and budgets hold on any history."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgewise.control.carry import Carry, looked_back, resting, take_result
from edgewise.control.lift import JUDGED, REST_EPOCHS, demoted
from edgewise.control.regret import Entry, Ledger, llm_lifts
from edgewise.control.spending import DAY_HOURS, HOUR_S, Spent, exhausted, paid
from edgewise.control.state import EpochResult, Proposed
from edgewise.domain.decision import Decision, Mode, Rung, Verdict
from tests.support.control_world import plan_of, short_settings

SETTINGS = short_settings()
LIFTS = st.lists(st.floats(-1, 1, allow_nan=False), max_size=40)
PAYMENTS = st.lists(
    st.tuples(st.integers(0, 3 * 86_400), st.integers(0, 5000), st.floats(0, 3, allow_nan=False)), max_size=60
)


def lines(slot: int, lift: float) -> Ledger:
    """One decision's: the optimiser's plan gains 0.1, the language model's so much more."""
    name = f"d-{slot:06d}"
    return (
        Entry(name, slot // SETTINGS.epoch_slots, "optimiser", 0.1, 0.1, False, 0.03),
        Entry(name, slot // SETTINGS.epoch_slots, "llm", 0.1, 0.1 + lift, False, 0.03),
    )


def decision(slot: int) -> Decision:
    plan = plan_of([])
    verdict = Verdict(plan.id, "", 0.0, 0.0, False, "kept")
    epoch = slot // SETTINGS.epoch_slots
    return Decision(
        f"d-{slot:06d}", slot, epoch, 4.0 * slot, Rung.OPTIMISER, Mode.ACTIVE, "", plan.id, "", plan, verdict, ()
    )


@given(LIFTS)
def test_demoted_exactly_after_five_in_a_row_below_zero(lifts: list[float]) -> None:
    last = lifts[-JUDGED:]
    assert demoted(lifts) is (len(last) == JUDGED and max(last) < 0)


@given(LIFTS)
def test_over_a_run_it_rests_from_the_fifth_loss_in_a_row_for_ten_epochs_and_then_starts_afresh(
    lifts: list[float],
) -> None:
    carry, row, rested_until = Carry(), 0, -1
    for slot, gained in enumerate(lifts):
        epoch = slot // SETTINGS.epoch_slots
        gained = round(gained, 3)  # so that 0.1 + lift − 0.1 has its sign
        carry = looked_back(carry, decision(slot), lines(slot, gained), slot, SETTINGS)
        if epoch >= rested_until:  # what was decided while it rested does not count
            row = row + 1 if gained < 0 else 0
        if row == JUDGED:
            row, rested_until = 0, epoch + REST_EPOCHS
        assert carry.rests_until == rested_until
        assert carry.demoted(epoch) is (epoch < rested_until)
        why = resting(carry, epoch, 0.0, SETTINGS)
        assert bool(why) is carry.demoted(epoch)
        assert not why or "5 decisions in a row of negative lift" in why


@given(
    st.lists(
        st.tuples(st.sampled_from(["llm", "optimiser", "case"]), st.floats(-1, 1), st.floats(-1, 1)), max_size=12
    )
)
def test_lift_compares_what_each_side_would_have_done(plans: list[tuple[str, float, float]]) -> None:
    ledger = tuple(Entry("d-1", 0, s, p, r, False, 0.0) for s, p, r in plans)
    mine = {s: [(p, r) for x, p, r in plans if x == s] for s in ("llm", "optimiser")}
    found = list(llm_lifts(ledger, 0))
    if not mine["llm"] or not mine["optimiser"]:
        assert found == []
        return
    choice = {s: next(r for p, r in mine[s] if p == max(q for q, _ in mine[s])) for s in mine}
    assert found == [choice["llm"] - choice["optimiser"]]
    assert list(llm_lifts(tuple(replace(e, measured=True) for e in ledger), 0)) == []
    assert list(llm_lifts(ledger, 1)) == []


@given(PAYMENTS, st.integers(0, 4 * 86_400))
def test_the_books_keep_tokens_for_the_run_and_cost_for_a_day(
    payments: list[tuple[int, int, float]], later: int
) -> None:
    payments = sorted(payments)
    spent = Spent()
    for at_s, tokens, cost in payments:
        spent = paid(spent, tokens, cost, at_s)
        assert len(spent.hours) <= DAY_HOURS
    assert spent.tokens == sum(t for _, t, _ in payments)
    now_s = max(later, payments[-1][0] if payments else 0)
    first = now_s // HOUR_S - DAY_HOURS
    expected = sum(c for at_s, _, c in payments if at_s // HOUR_S > first)
    assert abs(spent.of_day(now_s) - expected) < 1e-6
    assert spent.of_day(now_s + 86_400 + HOUR_S) == 0.0


@given(PAYMENTS, st.integers(0, 20_000), st.floats(0, 20, allow_nan=False))
def test_a_spent_budget_says_so_and_that_of_a_day_comes_back(
    payments: list[tuple[int, int, float]], tokens: int, cost: float
) -> None:
    settings = short_settings(llm_budget_tokens_per_run=tokens, llm_budget_cost_per_day=cost)
    spent, now_s = Spent(), 0
    for at_s, used, price in sorted(payments):
        spent, now_s = paid(spent, used, price, at_s), at_s
    by_tokens = 0 < tokens <= spent.tokens
    by_cost = 0 < cost <= spent.of_day(now_s)
    assert bool(exhausted(spent, now_s, settings)) is (by_tokens or by_cost)
    assert bool(exhausted(spent, now_s + 90_000, settings)) is by_tokens
    assert exhausted(spent, now_s, short_settings()) == ""  # 0: no limit


def test_nothing_is_taken_of_a_model_that_was_demoted() -> None:
    plans = (Proposed("optimiser", plan_of([])), Proposed("llm", plan_of([])))
    carry = Carry(finished=EpochResult("e-1-llm", 0, 0.0, plans), rests_until=3)
    resting_now = take_result(carry, 2, SETTINGS).result
    assert resting_now is not None
    assert [p.source for p in resting_now.plans] == ["optimiser"]
    back = take_result(replace(carry, rests_until=0), 2, SETTINGS).result
    assert back is not None
    assert len(back.plans) == 2
