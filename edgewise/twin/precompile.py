"""Compiles the twin's kernels by a run of one prompt, and a rollout of it. Tens of seconds, once per version."""

from __future__ import annotations

import math

import numpy as np

from edgewise.policy.dispatch import READY
from edgewise.twin.arrays import FIXED, Physics, Rules
from edgewise.twin.demand import Demand, no_happenings
from edgewise.twin.plans import Arranged
from edgewise.twin.rollout import Draw, Snapshot, roll
from edgewise.twin.run import Twin, fleet_for, run
from edgewise.twin.serve import see


def tiny() -> tuple[Physics, Demand, Rules]:
    """One node, one model, one prompt."""
    one = np.ones(1)
    physics = Physics(
        memory=one, need=one, first_speed=one, slots=np.ones(1, np.int64), curve=np.ones((1, 1)), load_mean=one,
        load_mu=np.zeros(1), load_sigma=np.zeros(1), left_scv=np.zeros(1), request_kib=one, response_kib=one,
        deadline_s=one, local_node=np.zeros((1, 1), np.int64), cores=math.inf, contention=False, seed=1,
    )  # fmt: skip
    none = np.zeros(1, np.int64)
    demand = Demand(np.zeros(1), none, none.copy(), np.ones(1), np.ones(1))
    return physics, demand, Rules(0, FIXED, 1.0, 1.0, 0.0, False, 8)


def precompile() -> None:
    """Have every kernel compiled, or read from the cache."""
    physics, demand, rules = tiny()
    nothing = np.zeros((1, 1))
    twin = Twin(physics, fleet_for(physics, nothing, nothing.copy()), demand, no_happenings(), rules)
    twin.load(np.zeros((1, 1), dtype=bool))
    twin.stand(np.ones((1, 1), dtype=bool))
    twin.want(np.ones((1, 1), dtype=bool))
    run(twin, None, 60.0)
    see(physics, twin.state, 0, 0, 0.0)
    snapshot = Snapshot(
        physics, fleet_for(physics, nothing, nothing.copy()), np.full((1, 1), READY), np.full((1, 1), np.inf)
    )
    plan = Arranged(np.ones((1, 1), dtype=bool), np.ones((1, 1)), np.full((1, 1), -1), np.zeros((0, 1)))
    roll(snapshot, [plan], [Draw(demand, np.zeros(1, np.int64))], rules, 10.0)
