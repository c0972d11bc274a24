"""Hand-solved worlds of two nodes: what the dispatcher must choose, and at what cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.policy.dispatch import (
    DRAINING,
    LEAST_WORK,
    LOADING,
    MARGINAL,
    READY,
    ROUND_ROBIN,
    SLOT_WEIGHTS,
    Choice,
    FleetArrays,
    choose,
    empty_fleet,
    predict,
)

FRESH = np.zeros(2, np.bool_)


def two_nodes(models: int = 2, rows: int = 1) -> FleetArrays:
    fleet = empty_fleet(2, models, rows)
    fleet.alive[:] = True
    fleet.state[:] = READY
    return fleet


def pick(fleet: FleetArrays, service_s: float = 2.0, model: int = 0, **more: float) -> Choice:
    policy, uniform, turn = int(more.get("policy", MARGINAL)), more.get("uniform", 0.0), int(more.get("turn", 0))
    choice: Choice = choose(
        policy, fleet, 0, model, service_s, FRESH, True, more.get("left_s", math.inf), uniform, turn
    )
    return choice


def test_idle_twins_tie_to_the_first() -> None:
    assert pick(two_nodes()) == Choice(0, 2.0, 2.0)


def test_faster_node_wins() -> None:
    fleet = two_nodes()
    fleet.speed[1] = 2.0
    assert pick(fleet) == Choice(1, 1.0, 1.0)


def test_fifo_queue_ahead_is_waited_for() -> None:
    fleet = two_nodes()
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 3.0, 2
    assert predict(fleet, 0, 0, 0, 2.0) == (5.0, 0.0)
    assert pick(fleet).node == 1


def test_network_against_queue() -> None:
    # Node 0 is at hand with 3 s ahead; node 1 is idle, 2 × 0.5 s away, and 4 KiB take 4 × 0.25 s: 5 s against 4 s.
    fleet = two_nodes()
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 3.0, 1
    fleet.latency_s[0, 1], fleet.s_per_kib[0, 1], fleet.payload_kib[0] = 1.0, 0.25, 4.0
    assert pick(fleet) == Choice(1, 4.0, 4.0)
    fleet.s_per_kib[0, 1] = 0.75
    assert pick(fleet) == Choice(0, 5.0, 5.0)


def test_delay_to_another_model_counts() -> None:
    # Node 0: one prompt of model 1 with 4 s left. Equal shares: ours (2 s) ends at 4 s, and the other at 6 instead
    # of 4. Own 4, imposed 2. Node 1: 5 s of our own queue ahead: own 7, nobody else there. 6 < 7.
    fleet = two_nodes()
    fleet.work_s[0, 1], fleet.prompts[0, 1] = 4.0, 1
    fleet.work_s[1, 0], fleet.prompts[1, 0] = 5.0, 1
    assert pick(fleet) == Choice(0, 4.0, 6.0)
    fleet.work_s[1, 0] = 3.5
    assert pick(fleet) == Choice(1, 5.5, 5.5), "alone it would end sooner at node 0, but somebody pays for it"


def test_many_small_others_outweigh_one_wait() -> None:
    # Twenty prompts of 0.1 s at node 0 against one of 2.5 s of our kind at node 1. Own at 0: 2 + min(2, 2) = 4; the
    # twenty are delayed by what ours takes until each ends: Σ 0.1·i = 21 s. At node 1: 4.5 s, nobody else.
    fleet = two_nodes()
    fleet.work_s[0, 1], fleet.prompts[0, 1] = 2.0, 20
    fleet.work_s[1, 0], fleet.prompts[1, 0] = 2.5, 1
    own, imposed = predict(fleet, 0, 0, 0, 2.0)
    assert (own, imposed) == (pytest.approx(4.0), pytest.approx(21.0))
    assert pick(fleet) == Choice(1, 4.5, 4.5)


def test_shares_decide_who_waits() -> None:
    # Model 0 has three quarters of the node: while it is given 3 s the other gets 1 s of its 10 s.
    fleet = two_nodes()
    fleet.work_s[0, 1], fleet.prompts[0, 1] = 10.0, 1
    fleet.share[0] = (3.0, 1.0)
    assert predict(fleet, 0, 0, 0, 3.0)[0] == pytest.approx(4.0)


def test_two_at_a_time_share_the_models_part() -> None:
    # One prompt with 1 s left runs; ours (2 s) starts beside it: 1 s each until 2, then 1 s alone: 3 s, and the
    # first ends at 2 instead of 1.
    fleet = two_nodes()
    fleet.slots[0] = 2
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 1.0, 1
    assert predict(fleet, 0, 0, 0, 2.0) == (pytest.approx(3.0), pytest.approx(1.0))


def test_processor_sharing_shares_with_all() -> None:
    # Three prompts of 2 s each and ours of 1 s: every one is given 1 s by the time ours ends: 4 s, each 1 s late.
    fleet = two_nodes()
    fleet.slots[0] = 0
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 6.0, 3
    assert predict(fleet, 0, 0, 0, 1.0) == (pytest.approx(4.0), pytest.approx(3.0))


def test_a_loading_replica_is_waited_for_when_that_is_sooner() -> None:
    fleet = two_nodes()
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 10.0, 4
    fleet.state[1, 0], fleet.ready_in_s[1, 0] = LOADING, 3.0
    assert pick(fleet) == Choice(1, 5.0, 5.0)
    assert choose(MARGINAL, fleet, 0, 0, 2.0, FRESH, False, math.inf, 0.0, 0).node == 0
    fleet.ready_in_s[1, 0] = math.inf
    assert pick(fleet).node == 0


def test_in_time_comes_before_cheap() -> None:
    # Node 0 is cheaper in sum, but its own delay of 5 s misses 4.5 s; node 1 answers in 4 s at somebody's expense.
    fleet = two_nodes()
    fleet.work_s[0, 0], fleet.prompts[0, 0] = 3.0, 1
    fleet.work_s[1, 1], fleet.prompts[1, 1] = 2.0, 20
    assert pick(fleet) == Choice(0, 5.0, 5.0)
    assert pick(fleet, left_s=4.5) == pytest.approx((1, 4.0, 25.0))


def test_the_prior_settles_ties_only() -> None:
    # Weights 0.25 / 0.75 and no prompt sent yet: the first would get all of its route at either node, exceeding by
    # 0.75 at node 0 and by 0.25 at node 1; half of that in service times is paid.
    fleet = two_nodes()
    fleet.route_row[:, 0] = 0
    fleet.route_weight[0] = (0.25, 0.75)
    assert pick(fleet) == Choice(1, 2.0, 2.0 + 0.5 * 0.25 * 2)
    fleet.work_s[1, 0], fleet.prompts[1, 0] = 1.0, 1
    assert pick(fleet).node == 0


def test_weight_zero_forbids_until_nothing_else_is_left() -> None:
    fleet = two_nodes()
    fleet.route_row[:, 0] = 0
    fleet.route_weight[0] = (0.0, 1.0)
    fleet.work_s[1, 0], fleet.prompts[1, 0] = 100.0, 50
    assert pick(fleet).node == 1
    fleet.state[1, 0] = DRAINING
    assert pick(fleet).node == 0
    fleet.alive[0] = False
    assert pick(fleet) == Choice(-1, math.inf, math.inf)


def test_least_work_counts_all_models_over_the_speed() -> None:
    fleet = two_nodes()
    fleet.work_s[0], fleet.work_s[1], fleet.speed[1] = (0.0, 3.0), (8.0, 0.0), 2.0
    assert pick(fleet, policy=LEAST_WORK) == Choice(0, 4.0, 5.0)
    fleet.work_s[1] = (4.0, 0.0)
    assert pick(fleet, policy=LEAST_WORK) == Choice(1, 3.0, 3.0)


def test_round_robin_takes_turns_among_those_that_can() -> None:
    fleet = two_nodes()
    assert [pick(fleet, policy=ROUND_ROBIN, turn=t).node for t in range(4)] == [0, 1, 0, 1]
    fleet.state[0, 0] = DRAINING
    assert [pick(fleet, policy=ROUND_ROBIN, turn=t).node for t in range(4)] == [1, 1, 1, 1]


def test_slot_weights_follow_the_draw() -> None:
    fleet = two_nodes()
    fleet.route_row[:, 0] = 0
    fleet.route_weight[0] = (0.3, 0.7)
    drawn = [pick(fleet, policy=SLOT_WEIGHTS, uniform=u).node for u in (0.0, 0.29, 0.31, 0.999)]
    assert drawn == [0, 0, 1, 1]
    assert [pick(fleet, policy=SLOT_WEIGHTS, model=1, uniform=u).node for u in (0.49, 0.51)] == [0, 1]
