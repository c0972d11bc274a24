"""Service on a node: its speed is divided between the models that have running prompts in proportion to their shares,
and a model's part equally among its running prompts (DESIGN: generalised processor sharing between models).

All prompts of a replica that run get the same rate, so one number per replica, `given_s`, says how much each of them
was given since the replica became busy; a prompt that starts when it stands at g ends when it stands at g + its need.
"""

from __future__ import annotations

import math

from numba import njit

from edgewise.policy.dispatch import READY
from edgewise.policy.kernel import INLINE, KERNEL
from edgewise.policy.work import left_s
from edgewise.twin.arrays import COMPLETED, EVENTS, OPEN, Physics, State
from edgewise.twin.demand import Demand
from edgewise.twin.queues import pop, push, set_time

LEAST_SHARE = 1e-3  # of the largest, as in policy.share: a smaller one would stand still for minutes


@njit(**INLINE)
def see(ph: Physics, s: State, n: int, m: int, now_s: float) -> None:
    """What the dispatcher knows of a replica's work, brought up to now; nothing new while its figures are stale."""
    if s.stale_until_s[n] > now_s:
        return
    running = 0.0
    if s.running[n, m] > 0:
        given = s.run_given_s[n, m] + s.rate[n, m] * s.running[n, m] * (now_s - s.synced_s[n])
        running = left_s(s.run_hint_s[n, m], given, ph.left_scv[m])
    s.fleet.work_s[n, m] = s.wait_hint_s[n, m] + running
    s.fleet.prompts[n, m] = s.running[n, m] + s.waiting[n, m] + s.transit[n, m]


@njit(**INLINE)
def sync(s: State, n: int, now_s: float) -> None:
    """Book the service given at n up to now."""
    gone = now_s - s.synced_s[n]
    if gone > 0.0 and s.active_count[n] > 0:
        s.busy_s[n] += gone
        for i in range(s.active_count[n]):
            m = s.active[n, i]
            given = s.rate[n, m] * gone
            s.given_s[n, m] += given
            s.run_given_s[n, m] += given * s.running[n, m]
    s.synced_s[n] = now_s


@njit(**KERNEL)
def reshare(ph: Physics, s: State, n: int) -> None:
    """New rates at n, and its next event, after something there has changed. The node must be synced."""
    total, largest = 0.0, 0.0
    for i in range(s.active_count[n]):
        largest = max(largest, s.fleet.share[n, s.active[n, i]])
    for i in range(s.active_count[n]):
        total += max(s.fleet.share[n, s.active[n, i]], LEAST_SHARE * largest)
    models = ph.need.shape[0]
    speed = s.speed[n] * s.clock[2]
    least, which = math.inf, -1
    for i in range(s.active_count[n]):
        m = s.active[n, i]
        many = s.running[n, m]
        together = ph.curve[m, min(many, ph.curve.shape[1]) - 1]
        rate = speed * max(s.fleet.share[n, m], LEAST_SHARE * largest) / total * together / many
        s.rate[n, m] = rate
        at_s = s.synced_s[n] + max(s.key[s.run_root[n, m]] - s.given_s[n, m], 0.0) / rate
        if at_s < least or (at_s == least and m < which):
            least, which = at_s, m
    if s.loading[n] > 0:
        for m in range(models):
            if s.ready_at_s[n, m] < least:
                least, which = s.ready_at_s[n, m], models + m
    s.next_model[n] = which
    set_time(s.tree, n, least)


@njit(**KERNEL)
def start_waiting(ph: Physics, d: Demand, s: State, n: int, m: int) -> None:
    """Start what may run of the replica's queue. The node must be synced, and reshared afterwards."""
    if s.fleet.state[n, m] != READY:
        return
    while s.waiting[n, m] > 0 and (ph.slots[m] == 0 or s.running[n, m] < ph.slots[m]):
        p = s.wait_root[n, m]
        s.wait_root[n, m] = pop(s.left, s.right, s.key, p)
        s.waiting[n, m] -= 1
        s.wait_hint_s[n, m] = s.wait_hint_s[n, m] - d.hint_s[p] if s.waiting[n, m] + s.transit[n, m] > 0 else 0.0
        if s.running[n, m] == 0:
            s.given_s[n, m] = s.run_hint_s[n, m] = s.run_given_s[n, m] = 0.0
            _activate(s, n, m)
        s.running[n, m] += 1
        s.run_hint_s[n, m] += d.hint_s[p]
        s.started_s[p] = s.synced_s[n]
        s.key[p] = s.given_s[n, m] + d.service_s[p]
        s.run_root[n, m] = push(s.left, s.right, s.key, s.run_root[n, m], p)
        s.tally[EVENTS] += 1


@njit(**INLINE)
def _activate(s: State, n: int, m: int) -> None:
    """Models with work stay in the order of their numbers: sums over them must not depend on who came first."""
    i = s.active_count[n]
    while i > 0 and s.active[n, i - 1] > m:
        s.active[n, i] = s.active[n, i - 1]
        i -= 1
    s.active[n, i] = m
    s.active_count[n] += 1


@njit(**INLINE)
def deactivate(s: State, n: int, m: int) -> None:
    """The replica has no running prompt any more."""
    i = 0
    while s.active[n, i] != m:
        i += 1
    s.active_count[n] -= 1
    while i < s.active_count[n]:
        s.active[n, i] = s.active[n, i + 1]
        i += 1
    s.given_s[n, m] = s.run_hint_s[n, m] = s.run_given_s[n, m] = s.rate[n, m] = 0.0


@njit(**KERNEL)
def finish_first(ph: Physics, d: Demand, s: State, n: int, m: int) -> None:
    """The first running prompt of the replica ends now; its answer starts on its way back."""
    p = s.run_root[n, m]
    now_s = s.synced_s[n]
    s.given_s[n, m] = s.key[p]
    s.run_root[n, m] = pop(s.left, s.right, s.key, p)
    s.running[n, m] -= 1
    s.run_hint_s[n, m] -= d.hint_s[p]
    s.run_given_s[n, m] -= d.service_s[p]
    s.used_s[n, m] = now_s
    if s.running[n, m] == 0:
        deactivate(s, n, m)
    back_s = now_s + trip(ph, s, n, d.access[p], ph.response_kib[m], now_s)
    s.finished_s[p] = back_s
    s.clock[1] = max(s.clock[1], back_s)
    s.status[p] = COMPLETED
    s.tally[OPEN] -= 1
    s.tally[EVENTS] += 1


@njit(**INLINE)
def trip(ph: Physics, s: State, start: int, end: int, kib: float, now_s: float) -> float:
    """Seconds that `kib` take from one node to another, a wait for the link included. latency_s of the fleet is both
    ways, a trip pays half."""
    if start == end:
        return 0.0
    transfer = s.fleet.s_per_kib[start, end] * kib
    wait = 0.0
    if ph.contention:
        free_s = max(s.link_free_s[start, end], now_s)
        s.link_free_s[start, end] = free_s + transfer
        wait = free_s - now_s
    took: float = s.fleet.latency_s[start, end] / 2 + transfer + wait
    return took
