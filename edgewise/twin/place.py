"""The life of replicas in the twin: loads take memory at once and time, drains hand back what waits.

Prompts without a place are put into their model's list of held ones; `twin.send` gives them their turn. So nothing
here dispatches, and nothing there drains.
"""

from __future__ import annotations

import math

from numba import njit

from edgewise.policy.dispatch import ABSENT, DRAINING, LOADING, READY
from edgewise.policy.kernel import INLINE, KERNEL
from edgewise.policy.literals import plain, yes
from edgewise.twin.arrays import (
    DRAIN,
    EVENTS,
    HELD,
    LOAD,
    LOG_ROWS,
    NODE_DOWN_ROW,
    NODE_UP_ROW,
    READY_ROW,
    UNLOAD,
    Physics,
    State,
)
from edgewise.twin.demand import Demand
from edgewise.twin.draws import normal
from edgewise.twin.queues import pop, push
from edgewise.twin.serve import deactivate, reshare, see, start_waiting, sync

EPS = 1e-9


@njit(**KERNEL)
def log(s: State, kind: int, n: int, m: int, now_s: float) -> None:
    """One row of the log, as long as there is room: rollouts have none."""
    s.tally[EVENTS] += 1
    row = s.tally[LOG_ROWS]
    if row < s.log_s.shape[0]:
        s.log_s[row], s.log_kind[row], s.log_node[row], s.log_model[row] = now_s, kind, n, m
    s.tally[LOG_ROWS] = row + 1


@njit(**KERNEL)
def hold(s: State, m: int, p: int) -> None:
    """The prompt waits at its access node until somebody can take it."""
    s.node[p] = -1
    s.next_held[p] = -1
    if s.held_first[m] < 0:
        s.held_first[m] = p
    else:
        s.next_held[s.held_last[m]] = p
    s.held_last[m] = p
    s.held_count[m] += 1
    s.tally[HELD] += 1


@njit(**KERNEL)
def _add_holder(s: State, n: int, m: int) -> None:
    i = s.holder_count[m]
    while i > 0 and s.holders[m, i - 1] > n:
        s.holders[m, i] = s.holders[m, i - 1]
        i -= 1
    s.holders[m, i] = n
    s.holder_count[m] += 1


@njit(**KERNEL)
def _drop_holder(s: State, n: int, m: int) -> None:
    i = 0
    while s.holders[m, i] != n:
        i += 1
    s.holder_count[m] -= 1
    while i < s.holder_count[m]:
        s.holders[m, i] = s.holders[m, i + 1]
        i += 1


@njit(**KERNEL)
def stand(ph: Physics, s: State, n: int, m: int) -> None:
    """The replica stands ready, at no cost: before the run."""
    s.fleet.state[n, m] = READY
    s.free[n] -= ph.need[m]
    _add_holder(s, n, m)


@njit(**KERNEL)
def resume_load(ph: Physics, s: State, n: int, m: int, ready_in_s: float) -> None:
    """A load is under way that ends in `ready_in_s`: before a rollout."""
    s.fleet.state[n, m] = LOADING
    s.fleet.ready_in_s[n, m] = ready_in_s
    s.since_s[n, m] = ready_in_s - ph.load_mean[m]
    s.ready_at_s[n, m] = ready_in_s
    s.free[n] -= ph.need[m]
    s.loading[n] += 1
    _add_holder(s, n, m)


@njit(**KERNEL)
def resume_drain(ph: Physics, s: State, n: int, m: int) -> None:
    """A replica is draining what it runs, and holds its memory till then: before a rollout, after its prompts were
    put there. One that runs nothing is gone."""
    s.fleet.state[n, m] = ABSENT
    if s.running[n, m] > 0:
        s.fleet.state[n, m] = DRAINING
        s.free[n] -= ph.need[m]


@njit(**KERNEL)
def start_load(ph: Physics, s: State, n: int, m: int, now_s: float) -> None:
    """absent → loading. The caller has seen that memory is free."""
    k = s.load_count[n, m]
    s.load_count[n, m] += 1
    takes_s = ph.load_mean[m]
    if ph.load_sigma[m] > 0.0:
        takes_s = math.exp(ph.load_mu[m] + ph.load_sigma[m] * normal(ph.seed, n, m, k))
    s.fleet.state[n, m] = LOADING
    s.fleet.ready_in_s[n, m] = ph.load_mean[m]
    s.since_s[n, m] = s.used_s[n, m] = now_s
    s.ready_at_s[n, m] = now_s + takes_s
    s.free[n] -= ph.need[m]
    s.loading[n] += 1
    _add_holder(s, n, m)
    log(s, plain(LOAD), n, m, now_s)
    sync(s, n, now_s)
    reshare(ph, s, n)


