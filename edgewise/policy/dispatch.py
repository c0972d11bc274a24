"""Which node serves a prompt: least expected marginal cost, and the simple policies it is compared with.

Kernels on flat arrays, compiled by numba and chosen by integer id (a function as argument would defeat the compile
cache). Gateway and simulator call the same code: `choose(policy, fleet, …)`.

The cost of sending a prompt of model m with expected service s (seconds at speed 1) to node n, in seconds:

    cost = own + imposed + prior

Model of a node. Speed v is divided between the models with work in proportion to their shares φ (generalised
processor sharing), and nothing else arrives. W_k is the work left of model k there, c_m how many prompts of m run at
a time, n_m how many of m are there, a = W_m / n_m the work each has left.

*Inside m's queue* (FIFO, c_m at a time). Those ahead finish first, except p = min(n_m, c_m − 1) that run beside the
prompt and take up to min(a, s) each meanwhile. So the prompt ends when m has been given
    D = (W_m − p·a) + s + p·min(a, s).
For c = 1 this is W_m + s (FIFO); for c = ∞ (code 0) it is s + n_m·min(a, s) (processor sharing).

*Where short prompts pass long ones* (`overtakes`, policy.order; for c = 1). One prompt runs, n_m − 1 wait with sizes
taken as exponential of mean a. With x = s/a, a part e^−x of them is longer than s and is passed, the others hold the
part 1 − e^−x·(1 + x) of the waiting work. So D = a + (n_m − 1)·a·(1 − e^−x·(1 + x)) + s, and each of the
(n_m − 1)·e^−x prompts that are passed waits for s of m's work.

*Between models.* While m is given D, model k with enough work is given D·φ_k/φ_m, and never more than W_k:
    own = net + wait + (D + Σ_{k≠m} min(W_k, D·φ_k/φ_m)) / v
with net the network's round trip and wait what a loading replica still needs (the work there is counted as it is now,
which is on the safe side).

*Imposed on model k.* A prompt of k that ends when k has been given w sees m take min(W_m, ρw) before the arrival and
min(W_m + s, ρw) after it, ρ = φ_m/φ_k: it is delayed by f(w)/v, f(w) = clip(ρw − W_m, 0, s). The n_k prompts of k end
at w_i = W_k·i/n_k, i = 1…n_k. With d = ρW_k/n_k, f is 0 up to i = a = ⌊W_m/d⌋, s from i > b = ⌊(W_m + s)/d⌋ on, and
linear between (a, b at most n_k), so that
    Σ_i f(w_i) = d·(b(b+1) − a(a+1))/2 − W_m·(b − a) + s·(n_k − b).
Exact when the prompts of k are alike. Prompts of m that run beside ours are delayed by p·min(a, s) of m's work.

*Prior.* A node that got the part g of its route's recent prompts although its weight is w < g pays
PRIOR·(g − w)·s/v: less than one service time, so that it settles near-ties and no more.

*Stale figures.* Of a node whose figures are `age` old one knows the part f = exp(−(age − FRESH_S)/STALE_S), all
while they are younger than FRESH_S. Its cost is then
    f·cost + (1 − f)·mean·(g/w)
with `mean` the cost of the nodes to choose from on average, and g/w its part of the route's recent prompts over its
weight: with age the choice goes over from what was seen to the plan's weights, kept to by counting (the node that has
got least for its weight is next), and neither herds to a node that looked idle once nor becomes random. Its predicted
latency goes over to the mean of the nodes likewise. A model without a route has no weights to fall back on; there the
last figures stand, with what was sent since.

Constraint: a node of weight 0 is taken only when no node with a weight could take the prompt, a node tried before
only when no other is left; dead nodes and replicas that are neither ready nor (with `allow_loading`) loading never.
Nodes predicted to answer after `left_s` come after those in time. Ties go to the lowest node index.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit

from edgewise.policy.kernel import INLINE, KERNEL, WITH_MEMORY
from edgewise.policy.literals import plain

# Policy ids.
MARGINAL: Final = 0
ROUND_ROBIN: Final = 1
LEAST_WORK: Final = 2  # least expected work, all models of the node together, over its speed
SLOT_WEIGHTS: Final = 3  # by the route weights alone; uniform where none is listed
DRIFT: Final = 4  # Lyapunov drift plus penalty (Neely 2010): squared backlog drift, `knob` times the latency

# Replica codes in FleetArrays.state, in the order of domain.cluster.ReplicaState.
ABSENT: Final = 0
LOADING: Final = 1
READY: Final = 2
DRAINING: Final = 3
FAILED: Final = 4

SENT_DECAY: Final = 0.98  # of a route row's counts per prompt: the prior looks at about the last 50

FRESH_S: Final = 1.0  # figures no older than this are as good as new: nodes are polled a few times a second
STALE_S: Final = 30.0  # time constant with which older ones lose their worth

PRIOR: Final = 0.5  # what ignoring a weight altogether costs, in service times

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class FleetArrays(NamedTuple):
    """The fleet as flat arrays: N nodes (each also an access node), M models, R route rows. Changed in place."""

    alive: Bools  # [N]
    speed: Floats  # [N], relative; > 0
    state: Ints  # [N, M], replica codes
    ready_in_s: Floats  # [N, M], s until a loading replica is ready; inf: unknown
    share: Floats  # [N, M], relative part of the node's speed; > 0
    work_s: Floats  # [N, M], expected service left, s at speed 1
    prompts: Floats  # [N, M], prompts queued or running
    slots: Ints  # [M], prompts of a model that run at a time; 0: all (processor sharing)
    latency_s: Floats  # [N, N], network latency both ways, access node × node, s
    s_per_kib: Floats  # [N, N], transfer time of one KiB, s
    payload_kib: Floats  # [M], request + response, KiB
    route_row: Ints  # [N, M], row of the routes for (access node, model); -1: no route, every node allowed
    route_weight: Floats  # [R, N], rows sum to 1
    route_sent: Floats  # [R, N], recent prompts sent by the row (decayed counts)
    age_s: Floats  # [N], of what is known of the node's work
    overtakes: Bools  # [M], short prompts of the model pass long ones in its queues


class Choice(NamedTuple):
    """node: index, -1 when none could take the prompt. own_s: predicted latency there, s. cost_s: what was minimised
    (own_s for the policies that minimise nothing)."""

    node: int
    own_s: float
    cost_s: float


def empty_fleet(nodes: int, models: int, rows: int = 0) -> FleetArrays:
    """A fleet of dead nodes of speed 1 without replicas, work, network or routes."""
    return FleetArrays(
        alive=np.zeros(nodes, np.bool_),
        speed=np.ones(nodes),
        state=np.zeros((nodes, models), np.int64),
        ready_in_s=np.full((nodes, models), np.inf),
        share=np.ones((nodes, models)),
        work_s=np.zeros((nodes, models)),
        prompts=np.zeros((nodes, models)),
        slots=np.ones(models, np.int64),
        latency_s=np.zeros((nodes, nodes)),
        s_per_kib=np.zeros((nodes, nodes)),
        payload_kib=np.zeros(models),
        route_row=np.full((nodes, models), -1, np.int64),
        route_weight=np.zeros((rows, nodes)),
        route_sent=np.zeros((rows, nodes)),
        age_s=np.zeros(nodes),
        overtakes=np.zeros(models, np.bool_),
    )


@njit(**INLINE)
def _imposed_on(work: float, prompts: float, ahead: float, service_s: float, rho: float) -> float:
    """Work of speed 1 by which the prompts of one other model are delayed, summed over them (docstring: Σ f)."""
    several = max(np.ceil(prompts), 1.0)
    step = rho * work / several
    untouched = min(np.floor(ahead / step), several)
    partly = min(np.floor((ahead + service_s) / step), several)
    ramp: float = step * (partly * (partly + 1) - untouched * (untouched + 1)) / 2 - ahead * (partly - untouched)
    return ramp + service_s * (several - partly)


@njit(**INLINE)
def predict(fleet: FleetArrays, access: int, model: int, node: int, service_s: float) -> tuple[float, float]:
    """(own, imposed): seconds the prompt itself takes at `node`, and seconds it adds to those already there."""
    work, count = fleet.work_s[node, model], fleet.prompts[node, model]
    slots, share, speed = fleet.slots[model], fleet.share[node, model], fleet.speed[node]
    beside = count if slots == 0 else min(count, slots - 1.0)
    each = work / count if count > 0.0 else 0.0
    overlap = beside * min(each, service_s)
    needed = max(work - beside * each, 0.0) + service_s + overlap
    if fleet.overtakes[model] and slots == 1 and count > 1.0:
        x = service_s / max(each, 1e-9)
        longer = math.exp(-x)
        needed = each + (work - each) * (1.0 - longer * (1.0 + x)) + service_s
        overlap = (count - 1.0) * longer * service_s
    given, imposed = needed, 0.0
    for other in range(fleet.slots.shape[0]):
        theirs = fleet.work_s[node, other]
        if other == model or theirs <= 0.0:
            continue
        ratio = fleet.share[node, other] / share
        given += min(theirs, needed * ratio)
        imposed += _imposed_on(theirs, fleet.prompts[node, other], work, service_s, 1.0 / ratio)
    own = given / speed
    if needed > 0.0:
        imposed += overlap * given / needed
    own += fleet.latency_s[access, node] + fleet.s_per_kib[access, node] * fleet.payload_kib[model]
    if fleet.state[node, model] == LOADING:
        own += fleet.ready_in_s[node, model]
    return own, imposed / speed


@njit(**INLINE)
def _rank(fleet: FleetArrays, access: int, model: int, node: int, tried: Bools, allow_loading: bool) -> int:
    """How willingly the node is taken: 0 best; 1 tried before; 2, 3 the same for forbidden ones; -1 not at all."""
    if not fleet.alive[node]:
        return -1
    state = fleet.state[node, model]
    if state != READY and not (allow_loading and state == LOADING):
        return -1
    row = fleet.route_row[access, model]
    forbidden = row >= 0 and fleet.route_weight[row, node] <= 0.0
    return (2 if forbidden else 0) + (1 if tried[node] else 0)


@njit(**INLINE)
def _prior(fleet: FleetArrays, row: int, sent: float, node: int, service_s: float) -> float:
    """sent: prompts the row sent of late, over all nodes."""
    if row < 0:
        return 0.0
    part = (fleet.route_sent[row, node] + 1.0) / (sent + 1.0)
    price: float = PRIOR * max(part - fleet.route_weight[row, node], 0.0) * service_s / fleet.speed[node]
    return price


@njit(**INLINE)
def _backlog(fleet: FleetArrays, node: int) -> float:
    """Work at the node, all models together, s at speed 1."""
    total = 0.0
    for model in range(fleet.slots.shape[0]):
        total += fleet.work_s[node, model]
    return total


@njit(**INLINE)
def _cost(
    policy: int, fleet: FleetArrays, model: int, node: int, service_s: float, own: float, imposed: float, knob: float
) -> float:
    """What the policy minimises, the prior apart."""
    if policy == MARGINAL:
        return own + imposed
    speed = fleet.speed[node]
    backlog = _backlog(fleet, node)
    wait: float = fleet.ready_in_s[node, model] if fleet.state[node, model] == LOADING else 0.0
    if policy == LEAST_WORK:
        whole: float = (backlog + service_s) / speed + wait
        return whole
    # DRIFT. With L = Σ (backlog/speed)²/2 the prompt adds backlog·s/v² + (s/v)²/2; its penalty is its latency here.
    drift = (backlog + service_s / 2) * service_s / (speed * speed)
    penalised: float = drift + knob * (own - backlog / speed)
    return penalised


@njit(**INLINE)
def _known(fleet: FleetArrays, row: int, node: int) -> float:
    """The part f of the node's figures that still counts; see the docstring."""
    old_s = fleet.age_s[node] - FRESH_S
    if old_s <= 0.0 or row < 0 or fleet.route_weight[row, node] <= 0.0:
        return 1.0
    return math.exp(-old_s / STALE_S)


