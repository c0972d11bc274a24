"""From a prompt's arrival to its queue: the dispatch kernels of the gateway, loads on demand, held prompts."""

from __future__ import annotations

import math

from numba import njit

from edgewise.policy.dispatch import (
    ABSENT,
    LOADING,
    MARGINAL,
    READY,
    ROUND_ROBIN,
    SLOT_WEIGHTS,
    choose_among,
    note_sent,
)
from edgewise.policy.kernel import INLINE, KERNEL
from edgewise.policy.literals import plain, yes
from edgewise.policy.order import queue_key
from edgewise.policy.sample import sample_into
from edgewise.twin.arrays import (
    HELD,
    IN_TRANSIT,
    LOCAL,
    NEXT_ARRIVAL,
    ON_DEMAND,
    OPEN,
    SHED,
    Physics,
    Rules,
    State,
)
from edgewise.twin.demand import Demand
from edgewise.twin.draws import uniform
from edgewise.twin.place import could_fit, drain, hold, idle, make_room, make_way, start_load
from edgewise.twin.queues import push, push_transit
from edgewise.twin.serve import reshare, see, start_waiting, sync, trip

LEAST_OF_LOAD = 0.1  # a load that takes longer than usual is expected to end after this part of its usual time


@njit(**KERNEL)
def send(ph: Physics, d: Demand, s: State, r: Rules, p: int, now_s: float) -> bool:
    """Sends the prompt to a node, or sheds it; False when nobody can take it (the caller holds it)."""
    access, m, hint_s = d.access[p], d.model[p], d.hint_s[p]
    left_s = ph.deadline_s[m] - (now_s - d.at_s[p]) if r.shedding else math.inf
    node, own_s = plain(-1), math.inf
    if r.placing == LOCAL:
        node = _nearest(ph, s, access, m)
        if r.shedding and node >= 0:
            own_s = _local_own(ph, s, node, m, hint_s, now_s)
    else:
        count, sampled = _candidates(ph, s, r, p, access, m, now_s)
        nodes = s.picked if sampled else s.holders[m]
        draw = uniform(ph.seed, p, s.attempts[p], 7)
        # Who looks at costs counts the rest of a load as one; the others take a loading replica when none is ready.
        for loading_too in range(0 if r.dispatch in (ROUND_ROBIN, SLOT_WEIGHTS) else 1, 2):
            choice = choose_among(
                r.dispatch, s.fleet, access, m, hint_s, s.nobody, loading_too == 1,
                left_s if r.dispatch == MARGINAL else math.inf, draw, s.turn[m], r.knob, nodes, count, s.ranks,
            )  # fmt: skip
            node, own_s = choice.node, choice.own_s
            if node >= 0:
                break
        if r.placing == ON_DEMAND and own_s * r.eager > ph.load_mean[m]:
            fresh, fresh_s = _best_fresh(ph, s, access, m, hint_s, node < 0, now_s)
            if fresh >= 0 and fresh_s < own_s * r.eager:
                make_room(ph, s, fresh, m, now_s, node < 0)
                start_load(ph, s, fresh, m, now_s)
                node, own_s = fresh, fresh_s
            elif fresh < 0 and node < 0:
                make_way(ph, d, s, m, now_s)
    if node < 0:
        return False
    if own_s > left_s:
        _shed(ph, d, s, p, now_s)
        return True
    s.turn[m] += 1
    _book(ph, d, s, r, p, node, now_s)
    return True


@njit(**INLINE)
def _candidates(ph: Physics, s: State, r: Rules, p: int, access: int, m: int, now_s: float) -> tuple[int, bool]:
    """(how many, whether they are in `picked`): the model's holders, or a sample of them with the access node."""
    held = s.holder_count[m]
    sampled = held > r.sample
    count = r.sample if sampled else held
    if sampled:
        draw = uniform(ph.seed, p, 0, 11)
        sample_into(s.fleet, s.holders[m], held, access, m, draw, count, s.picked)
    for i in range(count):
        _look(ph, s, s.picked[i] if sampled else s.holders[m, i], m, now_s)
    return count, sampled


@njit(**INLINE)
def _look(ph: Physics, s: State, n: int, m: int, now_s: float) -> None:
    """Bring what the dispatcher knows of a node up to now; all of it when a spell of stale figures is over."""
    if s.stale_until_s[n] > -math.inf and s.stale_until_s[n] <= now_s:
        s.stale_until_s[n] = -math.inf
        s.fleet.age_s[n] = 0.0
        for k in range(ph.need.shape[0]):
            see(ph, s, n, k, now_s)
    if s.stale_until_s[n] > now_s:
        s.fleet.age_s[n] = now_s - s.seen_s[n]
    for i in range(s.active_count[n]):
        see(ph, s, n, s.active[n, i], now_s)
    if s.fleet.state[n, m] == LOADING:
        usual = ph.load_mean[m]
        s.fleet.ready_in_s[n, m] = max(usual - (now_s - s.since_s[n, m]), LEAST_OF_LOAD * usual)


