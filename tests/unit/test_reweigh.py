"""A scheduler's correction: what it does to weights and shares, and what it cannot do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agents.deployer import arrange
from edgewise.control.decide import decide
from edgewise.control.guard import violations
from edgewise.control.reweigh import reweighed
from edgewise.control.state import Reweighting, RouteTimes, ShareTimes
from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.plan import Route, Share
from tests.support.control_world import SD_HEAVY, demand, job, observe, plan_of, rates, ready, seven, short_settings

PLAN = plan_of(
    [("a", "x"), ("b", "x"), ("a", "y")],
    routes=(Route("*", "x", "a", 0.6), Route("*", "x", "b", 0.4), Route("*", "y", "a", 1.0)),
    shares=(Share("a", "x", 0.5), Share("a", "y", 0.5), Share("b", "x", 1.0)),
)


def test_weights_are_multiplied_and_rows_sum_to_one() -> None:
    found, notes = reweighed(PLAN, Reweighting("s", 1, (RouteTimes("*", "x", "a", 0.5),)), ["a", "b"])
    assert {(r.access_node, r.model, r.node): r.weight for r in found.routes} == {
        ("*", "x", "a"): pytest.approx(0.3 / 0.7),
        ("*", "x", "b"): pytest.approx(0.4 / 0.7),
        ("*", "y", "a"): 1.0,
    }
    assert notes == ()


def test_one_access_node_gets_a_row_of_its_own() -> None:
    wanted = (RouteTimes("b", "x", "b", 3.0), RouteTimes("*", "x", "a", 2.0))
    found, _ = reweighed(PLAN, Reweighting("s", 1, wanted), ["a", "b"])
    rows = {(r.access_node, r.node): r.weight for r in found.routes if r.model == "x"}
    assert rows[("*", "a")] == pytest.approx(1.2 / 1.6)
    assert rows[("b", "a")] == pytest.approx(1.2 / 2.4)  # what holds for all, and then its own
    assert rows[("b", "b")] == pytest.approx(1.2 / 2.4)


def test_shares_are_multiplied_within_their_node() -> None:
    found, _ = reweighed(PLAN, Reweighting("s", 1, shares=(ShareTimes("a", "y", 3.0),)), ["a", "b"])
    assert [s.share for s in found.shares] == [pytest.approx(0.25), pytest.approx(0.75), 1.0]


@pytest.mark.parametrize("times", [0.0, -1.0, 1e300, math.nan, math.inf])
def test_factors_are_bounded_whoever_gives_them(times: float) -> None:
    wanted = Reweighting("s", 1, (RouteTimes("*", "x", "a", times),), (ShareTimes("a", "x", times),))
    found, _ = reweighed(PLAN, wanted, ["a", "b"])
    assert all(0.2 / 5 < r.weight <= 1 for r in found.routes)
    assert all(0 < s.share <= 1 for s in found.shares)


def test_nothing_is_routed_to_where_nothing_stands() -> None:
    wanted = Reweighting("s", 1, (RouteTimes("*", "y", "b", 5.0), RouteTimes("mars", "x", "a", 5.0)), (ShareTimes("b", "y", 2.0),))  # fmt: skip  # noqa: E501
    found, notes = reweighed(PLAN, wanted, ["a", "b"])
    assert (set(found.routes), set(found.shares)) == (set(PLAN.routes), set(PLAN.shares))
    assert len(notes) == 3


@pytest.mark.parametrize("times", [0.2, 5.0])
def test_it_is_one_candidate_more_and_judged_like_any(times: float) -> None:
    settings, world = short_settings(gate_draws=6), seven(host_cores=None)
    places = [(n.id, m) for n in world.nodes for m in ("gpt2", "blip")] + [("edge-1", "gpt2-large")]
    incumbent = plan_of([*places, ("edge-2", "stable-diffusion"), ("edge-3", "stable-diffusion")], "p-inc")
    places_ok = replace(incumbent, replicas=tuple(r for r in incumbent.replicas if r.node not in ("edge-2", "edge-3") or r.model == "stable-diffusion" or r.model == "gpt2"))  # fmt: skip  # noqa: E501
    rows = demand(world, rates(world, SD_HEAVY, 0.5), settings.window_s)
    o = observe(world, at_s=40.0, slot=11, states=ready(places_ok), demand_rows=rows, settings=settings)
    wanted = Reweighting(
        "s-1", 10, (RouteTimes("*", "stable-diffusion", "edge-2", times),), rung=Rung.LLM_REPAIRED, note="mended"
    )
    start = job(o, places_ok, reweighting=wanted, beside=LlmUse(calls=1, tokens=7))
    decision = decide(start, settings, arrange)
    told = next(c for c in decision.candidates if c.source == "llm-scheduler")
    assert "mended" in told.note
    assert told.plan.replicas == next(c for c in decision.candidates if c.source == "optimiser").plan.replicas
    assert violations(decision.plan, o, settings) == ()
    assert (decision.llm.calls, decision.llm.tokens) == (1, 7)
    if decision.chosen == told.plan.id:
        assert decision.rung is Rung.LLM_REPAIRED
        assert told.score.mean < min(c.score.mean for c in decision.candidates if c is not told)
    without = decide(replace(start, reweighting=None), settings, arrange)
    assert "llm-scheduler" not in {c.source for c in without.candidates}
