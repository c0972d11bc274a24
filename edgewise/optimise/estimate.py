"""A first analytic estimate of the objective of a plan under given demand; no simulation.

For each draw of arrival rates and each replica (n, m) with its part w of the model's prompts:

* Dispatch by live state levels the nodes' work whatever the weights say, so w starts at the plan's weights and is
  moved towards nodes with less work. λ = rate·w.
* A node's speed is shared between the models that have work, by the plan's shares φ (generalised processor sharing).
  A busy prompt of m is slowed by 1 + Σ_j min(b_j·φ_j/φ_m, ρ_j/(1 − Σ_k≠m ρ_k)): the first is what j takes while it
  has work, with probability b_j = load of j at the speed it gets (a fixed point, bounded by 1); the second what j
  takes at most, as if it always went first. Exact for two symmetric M/M/1-PS classes.
* Processors that all nodes share slow a busy node by E[max(1, B/cores)], B the number of busy nodes, taken as normal
  around its mean: an approximation.
* Wait inside one model's queue: c/(1 − ρ) with c = ρ·S'·(I + cv²)/2, I the index of dispersion of arrivals
  (Kingman's approximation; for Poisson arrivals, I = 1, it is Pollaczek–Khinchine's exact mean of M/G/1), carried
  smoothly past saturation by the positive root of (2/H)·V² + (1 − ρ)·V = c: for ρ > 1 it tends to (ρ − 1)·H/2, the
  mean of a queue that grows through the horizon H.
* Dispatch by live state pools the r replicas of a model: c is scaled by ρ^(√(2(r+1))−2)/r (Sakasegawa 1977, M/M/r).
* Backlog B (seconds to serve it here) adds the mean of max(0, B − (1 − ρ)·t) over the horizon. What waits without a
  replica, and what a dropped replica had queued, goes to the model's other replicas by weight.
* A replica not ready yet takes its part only from then on. If no replica of a kind is ready and none can stay on
  until one is, its prompts wait for the first load: T²/2H on average (T < H).
* A kind without replica waits the horizon and its deadline.

The objective is DESIGN's: Σλ·T/Σλ·ideal · (1 + α(1 − J)) + β·churn + γ·energy; J is Jain's normalised index on
1/slowdown in which a kind counts by the probability 1 − exp(−λ·H) that it has an arrival at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from edgewise.domain.plan import ANY, Plan
from edgewise.optimise.problem import Bools, Floats, Problem
from edgewise.optimise.weights import placed

# Predicted objectives[plan, draw] of the plans; lower is better. A simulator can stand in for `estimate`.
Evaluate = Callable[[Sequence[Plan]], Floats]

ROUNDS = 12
LEVELLING = 8
BEND = 12.0  # how sharply a busy probability bends into 1
TINY = 1e-12


class Coded(NamedTuple):
    """Plans as arrays: placement[p, n, m], weight[p, a, m, n] (a of size 1 when no route names an access node),
    share[p, n, m]."""

    placement: Bools
    weight: Floats
    share: Floats


def evaluator(p: Problem, draws: Floats) -> Evaluate:
    """`estimate` bound to a problem and draws[k, a, m] of arrival rates, per second."""
    return lambda plans: estimate(p, plans, draws)


def estimate(p: Problem, plans: Sequence[Plan], draws: Floats) -> Floats:
    """Objectives[plan, draw]; finite for every input whose demand is finite."""
    if not plans or not p.models:
        return np.zeros((len(plans), len(draws)))
    coded = encode(p, plans)
    latency = latencies(p, coded, draws)
    # Prompts that already wait count like arrivals of the horizon.
    pending = p.waiting + p.count.sum(axis=0)
    rates = draws.sum(axis=1) + pending / p.horizon
    score = objective(p, latency, rates)
    changes = (coded.placement != p.held[None]).sum(axis=(1, 2))
    node_hours = max(1, len(p.nodes)) * p.prices.churn_s / 3600
    score = score + (p.prices.beta * changes / node_hours)[:, None]
    if p.prices.gamma > 0:
        score = score + p.prices.gamma * _joules(p, coded, draws)
    return np.asarray(score)


def encode(p: Problem, plans: Sequence[Plan]) -> Coded:
    """Plans as arrays. Weights outside the placement are dropped; each (access, model) sums to 1 or to 0."""
    at_node = {n: i for i, n in enumerate(p.nodes)}
    at_model = {m: j for j, m in enumerate(p.models)}
    at_access = {a: i for i, a in enumerate(p.access)}
    by_access = any(r.access_node != ANY for plan in plans for r in plan.routes)
    size = (len(plans), len(p.nodes), len(p.models))
    placement, share = np.zeros(size, dtype=bool), np.zeros(size)
    weight = np.zeros((len(plans), len(p.access) if by_access else 1, len(p.models), len(p.nodes)))
    for i, plan in enumerate(plans):
        placement[i] = placed(p, plan)
        for s in plan.shares:
            if s.node in at_node and s.model in at_model:
                share[i, at_node[s.node], at_model[s.model]] = max(0.0, s.share)
        own = {(r.access_node, r.model) for r in plan.routes if r.access_node != ANY}
        for r in plan.routes:
            if r.node not in at_node or r.model not in at_model:
                continue
            if r.access_node == ANY:
                rows = [a for name, a in at_access.items() if (name, r.model) not in own] if own else slice(None)
            elif r.access_node in at_access:
                rows = [at_access[r.access_node]]
            else:
                continue
            weight[i, rows, at_model[r.model], at_node[r.node]] += max(0.0, r.weight)
    weight *= placement.transpose(0, 2, 1)[:, None]
    lone = (weight.sum(axis=3, keepdims=True) <= 0) & placement.transpose(0, 2, 1)[:, None]
    weight = np.where(lone, 1.0, weight)
    sums = weight.sum(axis=3, keepdims=True)
    share = np.where(placement, np.maximum(share, 1e-3), 0.0)
    return Coded(placement, weight / np.where(sums > 0, sums, 1.0), share)


def latencies(p: Problem, coded: Coded, draws: Floats) -> Floats:
    """Mean latency[plan, draw, m] in seconds."""
    rates = np.maximum(draws.sum(axis=1), TINY)
    flow, trip = _flows(p, coded, draws, rates)
    flow = _levelled(p, coded, flow, rates)
    part = flow / rates[None, :, None, :]
    slow = _slowing(p, coded, flow)
    rho = flow * p.service * slow
    service = p.service * slow
    wait = _queue_wait(p, part, rho, service)
    drained = _backlog_wait(p, coded, part, rho, slow)
    served = (part * (service + wait + drained)).sum(axis=2) + trip
    served = served + _load_wait(p, coded)[:, None, :]
    somewhere = np.asarray(coded.placement.any(axis=1))[:, None, :]
    return np.asarray(np.where(somewhere, served, p.ideal + p.horizon + p.deadline))


def objective(p: Problem, latency: Floats, rates: Floats) -> Floats:
    """Scores[plan, draw] of latencies[plan, draw, m] at rates[draw, m], without churn and energy."""
    total = np.maximum(rates.sum(axis=1), TINY)
    ratio = (latency * rates).sum(axis=2) / total / ((p.ideal * rates).sum(axis=1) / total)
    seen = -np.expm1(-rates * p.horizon)[None]
    x = 1 / np.maximum(1.0, latency / p.ideal)
    kinds = np.maximum(seen.sum(axis=2), TINY)
    jain = (seen * x).sum(axis=2) ** 2 / np.maximum(kinds * (seen * x * x).sum(axis=2), TINY)
    least = 1 / np.maximum(kinds, 1.0)
    several = kinds > 1 + 1e-6
    spread = np.where(several, 1 - least, 1.0)
    normal = np.where(several, np.clip((jain - least) / spread, 0.0, 1.0), 1.0)
    return np.asarray(ratio * (1 + p.prices.alpha * (1 - normal)))


def _flows(p: Problem, coded: Coded, draws: Floats, rates: Floats) -> tuple[Floats, Floats]:
    """flow[plan, draw, n, m], prompts per second at each replica over the horizon (a replica that is still loading
    counts for the rest of it), and the mean network seconds[plan, draw, m]."""
    usable = np.maximum(1e-3, 1 - np.minimum(p.ready_in, p.horizon) / p.horizon)
    weight = coded.weight * usable.T[None, None]
    sums = weight.sum(axis=3, keepdims=True)
    weight = weight / np.where(sums > 0, sums, 1.0)
    if weight.shape[1] == 1:
        flow = rates[None, :, None, :] * weight[:, 0].transpose(0, 2, 1)[:, None]
        mean_trip = np.einsum("kam,amn->kmn", draws, p.trip) / rates[:, :, None]
        trip = np.einsum("pmn,kmn->pkm", weight[:, 0], mean_trip)
    else:
        flow = np.einsum("kam,pamn->pknm", draws, weight)
        trip = np.einsum("kam,pamn,amn->pkm", draws, weight, p.trip) / rates[None]
    return flow, trip


def _levelled(p: Problem, coded: Coded, flow: Floats, rates: Floats) -> Floats:
    """The flow as dispatch by live state makes it: weights are where it starts, each round moves prompts towards
    nodes with less work. A replica without weight gets nothing, one that is loading its part of the horizon."""
    usable = np.maximum(1e-3, 1 - np.minimum(p.ready_in, p.horizon) / p.horizon)
    queued = np.where(coded.placement, p.work[None], 0.0).sum(axis=2)[:, None] / p.horizon
    weight = np.where(flow > 0, flow / usable, 0.0)
    for _ in range(LEVELLING):
        flow = _to_rates(weight * usable, rates)
        load = ((flow * p.service).sum(axis=3) + queued) / p.speed
        weight = weight * (1 / (0.02 + load[..., None])) ** 0.7
        weight = weight / np.maximum(weight.sum(axis=2, keepdims=True), TINY)
    return _to_rates(weight * usable, rates)


def _to_rates(weight: Floats, rates: Floats) -> Floats:
    sums = weight.sum(axis=2, keepdims=True)
    return np.asarray(weight / np.where(sums > 0, sums, 1.0) * rates[None, :, None, :])


def _slowing(p: Problem, coded: Coded, flow: Floats) -> Floats:
    """Seconds a busy prompt takes per second of service at speed 1.0, [plan, draw, n, m]."""
    share = coded.share[:, None]
    per_share = np.where(share > 0, 1 / np.where(share > 0, share, 1.0), 0.0)
    speed = p.speed[None, None, :, None]
    slow = np.broadcast_to(1 / speed, flow.shape)
    for _ in range(ROUNDS):
        rho = flow * p.service * slow
        bounded = np.minimum(rho, 1e6)
        busy = bounded / (1 + bounded**BEND) ** (1 / BEND)
        host = _host_slowing(p, busy)[..., None] / speed
        load = flow * p.service * host
        rest = 1 - (load.sum(axis=3, keepdims=True) - load)
        taken = (busy * share)[..., None, :] * per_share[..., None]
        most = load[..., None, :] / np.maximum(rest, 1e-3)[..., None]
        slow = (1 + np.minimum(taken, most).sum(axis=4) - np.minimum(busy, load / np.maximum(rest, 1e-3))) * host
    return np.asarray(slow)


def _host_slowing(p: Problem, busy: Floats) -> Floats:
    """E[max(1, B/cores)] for a busy node, [plan, draw, n], from busy probabilities [plan, draw, n, m]."""
    node = 1 - np.prod(1 - np.minimum(busy, 1.0), axis=3)
    if p.cores >= len(p.nodes):
        return np.ones_like(node)
    mean = 1 + node.sum(axis=2, keepdims=True) - node
    var = (node * (1 - node)).sum(axis=2, keepdims=True) - node * (1 - node)
    sd = np.sqrt(np.maximum(var, 1e-6))
    z = (mean - p.cores) / sd
    over = (mean - p.cores) * ndtr(z) + sd * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return np.asarray(1 + np.maximum(0.0, over) / p.cores)


def _queue_wait(p: Problem, part: Floats, rho: Floats, service: Floats) -> Floats:
    """Mean wait in one replica's queue, s; smooth and finite at every load."""
    replicas = 1 / np.maximum((part**2).sum(axis=2, keepdims=True), TINY)
    replicas = np.maximum(1.0, replicas)
    bounded = np.clip(rho, 1e-9, 1.0)
    pooled = bounded ** (np.sqrt(2 * (replicas + 1)) - 2) / replicas
    c = rho * service * (p.burst + p.scv) / 2 * pooled
    idle = 1 - rho
    root = np.sqrt(idle * idle + 8 * c / p.horizon)
    # The second form is the first without its loss of digits when the queue is short.
    return np.asarray(np.where(idle > 0, 2 * c / (idle + root), p.horizon / 4 * (root - idle)))


