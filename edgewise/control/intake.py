"""Facts in: cluster and telemetry figures merged into an observation, with what triggered the decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from edgewise.control.announced import marked, standing
from edgewise.control.forecast import Track, follow, shift
from edgewise.control.residual import corrected, corrections, follow_services, news, words
from edgewise.control.state import Job, Ticket
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts, Observation, TelemetryFacts
from edgewise.domain.plan import Plan
from edgewise.domain.world import World

# Triggers that start the planner at once instead of at its cadence.
URGENT = frozenset(
    {"epoch", "demand-shift", "intent", "node-loss", "node-return", "slow-node", "waiting-without-replica"}
)


def no_cluster(at_s: float) -> ClusterFacts:
    return ClusterFacts(at_s=at_s, nodes=(), replicas=())


def no_telemetry(at_s: float) -> TelemetryFacts:
    return TelemetryFacts(at_s=at_s, loads=(), demand=(), models=())


def merge(
    world: World,
    cluster: ClusterFacts,
    telemetry: TelemetryFacts,
    *,
    at_s: float,
    slot: int,
    slot_s: float,
    epoch_slots: int,
    trigger: str = "slot",
    notes: tuple[str, ...] = (),
) -> Observation:
    """The observation of one slot; the epoch follows from the slot."""
    return Observation(
        at_s=at_s,
        slot=slot,
        epoch=slot // epoch_slots,
        slot_s=slot_s,
        epoch_slots=epoch_slots,
        node_specs=world.nodes,
        model_specs=world.models,
        network=world.network,
        cluster=cluster,
        telemetry=telemetry,
        host_cores=world.host_cores,
        trigger=trigger,
        notes=notes,
    )


def take(ticket: Ticket, observation: Observation) -> Job:
    """The job of a slot: the observation with its trigger, its specs corrected by the service that was seen, demand
    followed up to it."""
    residuals = follow_services(ticket.residuals, observation)
    found = corrections(residuals, observation)
    told = news(corrections(ticket.residuals, observation), found)
    observation = corrected(observation, found)
    track = marked(follow(ticket.track, observation), ticket.intents, observation)
    meant = _news(ticket.stood, standing(ticket.intents, track, observation))
    why, said = trigger(observation, ticket.track, ticket.incumbent, ticket.alive_before, told, meant)
    if observation.trigger not in ("slot", why):
        why, said = observation.trigger, ""  # replayed, or an operator's intent
    return Job(
        decision_id=ticket.decision_id,
        observation=replace(observation, trigger=why),
        incumbent=ticket.incumbent.at(observation.at_s) if ticket.incumbent is not None else None,
        track=track,
        mode=ticket.mode,
        result=ticket.result,
        result_new=ticket.result_new,
        asked=ticket.asked,
        notes=(*ticket.notes, *([f"{why}: {said}"] if said else []), *map(words, observation.corrections)),
        offers=ticket.offers,
        trust=ticket.trust,
        residuals=residuals,
        intents=ticket.intents,
        lately=ticket.lately,
        last_asked=ticket.last_asked,
        declined=ticket.declined,
        llm_rests=ticket.llm_rests,
        reweighting=ticket.reweighting,
        beside=ticket.beside,
    )


def trigger(
    observation: Observation,
    track: Track,
    incumbent: Plan | None,
    alive_before: Collection[str],
    slow: str = "",
    meant: str = "",
) -> tuple[str, str]:
    """Why this slot matters, and in words; the most urgent reason wins. track: as it was before this observation.
    slow: news of nodes that are not as fast as believed, in words. meant: news of intents."""
    if incumbent is None:
        return "first", "no plan yet"
    alive = {n.id for n in observation.alive}
    if observation.cluster.nodes and (lost := sorted(set(alive_before) - alive)):
        return "node-loss", f"lost {', '.join(lost)}"
    if stranded := stranded_models(observation):
        return "waiting-without-replica", f"prompts wait for {', '.join(stranded)} without a replica"
    if slow:
        return "slow-node", slow
    if moved := shift(track, observation):
        return "demand-shift", moved
    if meant:
        return "intent", meant
    if back := sorted(alive - set(alive_before)):
        return "node-return", f"{', '.join(back)} is there again"
    if observation.slot % observation.epoch_slots == 0:
        return "epoch", ""
    return "slot", ""


def _news(before: Sequence[str], now: Sequence[str]) -> str:
    """What has changed about intents, in words."""
    gone = [f"no longer: {x}" for x in before if x not in now]
    # One that draws near says so anew; that the old words are gone is no news then.
    return "; ".join([x for x in now if x not in before] or gone)


def stranded_models(observation: Observation) -> tuple[str, ...]:
    """Models with prompts held at the gateway and no replica ready or loading on an alive node."""
    alive = {n.id for n in observation.alive}
    served = {
        r.model
        for r in observation.cluster.replicas
        if r.node in alive and r.state in (ReplicaState.READY, ReplicaState.LOADING)
    }
    return tuple(f.model for f in observation.telemetry.models if f.waiting > 0 and f.model not in served)


def stale_cluster(observation: Observation, limit_s: float) -> str:
    """Why the cluster facts are too old or too thin to act on, in words; empty when they are good enough."""
    cluster = observation.cluster
    if not cluster.nodes:
        return "the cluster shows no nodes"
    alive = [n for n in cluster.nodes if n.alive]
    if not alive:
        return "no node is alive"
    age_s = observation.at_s - cluster.at_s + min(n.age_s for n in alive)
    return f"cluster facts are {age_s:.1f} s old, limit {limit_s:g} s" if age_s > limit_s else ""


def stale_telemetry(observation: Observation, limit_s: float) -> str:
    """The same for demand and outcomes. A single quiet source does not count: the youngest figure does."""
    telemetry = observation.telemetry
    ages = [d.age_s for d in telemetry.demand] + [f.age_s for f in telemetry.models]
    age_s = observation.at_s - telemetry.at_s + min(ages, default=0.0)
    return f"telemetry is {age_s:.1f} s old, limit {limit_s:g} s" if age_s > limit_s else ""