@njit(**KERNEL)
def end_load(ph: Physics, d: Demand, s: State, n: int, m: int, now_s: float) -> None:
    """loading → ready; what waits for it starts. The node is synced; the caller reshares."""
    s.fleet.state[n, m] = READY
    s.fleet.ready_in_s[n, m] = math.inf
    s.since_s[n, m] = now_s
    s.ready_at_s[n, m] = math.inf
    s.loading[n] -= 1
    log(s, plain(READY_ROW), n, m, now_s)
    start_waiting(ph, d, s, n, m)


@njit(**INLINE)
def idle(s: State, n: int, m: int) -> bool:
    """Ready, and nobody has anything there."""
    return bool(s.fleet.state[n, m] == READY and s.running[n, m] + s.waiting[n, m] + s.transit[n, m] == 0)


@njit(**KERNEL)
def unload(ph: Physics, s: State, n: int, m: int, now_s: float) -> None:
    """→ absent; memory is free at once. The replica runs nothing."""
    if s.fleet.state[n, m] == READY:
        _drop_holder(s, n, m)
        log(s, plain(DRAIN), n, m, now_s)
    s.fleet.state[n, m] = ABSENT
    s.since_s[n, m] = now_s
    s.free[n] += ph.need[m]
    log(s, plain(UNLOAD), n, m, now_s)


@njit(**KERNEL)
def drain(ph: Physics, d: Demand, s: State, n: int, m: int, now_s: float, keep_queue: bool) -> None:
    """ready → draining: what waits is handed back (or, with `keep_queue`, waits for the model to come again), what
    runs ends. Unloaded at once when nothing runs."""
    sync(s, n, now_s)
    _drop_holder(s, n, m)
    s.fleet.state[n, m] = DRAINING
    s.since_s[n, m] = now_s
    log(s, plain(DRAIN), n, m, now_s)
    while s.waiting[n, m] > 0 and not keep_queue:
        p = s.wait_root[n, m]
        s.wait_root[n, m] = pop(s.left, s.right, s.key, p)
        s.waiting[n, m] -= 1
        s.wait_hint_s[n, m] -= d.hint_s[p]
        hold(s, m, p)
    if s.waiting[n, m] + s.transit[n, m] == 0:
        s.wait_hint_s[n, m] = 0.0
    if s.running[n, m] == 0:
        unload(ph, s, n, m, now_s)
    see(ph, s, n, m, now_s)
    reshare(ph, s, n)


@njit(**KERNEL)
def node_down(ph: Physics, d: Demand, s: State, n: int, now_s: float) -> None:
    """All that ran or waited there starts again from its access node, oldest first; replicas are lost."""
    sync(s, n, now_s)
    for m in range(ph.need.shape[0]):
        lost = plain(-1)
        while s.run_root[n, m] >= 0:
            p = s.run_root[n, m]
            s.run_root[n, m] = pop(s.left, s.right, s.key, p)
            s.started_s[p] = math.inf
            s.key[p] = d.at_s[p]
            lost = push(s.left, s.right, s.key, lost, p)
        while s.wait_root[n, m] >= 0:
            p = s.wait_root[n, m]
            s.wait_root[n, m] = pop(s.left, s.right, s.key, p)
            s.wait_hint_s[n, m] -= d.hint_s[p]
            s.key[p] = d.at_s[p]
            lost = push(s.left, s.right, s.key, lost, p)
        while lost >= 0:
            p = lost
            lost = pop(s.left, s.right, s.key, p)
            hold(s, m, p)
        if s.running[n, m] > 0:
            deactivate(s, n, m)
        s.running[n, m] = s.waiting[n, m] = 0
        if s.transit[n, m] == 0:
            s.wait_hint_s[n, m] = 0.0
        if s.fleet.state[n, m] == LOADING or s.fleet.state[n, m] == READY:
            _drop_holder(s, n, m)
        s.fleet.state[n, m] = ABSENT
        s.ready_at_s[n, m] = math.inf
        s.since_s[n, m] = now_s
        see(ph, s, n, m, now_s)
    s.loading[n] = 0
    s.free[n] = ph.memory[n]
    s.fleet.alive[n] = False
    log(s, plain(NODE_DOWN_ROW), n, plain(-1), now_s)
    reshare(ph, s, n)