@njit(**KERNEL)
def _best_fresh(
    ph: Physics, s: State, access: int, m: int, hint_s: float, alone: bool, now_s: float
) -> tuple[int, float]:
    """The node where a new replica would answer the prompt soonest, and when; -1 when none has room for it. alone:
    the model stands nowhere, so that even another's last replica may go."""
    best, best_s = plain(-1), math.inf
    for n in range(ph.memory.shape[0]):
        if not s.fleet.alive[n] or s.fleet.state[n, m] != ABSENT:
            continue
        _look(ph, s, n, m, now_s)
        backlog = 0.0
        for k in range(ph.need.shape[0]):
            backlog += s.fleet.work_s[n, k]
        net_s = s.fleet.latency_s[access, n] + s.fleet.s_per_kib[access, n] * s.fleet.payload_kib[m]
        # The node goes on with its backlog during the load; what is left then is shared with.
        load = ph.load_mean[m]
        takes_s = load + max(backlog / s.fleet.speed[n] - load, 0.0) + hint_s / s.fleet.speed[n] + net_s
        if takes_s < best_s and could_fit(ph, s, n, m, alone):
            best, best_s = n, takes_s
    return best, best_s


@njit(**KERNEL)
def _nearest(ph: Physics, s: State, access: int, m: int) -> int:
    """LOCAL: the access node, or else the nearest live node that the model fits on; -1 for none."""
    best = ph.local_node[access, m]
    if s.fleet.alive[best]:
        return best
    best = plain(-1)
    for n in range(ph.memory.shape[0]):
        fits = s.fleet.alive[n] and ph.memory[n] >= ph.need[m]
        if fits and (best < 0 or s.fleet.latency_s[access, n] < s.fleet.latency_s[access, best]):
            best = n
    return best


@njit(**KERNEL)
def _local_own(ph: Physics, s: State, n: int, m: int, hint_s: float, now_s: float) -> float:
    """A plain guess of the delay at n, for shedding."""
    backlog = hint_s
    for k in range(ph.need.shape[0]):
        see(ph, s, n, k, now_s)
        backlog += s.fleet.work_s[n, k]
    wait: float = 0.0 if s.fleet.state[n, m] == READY else ph.load_mean[m]
    return backlog / s.fleet.speed[n] + wait


@njit(**KERNEL)
def _shed(ph: Physics, d: Demand, s: State, p: int, now_s: float) -> None:
    s.status[p] = SHED
    s.finished_s[p] = now_s
    s.clock[1] = max(s.clock[1], now_s)
    s.tally[OPEN] -= 1


@njit(**INLINE)
def _book(ph: Physics, d: Demand, s: State, r: Rules, p: int, n: int, now_s: float) -> None:
    access, m, hint_s = d.access[p], d.model[p], d.hint_s[p]
    s.node[p] = n
    s.attempts[p] += 1
    s.cold[p] = s.cold[p] or s.fleet.state[n, m] != READY
    s.wait_hint_s[n, m] += hint_s
    s.used_s[n, m] = now_s
    note_sent(s.fleet, access, m, n)
    if s.stale_until_s[n] > now_s:  # the dispatcher still knows what it sends itself
        s.fleet.work_s[n, m] += hint_s
        s.fleet.prompts[n, m] += 1.0
    takes_s = trip(ph, s, access, n, ph.request_kib[m], now_s)
    if takes_s > 0.0:
        s.transit[n, m] += 1
        push_transit(s.transit_s, s.transit_prompt, s.tally[IN_TRANSIT], now_s + takes_s, p)
        s.tally[IN_TRANSIT] += 1
        see(ph, s, n, m, now_s)
    else:
        queue(ph, d, s, r, p, now_s)


@njit(**KERNEL)
def queue(ph: Physics, d: Demand, s: State, r: Rules, p: int, now_s: float) -> None:
    """The prompt is at its node; it starts if it may."""
    n, m = s.node[p], d.model[p]
    s.key[p] = queue_key(d.at_s[p], d.hint_s[p], r.yielding)
    s.wait_root[n, m] = push(s.left, s.right, s.key, s.wait_root[n, m], p)
    s.waiting[n, m] += 1
    if s.fleet.state[n, m] == READY and (ph.slots[m] == 0 or s.running[n, m] < ph.slots[m]):
        sync(s, n, now_s)
        start_waiting(ph, d, s, n, m)
        reshare(ph, s, n)
    see(ph, s, n, m, now_s)
    if r.placing == LOCAL and s.fleet.state[n, m] == ABSENT:
        serve_wanted(ph, d, s, r, n, now_s)


