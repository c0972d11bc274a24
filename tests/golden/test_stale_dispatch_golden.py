"""Dispatch on stale figures: today's choice when they are fresh, the plan's weights when they are worth nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.policy.dispatch import (
    FRESH_S,
    MARGINAL,
    READY,
    STALE_S,
    Choice,
    FleetArrays,
    choose,
    empty_fleet,
    note_sent,
)

WEIGHTS = (0.5, 0.3, 0.2)


def fleet_of_three() -> FleetArrays:
    """Node 0 looks busiest, node 2 idle; the plan wants most of the prompts at node 0."""
    fleet = empty_fleet(3, 1, 1)
    fleet.alive[:] = True
    fleet.state[:] = READY
    fleet.route_row[:] = 0
    fleet.route_weight[0] = WEIGHTS
    fleet.work_s[:, 0], fleet.prompts[:, 0] = (8.0, 4.0, 0.0), (4, 2, 0)
    return fleet


def pick(fleet: FleetArrays, service_s: float = 2.0, left_s: float = math.inf) -> Choice:
    nobody = np.zeros(3, np.bool_)
    choice: Choice = choose(MARGINAL, fleet, 0, 0, service_s, nobody, True, left_s, 0.0, 0)
    return choice


def test_figures_that_are_young_enough_count_in_full() -> None:
    fleet = fleet_of_three()
    before = pick(fleet)
    fleet.age_s[:] = FRESH_S
    assert pick(fleet) == before
    # Own delay 2, nobody delayed; one prompt of the row so far, all here: half a service × (1 − 0.2).
    assert before.node == 2
    assert before.cost_s == pytest.approx(2.0 + 0.5 * (1.0 - 0.2) * 2.0)


def test_figures_of_long_ago_leave_the_weights_alone() -> None:
    fleet = fleet_of_three()
    fleet.age_s[:] = 1e6
    got = np.zeros(3)
    for _ in range(1000):
        node = pick(fleet).node
        got[node] += 1
        note_sent(fleet, 0, 0, node)
    assert got / 1000 == pytest.approx(WEIGHTS, abs=0.02)


def test_the_first_of_equals_is_the_lowest_node_when_all_is_stale() -> None:
    fleet = fleet_of_three()
    fleet.route_weight[0] = 1 / 3
    fleet.age_s[:] = 1e6
    assert pick(fleet).node == 0


def test_between_the_two_the_cost_is_a_blend() -> None:
    fleet = fleet_of_three()
    fleet.age_s[1] = FRESH_S + STALE_S * math.log(2)  # half of node 1's figures counts
    # Costs of own delay: 10, 6, 2; nobody of the same queue is delayed. Mean 6, node 1 has got 1 of 1 at weight 0.3.
    fleet.work_s[2, 0], fleet.prompts[2, 0] = 40.0, 20
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 40.0, 20
    mean = (42.0 + 6.0 + 42.0) / 3
    prior = 0.5 * (1.0 - 0.3) * 2.0
    choice = pick(fleet)
    blended = 0.5 * (6.0 + prior) + 0.5 * mean / 0.3
    assert blended > 42.0 + 0.5 * 0.5 * 2.0  # so the plan's favourite is taken, whose cost is certain
    assert choice.node == 0
    fleet.route_sent[0] = (50.0, 0.0, 0.0)  # which has now had more than its part; node 1 is due
    due = pick(fleet)
    assert due.node == 1
    assert due.cost_s == pytest.approx(0.5 * 6.0 + 0.5 * mean * (1 / 51) / 0.3)
    assert due.own_s == pytest.approx(0.5 * 6.0 + 0.5 * mean)


def test_stale_figures_do_not_herd() -> None:
    """A hundred prompts meet figures of which one node looked idle: none gets all of them."""
    fleet = fleet_of_three()
    fleet.age_s[:] = FRESH_S + STALE_S
    got = np.zeros(3)
    for _ in range(100):
        node = pick(fleet).node
        got[node] += 1
        note_sent(fleet, 0, 0, node)
    assert got.min() > 5


def test_without_a_route_the_last_figures_stand() -> None:
    fleet = fleet_of_three()
    fleet.route_row[:] = -1
    fresh = pick(fleet)
    fleet.age_s[:] = 1e6
    assert pick(fleet) == fresh