@njit(**KERNEL)
def node_up(s: State, n: int, now_s: float) -> None:
    """The node is there again, empty."""
    s.fleet.alive[n] = True
    s.synced_s[n] = now_s
    log(s, plain(NODE_UP_ROW), n, plain(-1), now_s)


@njit(**KERNEL)
def make_room(ph: Physics, s: State, n: int, m: int, now_s: float, last_too: bool) -> bool:
    """Unload idle replicas on n, least recently used first, until m fits; nothing when it would not. last_too:
    whether a model's last replica may go."""
    if s.free[n] + _spare(ph, s, n, last_too) < ph.need[m] - EPS:
        return False
    while s.free[n] < ph.need[m] - EPS:
        oldest = plain(-1)
        for k in range(ph.need.shape[0]):
            if _may_go(s, n, k, last_too) and (oldest < 0 or s.used_s[n, k] < s.used_s[n, oldest]):
                oldest = k
        unload(ph, s, n, oldest, now_s)
    return True


@njit(**INLINE)
def _may_go(s: State, n: int, k: int, last_too: bool) -> bool:
    return idle(s, n, k) and (last_too or s.holder_count[k] > 1)


@njit(**INLINE)
def _spare(ph: Physics, s: State, n: int, last_too: bool) -> float:
    total = 0.0
    for k in range(ph.need.shape[0]):
        if _may_go(s, n, k, last_too):
            total += ph.need[k]
    return total


@njit(**KERNEL)
def could_fit(ph: Physics, s: State, n: int, m: int, last_too: bool) -> bool:
    """Whether m would fit on n once idle replicas there are gone."""
    return bool(s.free[n] + _spare(ph, s, n, last_too) >= ph.need[m] - EPS)


@njit(**KERNEL)
def make_way(ph: Physics, d: Demand, s: State, m: int, now_s: float) -> None:
    """ON_DEMAND: m stands nowhere, prompts wait for it, and no node has idle replicas enough to give up. The replica
    with the least work whose model has another drains, where that makes room; one at a time."""
    nodes, models = s.goal.shape
    victim, least = plain(-1), math.inf
    for n in range(nodes):
        if not s.fleet.alive[n]:
            continue
        room = s.free[n] + _spare(ph, s, n, yes())
        for k in range(models):
            if s.fleet.state[n, k] == DRAINING:
                return
            fits = room + ph.need[k] >= ph.need[m] - EPS and s.fleet.state[n, k] == READY and not idle(s, n, k)
            if fits and s.holder_count[k] > 1 and s.fleet.work_s[n, k] < least:
                victim, least = n * models + k, s.fleet.work_s[n, k]
    if victim >= 0:
        drain(ph, d, s, victim // models, victim % models, now_s, not yes())


@njit(**KERNEL)
def pursue_goal(ph: Physics, d: Demand, s: State, now_s: float) -> None:
    """Fact towards goal, where memory and make-before-break allow: loads start, unwanted replicas drain.

    An unwanted replica stays while its model waits for another: one that is loading, or could be loaded now. It
    goes when its model has a wanted replica that is ready, has none wanted, or only such as must wait for memory.
    """
    nodes, models = s.goal.shape
    for n in range(nodes):
        if s.fleet.alive[n]:
            for m in range(models):
                if s.goal[n, m] and s.fleet.state[n, m] == ABSENT and s.free[n] >= ph.need[m] - EPS:
                    start_load(ph, s, n, m, now_s)
    drained = False
    for n in range(nodes):
        for m in range(models):
            if s.fleet.state[n, m] == READY and not s.goal[n, m] and not _awaited(s, m):
                drain(ph, d, s, n, m, now_s, not yes())
                drained = True
    if drained:  # memory may be free now
        for n in range(nodes):
            if s.fleet.alive[n]:
                for m in range(models):
                    if s.goal[n, m] and s.fleet.state[n, m] == ABSENT and s.free[n] >= ph.need[m] - EPS:
                        start_load(ph, s, n, m, now_s)


@njit(**KERNEL)
def _awaited(s: State, m: int) -> bool:
    """A wanted replica of m is being loaded, and none is ready."""
    loading = False
    for i in range(s.holder_count[m]):
        n = s.holders[m, i]
        if s.goal[n, m]:
            if s.fleet.state[n, m] == READY:
                return False
            loading = True
    return loading
