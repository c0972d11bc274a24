"""Corners of the twin: what stale figures, failures, samples and tiny shares must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.policy.dispatch import LEAST_WORK, ROUND_ROBIN
from edgewise.policy.share import charge
from edgewise.twin.arrays import LOCAL, ON_DEMAND, PENDING, READY_ROW, SHED
from edgewise.twin.demand import NODE_DOWN, NODE_UP, TELEMETRY_STALE
from tests.support.twin_world import Kind, demand_of, happenings, physics_for, rules_for, to_the_end, twin_of

A, B = 0, 1


def test_figures_are_fresh_again_after_a_stale_spell_on_an_idle_node() -> None:
    # A had 5 s and B 4 s when figures stood still at 1; both idle since 5. At 21 B has 1 s left of a prompt of 20
    # (routed there as B was believed to be done first); the next one should go to A, which is idle.
    d = demand_of([0.0, 0.0, 20.0, 20.5], [5.0, 4.0, 1.0, 1.0])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=happenings((1.0, TELEMETRY_STALE, -1, 10.0)))
    to_the_end(twin)
    assert twin.state.node.tolist() == [A, B, A, B]


def test_a_short_stale_spell_does_not_end_a_long_one() -> None:
    # Stale from 1 to 101, and again from 2 to 3. At 10 both are idle, and A is still believed to have 4 s, B 3 s.
    d = demand_of([0.0, 0.0, 10.0], [5.0, 4.0, 1.0])
    events = happenings((1.0, TELEMETRY_STALE, -1, 100.0), (2.0, TELEMETRY_STALE, -1, 1.0))
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=events)
    to_the_end(twin)
    assert twin.state.node.tolist() == [A, B, B]


def test_prompts_of_live_nodes_are_served_while_another_is_down() -> None:
    # Everybody is served where he enters, and A is down for good: B loads for its own prompt, and for A's as well.
    d = demand_of([1.0, 2.0], [1.0, 1.0], access=[A, B])
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind()]), d, rules_for(LEAST_WORK, LOCAL), standing=False,
        events=happenings((0.5, NODE_DOWN, A, 0.0)),
    )  # fmt: skip
    twin.run_until(1000.0, retake=True)
    assert (twin.state.status != PENDING).all()


def test_work_on_the_way_is_right_after_a_node_down() -> None:
    # Two prompts from B are on their way to A when it goes down, and gets there after it is up again.
    d = demand_of([0.0, 0.3], [1.0, 2.0], access=[B, B])
    events = happenings((0.5, NODE_DOWN, A, 0.0), (0.6, NODE_UP, A, 0.0))
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind(load_s=10.0)]), d, events=events, standing=[[True], [False]], latency_s=2.0
    )
    twin.run_until(0.9, retake=True)
    assert twin.state.wait_hint_s[A, 0] == pytest.approx(3.0)
    twin.run_until(1.2)  # the first is there, the second on its way
    assert twin.state.wait_hint_s[A, 0] == pytest.approx(3.0)


def test_a_node_down_holds_its_prompts_oldest_first() -> None:
    # Two run at A at once; the younger would have ended first. Nobody else has the model until A is back.
    d = demand_of([0.0, 1.0], [10.0, 2.0])
    events = happenings((1.5, NODE_DOWN, A, 0.0))
    twin = twin_of(physics_for([1.0], [Kind(slots=2)]), d, events=events)
    twin.run_until(2.0, retake=True)
    assert twin.state.held_first.tolist() == [0]


def test_shedding_does_not_keep_prompts_past_their_deadline() -> None:
    # The only node is down for good. DESIGN: shed by deadline.
    twin = twin_of(
        physics_for([1.0], [Kind(deadline_s=5.0)]), demand_of([1.0], [1.0]), rules_for(shedding=True),
        events=happenings((0.5, NODE_DOWN, A, 0.0)),
    )  # fmt: skip
    twin.run_until(1000.0, retake=True)
    assert twin.state.status.tolist() == [SHED]


def test_prompts_take_turns_among_ready_replicas_only() -> None:
    # DESIGN: round-robin and the random policies choose among ready replicas. B is loading for an hour.
    d = demand_of([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind(load_s=3600.0)]), d, rules_for(ROUND_ROBIN), standing=[[True], [False]]
    )
    twin.want(np.array([[True], [True]]))
    to_the_end(twin)
    assert twin.state.node.tolist() == [A, A, A]


def test_a_new_replica_goes_where_there_is_least_work_now() -> None:
    # B runs a prompt of 100 s since 0, A one of 30 s since 89. At 90 a model that stands nowhere is asked for: B has
    # 10 s left, A 29 s.
    d = demand_of([0.0, 89.0, 90.0], [100.0, 30.0, 1.0], model=[1, 2, 0])
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind()] * 3), d, rules_for(LEAST_WORK, ON_DEMAND, eager=0.01),
        standing=[[False, False, True], [False, True, False]],
    )  # fmt: skip
    to_the_end(twin)
    assert twin.state.node.tolist() == [B, A, B]


def test_least_shares_are_those_of_the_nodes_own_scheduler() -> None:
    # Both let no share be less than a thousandth of the largest. Shares 1000 : 0.1: model 1 is given 1 of 1001 parts.
    shares = np.array([1000.0, 0.1])
    virtual_s = np.zeros(2)
    charge(virtual_s, shares, 1, 1.0)
    d = demand_of([0.0, 0.0], [1e9, 1.0], model=[0, 1])
    twin = twin_of(physics_for([1.0], [Kind(), Kind()]), d, share=shares)
    twin.run_until(1.0, retake=True)
    assert twin.state.rate[0, 0] / twin.state.rate[0, 1] == pytest.approx(shares[0] * virtual_s[1])


def test_a_sample_of_nodes_has_the_access_node() -> None:
    # 40 nodes hold the model, a dispatch looks at one and at the access node: the work it finds is 0, and no trip.
    nodes = 40
    at_s = np.arange(200) * 10.0
    d = demand_of(at_s, 1.0, access=np.arange(200) % nodes)
    twin = twin_of(physics_for([1.0] * nodes, [Kind()]), d, rules_for(0, sample=2), latency_s=1.0)
    to_the_end(twin)
    assert (twin.state.node == d.access).all()
    assert math.isclose(float((twin.state.finished_s - at_s).max()), 1.0)


def test_work_on_the_way_is_right_after_a_drain() -> None:
    # p0 (9 s) runs at A, p1 (2 s) waits there, p2 (3 s) is on its way from B: a drain at 1 hands p1 back. B is down
    # until 1.5, so p1 is held; p2 gets to A at 2 and is sent on.
    d = demand_of([0.0, 0.1, 0.5], [9.0, 2.0, 3.0], access=[A, A, B])
    events = happenings((0.0, NODE_DOWN, B, 0.0), (1.5, NODE_UP, B, 0.0))
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=events, latency_s=3.0)
    twin.run_until(1.0, retake=True)
    assert twin.state.wait_hint_s[A, 0] == pytest.approx(5.0)
    twin.want(np.array([[False], [True]]))
    twin.run_until(1.4, retake=True)
    assert twin.state.wait_hint_s[A, 0] == pytest.approx(3.0)
    twin.run_until(2.5)
    assert twin.state.wait_hint_s[A, 0] == 0.0


def test_a_prompt_of_a_node_that_went_down_has_not_started() -> None:
    d = demand_of([0.0], [5.0])
    twin = twin_of(physics_for([1.0], [Kind()]), d, events=happenings((1.0, NODE_DOWN, A, 0.0)))
    twin.run_until(0.5, retake=True)
    assert twin.state.started_s.tolist() == [0.0]
    twin.run_until(2.0)
    assert (twin.state.started_s.tolist(), twin.state.node.tolist()) == ([math.inf], [-1])


def test_loads_are_log_normal_and_the_same_whatever_else_happens() -> None:
    nodes = 2000
    kinds = [Kind(load_s=5.0, load_cv=0.3), Kind(load_s=2.0, load_cv=0.3)]

    def ready_s(wanted: list[list[bool]]) -> dict[int, float]:
        twin = twin_of(physics_for([1.0] * nodes, kinds), demand_of([1000.0], [1.0]), standing=False)
        twin.want(np.array(wanted))
        twin.run_until(500.0, retake=True)
        s = twin.state
        rows = np.nonzero((s.log_kind == READY_ROW) & (s.log_model == 0) & (s.log_s > 0.0))[0]
        return dict(zip(s.log_node[rows].tolist(), s.log_s[rows].tolist(), strict=True))

    found = np.array(list(ready_s([[True, False]] * nodes).values()))
    assert len(found) == nodes
    assert (found.mean(), found.std() / found.mean()) == pytest.approx((5.0, 0.3), rel=0.05)
    beside = ready_s([[n % 5 == 0, n % 3 == 0] for n in range(nodes)])
    alone = ready_s([[n % 5 == 0, False] for n in range(nodes)])
    assert beside == alone
