"""What of a remembered placement can be carried out on the nodes and models of now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.domain.plan import ReplicaGoal
from edgewise.domain.records import Reach

LEAST_PART = 0.75  # a case with less of its replicas left tells of another cluster


def feasible_part(placement: Sequence[ReplicaGoal], reach: Reach) -> float:
    """The part of the replicas whose node is alive and has room, and whose model is known, in [0, 1]; 0 when a model
    known now would lose its last replica. Replicas are taken in their order, as the guard does."""
    free = dict(reach.nodes)
    need = dict(reach.models)
    kept: list[ReplicaGoal] = []
    for goal in placement:
        if goal.model in need and free.get(goal.node, -1.0) >= need[goal.model] - 1e-9:
            free[goal.node] -= need[goal.model]
            kept.append(goal)
    lost = {g.model for g in placement if g.model in need} - {g.model for g in kept}
    return 0.0 if lost or not placement else len(kept) / len(placement)
