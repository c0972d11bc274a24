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

from edgewise.domain.plan import ANY, Plan
from edgewise.optimise.batch import Ground, predict_all
from edgewise.optimise.kernels import TINY, Standing, Terms, flows_of, latencies_of, scratch
from edgewise.optimise.problem import Bools, Floats, Ints, Problem
from edgewise.optimise.weights import LEAST_WEIGHT, SWEEPS, placed, size_weights

# Predicted objectives[plan, draw] of the plans; lower is better. A simulator can stand in for `estimate`.
Evaluate = Callable[[Sequence[Plan]], Floats]

# Mean predicted objective of each placement, with weights and shares that suit it; lower is better.
Score = Callable[[Sequence[Bools]], Floats]

LEAST_SHARE = 1e-3  # of a node's speed
# Cost of a kind whose mean latency is twice what its longest wait allows: that of all prompts at twice their ideal.
TOO_LONG = 1.0


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
    latency, busy = _predicted(p, coded, draws)
    return _priced(p, coded.placement, latency, busy, draws)


def scorer(p: Problem, draws: Floats, rates: Floats, power: float = 1.0) -> Score:
    """Mean objectives of placements with the weights and shares that make_plan would give them for `rates`."""
    seen = np.maximum(draws.sum(axis=1), TINY)
    mean_trip = _mean_trip(p, draws, seen)
    terms, usable = _terms(p), _usable(p)
    order = np.argsort(-np.maximum(rates, 1e-9) * p.service, kind="stable")
    size = size_weights(p.service, power, p.weight)
    ground = Ground(usable, p.work, p.stray_work, size, rates, order, LEAST_WEIGHT, LEAST_SHARE, SWEEPS)

    def score(here: Sequence[Bools]) -> Floats:
        stacked = np.array(here)
        latency, busy = predict_all(terms, ground, stacked, seen, mean_trip)
        return np.asarray(_priced(p, stacked, _waited(p, stacked, latency), busy, draws).mean(axis=1))

    return score


def _priced(p: Problem, placement: Bools, latency: Floats, busy: Floats, draws: Floats) -> Floats:
    """Objectives[plan, draw] of latencies, churn and energy."""
    # Prompts that already wait count like arrivals of the horizon.
    pending = p.waiting + p.count.sum(axis=0)
    rates = draws.sum(axis=1) + pending / p.horizon
    score = objective(p, latency, rates)
    changes = (placement != p.held[None]).sum(axis=(1, 2))
    node_hours = max(1, len(p.nodes)) * p.prices.churn_s / 3600
    score = score + (p.prices.beta * changes / node_hours)[:, None]
    if p.prices.gamma > 0:
        # Joules above idle per prompt: idle power does not depend on the plan.
        total = np.maximum(draws.sum(axis=1), TINY).sum(axis=1)
        score = score + p.prices.gamma * (np.minimum(1.0, busy) * p.watts).sum(axis=2) / total[None]
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
    share = np.where(placement, np.maximum(share, LEAST_SHARE), 0.0)
    return Coded(placement, weight / np.where(sums > 0, sums, 1.0), share)


def latencies(p: Problem, coded: Coded, draws: Floats) -> Floats:
    """Mean latency[plan, draw, m] in seconds."""
    return _predicted(p, coded, draws)[0]


def _predicted(p: Problem, coded: Coded, draws: Floats) -> tuple[Floats, Floats]:
    """(mean latency[plan, draw, m] in seconds, work that arrives at a node by the weights, per its speed
    [plan, draw, n])."""
    rates = np.maximum(draws.sum(axis=1), TINY)
    by_access = coded.weight.shape[1] > 1
    mean_trip = np.zeros((1, 1, 1)) if by_access else _mean_trip(p, draws, rates)
    terms, usable = _terms(p), _usable(p)
    out = np.empty((len(coded.placement), *rates.shape))
    busy = np.zeros((len(coded.placement), len(rates), len(p.nodes)))
    for i, here in enumerate(coded.placement):
        st = _standing(p, here, coded.share[i], usable)
        weight = coded.weight[i][:, st.model, st.node] * st.usable
        for row in weight:
            sums = np.bincount(st.model, row, len(p.models))
            row /= np.where(sums > 0, sums, 1.0)[st.model]
        flows, trips = np.zeros((len(rates), len(st.node))), np.zeros(rates.shape)
        if by_access:
            _flows_by_access(p, st, weight, draws, flows, trips)
        else:
            flows_of(st, weight[0], rates, mean_trip, flows, trips)
        room = scratch(len(st.node), len(p.nodes), len(p.models))
        latencies_of(terms, st, flows, trips, rates, room, out[i], busy[i])
    return _waited(p, coded.placement, out), busy


