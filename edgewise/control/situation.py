"""A decision's circumstances as named numbers of about [0, 1] each (for case memory), and in words."""

from __future__ import annotations

import math

from edgewise.control.forecast import Track
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import Reach, Situation


def situation(observation: Observation, track: Track, incumbent: Plan | None = None) -> Situation:
    """Features that do not depend on names of nodes, so that a case helps on another cluster too. Each is explained,
    with its scale, in docs/reference/memory.md."""
    o = observation
    work = work_rates(o, track)
    total = sum(work.values())
    capacity = sum(n.speed for n in o.alive)
    if o.host_cores is not None:
        capacity = min(capacity, o.host_cores)
    memory = sum(n.memory_gib for n in o.alive)
    features = [
        ("load", _squash(_part(total, capacity))),
        ("alive", len(o.alive) / max(1, len(o.node_specs))),
        ("trend", 0.5 + 0.5 * math.tanh(_trend(track))),
        ("bursts", min(1.0, max((s.dispersion for s in track.spreads), default=1.0) / 10)),
        ("memory", min(1.0, _part(_used(o), memory))),
        ("catalogue", _squash(_part(sum(m.memory_gib for m in o.model_specs) * len(o.alive), memory))),
        *_roles(o, incumbent),
    ]
    for m in o.model_specs:
        ready, queued = _standing(o, m.id)
        features += [
            (f"mix:{m.id}", _part(work[m.id], total)),
            (f"held:{m.id}", _part(ready * m.memory_gib, memory)),
            (f"waits:{m.id}", _squash(queued * m.mean_service_s / max(1.0, o.slot_s))),
            (f"load:{m.id}", _squash(_part(work[m.id], capacity))),
        ]
    return Situation(tuple((name, round(value, 6)) for name, value in features))


def reach(observation: Observation) -> Reach:
    """What a case's placement could be carried out on now."""
    nodes = tuple((n.id, n.memory_gib) for n in observation.alive)
    return Reach(nodes, tuple((m.id, m.memory_gib) for m in observation.model_specs))


def work_rates(observation: Observation, track: Track) -> dict[str, float]:
    """Seconds of service (speed 1.0) that arrive per second, per model."""
    rate = {m.id: 0.0 for m in observation.model_specs}
    for x in track.levels:
        if x.model in rate:
            rate[x.model] += x.rate
    return {m.id: rate[m.id] * m.mean_service_s for m in observation.model_specs}


def describe(observation: Observation, track: Track, plan: Plan) -> str:
    """One line a person (or an agent) reads in a recalled case."""
    work = work_rates(observation, track)
    total = sum(work.values()) or 1.0
    mix = ", ".join(f"{m} {w / total:.0%}" for m, w in sorted(work.items(), key=lambda x: -x[1]))
    counts = {m.id: sum(r.model == m.id for r in plan.replicas) for m in observation.model_specs}
    stood = ", ".join(f"{c}×{m}" for m, c in counts.items())
    return f"{len(observation.alive)} nodes, work {sum(work.values()):.2f} s/s ({mix}); placed {stood}"


def _standing(observation: Observation, model: str) -> tuple[int, int]:
    alive = {n.id for n in observation.alive}
    ready = sum(
        r.model == model and r.node in alive and r.state is ReplicaState.READY for r in observation.cluster.replicas
    )
    queued = sum(x.queued for x in observation.telemetry.loads if x.model == model)
    held = sum(f.waiting for f in observation.telemetry.models if f.model == model)
    return ready, queued + held


def _used(o: Observation) -> float:
    alive = {n.id for n in o.alive}
    return sum(f.memory_used_gib for f in o.cluster.nodes if f.node in alive)


def _roles(o: Observation, incumbent: Plan | None) -> list[tuple[str, float]]:
    """Part of the living nodes that the plan in effect leaves spare, gives to one kind, and to several."""
    alive = {n.id for n in o.alive}
    words = [r.role for r in incumbent.roles if r.node in alive] if incumbent else []
    spare = sum(w == "spare" for w in words)
    mixed = sum("+" in w or w == "mixed" for w in words)
    counts = {"spare": spare, "single": len(words) - spare - mixed, "mixed": mixed}
    return [(f"role:{name}", _part(count, len(alive))) for name, count in counts.items()] if words else []


def _part(value: float, whole: float) -> float:
    return value / whole if whole > 0 else 0.0


def _trend(track: Track) -> float:
    total = sum(x.rate for x in track.levels)
    return sum(x.trend for x in track.levels) / total * 10 if total > 0 else 0.0


def _squash(value: float) -> float:
    return value / (1 + value) if math.isfinite(value) and value > 0 else 0.0
