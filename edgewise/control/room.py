"""What a projection needs of an observation, by name: budgets, needs, states, and which replicas are protected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgewise.control.memo import Last
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

    def filled(self, places: Iterable[Place]) -> Filled:
        return Filled(self, places)

    def rank(self, place: Place) -> tuple[int, int]:
        return self.order[place[0]], self.order[place[1]]


class Filled:
    """A set of places that keeps account of each node's replicas and of each model's count, so that a question about
    one node costs that node's replicas and not the cluster's."""

    def __init__(self, where: Room, places: Iterable[Place] = ()) -> None:
        self._where = where
        self._at: dict[str, dict[str, None]] = {}
        self.count: Counter[str] = Counter()
        for place in places:
            self.add(place)

    def __contains__(self, place: Place) -> bool:
        return place[1] in self._at.get(place[0], ())

    def __iter__(self) -> Iterator[Place]:
        return ((node, model) for node, models in self._at.items() for model in models)

    def on(self, node: str) -> list[Place]:
        return [(node, model) for model in self._at.get(node, ())]

    def used(self, node: str) -> float:
        return sum(self._where.need[model] for model in self._at.get(node, ()))

    def add(self, place: Place) -> None:
        if place not in self:
            self._at.setdefault(place[0], {})[place[1]] = None
            self.count[place[1]] += 1

    def discard(self, place: Place) -> None:
        if place in self:
            del self._at[place[0]][place[1]]
            self.count[place[1]] -= 1

    def fits(self, extra: Place) -> bool:
        """Whether `extra` may stand beside the others, in memory."""
        return extra in self or self.used(extra[0]) + self._where.need[extra[1]] <= self._where.budget[extra[0]] + EPS


_LAST: Last[Room] = Last()


def room(observation: Observation, settings: Settings) -> Room:
    """The room of an observation; a node that says it has less memory than its spec has that much."""
    return _LAST.get((observation, settings), lambda: _room(observation, settings))


def _room(observation: Observation, settings: Settings) -> Room:
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
