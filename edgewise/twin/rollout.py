"""Rollouts: what would become of a plan from here on, on draws of demand. State in, plan in, scores out.

A rollout starts from an observation, not from the twin's own state: replicas as last seen, and prompts that are
waiting as far as they were counted. Arrivals stop at the horizon and the cluster empties, so that no plan looks good
for what it leaves undone. All plans meet the same draws (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.policy.dispatch import ABSENT, DRAINING, LOADING, READY, FleetArrays
from edgewise.policy.order import trusts_order
from edgewise.twin.arrays import COMPLETED, EVENTS, Physics, Rules, State, new_state
from edgewise.twin.demand import Demand, Floats, Ints, no_happenings
from edgewise.twin.loop import advance
from edgewise.twin.place import resume_drain, resume_load, stand
from edgewise.twin.plans import Arranged
from edgewise.twin.send import resume_prompt

# Prompts still open so many horizons after the last arrival have nobody to serve them; they enter with their age.
PATIENCE = 4.0


@dataclass(frozen=True)
class Snapshot:
    """A cluster as last seen. fleet: empty, with network, believed speeds and who is alive; state [N, M]: replica
    codes; ready_in_s [N, M]: of loading replicas."""

    physics: Physics
    fleet: FleetArrays
    state: Ints
    ready_in_s: Floats


@dataclass(frozen=True)
class Draw:
    """One draw of demand: `demand` begins with prompts that are there already, at `node` (-1: held at their access
    node), all at 0 s; the first len(node) prompts. The rest arrive within the horizon."""

    demand: Demand
    node: Ints


@dataclass(frozen=True)
class Outcomes:
    """latency_s[plan, draw, m]: sums over prompts; count[draw, m]; busy_s[plan, draw, n]; moves[plan, draw]: loads
    and unloads. events: of the twin, in all. met[plan, draw, m]: prompts within their deadline, where asked for."""

    latency_s: Floats
    count: Floats
    busy_s: Floats
    moves: Floats
    events: int
    met: Floats | None = None


def roll(
    snapshot: Snapshot,
    plans: Sequence[Arranged],
    draws: Sequence[Draw],
    rules: Rules,
    horizon_s: float,
    deadlines: bool = False,
) -> Outcomes:
    """Every plan on every draw."""
    nodes, models = snapshot.state.shape
    latency = np.zeros((len(plans), len(draws), models))
    count = np.zeros((len(draws), models))
    busy, moves = np.zeros((len(plans), len(draws), nodes)), np.zeros((len(plans), len(draws)))
    met = np.zeros(latency.shape) if deadlines else None
    events = 0
    for k, draw in enumerate(draws):
        count[k] = np.bincount(draw.demand.model, minlength=models)
        first = _start(snapshot, draw, rules)
        work = copy_state(first)
        for i, plan in enumerate(plans):
            _restore(work, first)
            s = arranged(work, plan)
            advance(snapshot.physics, draw.demand, no_happenings(), s, rules, PATIENCE * horizon_s + horizon_s, True)
            ends_s = np.where(s.status == COMPLETED, s.finished_s, s.clock[0])
            latency[i, k] = np.bincount(draw.demand.model, ends_s - draw.demand.at_s, models)
            if met is not None:
                kept = (s.status == COMPLETED) & (ends_s - draw.demand.at_s <= _deadlines(snapshot, draw))
                met[i, k] = np.bincount(draw.demand.model, kept, models)
            busy[i, k] = s.busy_s
            moves[i, k] = moves_between(first, s)
            events += int(s.tally[EVENTS])
    return Outcomes(latency, count, busy, moves, events, met)


def _deadlines(snapshot: Snapshot, draw: Draw) -> Floats:
    return np.asarray(snapshot.physics.deadline_s[draw.demand.model])


def moves_between(before: State, after: State) -> int:
    """Loads and unloads. What was there, or came, and is not there any more, was unloaded."""
    loads = int(after.load_count.sum() - before.load_count.sum())
    gone = int((before.fleet.state != ABSENT).sum()) + loads - int((after.fleet.state != ABSENT).sum())
    return loads + gone


def arranged(s: State, plan: Arranged) -> State:
    """The state, changed in place but for its routes, with the plan as what is wanted from now on."""
    s.goal[:] = plan.goal
    s.fleet.share[:] = plan.shares
    fleet = s.fleet._replace(route_row=plan.rows, route_weight=plan.weights, route_sent=np.zeros(plan.weights.shape))
    return s._replace(fleet=fleet)


def _start(snapshot: Snapshot, draw: Draw, rules: Rules) -> State:
    ph = snapshot.physics
    fleet = FleetArrays._make(a.copy() for a in snapshot.fleet)
    fleet.overtakes[:] &= trusts_order(rules.yielding, rules.shedding)
    s = new_state(ph, fleet, len(draw.demand.at_s), 0)
    for n, m in zip(*np.nonzero(snapshot.state == READY), strict=True):
        stand(ph, s, n, m)
    for n, m in zip(*np.nonzero(snapshot.state == LOADING), strict=True):
        resume_load(ph, s, n, m, float(snapshot.ready_in_s[n, m]))
    for n, m in zip(*np.nonzero(snapshot.state == DRAINING), strict=True):
        fleet.state[n, m] = READY  # takes its running prompts below
    for p, n in enumerate(draw.node.tolist()):
        resume_prompt(ph, draw.demand, s, rules, p, n)
    # A draining replica runs what it has left, and then frees its memory.
    for n, m in zip(*np.nonzero(snapshot.state == DRAINING), strict=True):
        resume_drain(ph, s, n, m)
    return s


def _restore(target: State, source: State) -> None:
    for a, b in zip(target.fleet, source.fleet, strict=True):
        np.copyto(a, b)
    for a, b in zip(target[1:], source[1:], strict=True):
        np.copyto(a, b)


def copy_state(s: State) -> State:
    """A state that shares nothing with `s`."""
    fleet = FleetArrays._make(a.copy() for a in s.fleet)
    return State._make((fleet, *(a.copy() for a in s[1:])))
