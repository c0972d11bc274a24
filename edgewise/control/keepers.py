"""Make before break: which unwanted replicas stay routed and ready until their model's wanted ones are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts
from edgewise.domain.plan import ANY, Plan, Route

Place = tuple[str, str]  # (node, model)
EPS = 1e-9


@dataclass(frozen=True)
class Scene:
    """Goal and fact side by side, on alive nodes only.

    wanted: replicas of the goal. unwanted: ready, not in the goal. missing: wanted, neither ready nor loading, and
    not given up. free: GiB free now. coming_free: GiB that draining replicas will free.
    """

    budget: Mapping[str, float]
    need: Mapping[str, float]
    state: Mapping[Place, ReplicaState]
    wanted: frozenset[Place]
    unwanted: frozenset[Place]
    missing: frozenset[Place]
    free: Mapping[str, float]
    coming_free: Mapping[str, float]


def scene(goal: Plan, facts: ClusterFacts, need: Mapping[str, float], given_up: Collection[Place] = ()) -> Scene:
    """The scene of a goal and facts; replicas of models that the catalogue does not know are left alone."""
    budget = {n.node: n.memory_gib for n in facts.nodes if n.alive}
    state = {(r.node, r.model): r.state for r in facts.replicas if r.node in budget and r.model in need}
    wanted = frozenset((r.node, r.model) for r in goal.replicas if r.node in budget and r.model in need)
    up = (ReplicaState.READY, ReplicaState.LOADING)
    held, draining = dict.fromkeys(budget, 0.0), dict.fromkeys(budget, 0.0)
    for (node, model), s in state.items():
        held[node] += need[model] if s.holds_memory else 0.0
        draining[node] += need[model] if s is ReplicaState.DRAINING else 0.0
    # The node's own figure counts too: memory may be held by what is not listed.
    used = {n.node: max(held[n.node], n.memory_used_gib) for n in facts.nodes if n.node in budget}
    return Scene(
        budget=budget,
        need=need,
        state=state,
        wanted=wanted,
        unwanted=frozenset(p for p, s in state.items() if s is ReplicaState.READY and p not in wanted),
        missing=frozenset(p for p in wanted if state.get(p) not in up and p not in given_up),
        free={n: budget[n] - used[n] for n in budget},
        coming_free=draining,
    )


def keepers(view: Scene) -> frozenset[Place]:
    """Unwanted ready replicas to keep for now.

    One goes as soon as its model's wanted replicas are all ready (or none is wanted). Until then it stays, unless
    it is in the way of a wanted load and its model has another ready replica. A model's last ready replica goes
    before its successor is ready only when everything stands still for want of the memory it holds: two kinds that
    change places on full nodes. Then one such replica at a time goes, always the same for the same scene.
    """
    ready = Counter(m for (_, m), s in view.state.items() if s is ReplicaState.READY)
    leaving = {p for p in view.unwanted if _superseded(view, p[1])}
    ready.subtract(m for _, m in leaving)
    short = {n: _short(view, n) - sum(view.need[m] for x, m in leaving if x == n) for n in view.budget}
    staying = sorted(view.unwanted - leaving, key=lambda p: (-view.need[p[1]], p))
    for node, model in staying:
        if short[node] > EPS and ready[model] > 1:
            leaving.add((node, model))
            ready[model] -= 1
            short[node] -= view.need[model]
    if not leaving and not _moving(view):
        stuck = [p for p in staying if short[p[0]] > EPS and any(m == p[1] for _, m in view.missing)]
        leaving.update(stuck[-1:])
    return view.unwanted - leaving


def published(goal: Plan, kept: Collection[Place]) -> Plan:
    """The goal as routers get it: with routes to the replicas kept for now, each weighted like an average one. Its
    id tells which they are; without any it is the goal itself."""
    if not kept:
        return goal
    rows: dict[tuple[str, str], list[Route]] = {}
    for r in goal.routes:
        rows.setdefault((r.access_node, r.model), []).append(r)
    for model in {m for _, m in kept} - {m for _, m in rows}:
        rows[(ANY, model)] = []
    for (access, model), row in rows.items():
        extra = sorted(n for n, m in kept if m == model and all(r.node != n for r in row))
        if extra:
            part = 1 / (len(row) + len(extra))
            left = 1 - part * len(extra)
            rows[(access, model)] = [replace(r, weight=r.weight * left) for r in row] + [
                Route(access, model, n, part) for n in extra
            ]
    mark = hashlib.blake2b(repr(sorted(kept)).encode(), digest_size=3).hexdigest()
    return replace(goal, id=f"{goal.id}+{mark}", routes=tuple(r for row in rows.values() for r in row))


def _superseded(view: Scene, model: str) -> bool:
    mine = [p for p in view.wanted if p[1] == model]
    if not mine:
        return True
    ready = any(view.state.get(p) is ReplicaState.READY for p in mine)
    coming = any(p in view.missing or view.state.get(p) is ReplicaState.LOADING for p in mine)
    return ready and not coming


def _short(view: Scene, node: str) -> float:
    """GiB that the node's missing replicas need beyond what is free or coming free."""
    wanted = sum(view.need[m] for n, m in view.missing if n == node)
    return wanted - view.free[node] - view.coming_free[node]


def _moving(view: Scene) -> bool:
    """Whether anything is under way, or can be started, that may free memory by itself."""
    if any(s in (ReplicaState.LOADING, ReplicaState.DRAINING) for s in view.state.values()):
        return True
    return any(view.need[m] <= view.free[n] + EPS for n, m in view.missing)