@njit(**KERNEL)
def resume_prompt(ph: Physics, d: Demand, s: State, r: Rules, p: int, n: int) -> None:
    """A prompt is there already, at n (-1: held): before a rollout. It runs where there is a place, else waits."""
    m = d.model[p]
    s.tally[NEXT_ARRIVAL] += 1
    s.tally[OPEN] += 1
    if n < 0 or not s.fleet.alive[n]:
        hold(s, m, p)
        return
    s.node[p] = n
    s.attempts[p] = 1
    s.wait_hint_s[n, m] += d.hint_s[p]
    s.key[p] = queue_key(d.at_s[p], d.hint_s[p], r.yielding)
    s.wait_root[n, m] = push(s.left, s.right, s.key, s.wait_root[n, m], p)
    s.waiting[n, m] += 1
    start_waiting(ph, d, s, n, m)
    see(ph, s, n, m, 0.0)


@njit(**KERNEL)
def arrive_there(ph: Physics, d: Demand, s: State, r: Rules, p: int, now_s: float) -> None:
    """A prompt comes off the network. When the replica has gone meanwhile, it is handed back."""
    n, m = s.node[p], d.model[p]
    s.transit[n, m] -= 1
    state = s.fleet.state[n, m]
    if s.fleet.alive[n] and (state in (READY, LOADING) or r.placing == LOCAL):
        queue(ph, d, s, r, p, now_s)
        return
    s.wait_hint_s[n, m] = s.wait_hint_s[n, m] - d.hint_s[p] if s.transit[n, m] + s.waiting[n, m] > 0 else 0.0
    see(ph, s, n, m, now_s)
    if not send(ph, d, s, r, p, now_s):
        hold(s, m, p)


@njit(**KERNEL)
def review(ph: Physics, d: Demand, s: State, r: Rules, now_s: float) -> None:
    """Held prompts, oldest first: those that somebody can take now are sent. When the first of a model cannot be,
    the rest cannot either."""
    for m in range(ph.need.shape[0]):
        for _ in range(s.held_count[m]):
            p = s.held_first[m]
            if not send(ph, d, s, r, p, now_s):
                break
            _let_go(s, m)


@njit(**INLINE)
def _let_go(s: State, m: int) -> None:
    """The first held prompt of the model is held no more."""
    s.held_first[m] = s.next_held[s.held_first[m]]
    s.held_count[m] -= 1
    s.tally[HELD] -= 1


@njit(**KERNEL)
def next_late(ph: Physics, d: Demand, s: State, r: Rules) -> tuple[float, int]:
    """(when, model): under shedding, the first held prompt to be past its deadline; (inf, -1) for none."""
    least, which = math.inf, plain(-1)
    if r.shedding and s.tally[HELD] > 0:
        for m in range(ph.need.shape[0]):
            if s.held_count[m] > 0 and d.at_s[s.held_first[m]] + ph.deadline_s[m] < least:
                least, which = d.at_s[s.held_first[m]] + ph.deadline_s[m], m
    return least, which


@njit(**KERNEL)
def shed_late(ph: Physics, d: Demand, s: State, m: int, now_s: float) -> None:
    """The model's first held prompt is past its deadline: it would be answered too late, whoever came."""
    p = s.held_first[m]
    _let_go(s, m)
    _shed(ph, d, s, p, now_s)


@njit(**KERNEL)
def serve_wanted(ph: Physics, d: Demand, s: State, r: Rules, n: int, now_s: float) -> None:
    """LOCAL: load what prompts at n wait for, who waits longest first. The least recently used idle replicas make
    room; where none is idle, the busy one that stands longest drains once somebody has waited `knob` load times."""
    models = ph.need.shape[0]
    for _ in range(models):
        wanted = plain(-1)
        for m in range(models):
            if s.waiting[n, m] > 0 and s.fleet.state[n, m] == ABSENT:
                first = s.wait_root[n, m]
                if wanted < 0 or d.at_s[first] < d.at_s[s.wait_root[n, wanted]]:
                    wanted = m
        if wanted < 0:
            return
        if make_room(ph, s, n, wanted, now_s, yes()):
            start_load(ph, s, n, wanted, now_s)
            continue
        waits_s = now_s - d.at_s[s.wait_root[n, wanted]]
        victim, coming = plain(-1), s.free[n]
        for k in range(models):
            state = s.fleet.state[n, k]
            if state == READY and not idle(s, n, k):
                if victim < 0 or s.since_s[n, k] < s.since_s[n, victim]:
                    victim = k
            elif state != ABSENT and state != LOADING:
                coming += ph.need[k]
        if victim >= 0 and coming < ph.need[wanted] and waits_s > r.knob * ph.load_mean[wanted]:
            drain(ph, d, s, n, victim, now_s, yes())
            if s.fleet.state[n, victim] == ABSENT:
                continue
        return
