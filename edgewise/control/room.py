"""What a projection needs of an observation, by name: budgets, needs, states, and which replicas are protected."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import Observation
from edgewise.settings import Settings

Place = tuple[str, str]  # (node, model)
EPS = 1e-9


@dataclass(frozen=True)
class Room:
    """budget: GiB of each alive node; need: GiB of each catalogue model; state: of replicas on alive nodes.
    loading: never evicted. fresh: ready for less than the dwell time. busy: prompts queued there.
    order: rank of each model and node as the observation lists them, so that choices do not hang on hashing."""

    budget: dict[str, float]
    need: dict[str, float]
    state: dict[Place, ReplicaState]
    loading: frozenset[Place]
    fresh: frozenset[Place]
    busy: frozenset[Place]
    order: dict[str, int]

    def used(self, places: Iterable[Place], node: str) -> float:
        return sum(self.need[m] for n, m in places if n == node)

    def fits(self, places: Collection[Place], extra: Place) -> bool:
        """Whether `extra` may stand beside `places`, in memory."""
        node, model = extra
        if extra in places:
            return True
        return self.used(places, node) + self.need[model] <= self.budget[node] + EPS

    def rank(self, place: Place) -> tuple[int, int]:
        return self.order[place[0]], self.order[place[1]]


def room(observation: Observation, settings: Settings) -> Room:
    """The room of an observation; a node that says it has less memory than its spec has that much."""
    alive = {n.id: n.memory_gib for n in observation.alive}
    for f in observation.cluster.nodes:
        if f.node in alive and f.memory_gib > 0:
            alive[f.node] = min(alive[f.node], f.memory_gib)
    need = {m.id: m.memory_gib for m in observation.model_specs}
    replicas = [r for r in observation.cluster.replicas if r.node in alive and r.model in need]
    dwell_s = settings.dwell_slots * observation.slot_s
    ids = [n.id for n in observation.node_specs] + [m.id for m in observation.model_specs]
    return Room(
        budget=alive,
        need=need,
        state={(r.node, r.model): r.state for r in replicas},
        loading=frozenset((r.node, r.model) for r in replicas if r.state is ReplicaState.LOADING),
        fresh=frozenset(
            (r.node, r.model)
            for r in replicas
            if r.state is ReplicaState.READY and observation.at_s - r.since_s < dwell_s
        ),
        busy=frozenset((x.node, x.model) for x in observation.telemetry.loads if x.queued > 0),
        order={name: i for i, name in enumerate(ids)},
    )
