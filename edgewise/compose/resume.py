"""What the run directory says about an earlier controller of the same run, for the one that goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Decision
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact
from edgewise.domain.records import ReplicaRow
from edgewise.domain.world import World
from tools.rundir import decision_of, read_decisions, read_replica_rows

_STATE = {
    "load": ReplicaState.LOADING,
    "ready": ReplicaState.READY,
    "drain": ReplicaState.DRAINING,
    "failed": ReplicaState.FAILED,
}


def past_decisions(run: Path, now_s: float) -> list[Decision]:
    """Decisions made so far, oldest first. Those of another clock (a later time than now) are left out."""
    return [decision_of(row) for row in read_decisions(run) if row["at_s"] <= now_s]


def facts_so_far(run: Path, world: World, now_s: float) -> ClusterFacts | None:
    """The cluster as the replica rows so far leave it; None when there are none. The first look is compared with
    this, so that nothing is written down twice, and nothing missed."""
    rows = [row for row in read_replica_rows(run) if row.at_s <= now_s]
    return replay(rows, world) if rows else None


def replay(rows: Iterable[ReplicaRow], world: World) -> ClusterFacts:
    """Facts after the last of `rows`, which are in the order they were written."""
    alive: dict[str, bool] = {}
    state: dict[tuple[str, str], ReplicaRow] = {}
    at_s = 0.0
    for row in rows:
        at_s = max(at_s, row.at_s)
        if row.kind in ("node-up", "node-down"):
            alive[row.node] = row.kind == "node-up"
        elif row.kind in _STATE:
            state[row.node, row.model] = row
        else:
            state.pop((row.node, row.model), None)
    nodes = tuple(NodeFact(n.id, alive[n.id], n.memory_gib, 0.0) for n in world.nodes if n.id in alive)
    replicas = tuple(
        ReplicaFact(row.node, row.model, _STATE[row.kind], row.at_s, 0.0, row.detail) for row in state.values()
    )
    return ClusterFacts(at_s, nodes, replicas)
