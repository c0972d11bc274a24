"""Routing weights by water-filling and on-node shares by size, for a given placement."""

from __future__ import annotations

import numpy as np

from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Role, Route, Share, Source
from edgewise.optimise.filling import fill_all, fill_model
from edgewise.optimise.problem import Bools, Floats, Problem

SWEEPS = 3
# Every replica keeps a little weight: live dispatch may use only what the plan routes to.
LEAST_WEIGHT = 0.02
LARGEST_RATIO = 50.0


def fill(level: Floats, capacity: Floats, work: float) -> Floats:
    """How `work` spreads over bins of `capacity` already filled to `level·capacity`, so that the highest
    resulting level is least (water-filling). Returns the work put into each bin; sums to `work`."""
    put = np.zeros(len(level))
    fill_model(np.arange(len(level)), put, level, capacity, work)
    return put


def route_weights(p: Problem, placement: Bools, rates: Floats) -> Floats:
    """Weights[n, m], each model's summing to 1 over its replicas: work is spread so that node utilisations are
    levelled (what is queued counts), largest kinds first, refined in a few sweeps. rates[m]: prompts per second."""
    put, _ = levelled(p, placement, rates, SWEEPS)
    total = put.sum(axis=0)
    weights = np.where(placement, put / np.where(total > 0, total, 1.0), 0.0)
    weights = np.where(placement, np.maximum(weights, LEAST_WEIGHT), 0.0)
    sums = weights.sum(axis=0)
    return np.asarray(weights / np.where(sums > 0, sums, 1.0))


def levelled(
    p: Problem, placement: Bools, rates: Floats, sweeps: int, settled: float = -1.0
) -> tuple[Floats, Floats]:
    """(work put on [n, m], level [n]: work per speed) of water-filled routing; what is queued at a replica takes its
    part of the horizon. settled: relative change of the highest level at which sweeps stop before their number."""
    work = np.maximum(rates, 1e-9) * p.service
    model, node = np.nonzero(placement.T)
    starts = np.searchsorted(model, np.arange(len(work) + 1)).astype(np.int64)
    level = np.where(placement, p.work, 0.0).sum(axis=1) / p.horizon / p.speed
    flat = np.zeros(len(node))
    fill_all(starts, node, np.argsort(-work, kind="stable"), work, p.speed, level, flat, sweeps, settled)
    put = np.zeros(placement.shape)
    put[node, model] = flat
    return put, level


def node_shares(p: Problem, placement: Bools, power: float) -> Floats:
    """Shares[n, m] ∝ 1/service^power over a node's replicas, summing to 1: short prompts pass long ones, which
    costs the long ones little. The ratio is bounded so that nobody starves."""
    raw = np.where(placement, size_weights(p.service, power, p.weight)[None, :], 0.0)
    sums = raw.sum(axis=1, keepdims=True)
    return np.asarray(raw / np.where(sums > 0, sums, 1.0))


def size_weights(service: Floats, power: float, weight: Floats | None = None) -> Floats:
    """Relative shares [M] of models with mean service `service`: weight/service^power (as the cμ rule orders
    queues; weight None: all 1), the ratio bounded."""
    size = service**-power if weight is None else weight * service**-power
    return np.asarray(np.maximum(size, size.max() / LARGEST_RATIO))


def placed(p: Problem, plan: Plan) -> Bools:
    """The placement matrix of a plan; what it names beyond alive nodes and known models is left out."""
    at_node = {n: i for i, n in enumerate(p.nodes)}
    at_model = {m: j for j, m in enumerate(p.models)}
    matrix = np.zeros((len(p.nodes), len(p.models)), dtype=bool)
    for r in plan.replicas:
        if r.node in at_node and r.model in at_model:
            matrix[at_node[r.node], at_model[r.model]] = True
    return matrix


def make_plan(
    p: Problem, placement: Bools, rates: Floats, power: float, plan_id: str, made: tuple[float, float]
) -> Plan:
    """A plan with weights and shares for a placement. made: (made_at_s, expires_s)."""
    weights = np.round(route_weights(p, placement, rates), 6)
    shares = np.round(node_shares(p, placement, power), 6)
    rows = [(n, m) for n in range(len(p.nodes)) for m in range(len(p.models)) if placement[n, m]]
    return Plan(
        id=plan_id,
        source=Source.OPTIMISER,
        made_at_s=made[0],
        expires_s=made[1],
        replicas=tuple(ReplicaGoal(p.nodes[n], p.models[m]) for n, m in rows),
        routes=tuple(Route(ANY, p.models[m], p.nodes[n], float(weights[n, m])) for n, m in rows),
        shares=tuple(Share(p.nodes[n], p.models[m], float(shares[n, m])) for n, m in rows),
        roles=tuple(Role(p.nodes[n], _role(p, placement, n)) for n in range(len(p.nodes))),
    )


def _role(p: Problem, placement: Bools, n: int) -> str:
    names = [p.models[m] for m in np.nonzero(placement[n])[0]]
    return "+".join(names) if names else "spare"
