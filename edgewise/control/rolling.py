"""Scores of plans by rollouts of the twin: an observation as the twin's first state, a forecast as draws of prompts.

Everything a rollout needs is made once per decision; each plan then meets the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from edgewise.control.forecast import Forecast, Path, stretches
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.optimise.estimate import Evaluate, objective
from edgewise.optimise.problem import Floats, Problem
from edgewise.policy import dispatch
from edgewise.policy.dispatch import ABSENT, DRAINING, LOADING, READY
from edgewise.policy.network import network_arrays
from edgewise.policy.sample import SAMPLE
from edgewise.settings import Settings
from edgewise.twin.arrays import FIXED, Physics, Rules
from edgewise.twin.demand import Demand, Ints
from edgewise.twin.plans import Arranged, arrange
from edgewise.twin.rollout import Draw, Outcomes, Snapshot, roll
from edgewise.twin.run import fleet_for

CODES = {
    ReplicaState.ABSENT: ABSENT,
    ReplicaState.LOADING: LOADING,
    ReplicaState.READY: READY,
    ReplicaState.DRAINING: DRAINING,
    ReplicaState.FAILED: ABSENT,
}
# Spread (cv) of prompts' sizes where service goes by size; recorded traces have 0.5 to 1.2.
SIZE_CV = 0.8
# Error of what is known of a prompt's size beforehand, σ of its logarithm.
HINT_NOISE = 0.4
# Threads that rollouts of one decision run on.
THREADS = 2
# Burstier than this, gaps of one renewal process would hold nearly all prompts of a draw in a few clumps.
MOST_BURST = 4.0


@dataclass(frozen=True)
class Scene:
    """What rollouts of one decision start from. resident: prompts that are there, as columns (node -1: held)."""

    snapshot: Snapshot
    nodes: tuple[str, ...]
    models: tuple[str, ...]
    resident_model: Ints
    resident_node: Ints
    resident_s: Floats


def scene(o: Observation) -> Scene:
    """The observation as a first state of the twin. Nodes that were not alive are there, and down."""
    nodes, models = o.node_specs, o.model_specs
    at_node = {n.id: i for i, n in enumerate(nodes)}
    at_model = {m.id: j for j, m in enumerate(models)}
    physics = _physics(o, np.array([n.speed for n in nodes]))
    fleet = fleet_for(physics, *network_arrays([n.id for n in nodes], o.network))
    fleet.overtakes[:] = [m.service is not None for m in models]
    alive = {n.id for n in o.alive}
    fleet.alive[:] = [n.id in alive for n in nodes]
    state = np.zeros((len(nodes), len(models)), np.int64)
    ready_in = np.full(state.shape, np.inf)
    for r in o.cluster.replicas:
        if r.node in alive and r.model in at_model:
            at = (at_node[r.node], at_model[r.model])
            state[at] = CODES[r.state]
            ready_in[at] = r.ready_in_s if r.ready_in_s > 0 else models[at[1]].load_s / 2
    there: list[tuple[int, int, float]] = []
    for x in o.telemetry.loads:
        if x.model in at_model:
            j, count = at_model[x.model], max(0, x.queued) + max(0, x.in_flight)
            n = at_node[x.node] if x.node in alive else -1
            each = x.work_s / count if count and x.work_s > 0 else models[j].mean_service_s
            there += [(j, n, each)] * count
    for f in o.telemetry.models:
        if f.model in at_model:
            j = at_model[f.model]
            there += [(j, -1, models[j].mean_service_s)] * max(0, f.waiting)
    return Scene(
        Snapshot(physics, fleet, state, ready_in),
        tuple(at_node),
        tuple(at_model),
        np.array([t[0] for t in there], np.int64),
        np.array([t[1] for t in there], np.int64),
        np.array([t[2] for t in there], np.float64),
    )


def demand_draws(
    s: Scene, o: Observation, ahead: Forecast, rates: Floats, access: Sequence[str], rng: np.random.Generator,
    horizon_s: float, ways: Sequence[Path] = (),
) -> list[Draw]:  # fmt: skip
    """One draw of prompts for each draw of rates[k, a, m] per second. Gaps are gamma with the forecast's dispersion
    (1: Poisson); sizes log-normal around the model's mean. ways: how each draw's rates go on, empty: as they are."""
    at_node = {name: i for i, name in enumerate(s.nodes)}
    where = np.array([at_node.get(a, 0) for a in access], np.int64)
    draws = []
    for k, first in enumerate(rates):
        at, model, entry = [], [], []
        for m in range(len(o.model_specs)):
            burst = min(MOST_BURST, max(1.0, float(ahead.bursts[m])))
            for begin_s, end_s, rate in stretches(first, ways[k] if ways else (), horizon_s):
                total = float(rate[:, m].sum())
                times = _times(total, burst, end_s - begin_s, rng)
                at.append(times + begin_s)
                model.append(np.full(times.size, m))
                part = rate[:, m] / total if total > 0 else np.full(len(access), 1 / len(access))
                entry.append(where[np.searchsorted(np.cumsum(part)[:-1], rng.random(times.size))])
        at_s, models = np.concatenate(at), np.concatenate(model)
        order = np.argsort(at_s, kind="stable")
        at_s, models, entries = at_s[order], models[order], np.concatenate(entry)[order]
        hint, service = _sizes(o.model_specs, models, rng)
        resident = sizes_around(o.model_specs, s.resident_model, s.resident_s, rng)
        draws.append(
            Draw(
                Demand(
                    np.concatenate([np.zeros(len(resident)), at_s]),
                    np.concatenate([s.resident_model, models]).astype(np.int64),
                    np.concatenate([np.maximum(s.resident_node, 0), entries]).astype(np.int64),
                    np.concatenate([resident, service]),
                    np.concatenate([s.resident_s, hint]),
                ),
                s.resident_node,
            )
        )
    return draws


def rolling(s: Scene, p: Problem, draws: Sequence[Draw], rules: Rules, horizon_s: float) -> Evaluate:
    """Predicted objectives[plan, draw] of plans, by rollouts."""

    def evaluate(plans: Sequence[Plan]) -> Floats:
        if not plans:
            return np.zeros((0, len(draws)))
        arranged = [arrange(plan, s.nodes, s.models) for plan in plans]
        return scores(p, _roll(s.snapshot, arranged, draws, rules, horizon_s), s.nodes, horizon_s)

    return evaluate


def outcomes_of(s: Scene, plans: Sequence[Plan], draws: Sequence[Draw], rules: Rules, horizon_s: float) -> Outcomes:
    """What becomes of each plan on each draw, with what met its deadline."""
    arranged = [arrange(plan, s.nodes, s.models) for plan in plans]
    return roll(s.snapshot, arranged, draws, rules, horizon_s, deadlines=True)


def _roll(
    snapshot: Snapshot, plans: Sequence[Arranged], draws: Sequence[Draw], rules: Rules, horizon_s: float
) -> Outcomes:
    """Rollouts on THREADS threads: the twin lets go of the interpreter. Each draw stands for itself and results are
    put together in their order, so that threads change nothing but the time."""
    size = -(-len(draws) // THREADS)
    blocks = [draws[i : i + size] for i in range(0, len(draws), size)]
    if len(blocks) < 2:
        return roll(snapshot, plans, draws, rules, horizon_s)
    with ThreadPoolExecutor(len(blocks)) as pool:
        outs = list(pool.map(lambda block: roll(snapshot, plans, block, rules, horizon_s), blocks))
    return Outcomes(
        np.concatenate([o.latency_s for o in outs], axis=1),
        np.concatenate([o.count for o in outs]),
        np.concatenate([o.busy_s for o in outs], axis=1),
        np.concatenate([o.moves for o in outs], axis=1),
        sum(o.events for o in outs),
    )


def scores(p: Problem, out: Outcomes, nodes: Sequence[str], horizon_s: float) -> Floats:
    """DESIGN's objective of outcomes. A model without prompts in a draw counts for nothing in it. nodes: names in the
    order of `busy_s`."""
    count = np.maximum(out.count, 1.0)
    latency = np.where(out.count[None] > 0, out.latency_s / count[None], p.ideal)
    score = objective(p, latency, out.count / horizon_s)
    score = score + p.prices.beta * out.moves / (max(1, len(nodes)) * p.prices.churn_s / 3600)
    if p.prices.gamma > 0:
        extra = dict(zip(p.nodes, p.watts.tolist(), strict=True))
        watts = np.array([extra.get(n, 0.0) for n in nodes])
        score = score + p.prices.gamma * (out.busy_s * watts).sum(axis=2) / np.maximum(out.count.sum(axis=1), 1.0)
    return np.asarray(score)


def product_rules(settings: Settings, shedding: bool = False) -> Rules:
    """What the product does per prompt, on a goal that stands: marginal-cost dispatch, short prompts before long."""
    return Rules(dispatch.MARGINAL, FIXED, 1.0, 1.0, settings.yielding, shedding, SAMPLE)


def marginal_rules(shedding: bool = False) -> Rules:
    """Marginal-cost dispatch on a goal that stands, first come, first served."""
    return Rules(dispatch.MARGINAL, FIXED, 1.0, 1.0, 0.0, shedding, SAMPLE)


def _physics(o: Observation, speed: Floats) -> Physics:
    models = o.model_specs
    load = np.array([max(1e-3, m.load_s) for m in models])
    variance = np.log1p(np.array([m.load_cv for m in models]) ** 2)
    budget = {n.id: n.memory_gib for n in o.node_specs}
    for f in o.cluster.nodes:
        if f.node in budget and f.memory_gib > 0:
            budget[f.node] = min(budget[f.node], f.memory_gib)
    return Physics(
        memory=np.array(list(budget.values())),
        need=np.array([m.memory_gib for m in models]),
        first_speed=speed,
        slots=np.array([m.max_concurrency for m in models], np.int64),
        curve=np.ones((len(models), 1)),
        load_mean=load,
        load_mu=np.log(load) - variance / 2,
        load_sigma=np.sqrt(variance),
        left_scv=np.array([left_scv(m, HINT_NOISE) for m in models]),
        request_kib=np.array([m.request_kib for m in models]),
        response_kib=np.array([m.response_kib for m in models]),
        deadline_s=np.array([m.deadline_s for m in models]),
        local_node=np.zeros((1, 1), np.int64),
        cores=math.inf if o.host_cores is None else max(0.1, o.host_cores),
        contention=False,
        seed=1,
    )


def left_scv(m: ModelSpec, noise: float) -> float:
    """How uncertain a prompt's need is around what is believed of it, squared coefficient of variation. noise: error
    of the size hint, σ of its logarithm; a model whose service does not go by size has no hints."""
    return m.service_cv**2 + (math.expm1(noise**2) if m.service is not None else 0.0)


def _times(rate: float, burst: float, horizon_s: float, rng: np.random.Generator) -> Floats:
    """Arrivals in [0, horizon): gaps gamma of shape 1/burst, the first one cut anywhere."""
    if rate <= 0:
        return np.zeros(0)
    many = int(rate * horizon_s + 6 * math.sqrt(burst * rate * horizon_s + 1) + 8)
    gaps = rng.gamma(1 / burst, burst / rate, size=many)
    gaps[0] *= rng.random()
    times = np.cumsum(gaps)
    return np.asarray(times[times < horizon_s])


def _sizes(models: Sequence[ModelSpec], model: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(hints, services) of prompts: what is expected of each, and what it takes."""
    mean = np.array([m.mean_service_s for m in models])[model]
    spread = np.array([SIZE_CV if m.service is not None else 0.0 for m in models])[model]
    variance = np.log1p(spread**2)
    hint = mean * np.exp(rng.standard_normal(model.size) * np.sqrt(variance) - variance / 2)
    return hint, sizes_around(models, model, hint, rng)


def sizes_around(models: Sequence[ModelSpec], model: Ints, hint: Floats, rng: np.random.Generator) -> Floats:
    """What prompts take whose size is believed to be `hint`."""
    scv = np.array([left_scv(m, HINT_NOISE) for m in models])[model] if model.size else np.zeros(0)
    variance = np.log1p(scv)
    return np.asarray(hint * np.exp(rng.standard_normal(model.size) * np.sqrt(variance) - variance / 2))
