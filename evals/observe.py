"""What a controller would observe of a twin that stands still: the same record that the live system's ports give."""

from __future__ import annotations

import numpy as np

from edgewise.control.intake import merge
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import (
    ClusterFacts,
    DemandFact,
    ModelFact,
    NodeFact,
    Observation,
    ReplicaFact,
    ReplicaLoad,
    ServiceFact,
    TelemetryFacts,
)
from edgewise.policy.dispatch import ABSENT, LOADING
from edgewise.twin.arrays import COMPLETED
from edgewise.twin.demand import NODE_SLOW, TELEMETRY_STALE, Floats, Happenings, Ints
from edgewise.twin.run import Twin
from edgewise.twin.serve import see
from evals.setting import Setting

STATES = tuple(ReplicaState)  # the order of policy.dispatch's codes


def observe(where: Setting, twin: Twin, slot: int, window_s: float, ahead_s: float = 0.0) -> Observation:
    """Facts at the twin's time, in terms of the believed world; figures of nodes with stale telemetry are as old as
    their spell. ahead_s: demand is what comes in so many seconds from now, not what came (a clairvoyant's)."""
    scenario, now_s = where.scenario, twin.now_s
    stale_s = 0.0 if ahead_s else _stale_s(where, now_s)
    demand = _demand(where, now_s + ahead_s, ahead_s) if ahead_s else _demand(where, now_s - stale_s, window_s)
    return merge(
        where.believed,
        _cluster(where, twin),
        TelemetryFacts(now_s - stale_s, _loads(where, twin), demand,
                       _models(where, twin, now_s - stale_s, window_s),
                       _services(where, twin, now_s - stale_s)),
        at_s=now_s,
        slot=slot,
        slot_s=scenario.slot_s,
        epoch_slots=scenario.epoch_slots,
    )  # fmt: skip


def _stale_s(where: Setting, now_s: float) -> float:
    """How long no node's figures have been refreshed; a spell that begins right now is no spell yet."""
    h = where.happenings
    for at_s, kind, node, for_s in zip(h.at_s, h.kind, h.node, h.value, strict=True):
        if kind == TELEMETRY_STALE and node < 0 and at_s <= now_s < at_s + for_s:
            return float(now_s - at_s)
    return 0.0


def _cluster(where: Setting, twin: Twin) -> ClusterFacts:
    s, ph, now_s = twin.state, twin.physics, twin.now_s
    nodes, models = where.believed.nodes, where.believed.models
    facts = tuple(
        NodeFact(n.id, bool(s.fleet.alive[i]), n.memory_gib, float(ph.memory[i] - s.free[i]))
        for i, n in enumerate(nodes)
    )
    replicas = []
    for i, j in zip(*np.nonzero(s.fleet.state != ABSENT), strict=True):
        code, since_s = int(s.fleet.state[i, j]), float(s.since_s[i, j])
        ready_in_s = max(0.1, ph.load_mean[j] - (now_s - since_s)) if code == LOADING else 0.0
        replicas.append(ReplicaFact(nodes[i].id, models[j].id, STATES[code], since_s, float(ready_in_s)))
    return ClusterFacts(now_s, facts, tuple(replicas))


def _loads(where: Setting, twin: Twin) -> tuple[ReplicaLoad, ...]:
    s, now_s = twin.state, twin.now_s
    nodes, models = where.believed.nodes, where.believed.models
    there = s.running + s.waiting + s.transit
    rows = []
    for i, j in zip(*np.nonzero(there), strict=True):
        see(twin.physics, s, i, j, now_s)
        waiting = int(s.waiting[i, j] + s.transit[i, j])
        rows.append(
            ReplicaLoad(nodes[i].id, models[j].id, waiting, int(s.running[i, j]), float(s.fleet.work_s[i, j]))
        )
    return tuple(rows)


def _demand(where: Setting, now_s: float, window_s: float) -> tuple[DemandFact, ...]:
    d = where.arrivals.demand
    nodes, models = where.believed.nodes, where.believed.models
    if now_s <= 0:
        return ()
    first, last = np.searchsorted(d.at_s, (max(0.0, now_s - window_s), now_s))
    counts = np.bincount(d.access[first:last] * len(models) + d.model[first:last], minlength=len(nodes) * len(models))
    window_s = min(window_s, now_s)
    return tuple(
        DemandFact(nodes[k // len(models)].id, models[k % len(models)].id, int(c), window_s)
        for k, c in enumerate(counts.tolist())
    )


def _models(where: Setting, twin: Twin, now_s: float, window_s: float) -> tuple[ModelFact, ...]:
    s, d = twin.state, where.arrivals.demand
    arrived = np.searchsorted(d.at_s, now_s)
    recent = (s.status[:arrived] == COMPLETED) & (s.finished_s[:arrived] <= now_s)
    recent &= s.finished_s[:arrived] > now_s - window_s
    latency_s = s.finished_s[:arrived] - d.at_s[:arrived]
    rows = []
    for j, spec in enumerate(where.believed.models):
        mine = latency_s[recent & (d.model[:arrived] == j)]
        mean_s = float(mine.mean()) if mine.size else None
        p95_s = float(np.quantile(mine, 0.95)) if mine.size else None
        rows.append(
            ModelFact(spec.id, int(mine.size), min(window_s, max(now_s, 1e-9)), mean_s, p95_s, None,
                      int(s.held_count[j]))
        )  # fmt: skip
    return tuple(rows)


def _services(where: Setting, twin: Twin, now_s: float) -> tuple[ServiceFact, ...]:
    """Prompts finished in the last slot, as their nodes would report them: compute seconds at the node's true speed,
    told in seconds of the speed it is said to have."""
    s, d, slot_s = twin.state, where.arrivals.demand, where.scenario.slot_s
    arrived = int(np.searchsorted(d.at_s, now_s))
    ended_s = s.finished_s[:arrived]
    done = np.nonzero((s.status[:arrived] == COMPLETED) & (ended_s <= now_s) & (ended_s > now_s - slot_s))[0]
    nodes, models = where.believed.nodes, where.believed.models
    at = s.node[done]
    slower = slowdown(where.happenings, at, (s.started_s[done] + s.finished_s[done]) / 2)
    said = np.array([n.speed for n in nodes]) / twin.physics.first_speed
    seen, expected = d.service_s[done] * slower * said[at], d.hint_s[done]
    ratio = np.log(seen / expected)
    key = at * len(models) + d.model[done]
    facts = []
    for k in np.unique(key):
        mine = key == k
        facts.append(
            ServiceFact(nodes[k // len(models)].id, models[k % len(models)].id, int(mine.sum()),
                        float(seen[mine].sum()), float(expected[mine].sum()), float(ratio[mine].mean()),
                        float(ratio[mine].std()), slot_s)
        )  # fmt: skip
    return tuple(facts)


def slowdown(h: Happenings, node: Ints, at_s: Floats) -> Floats:
    """By what each of these nodes was slower than at first, at these seconds."""
    factor = np.ones(len(node))
    for when_s, kind, n, value in zip(h.at_s, h.kind, h.node, h.value, strict=True):
        if kind == NODE_SLOW:
            factor[(node == n) & (at_s >= when_s)] = value
    return factor