@njit(**KERNEL)
def _means(
    fleet: FleetArrays, access: int, model: int, service_s: float, row: int, nodes: Ints, count: int, ranks: Ints,
    rank: int,
) -> tuple[float, float]:  # fmt: skip
    """(own, cost) of the candidates of the rank on average; zeros where all their figures are fresh."""
    stale = False
    for i in range(count):
        if ranks[i] == rank and fleet.age_s[nodes[i]] > FRESH_S:
            stale = True
    mean_own, mean_cost, many = 0.0, 0.0, 0.0
    if stale and row >= 0:
        for i in range(count):
            if ranks[i] == rank:
                own, imposed = predict(fleet, access, model, nodes[i], service_s)
                mean_own += own
                mean_cost += own + imposed
                many += 1.0
    return mean_own / max(many, 1.0), mean_cost / max(many, 1.0)


@njit(**KERNEL)
def _by_cost(
    policy: int,
    fleet: FleetArrays,
    access: int,
    model: int,
    service_s: float,
    left_s: float,
    knob: float,
    nodes: Ints,
    count: int,
    ranks: Ints,
    rank: int,
) -> tuple[int, float, float]:
    best, best_own, best_cost, best_late = plain(-1), math.inf, math.inf, True
    row, sent = plain(-1), 0.0
    if policy == MARGINAL:
        row = fleet.route_row[access, model]
        if row >= 0:
            for node in range(fleet.route_sent.shape[1]):
                sent += fleet.route_sent[row, node]
    mean_own, mean_cost = _means(fleet, access, model, service_s, row, nodes, count, ranks, rank)
    for i in range(count):
        if ranks[i] != rank:
            continue
        node = nodes[i]
        own, imposed = predict(fleet, access, model, node, service_s)
        cost = _cost(policy, fleet, model, node, service_s, own, imposed, knob)
        cost += _prior(fleet, row, sent, node, service_s)
        known = _known(fleet, row, node)
        if known < 1.0:
            part = (fleet.route_sent[row, node] + 1.0) / (sent + 1.0)
            cost = known * cost + (1.0 - known) * mean_cost * part / fleet.route_weight[row, node]
            own = known * own + (1.0 - known) * mean_own
        late = policy == MARGINAL and own > left_s
        if best < 0 or (best_late and not late) or (late == best_late and cost < best_cost):
            best, best_own, best_cost, best_late = node, own, cost, late
    return best, best_own, best_cost