def _backlog_wait(p: Problem, coded: Coded, part: Floats, rho: Floats, slow: Floats) -> Floats:
    """Mean extra wait from what is queued already, s."""
    kept = np.where(coded.placement, p.work[None], 0.0)
    orphans = p.stray_work + (p.work[None] - kept).sum(axis=1)
    work = kept[:, None] + orphans[:, None, None, :] * part
    backlog = work * slow
    idle = np.maximum(1 - rho, TINY)
    gone = backlog <= idle * p.horizon
    return np.asarray(np.where(gone, backlog**2 / (2 * idle * p.horizon), backlog - idle * p.horizon / 2))


def _load_wait(p: Problem, coded: Coded) -> Floats:
    """Mean seconds[plan, m] a kind waits for its first replica; 0 when one is ready or an old one can stay on."""
    present = coded.placement
    spare = p.memory[None] - (present * p.need).sum(axis=2)
    stays = p.ready[None] & (present | (spare[..., None] >= p.need - 1e-9))
    some = np.asarray(stays.any(axis=1))
    first = np.where(present, p.ready_in[None], np.inf).min(axis=1, initial=np.inf)
    first = np.where(some | ~np.isfinite(first), 0.0, first)
    return np.asarray(np.where(first < p.horizon, first**2 / (2 * p.horizon), first - p.horizon / 2))


def _joules(p: Problem, coded: Coded, draws: Floats) -> Floats:
    """Joules above idle per prompt, [plan, draw]: idle power does not depend on the plan."""
    rates = np.maximum(draws.sum(axis=1), TINY)
    flow, _ = _flows(p, coded, draws, rates)
    busy = np.minimum(1.0, (flow * p.service / p.speed[None, None, :, None]).sum(axis=3))
    return np.asarray((busy * p.watts).sum(axis=2) / rates.sum(axis=1)[None])
