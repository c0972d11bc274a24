"""The event loop. At one instant: nodes first (lowest number first), then happenings, then prompts that come off the
network, then arrivals (in the order of the demand), then held prompts that are given up. Each event changes one node
or sends one prompt."""

from __future__ import annotations

import math

from numba import njit

from edgewise.policy.dispatch import DRAINING
from edgewise.policy.kernel import KERNEL
from edgewise.policy.literals import yes
from edgewise.twin.arrays import (
    EVENTS,
    FIXED,
    HELD,
    IN_TRANSIT,
    LOCAL,
    NEXT_ARRIVAL,
    NEXT_HAPPENING,
    OPEN,
    Physics,
    Rules,
    State,
)
from edgewise.twin.demand import NODE_DOWN, NODE_SLOW, NODE_UP, Demand, Happenings
from edgewise.twin.place import end_load, hold, node_down, node_up, pursue_goal, unload
from edgewise.twin.queues import first_node, pop_transit
from edgewise.twin.send import arrive_there, next_late, review, send, serve_wanted, shed_late
from edgewise.twin.serve import finish_first, reshare, see, start_waiting, sync


@njit(**KERNEL)
def advance(ph: Physics, d: Demand, h: Happenings, s: State, r: Rules, until_s: float, retake: bool) -> bool:
    """Run all events before `until_s`, in place. True when the run is over: every prompt has arrived and has its
    answer. retake: goal, shares or routes were changed from outside since the last call; they take effect first."""
    prompts, happenings = d.at_s.shape[0], h.at_s.shape[0]
    if retake:
        for n in range(ph.memory.shape[0]):
            sync(s, n, s.clock[0])
            reshare(ph, s, n)
        _follow_up(ph, d, s, r, yes(), s.clock[0])
    while True:
        if s.tally[OPEN] == 0 and s.tally[NEXT_ARRIVAL] == prompts:
            return True
        node_s = s.tree[1]
        i = s.tally[NEXT_ARRIVAL]
        arrival_s = d.at_s[i] if i < prompts else math.inf
        transit_s = s.transit_s[0] if s.tally[IN_TRANSIT] > 0 else math.inf
        k = s.tally[NEXT_HAPPENING]
        happens_s = h.at_s[k] if k < happenings else math.inf
        late_s, late = next_late(ph, d, s, r)
        now_s = min(min(min(node_s, arrival_s), min(transit_s, happens_s)), max(late_s, s.clock[0]))
        if now_s >= until_s:
            s.clock[0] = until_s if until_s < math.inf else s.clock[0]
            return False
        s.clock[0] = now_s
        if node_s == now_s:
            _node_event(ph, d, s, r, first_node(s.tree), now_s)
        elif happens_s == now_s:
            s.tally[NEXT_HAPPENING] += 1
            happen(ph, d, s, r, h.kind[k], h.node[k], h.value[k], now_s)
        elif transit_s == now_s:
            p = s.transit_prompt[0]
            pop_transit(s.transit_s, s.transit_prompt, s.tally[IN_TRANSIT])
            s.tally[IN_TRANSIT] -= 1
            arrive_there(ph, d, s, r, p, now_s)
        elif arrival_s > now_s:
            shed_late(ph, d, s, late, now_s)
        else:
            s.tally[NEXT_ARRIVAL] += 1
            s.tally[OPEN] += 1
            s.tally[EVENTS] += 1
            # Who waits already goes first.
            waits = r.placing != LOCAL and s.held_count[d.model[i]] > 0
            if waits or not send(ph, d, s, r, i, now_s):
                hold(s, d.model[i], i)
        if ph.cores < math.inf:
            share_cores(ph, s, now_s)


@njit(**KERNEL)
def _node_event(ph: Physics, d: Demand, s: State, r: Rules, n: int, now_s: float) -> None:
    """A prompt at n ends, or a load does."""
    sync(s, n, now_s)
    models = ph.need.shape[0]
    m = s.next_model[n]
    moved = False
    if m >= models:
        m -= models
        end_load(ph, d, s, n, m, now_s)
        moved = True
    else:
        finish_first(ph, d, s, n, m)
        start_waiting(ph, d, s, n, m)
        if s.fleet.state[n, m] == DRAINING and s.running[n, m] == 0:
            unload(ph, s, n, m, now_s)
            moved = True
    reshare(ph, s, n)
    see(ph, s, n, m, now_s)
    if r.placing == LOCAL:
        serve_wanted(ph, d, s, r, n, now_s)
    _follow_up(ph, d, s, r, moved, now_s)


@njit(**KERNEL)
def _follow_up(ph: Physics, d: Demand, s: State, r: Rules, moved: bool, now_s: float) -> None:
    """What an event makes possible: the goal, when a replica has moved, and held prompts."""
    if moved and r.placing == FIXED:
        pursue_goal(ph, d, s, now_s)
    if s.tally[HELD] > 0:
        review(ph, d, s, r, now_s)


@njit(**KERNEL)
def happen(ph: Physics, d: Demand, s: State, r: Rules, kind: int, n: int, value: float, now_s: float) -> None:
    """One happening to a node."""
    if kind == NODE_DOWN:
        if s.fleet.alive[n]:
            node_down(ph, d, s, n, now_s)
    elif kind == NODE_UP:
        if not s.fleet.alive[n]:
            node_up(s, n, now_s)
    elif kind == NODE_SLOW:
        sync(s, n, now_s)
        s.speed[n] = ph.first_speed[n] / value
        reshare(ph, s, n)
    else:
        for k in range(ph.memory.shape[0]):
            if n < 0 or k == n:
                sync(s, k, now_s)
                for m in range(ph.need.shape[0]):
                    see(ph, s, k, m, now_s)
                if s.stale_until_s[k] <= now_s:
                    s.seen_s[k] = now_s
                s.stale_until_s[k] = max(s.stale_until_s[k], now_s + value)
    _follow_up(ph, d, s, r, yes(), now_s)


@njit(**KERNEL)
def share_cores(ph: Physics, s: State, now_s: float) -> None:
    """Nodes that share a machine: when the busy ones ask for more than its cores, all get the same part of theirs."""
    asked = 0.0
    for n in range(ph.memory.shape[0]):
        if s.active_count[n] > 0:
            asked += s.speed[n]
    part = min(1.0, ph.cores / asked) if asked > 0.0 else 1.0
    if part == s.clock[2]:
        return
    for n in range(ph.memory.shape[0]):
        if s.active_count[n] > 0:
            sync(s, n, now_s)
    s.clock[2] = part
    for n in range(ph.memory.shape[0]):
        if s.active_count[n] > 0:
            reshare(ph, s, n)
