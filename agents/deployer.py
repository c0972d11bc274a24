"""The deployment agent of one node, optimiser rung: in which order to change its replicas, and what to refuse.

Pure and small; one runs per node with something to change, side by side, each seeing its own node only.
"""

from __future__ import annotations

from edgewise.control.state import NodeBrief, NodeOrder, Veto
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.plan import Change, ChangeKind

# A load that failed is left alone for this many load times before it is tried on the same node again.
REST_LOADS = 3.0
LEAST_REST_S = 5.0
EPS = 1e-9


def arrange(brief: NodeBrief) -> NodeOrder:
    """Unloads first (memory is free at once), then drains, then loads: kinds that nobody serves first, then quick
    ones. Refused is what the node's own facts speak against, with the reason."""
    vetoes = tuple(Veto(c, why) for c in brief.changes if (why := _refusal(brief, c)))
    refused = {v.change for v in vetoes}
    order = sorted((c for c in brief.changes if c not in refused), key=lambda c: _precedence(brief, c))
    return NodeOrder(brief.plan_id, brief.node, tuple(order), vetoes)


def _precedence(brief: NodeBrief, change: Change) -> tuple[int, bool, float, str]:
    load_s = dict(brief.load_s).get(change.model, 0.0)
    rank = {ChangeKind.UNLOAD: 0, ChangeKind.DRAIN: 1, ChangeKind.LOAD: 2}.get(change.kind, 3)
    return rank, change.model not in brief.alone, load_s, change.model


def _refusal(brief: NodeBrief, change: Change) -> str:
    if brief.age_s > brief.stale_after_s:
        return f"figures of {brief.node} are {brief.age_s:.1f} s old"
    if change.kind is ChangeKind.LOAD:
        return _load_refusal(brief, change)
    if change.kind is ChangeKind.DRAIN:
        return _drain_refusal(brief, change)
    return ""


def _load_refusal(brief: NodeBrief, change: Change) -> str:
    fact = next((r for r in brief.replicas if r.model == change.model), None)
    if fact is not None and fact.state is ReplicaState.FAILED:
        ago_s = brief.at_s - fact.since_s
        rest_s = max(LEAST_REST_S, REST_LOADS * dict(brief.load_s).get(change.model, 0.0))
        if ago_s < rest_s:
            return f"a load failed there {ago_s:.1f} s ago: {fact.error or 'no reason given'}"
    after = _memory_after(brief)
    if after > brief.budget_gib + EPS:
        return f"{after:g} GiB would be needed, the node has {brief.budget_gib:g}"
    return ""


def _drain_refusal(brief: NodeBrief, change: Change) -> str:
    load = next((x for x in brief.loads if x.model == change.model), None)
    if load is None or load.queued == 0:
        return ""
    need = dict(brief.need_gib)
    loads = sum(need[c.model] for c in brief.changes if c.kind is ChangeKind.LOAD)
    free = brief.budget_gib - sum(need[r.model] for r in brief.replicas if r.state.holds_memory and r.model in need)
    if loads > free + EPS:
        return ""
    return f"{load.queued} queued and {load.in_flight} in flight there, and nobody waits for its memory"


def _memory_after(brief: NodeBrief) -> float:
    """GiB held on the node once all its changes are carried out."""
    need = dict(brief.need_gib)
    held = {r.model for r in brief.replicas if r.state.holds_memory and r.model in need}
    held -= {c.model for c in brief.changes if c.kind is ChangeKind.UNLOAD}
    held |= {c.model for c in brief.changes if c.kind is ChangeKind.LOAD}
    return sum(need[m] for m in held)
