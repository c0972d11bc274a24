"""What intents ask of a decision: what is due, weights, floors, pins, waits, alpha, announced demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.control.announced import LATE_SLOTS, expecting, marked, paths, standing, turns
from edgewise.control.carry import Carry, after, ticket
from edgewise.control.cellwise import cells, rehearse
from edgewise.control.decide import decide, propose, schedule_pool
from edgewise.control.floors import floored
from edgewise.control.forecast import Forecast, Level, Mark, Track, averaged, follow, stretches
from edgewise.control.guard import project
from edgewise.control.intake import take
from edgewise.control.intents import aims, due, lead_s, pins_of
from edgewise.control.outlook import outlook
from edgewise.control.state import NodeBrief, NodeOrder, Ticket
from edgewise.domain.decision import Mode
from edgewise.domain.intent import Expected, Intent, LongestWait, Weight
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Floor, Plan, ReplicaGoal, Share
from edgewise.optimise.estimate import objective
from tests.support.control_world import (
    LARGE_HEAVY,
    demand,
    job,
    observe,
    plan_of,
    rates,
    ready,
    seven,
    short_settings,
)

WORLD = seven()
SETTINGS = short_settings()
PLACED = plan_of([("edge-1", "gpt2"), ("edge-1", "gpt2-large"), ("edge-2", "blip"), ("edge-3", "stable-diffusion")])
FLIP = Intent("flip", from_s=100.0, demand=(Expected("stable-diffusion", times=5.0),))


def seen(at_s: float = 4.0, slot: int = 1, plan: Plan = PLACED) -> Observation:
    rows = demand(WORLD, rates(WORLD, LARGE_HEAVY, 0.5), SETTINGS.window_s)
    return observe(WORLD, at_s=at_s, slot=slot, states=ready(plan), demand_rows=rows)


def asked(brief: NodeBrief) -> NodeOrder:
    return NodeOrder(brief.plan_id, brief.node, brief.changes)


def test_an_intent_is_due_a_lead_before_it_begins_and_until_it_ends() -> None:
    o = seen()
    soon = Intent("soon", from_s=o.at_s + lead_s(o), alpha=1.0)
    late = replace(soon, id="late", from_s=soon.from_s + 0.1)
    over = Intent("over", until_s=o.at_s, alpha=1.0)
    assert [i.id for i in due((soon, late, over), o)] == ["soon"]


def test_of_several_the_larger_weight_and_floor_the_shorter_wait_and_the_last_alpha_hold() -> None:
    one = Intent("a", weights=(Weight("gpt2", 2.0),), floors=(Floor("gpt2", 0.2),), waits=(LongestWait(60),), alpha=1)
    two = Intent("b", weights=(Weight("gpt2", 3.0),), floors=(Floor("gpt2", 0.1),), waits=(LongestWait(90),), alpha=2)
    found = aims((one, two), seen())
    assert found.weights == (Weight("gpt2", 3.0),)
    assert found.floors == (Floor("gpt2", 0.2),)
    assert found.waits == (LongestWait(60),)
    assert found.alpha == 2


def test_a_weight_for_one_access_node_counts_by_its_part_of_the_demand() -> None:
    o = seen()
    track = follow(Track(), o)
    ahead = outlook(o, track, SETTINGS, intents=(Intent("a", weights=(Weight("blip", 8.0, "edge-3"),)),))
    p = ahead.problem
    m, a = p.models.index("blip"), p.access.index("edge-3")
    part = ahead.forecast.mean[a, m] / ahead.forecast.mean[:, m].sum()
    assert p.weight is not None
    assert p.weight[m] == pytest.approx(1 + 7 * part)
    assert p.weight[p.models.index("gpt2")] == pytest.approx(1.0)
    assert 0 < part < 1


def test_weights_and_waits_are_in_the_objective() -> None:
    o = seen()
    p = outlook(o, follow(Track(), o), SETTINGS).problem
    p = replace(p, prices=replace(p.prices, alpha=0.0))
    latency, here = p.ideal * np.array([1.0, 1.0, 3.0, 1.0]), np.ones((1, 4))
    plain = objective(p, latency[None, None], here)[0, 0]
    blip = np.array([1.0, 1.0, 10.0, 1.0])
    weighed = objective(replace(p, weight=blip), latency[None, None], here)[0, 0]
    assert weighed == pytest.approx((blip * latency).sum() / (blip * p.ideal).sum())
    assert weighed > plain
    longest = np.where(np.arange(4) == 2, p.ideal * 1.5, np.inf)
    # blip's mean is twice its longest: it costs TOO_LONG once more, for a kind that is sure to have arrivals.
    assert objective(replace(p, longest=longest), latency[None, None], here)[0, 0] == pytest.approx(plain + 1.0)


def test_alpha_of_an_intent_replaces_the_settings() -> None:
    o = seen()
    track = follow(Track(), o)
    assert outlook(o, track, SETTINGS, intents=(Intent("a", alpha=4.0),)).problem.prices.alpha == 4.0
    assert outlook(o, track, SETTINGS).problem.prices.alpha == SETTINGS.alpha


def test_a_floor_of_a_model_is_kept_and_applying_it_again_changes_nothing() -> None:
    shares = (Share("n", "a", 0.9), Share("n", "b", 0.1))
    made = floored(replace(PLACED, shares=shares), 0.02, [Floor("b", 0.5)])
    assert {s.model: s.share for s in made.shares} == pytest.approx({"a": 0.02 + 0.48 * 0.9, "b": 0.5 + 0.48 * 0.1})
    assert floored(made, 0.02, [Floor("b", 0.5)]) is made
    assert floored(replace(PLACED, shares=shares), 0.02, [Floor("b", 0.01)]) == floored(
        replace(PLACED, shares=shares), 0.02
    )


def test_floors_that_sum_to_more_than_all_are_scaled() -> None:
    made = floored(replace(PLACED, shares=(Share("n", "a", 0.9), Share("n", "b", 0.1))), 0.0, [Floor("*", 0.8)])
    assert [s.share for s in made.shares] == pytest.approx([0.5, 0.5])


def test_the_incumbent_gets_an_intents_floor_without_a_gate() -> None:
    o = seen()
    fine = replace(PLACED, shares=(Share("edge-1", "gpt2", 0.95), Share("edge-1", "gpt2-large", 0.05)))
    pool = propose(job(o, fine, intents=(Intent("a", floors=(Floor("gpt2-large", 0.5),)),)), SETTINGS)
    share = {s.model: s.share for s in pool.incumbent.plan.shares if s.node == "edge-1"}
    assert share["gpt2-large"] >= 0.5
    assert pool.incumbent.plan.id != fine.id


def test_a_pin_is_added_before_others_where_memory_is_short() -> None:
    o = seen()
    found = project(PLACED, o, PLACED, SETTINGS, asked=1000, pins=[ReplicaGoal("edge-2", "stable-diffusion")])
    places = {(r.node, r.model) for r in found.plan.replicas}
    assert ("edge-2", "stable-diffusion") in places
    assert {m for _, m in places} == {m.id for m in WORLD.models}  # blip went elsewhere: nobody stands nowhere


def test_an_infeasible_pin_is_dropped_and_said() -> None:
    small = seven(memory_gib=5.0)
    o = observe(small, states=ready(PLACED))
    pins = [ReplicaGoal("edge-1", "stable-diffusion"), ReplicaGoal("edge-1", "blip"), ReplicaGoal("nowhere", "gpt2")]
    found = project(PLACED, o, PLACED, SETTINGS, pins=pins)
    assert ReplicaGoal("edge-1", "stable-diffusion") in found.plan.replicas
    assert "dropped the pin of blip on edge-1: no memory for it" in found.notes
    assert any("nowhere" in n for n in found.notes)


def test_a_pin_does_not_cost_a_kind_its_last_place() -> None:
    one = replace(seven(), nodes=seven().nodes[:2])
    held = plan_of([("edge-1", "gpt2"), ("edge-1", "gpt2-large"), ("edge-2", "stable-diffusion")])
    o = observe(one, states=ready(held))
    pins = [ReplicaGoal("edge-1", "stable-diffusion")]
    found = project(held, o, held, SETTINGS, pins=pins)
    plain = project(held, o, held, SETTINGS)
    assert {r.model for r in plain.plan.replicas} <= {r.model for r in found.plan.replicas}


def test_no_challenger_drops_a_pinned_replica() -> None:
    o = replace(seen(slot=5, at_s=20.0), trigger="demand-shift")
    pin = ReplicaGoal("edge-7", "gpt2")
    work = job(o, PLACED, intents=(Intent("a", pins=(pin,)),))
    pool = schedule_pool(work, propose(work, SETTINGS), SETTINGS)
    assert all(pin in p.plan.replicas for p in (pool.incumbent, *pool.challengers))


def test_pins_of_an_incumbent_hold_until_it_runs_out() -> None:
    pinned = replace(PLACED, pins=(ReplicaGoal("edge-1", "gpt2"),), expires_s=50.0)
    assert pins_of(pinned, (), seen(at_s=49.0)) == pinned.pins
    assert pins_of(pinned, (), seen(at_s=50.0)) == ()


def test_usual_demand_is_noted_before_it_turns_and_kept_while_it_turns() -> None:
    o = seen(at_s=96.0)
    track = marked(follow(Track(), o), (FLIP,), o)
    assert [m.intent for m in track.marks] == ["flip"]
    more = replace(track, levels=tuple(replace(x, rate=9 * x.rate, usual=9 * x.base) for x in track.levels))
    assert marked(more, (FLIP,), seen(at_s=104.0)).marks == track.marks
    assert marked(follow(Track(), o), (replace(FLIP, from_s=1e6),), o).marks == ()


def test_a_turn_is_soon_then_late_then_over_and_done_once_demand_has_come() -> None:
    o = seen(at_s=96.0)
    track = marked(follow(Track(), o), (FLIP,), o)
    assert [t.after / t.before for t in turns((FLIP,), track, o)] == [pytest.approx(5.0)]
    assert len(turns((FLIP,), track, seen(at_s=104.0))) == 1
    assert turns((FLIP,), track, seen(at_s=100.0 + LATE_SLOTS * SETTINGS.slot_s)) == ()
    came = replace(
        track,
        levels=tuple(replace(x, rate=4 * x.rate) if x.model == "stable-diffusion" else x for x in track.levels),
    )
    assert turns((FLIP,), came, seen(at_s=104.0)) == ()


def test_a_period_that_ends_turns_back() -> None:
    ending = replace(FLIP, until_s=100.0, from_s=0.0)
    track = Track(
        4.0, (Level("edge-1", "stable-diffusion", 5.0),), marks=(Mark("flip", "stable-diffusion", "*", 1.0),)
    )
    (back,) = turns((ending,), track, seen(at_s=98.0))
    assert (back.before, back.after) == (5.0, 1.0)


def test_a_late_announcement_is_believed_less_and_less() -> None:
    o = seen(at_s=96.0)
    track = marked(follow(Track(), o), (FLIP,), o)

    def trust(at_s: float) -> float:
        now = seen(at_s=at_s)
        p = outlook(now, track, SETTINGS).problem
        found = expecting(outlook(now, track, SETTINGS).forecast, (FLIP,), track, now, p, 0.8)
        return found.coming[0].trust if found.coming else 0.0

    assert trust(96.0) == trust(99.0) == 0.8
    assert 0.8 > trust(104.0) > trust(108.0) > trust(100.0 + LATE_SLOTS * SETTINGS.slot_s) == 0.0


def test_expected_rates_grow_as_the_horizon_reaches_into_the_announced_time() -> None:
    o = seen(at_s=96.0)
    track = marked(follow(Track(), o), (FLIP,), o)
    usual = outlook(o, track, SETTINGS)
    told = outlook(o, track, SETTINGS, intents=(FLIP,))
    m = told.problem.models.index("stable-diffusion")
    part = 0.8 * (1 - 4 / told.problem.horizon)
    usual_rate, mark = usual.rates[m], sum(x.rate for x in track.marks)
    assert told.rates[m] == pytest.approx(usual_rate + part * (5 * mark - usual_rate), rel=0.01)
    assert np.delete(told.rates, m) == pytest.approx(np.delete(usual.rates, m))


def test_so_many_draws_come_true_as_it_is_trusted() -> None:
    o = seen(at_s=96.0)
    track = marked(follow(Track(), o), (FLIP,), o)
    f = outlook(o, track, SETTINGS, intents=(FLIP,)).forecast
    for count, true in ((5, 4), (10, 8), (16, 13)):
        found = paths(f, np.random.default_rng(1), count)
        assert sum(bool(p) for p in found) == true


def test_stretches_and_averages_by_hand() -> None:
    rate = np.array([[2.0]])
    path = ((10.0, np.array([[3.0]])),)
    assert [(a, b, float(x[0, 0])) for a, b, x in stretches(rate, path, 40.0)] == [(0, 10, 2.0), (10, 40, 6.0)]
    assert averaged(rate[None], [path], 40.0)[0, 0, 0] == pytest.approx((10 * 2 + 30 * 6) / 40)
    assert averaged(rate[None], [()], 40.0)[0, 0, 0] == 2.0


def test_a_forecast_without_announcements_is_its_mean() -> None:
    f = Forecast(np.ones((1, 2)), np.ones(2), np.ones((1, 2)), np.ones(2))
    assert (f.expected(10.0) == f.mean).all()


def test_beginning_drawing_near_and_ending_are_triggers_once() -> None:
    held = Intent("a", from_s=50.0, until_s=60.0, floors=(Floor("gpt2", 0.1),))

    def why(at_s: float, slot: int, stood: tuple[str, ...], intents: tuple[Intent, ...] = (held,)) -> str:
        o = seen(at_s=at_s, slot=slot)
        alive = tuple(n.id for n in WORLD.nodes)
        start = Ticket("d-1", slot, PLACED, follow(Track(), o), alive_before=alive, intents=intents, stood=stood)
        return take(start, o).observation.trigger

    assert why(20.0, 1, ()) == "slot"
    assert why(45.0, 1, ()) == "intent"
    soon = standing((held,), Track(), seen(at_s=45.0))
    assert why(48.0, 1, soon) == "slot"
    assert why(50.0, 1, soon) == "intent"
    assert why(60.0, 1, standing((held,), Track(), seen(at_s=52.0))) == "intent"
    assert why(52.0, 1, standing((held,), Track(), seen(at_s=52.0)), ()) == "intent"  # withdrawn


def test_the_carry_remembers_what_stood() -> None:
    o = seen(at_s=96.0)
    held = (Intent("a", floors=(Floor("gpt2", 0.1),)),)
    work = job(o, PLACED, intents=held)
    carry = after(Carry(plan=PLACED), work, None)
    assert carry.stood == ("a holds",)
    assert ticket(carry, 1, Mode.ACTIVE, intents=held).stood == carry.stood


def test_a_decision_with_an_announcement_is_the_same_twice() -> None:
    o = replace(seen(at_s=96.0, slot=24), trigger="intent")
    track = marked(follow(Track(), o), (FLIP,), o)
    work = job(o, PLACED, track=track, intents=(FLIP,))
    assert decide(work, SETTINGS, asked) == decide(work, SETTINGS, asked)


def test_announced_images_get_replicas_before_they_come() -> None:
    texts = [("edge-" + str(i), "gpt2-large") for i in range(1, 7)] + [
        ("edge-" + str(i), "gpt2") for i in range(1, 7)
    ]
    plan = plan_of([*texts, ("edge-7", "stable-diffusion"), ("edge-6", "blip")])
    plan = project(plan, seen(plan=plan), None, SETTINGS).plan
    huge = replace(FLIP, demand=(Expected("stable-diffusion", times=8.0), Expected("gpt2-large", times=0.1)))
    o = replace(seen(at_s=96.0, slot=24, plan=plan), trigger="intent")
    track = marked(follow(Track(), o), (huge,), o)

    def images(intents: tuple[Intent, ...]) -> int:
        found = decide(job(o, plan, track=track, intents=intents), SETTINGS, asked)
        return sum(r.model == "stable-diffusion" for r in found.plan.replicas)

    assert images((huge,)) > images(())


def test_cells_of_a_large_cluster_expect_their_part_and_weigh_alike() -> None:
    nodes = tuple(replace(WORLD.nodes[0], id=f"n-{i}") for i in range(60))
    large = replace(WORLD, nodes=nodes)
    places = [(n.id, ("gpt2-large", "blip", "stable-diffusion")[i % 3]) for i, n in enumerate(nodes)]
    plan = plan_of([*places, ("n-1", "gpt2")])
    rows = demand(large, rates(large, LARGE_HEAVY, 0.5), SETTINGS.window_s)
    o = observe(large, at_s=96.0, slot=24, states=ready(plan), demand_rows=rows)
    both = (replace(FLIP, weights=(Weight("blip", 3.0),)),)
    track = marked(follow(Track(), o), both, o)
    whole = outlook(o, track, SETTINGS, intents=both)
    parts = cells(o, whole, whole.problem.held)
    assert len(parts) == 2
    # Both are for the prompts of their own access nodes; together for all.
    assert sum(c.ahead.rates for c in parts) == pytest.approx(whole.rates, rel=0.05)
    for c in parts:
        assert c.ahead.problem.weight is whole.problem.weight
    scores = rehearse(parts, SETTINGS, 4, "t")([plan, plan_of([*places, ("n-2", "gpt2"), ("n-1", "gpt2")])])
    assert np.isfinite(scores).all()
