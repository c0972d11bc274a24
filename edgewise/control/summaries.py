"""The slot summary: what one slot looked like, from its observation."""

from __future__ import annotations

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.measures import jain_normalized
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import ModelFact, Observation
from edgewise.domain.records import SlotModel, SlotSummary
from edgewise.domain.world import World


def summarise(observation: Observation, decision_id: str) -> SlotSummary:
    """Figures of the telemetry window that ended with this slot; None where nothing finished."""
    ideal = ideals(observation)
    models = tuple(_model(observation, m, ideal[m.id]) for m in observation.model_specs)
    inverse = [1 / m.slowdown for m in models if m.slowdown is not None]
    return SlotSummary(
        slot=observation.slot,
        epoch=observation.epoch,
        at_s=observation.at_s,
        decision=decision_id,
        models=models,
        nodes_alive=len(observation.alive),
        jain_normalized=jain_normalized(inverse) if inverse else None,
    )


def ideals(observation: Observation) -> dict[str, float]:
    """Mean latency of each model alone on the fastest node, s."""
    world = World(observation.node_specs, observation.model_specs, observation.network)
    return {m.id: world.ideal_s(m, m.mean_service_s) for m in observation.model_specs}


def _model(observation: Observation, spec: ModelSpec, ideal_s: float) -> SlotModel:
    telemetry = observation.telemetry
    fact = next((f for f in telemetry.models if f.model == spec.id), None)
    loads = [x for x in telemetry.loads if x.model == spec.id]
    alive = {n.id for n in observation.alive}
    replicas = [r for r in observation.cluster.replicas if r.model == spec.id and r.node in alive]
    latency_s = fact.mean_latency_s if fact else None
    return SlotModel(
        model=spec.id,
        arrivals=sum(d.arrivals for d in telemetry.demand if d.model == spec.id),
        completed=fact.completed if fact else 0,
        waiting=fact.waiting if fact else 0,
        queued=sum(x.queued for x in loads),
        in_flight=sum(x.in_flight for x in loads),
        replicas=sum(r.state is ReplicaState.READY for r in replicas),
        mean_latency_s=latency_s,
        slowdown=_slowdown(fact, ideal_s),
    )


def _slowdown(fact: ModelFact | None, ideal_s: float) -> float | None:
    if fact is None or fact.mean_latency_s is None or ideal_s <= 0:
        return None
    return max(1.0, fact.mean_latency_s / ideal_s)
