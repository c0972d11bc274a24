"""Steps of replicas and nodes from two successive facts; and which changes of a decision were carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import ChangeOutcome, Decision
from edgewise.domain.observation import ClusterFacts, ReplicaFact
from edgewise.domain.plan import ChangeKind
from edgewise.domain.records import ReplicaRow

Place = tuple[str, str]
S = ReplicaState
KIND = {S.LOADING: "load", S.READY: "ready", S.DRAINING: "drain", S.ABSENT: "unload", S.FAILED: "failed"}
# States that must have been passed between two looks, the last one included. A ready replica that is gone, or that
# starts over, died in between unless a drain was asked for.
BETWEEN: dict[tuple[S, S], tuple[S, ...]] = {
    (S.ABSENT, S.READY): (S.LOADING, S.READY),
    (S.ABSENT, S.DRAINING): (S.LOADING, S.READY, S.DRAINING),
    (S.ABSENT, S.FAILED): (S.LOADING, S.FAILED),
    (S.LOADING, S.DRAINING): (S.READY, S.DRAINING),
    (S.LOADING, S.ABSENT): (S.FAILED,),
    (S.READY, S.LOADING): (S.FAILED, S.LOADING),
    (S.DRAINING, S.LOADING): (S.ABSENT, S.LOADING),
    (S.DRAINING, S.READY): (S.ABSENT, S.LOADING, S.READY),
    (S.FAILED, S.READY): (S.LOADING, S.READY),
    (S.FAILED, S.DRAINING): (S.LOADING, S.READY, S.DRAINING),
    (S.FAILED, S.ABSENT): (),
}


def rows(
    before: ClusterFacts | None, after: ClusterFacts, cause: Mapping[Place, str], drained: Iterable[Place] = ()
) -> tuple[ReplicaRow, ...]:
    """Rows for events.jsonl, oldest first. cause: the decision behind a place's changes. drained: places for which
    a drain was asked."""
    out = _node_rows(before, after)
    old, new = _replicas(before), _replicas(after)
    asked = set(drained)
    for place in sorted(set(old) | set(new)):
        was = old[place].state if place in old else S.ABSENT
        fact = new.get(place)
        now = fact.state if fact else S.ABSENT
        died = place[0] in _down(after) and place in old
        # A restart too quick to be seen as absent shows in the age of the state.
        since_s = old[place].since_s if place in old else 0.0
        again = was is now is S.READY and fact is not None and fact.since_s > since_s + 1.0
        steps = (S.FAILED,) if died and was.holds_memory else _steps(was, now, place in asked)
        for step in (S.FAILED, S.LOADING, S.READY) if again else steps:
            last = fact is not None and step is now
            at_s = _within(fact.since_s, before, after) if last and fact else after.at_s
            detail = fact.error if fact and step is S.FAILED else "vanished" if step is S.FAILED else ""
            out.append(ReplicaRow(KIND[step], at_s, *place, decision=cause.get(place), detail=detail))
    return tuple(out)


def settle(decision: Decision, seen: Iterable[ReplicaRow]) -> tuple[ChangeOutcome, ...]:
    """The decision's changes with what became of them: a pending load is done once its replica was ready, a drain
    once it began, an unload once the replica was gone."""
    later = [r for r in seen if r.at_s >= decision.at_s]
    done = {(r.kind, r.node, r.model) for r in later}
    why = {(r.node, r.model): r.detail for r in later if r.kind == "failed"}
    shows = {ChangeKind.LOAD: "ready", ChangeKind.DRAIN: "drain", ChangeKind.UNLOAD: "unload"}
    out = []
    for o in decision.changes:
        c = o.change
        if o.status == "pending" and (shows.get(c.kind, ""), c.node, c.model) in done:
            o = replace(o, status="done", detail="")
        elif o.status == "pending" and c.kind is ChangeKind.LOAD and (c.node, c.model) in why:
            o = replace(o, status="refused", detail=why[(c.node, c.model)] or "the load failed")
        out.append(o)
    return tuple(out)


def _node_rows(before: ClusterFacts | None, after: ClusterFacts) -> list[ReplicaRow]:
    was = {n.node: n.alive for n in before.nodes} if before else {}
    rows_ = []
    for n in after.nodes:
        if n.alive != was.get(n.node, False) and (n.alive or n.node in was):
            rows_.append(ReplicaRow("node-up" if n.alive else "node-down", after.at_s, n.node))
    return rows_


def _steps(was: S, now: S, asked: bool) -> tuple[S, ...]:
    if was is now:
        return ()
    if (was, now) == (S.READY, S.ABSENT):
        return (S.DRAINING, S.ABSENT) if asked else (S.FAILED,)
    return BETWEEN.get((was, now), (now,))


def _down(facts: ClusterFacts) -> set[str]:
    return {n.node for n in facts.nodes if not n.alive}


def _replicas(facts: ClusterFacts | None) -> dict[Place, ReplicaFact]:
    """Replicas on nodes that are alive; those of a dead node are gone."""
    if facts is None:
        return {}
    down = _down(facts)
    return {(r.node, r.model): r for r in facts.replicas if r.node not in down}


def _within(since_s: float, before: ClusterFacts | None, after: ClusterFacts) -> float:
    first = before.at_s if before else 0.0
    return since_s if first <= since_s <= after.at_s else after.at_s
