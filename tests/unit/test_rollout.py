"""Rollouts on worlds small enough to follow by hand."""

from __future__ import annotations

import math

import numpy as np

from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Route, Share, Source
from edgewise.policy import dispatch
from edgewise.policy.dispatch import ABSENT, DRAINING, LOADING, READY
from edgewise.twin.arrays import FIXED, Physics, Rules
from edgewise.twin.demand import Demand
from edgewise.twin.plans import Arranged, arrange
from edgewise.twin.rollout import Draw, Outcomes, Snapshot, roll
from edgewise.twin.run import fleet_for

RULES = Rules(dispatch.MARGINAL, FIXED, 1.0, 1.0, 0.0, False, 32)


def physics(nodes: int, models: int, load_s: float = 4.0) -> Physics:
    """Nodes of speed 1 with room for one model each; loads take exactly `load_s`."""
    return Physics(
        memory=np.ones(nodes), need=np.ones(models), first_speed=np.ones(nodes), slots=np.ones(models, np.int64),
        curve=np.ones((models, 1)), load_mean=np.full(models, load_s), load_mu=np.zeros(models),
        load_sigma=np.zeros(models), left_scv=np.zeros(models), request_kib=np.zeros(models),
        response_kib=np.zeros(models), deadline_s=np.full(models, 100.0),
        local_node=np.repeat(np.arange(nodes)[:, None], models, axis=1), cores=math.inf, contention=False, seed=1,
    )  # fmt: skip


def snapshot(state: list[list[int]], ready_in: float = math.inf, load_s: float = 4.0) -> Snapshot:
    codes = np.array(state, np.int64)
    ph = physics(*codes.shape, load_s)
    nothing = np.zeros((len(codes), len(codes)))
    fleet = fleet_for(ph, nothing, nothing.copy())
    return Snapshot(ph, fleet, codes, np.where(codes == LOADING, ready_in, np.inf))


def prompts(*rows: tuple[float, int, float], there: tuple[int, ...] = ()) -> Draw:
    """rows: (arrival, model, service); the first len(there) are at the nodes `there` already."""
    at, model, service = (np.array(c) for c in zip(*rows, strict=True))
    access = np.zeros(len(rows), np.int64)
    demand = Demand(at.astype(float), model.astype(np.int64), access, service.astype(float), service.astype(float))
    return Draw(demand, np.array(there, np.int64))


def goal(rows: list[list[int]]) -> Arranged:
    wanted = np.array(rows, dtype=bool)
    return Arranged(wanted, np.ones(wanted.shape), np.full(wanted.shape, -1, np.int64), np.zeros((0, len(rows))))


def one(found: Outcomes) -> tuple[list[float], float]:
    return found.latency_s[0, 0].tolist(), float(found.moves[0, 0])


def test_prompts_that_are_there_are_served_before_those_that_come() -> None:
    # Two of 2 s are there (ends 2, 4); one of 1 s comes at 1 and ends at 5: latencies 2 + 4 + 4.
    draw = prompts((0.0, 0, 2.0), (0.0, 0, 2.0), (1.0, 0, 1.0), there=(0, 0))
    assert one(roll(snapshot([[READY]]), [goal([[1]])], [draw], RULES, 10.0)) == ([10.0], 0.0)


def test_a_load_under_way_ends_when_it_is_expected_to() -> None:
    draw = prompts((0.0, 0, 1.0), (1.0, 0, 1.0), there=(-1,))
    assert one(roll(snapshot([[LOADING]], ready_in=3.0), [goal([[1]])], [draw], RULES, 10.0)) == ([4.0 + 4.0], 0.0)


def test_a_new_replica_costs_a_load_and_what_it_replaces_an_unload() -> None:
    # Model 0 stands on the only node; the plan wants model 1 there. The prompt of model 1 waits for the load.
    draw = prompts((0.0, 1, 1.0))
    assert one(roll(snapshot([[READY, ABSENT]]), [goal([[0, 1]])], [draw], RULES, 10.0)) == ([0.0, 5.0], 2.0)


def test_a_draining_replica_ends_what_it_runs_and_then_makes_room() -> None:
    # 3 s of the draining replica are left; only then model 1 is loaded (4 s) and serves (1 s).
    draw = prompts((0.0, 0, 3.0), (0.0, 1, 1.0), there=(0, -1))
    assert one(roll(snapshot([[DRAINING, ABSENT]]), [goal([[0, 1]])], [draw], RULES, 10.0)) == ([3.0, 8.0], 2.0)


def test_a_plan_without_a_replica_is_charged_for_the_wait() -> None:
    draw = prompts((0.0, 0, 1.0))
    found = roll(snapshot([[ABSENT]]), [goal([[0]])], [draw], RULES, 10.0)
    assert found.latency_s[0, 0, 0] >= 10.0


def test_plans_do_not_touch_each_other_nor_the_snapshot() -> None:
    draw = prompts((0.0, 0, 2.0), (1.0, 1, 2.0), (2.0, 0, 1.0), there=(0,))
    start = snapshot([[READY, ABSENT], [ABSENT, READY]])
    before = [a.copy() for a in start.fleet]
    plans = [goal([[1, 0], [0, 1]]), goal([[0, 1], [1, 0]]), goal([[1, 0], [0, 1]])]
    both = roll(start, plans, [draw, draw], RULES, 10.0)
    alone = roll(start, plans[1:2], [draw], RULES, 10.0)
    assert (both.latency_s[0] == both.latency_s[2]).all()
    assert (both.latency_s[1, 1] == alone.latency_s[0, 0]).all()
    assert all((a == b).all() for a, b in zip(before, start.fleet, strict=True))


def test_a_plan_becomes_arrays_in_the_order_of_the_names() -> None:
    plan = Plan(
        "p", Source.OPTIMISER, 0.0, 1.0,
        replicas=(ReplicaGoal("b", "x"), ReplicaGoal("gone", "x"), ReplicaGoal("a", "y")),
        routes=(Route(ANY, "x", "b", 3.0), Route(ANY, "x", "a", 1.0), Route("a", "x", "a", 2.0)),
        shares=(Share("b", "x", 0.25),),
    )  # fmt: skip
    found = arrange(plan, ("a", "b"), ("x", "y"))
    assert found.goal.tolist() == [[False, True], [True, False]]
    assert found.shares.tolist() == [[1.0, 1.0], [0.25, 1.0]]
    assert found.rows.tolist() == [[1, -1], [0, -1]]  # node a has a row of its own, y has none
    assert found.weights.tolist() == [[0.25, 0.75], [1.0, 0.0]]
