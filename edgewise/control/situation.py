"""A decision's circumstances as named numbers of about [0, 1] each (for case memory), and in words."""

from __future__ import annotations

import math

from edgewise.control.forecast import Track
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import Situation


def situation(observation: Observation, track: Track) -> Situation:
    """Features that do not depend on names of nodes, so that a case helps on another cluster too: load, the mix of
    work by kind, what waits, where replicas stand, memory, nodes alive, dispersion of demand."""
    work = work_rates(observation, track)
    total = sum(work.values())
    alive = observation.alive
    capacity = sum(n.speed for n in alive)
    if observation.host_cores is not None:
        capacity = min(capacity, observation.host_cores)
    memory = sum(n.memory_gib for n in alive)
    features = [
        ("load", _squash(total / capacity if capacity > 0 else 0.0)),
        ("alive", len(alive) / max(1, len(observation.node_specs))),
        ("trend", 0.5 + 0.5 * math.tanh(_trend(track))),
        ("bursts", min(1.0, max((s.dispersion for s in track.spreads), default=1.0) / 10)),
    ]
    for m in observation.model_specs:
        ready, queued = _standing(observation, m.id)
        features += [
            (f"mix:{m.id}", work[m.id] / total if total > 0 else 0.0),
            (f"held:{m.id}", ready * m.memory_gib / memory if memory > 0 else 0.0),
            (f"waits:{m.id}", _squash(queued * m.mean_service_s / max(1.0, observation.slot_s))),
        ]
    return Situation(tuple((name, round(value, 6)) for name, value in features))


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


def _trend(track: Track) -> float:
    total = sum(x.rate for x in track.levels)
    return sum(x.trend for x in track.levels) / total * 10 if total > 0 else 0.0


def _squash(value: float) -> float:
    return value / (1 + value) if math.isfinite(value) and value > 0 else 0.0