@njit(**INLINE)
def _many(count: int, ranks: Ints, rank: int) -> int:
    many = 0
    for i in range(count):
        many += 1 if ranks[i] == rank else 0
    return many


@njit(**KERNEL)
def _by_turn(nodes: Ints, count: int, ranks: Ints, rank: int, turn: int) -> int:
    left = turn % _many(count, ranks, rank)
    chosen = -1
    for i in range(count):
        if ranks[i] == rank:
            chosen = nodes[i]
            if left == 0:
                break
            left -= 1
    return chosen


@njit(**KERNEL)
def _by_weight(
    fleet: FleetArrays, access: int, model: int, nodes: Ints, count: int, ranks: Ints, rank: int, uniform: float
) -> int:
    row = fleet.route_row[access, model]
    total = 0.0
    for i in range(count):
        if ranks[i] == rank and row >= 0:
            total += fleet.route_weight[row, nodes[i]]
    if total <= 0.0:
        turned: int = _by_turn(nodes, count, ranks, rank, int(uniform * _many(count, ranks, rank)))
        return turned
    chosen, passed = -1, 0.0
    for i in range(count):
        if ranks[i] == rank and fleet.route_weight[row, nodes[i]] > 0.0:
            chosen = nodes[i]
            passed += fleet.route_weight[row, nodes[i]] / total
            if uniform < passed:
                break
    return chosen