def _waited(p: Problem, placement: Bools, latency: Floats) -> Floats:
    """Latencies with the wait for loads; a kind that stands nowhere waits the horizon and its deadline."""
    latency = latency + _load_wait(p, placement)[:, None, :]
    somewhere = np.asarray(placement.any(axis=1))[:, None, :]
    return np.asarray(np.where(somewhere, latency, p.ideal + p.horizon + p.deadline))


def _terms(p: Problem) -> Terms:
    return Terms(p.speed, p.service, p.burst + p.scv, p.cores, p.horizon)


def _usable(p: Problem) -> Floats:
    """Part of the horizon [n, m] that a replica is ready for."""
    return np.asarray(np.maximum(1e-3, 1 - np.minimum(p.ready_in, p.horizon) / p.horizon))


def _standing(p: Problem, here: Bools, share: Floats, usable: Floats) -> Standing:
    node, model = np.nonzero(here)
    kept = np.where(here, p.work, 0.0)
    return Standing(
        node=node,
        model=model,
        first=_firsts(node, len(p.nodes)),
        share=share[node, model],
        usable=usable[node, model],
        work=kept[node, model],
        # What a dropped replica had queued goes to the model's others.
        stray=p.stray_work + (p.work - kept).sum(axis=0),
        queued=kept.sum(axis=1) / p.horizon,
    )


def _firsts(index: Ints, count: int) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(index, minlength=count))]).astype(np.int64)


def _mean_trip(p: Problem, draws: Floats, rates: Floats) -> Floats:
    """Network seconds [draw, m, n] to a node, averaged over where prompts of m enter."""
    return np.asarray(np.einsum("kam,amn->kmn", draws, p.trip, optimize=True) / rates[:, :, None])


def _flows_by_access(p: Problem, st: Standing, weight: Floats, draws: Floats, flows: Floats, trips: Floats) -> None:
    """Flows and trips where weights [a, R] hang on the access node."""
    parts = draws[:, :, st.model] * weight
    flows += parts.sum(axis=1)
    spent = (parts * p.trip[:, st.model, st.node]).sum(axis=1)
    rates = np.maximum(draws.sum(axis=1), TINY)
    for k, row in enumerate(spent):
        trips[k] += np.bincount(st.model, row, len(p.models)) / rates[k]


def objective(p: Problem, latency: Floats, rates: Floats) -> Floats:
    """Scores[plan, draw] of latencies[plan, draw, m] at rates[draw, m], without churn and energy. Where kinds have
    weights, both means are weighed by them; a kind that waits too long costs by how much, whatever its rate."""
    counted = rates if p.weight is None else rates * p.weight
    total = np.maximum(counted.sum(axis=1), TINY)
    ratio = (latency * counted).sum(axis=2) / total / ((p.ideal * counted).sum(axis=1) / total)
    seen = -np.expm1(-rates * p.horizon)[None]
    x = 1 / np.maximum(1.0, latency / p.ideal)
    kinds = np.maximum(seen.sum(axis=2), TINY)
    jain = (seen * x).sum(axis=2) ** 2 / np.maximum(kinds * (seen * x * x).sum(axis=2), TINY)
    least = 1 / np.maximum(kinds, 1.0)
    several = kinds > 1 + 1e-6
    spread = np.where(several, 1 - least, 1.0)
    normal = np.where(several, np.clip((jain - least) / spread, 0.0, 1.0), 1.0)
    score = ratio * (1 + p.prices.alpha * (1 - normal))
    if p.longest is not None:
        score = score + TOO_LONG * (seen * np.maximum(0.0, latency / p.longest - 1.0)).sum(axis=2)
    return np.asarray(score)


def _load_wait(p: Problem, present: Bools) -> Floats:
    """Mean seconds[plan, m] a kind waits for its first replica; 0 when one is ready or an old one can stay on."""
    spare = p.memory[None] - (present * p.need).sum(axis=2)
    stays = p.ready[None] & (present | (spare[..., None] >= p.need - 1e-9))
    some = np.asarray(stays.any(axis=1))
    first = np.where(present, p.ready_in[None], np.inf).min(axis=1, initial=np.inf)
    first = np.where(some | ~np.isfinite(first), 0.0, first)
    return np.asarray(np.where(first < p.horizon, first**2 / (2 * p.horizon), first - p.horizon / 2))
