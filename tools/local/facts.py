"""What a node's last answer means now: pure functions from what was seen, and when, to facts."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.observation import NodeFact, ReplicaFact
from tools.local.client import NodeState

FIRST_BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 15.0


@dataclass(frozen=True, slots=True)
class NodeHandle:
    """A node server as the composition root started it."""

    url: str
    spec: NodeSpec


@dataclass(frozen=True, slots=True)
class Sight:
    """A node's answer and the run-clock second at which it was true."""

    at_s: float
    state: NodeState


@dataclass(frozen=True, slots=True)
class NodeView:
    node: NodeFact
    replicas: tuple[ReplicaFact, ...]


def sight_of(state: NodeState, sent_s: float, received_s: float) -> Sight:
    """When an answer was true: the node's own word, but never before it was asked nor after it was heard, so
    that a node whose clock is wrong cannot make its facts look fresh or stale."""
    return Sight(min(max(state.at_s, sent_s), received_s), state)


def view(
    handle: NodeHandle, sight: Sight | None, now_s: float, since_s: float, dead_after_s: float, died: bool
) -> NodeView:
    """A node as of `now_s`.

    sight: its last answer, None when it never gave one since `since_s` (its start). A node whose process died has
    nothing left; one that is silent keeps its last facts, which grow older, and counts as dead once they are
    older than `dead_after_s`: it may still hold its memory and work on.
    """
    spec = handle.spec
    if died or sight is None:
        age_s = max(0.0, now_s - since_s)
        return NodeView(NodeFact(spec.id, False, spec.memory_gib, 0.0, handle.url, age_s), ())
    age_s = max(0.0, now_s - sight.at_s)
    state = sight.state
    return NodeView(
        NodeFact(spec.id, age_s <= dead_after_s, state.memory_gib, state.memory_used_gib, handle.url, age_s),
        tuple(
            ReplicaFact(spec.id, r.model, r.state, r.since_s, r.ready_in_s or 0.0, r.error or "", age_s)
            for r in state.replicas
        ),
    )


def back_off_s(restarts: int) -> float:
    """Seconds to wait before a dead node is started again, after `restarts` restarts in short succession: none
    the first time, then doubling up to a bound, so that a node that dies at once does not eat the machine."""
    if restarts <= 0:
        return 0.0
    return min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(restarts - 1, 20))
