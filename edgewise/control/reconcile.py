"""Goal and fact compared, level-triggered: which commands to give now. Pure; the actuator carries them out.

Deactivation is one transaction: the router acknowledges a plan without the route, the replica drains (hands back its
queue, ends what is in flight), is unloaded, its memory is seen free; only then something else is loaded there.
Make before break: see `keepers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.control.keepers import Scene, keepers, scene
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts, ReplicaLoad
from edgewise.domain.plan import ChangeKind, Plan
from edgewise.settings import Settings

Place = tuple[str, str]  # (node, model)
MAX_TRIES = 5
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0


@dataclass(frozen=True, slots=True)
class Command:
    """One command for the Cluster port; `reason` in words."""

    kind: ChangeKind
    node: str
    model: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Failed tries to load one replica, and the run-clock second before which it is not tried again."""

    failures: int = 0
    next_s: float = 0.0

    def failed(self, now_s: float) -> Attempt:
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2.0**self.failures)
        return Attempt(self.failures + 1, now_s + rest_s)

    @property
    def given_up(self) -> bool:
        return self.failures >= MAX_TRIES


def next_commands(
    goal: Plan,
    acked: Plan | None,
    facts: ClusterFacts,
    loads: Sequence[ReplicaLoad],
    now_s: float,
    settings: Settings,
    need: Mapping[str, float],
    attempts: Mapping[Place, Attempt] | None = None,
    order: Sequence[Place] = (),
) -> list[Command]:
    """Commands that bring the fact nearer to the goal without losing work.

    acked: the plan all routers acknowledged last (None: none yet); nothing it routes to is drained. need: GiB per
    model. attempts: failed loads so far. order: precedence of the deployers. Loads whose memory is not free yet,
    and drains not acknowledged yet, wait for a later call.
    """
    tries = attempts or {}
    view = scene(goal, facts, need, {p for p, a in tries.items() if a.given_up})
    kept = keepers(view)
    routed = {(r.node, r.model) for r in acked.routes if r.weight > 0} if acked else None
    commands = _unloads(view, facts, loads, now_s, settings.drain_deadline_s)
    for place in sorted(view.unwanted - kept):
        if routed is not None and place not in routed:
            commands.append(Command(ChangeKind.DRAIN, *place, "not in the plan, acknowledged"))
    return commands + _loads(view, now_s, tries, order)


def _unloads(
    view: Scene, facts: ClusterFacts, loads: Sequence[ReplicaLoad], now_s: float, deadline_s: float
) -> list[Command]:
    work = {(x.node, x.model): x.queued + x.in_flight for x in loads}
    out = []
    for r in sorted(facts.replicas, key=lambda r: (r.node, r.model)):
        place = (r.node, r.model)
        if r.node not in view.budget:
            continue
        if r.state is ReplicaState.DRAINING:
            # Without a figure the cluster is asked: it refuses while a prompt is in flight.
            if work.get(place, 0) == 0:
                out.append(Command(ChangeKind.UNLOAD, *place, "drained and idle"))
            elif now_s - r.since_s >= deadline_s:
                out.append(Command(ChangeKind.UNLOAD, *place, "past the drain deadline"))
        elif r.state is ReplicaState.FAILED and place not in view.wanted:
            out.append(Command(ChangeKind.UNLOAD, *place, "failed and not wanted"))
    return out


def _loads(view: Scene, now_s: float, tries: Mapping[Place, Attempt], order: Sequence[Place]) -> list[Command]:
    rank = {place: i for i, place in enumerate(order)}
    served = {m for (_, m), s in view.state.items() if s in (ReplicaState.READY, ReplicaState.LOADING)}
    free = dict(view.free)
    out = []
    for place in sorted(view.missing, key=lambda p: (p[1] in served, rank.get(p, len(rank)), p)):
        node, model = place
        attempt = tries.get(place, Attempt())
        if view.state.get(place) is ReplicaState.DRAINING or now_s < attempt.next_s:
            continue
        if view.need[model] <= free[node] + 1e-9:
            free[node] -= view.need[model]
            out.append(Command(ChangeKind.LOAD, node, model, "wanted, memory is free"))
    return out