@njit(**KERNEL)
def choose_among(
    policy: int,
    fleet: FleetArrays,
    access: int,
    model: int,
    service_s: float,
    tried: Bools,
    allow_loading: bool,
    left_s: float,
    uniform: float,
    turn: int,
    knob: float,
    nodes: Ints,
    count: int,
    ranks: Ints,
) -> Choice:
    """`choose` among the first `count` of `nodes` (indices, ascending): all that hold the model, or a sample of them.
    knob: V of DRIFT, the seconds of backlog that a second of the prompt's own latency is worth. ranks: scratch of the
    length of `nodes`."""
    rank = plain(-1)
    for i in range(count):
        ranks[i] = _rank(fleet, access, model, nodes[i], tried, allow_loading)
        if ranks[i] >= 0 and (rank < 0 or ranks[i] < rank):
            rank = ranks[i]
    if rank < 0:
        return Choice(-1, math.inf, math.inf)
    if policy in (MARGINAL, LEAST_WORK, DRIFT):
        best, own, cost = _by_cost(policy, fleet, access, model, service_s, left_s, knob, nodes, count, ranks, rank)
        return Choice(best, own, cost)
    if policy == ROUND_ROBIN:
        node = _by_turn(nodes, count, ranks, rank, turn)
    else:
        node = _by_weight(fleet, access, model, nodes, count, ranks, rank, uniform)
    own, _ = predict(fleet, access, model, node, service_s)
    return Choice(node, own, own)


@njit(**WITH_MEMORY)
def choose(
    policy: int,
    fleet: FleetArrays,
    access: int,
    model: int,
    service_s: float,
    tried: Bools,
    allow_loading: bool,
    left_s: float,
    uniform: float,
    turn: int,
) -> Choice:
    """The node for one prompt of `model` that enters at `access` (indices) and needs `service_s` at speed 1.

    tried: [N], nodes that were sent this prompt before. allow_loading: whether to consider waiting for a loading
    replica (the caller looks at the state of the node it gets). left_s: seconds until the prompt's deadline, inf for
    none. uniform: a draw from [0, 1) for SLOT_WEIGHTS. turn: the count of earlier prompts for ROUND_ROBIN.
    """
    count = fleet.alive.shape[0]
    nodes, ranks = np.arange(count), np.empty(count, np.int64)
    return choose_among(
        policy, fleet, access, model, service_s, tried, allow_loading, left_s, uniform, turn, 1.0, nodes, count, ranks
    )


@njit(**KERNEL)
def note_sent(fleet: FleetArrays, access: int, model: int, node: int) -> None:
    """Books a prompt that was sent on its route, so that the prior sees what the route does."""
    row = fleet.route_row[access, model]
    if row >= 0:
        for other in range(fleet.route_sent.shape[1]):
            fleet.route_sent[row, other] *= SENT_DECAY
        fleet.route_sent[row, node] += 1.0


def precompile() -> None:
    """Has the kernels compiled, or read from numba's cache, before the first prompt comes."""
    fleet = empty_fleet(1, 1, 1)
    choose(MARGINAL, fleet, 0, 0, 1.0, np.zeros(1, np.bool_), True, 1.0, 0.0, 0)
    predict(fleet, 0, 0, 0, 1.0)
