"""Goal minus fact: the changes that would make the cluster what the plan wants."""

from __future__ import annotations

from collections.abc import Mapping

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ClusterFacts
from edgewise.domain.plan import Change, ChangeKind, Plan

# Smaller differences of weights and shares are rounding.
LEAST_DIFFERENCE = 5e-3


def diff(goal: Plan, facts: ClusterFacts, incumbent: Plan | None = None) -> tuple[Change, ...]:
    """Changes from fact to goal, sorted. Replicas are compared with the facts (of alive nodes), weights and shares
    with the incumbent plan; an eviction is a drain and an unload."""
    alive = {n.node for n in facts.nodes if n.alive}
    changes = list(moves(goal, facts))
    changes += _moved(ChangeKind.WEIGHT, weights(incumbent), weights(goal), alive)
    changes += _moved(ChangeKind.SHARE, shares(incumbent), shares(goal), alive)
    return tuple(sorted(changes, key=_order))


def moves(goal: Plan, facts: ClusterFacts) -> tuple[Change, ...]:
    """The loads, drains and unloads among them, sorted."""
    alive = {n.node for n in facts.nodes if n.alive}
    wanted = {(r.node, r.model) for r in goal.replicas if r.node in alive}
    states = {(r.node, r.model): r.state for r in facts.replicas if r.node in alive}
    changes = [
        Change(node, model, ChangeKind.LOAD)
        for node, model in wanted
        if states.get((node, model), ReplicaState.ABSENT) not in (ReplicaState.LOADING, ReplicaState.READY)
    ]
    for (node, model), state in states.items():
        if (node, model) not in wanted and state is not ReplicaState.ABSENT:
            if state in (ReplicaState.READY, ReplicaState.LOADING):
                changes.append(Change(node, model, ChangeKind.DRAIN))
            changes.append(Change(node, model, ChangeKind.UNLOAD))
        elif (node, model) in wanted and state is ReplicaState.DRAINING:
            changes.append(Change(node, model, ChangeKind.UNLOAD, "before it is loaded again"))
    return tuple(sorted(changes, key=_order))


def _order(change: Change) -> tuple[str, str, str]:
    return change.node, change.model, change.kind.value


def weights(plan: Plan | None) -> dict[tuple[str, str], float]:
    """The weight of each (node, model) over all access nodes: their mean, ANY standing for all of them."""
    if plan is None:
        return {}
    rows: dict[tuple[str, str], list[float]] = {}
    named = {(r.access_node, r.model) for r in plan.routes}
    for r in plan.routes:
        rows.setdefault((r.node, r.model), []).append(r.weight)
    accesses = {model: sum(m == model for _, m in named) for _, model in named}
    return {key: sum(values) / accesses[key[1]] for key, values in rows.items()}


def shares(plan: Plan | None) -> dict[tuple[str, str], float]:
    """The part of its node each (node, model) gets when all have work."""
    if plan is None:
        return {}
    total: dict[str, float] = {}
    for s in plan.shares:
        total[s.node] = total.get(s.node, 0.0) + s.share
    return {(s.node, s.model): s.share / total[s.node] for s in plan.shares if total[s.node] > 0}


def _moved(
    kind: ChangeKind, old: Mapping[tuple[str, str], float], new: Mapping[tuple[str, str], float], alive: set[str]
) -> list[Change]:
    return [
        Change(node, model, kind, f"{old.get((node, model), 0.0):.3f} → {new.get((node, model), 0.0):.3f}")
        for node, model in sorted(set(old) | set(new))
        if node in alive and abs(old.get((node, model), 0.0) - new.get((node, model), 0.0)) > LEAST_DIFFERENCE
    ]
